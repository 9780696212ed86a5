"""What the comparison of the engine with mode ordered found, as it is told."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path

import pytest

from refsnn import io
from test_readme import README, ROOT

sys.path.insert(0, str(ROOT / "reproductions"))
import engine

RECORD = ROOT / "asv_benchmarks" / "checked.jsonl"
TOLD = (ROOT / "asv_benchmarks" / "README.md").read_text()


def test_the_record_is_of_the_shipped_networks_and_told_as_it_is() -> None:
    found = engine.recorded(RECORD)
    keys = {tuple(one[k] for k in engine.KEY) for one in found}
    assert len(keys) == len(found)
    assert not any(engine.wrongs(one) for one in found)
    networks: dict[str, tuple[str, list[str]]] = {}
    for one in found:
        if one["network"] not in networks:
            path = ROOT / "weights" / f"{one['network']}.h5"
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            networks[one["network"]] = (
                sha256,
                engine.methods_of(io.load_ann(path), None),
            )
        sha256, methods = networks[one["network"]]
        assert one["sha256"] == sha256
        assert one["method"] in methods
        assert (one["steps"], one["limit"]) == (8, 1000)
    assert engine.table(found) in TOLD
    spikes = sum(one["spikes"] for one in found)
    words = f"{len(found)} pairs", f"{spikes:,}"
    assert all(re.search(rf"\b{some}\b", TOLD) for some in words)
    assert all(re.search(rf"\b{some}\b", README) for some in words)


def test_a_record_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is right is not asked again, what is wrong is; both are counted."""
    record, asked = tmp_path / "record.jsonl", []

    def checked(ann: object, method: str, *rest: object) -> dict[str, int]:
        asked.append(method)
        differ = int(method == "srp" and len(asked) < 4)
        some = {"images": 450, "spikes": 7, "differ": differ}
        return some | {"slices": 0, "digests": 1}

    monkeypatch.setattr(engine, "checked", checked)
    how = ["--networks", "digits_qcfs", "--methods", "qcfs", "srp", "ecl"]
    monkeypatch.setattr(sys, "argv", ["engine.py", *how, "--record", str(record)])
    for code in (1, 0, 0):
        with pytest.raises(SystemExit) as ended:
            engine.main()
        assert ended.value.code == code
    assert asked == ["qcfs", "srp", "ecl", "srp"]
    found = [json.loads(line) for line in record.read_text().splitlines()]
    assert [(one["method"], one["differ"]) for one in found] == [
        ("qcfs", 0),
        ("ecl", 0),
        ("srp", 0),
    ]
    assert {one["code"] for one in found} == {engine.code()}
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "0 networks and methods, 0 differences"
    assert said[3] == "3 networks and methods, 1 differences"
