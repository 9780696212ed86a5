"""Results as data frames: every number is one of the result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from refsnn import datasets, io, tables
from refsnn.convert import convert
from refsnn.errors import FormatError, OptionError
from refsnn.evaluate import evaluate, result


def made(method: str, T: int, *, ann: bool = True, **options: Any) -> dict[str, Any]:
    network = io.load_ann(datasets.weights_folder() / "digits_qcfs.h5")
    images = datasets.load("digits", "train").head(50).images
    snn = convert(network, method, T=T, images=images, options=options)
    data = datasets.load("digits", "test").head(20)
    trained = network if ann else None
    tally = evaluate(snn, data, T, ann=trained)
    made = result(snn, data, tally, sha256="0" * 64, seconds=1.0, ann=trained)
    answer: dict[str, Any] = json.loads(json.dumps(made))
    return answer


def test_steps_and_populations_are_the_results_numbers(tmp_path: Path) -> None:
    srp, ecl = made("srp", 3, tau=2), made("ecl", 4)
    path = tmp_path / "ecl.json"
    path.write_text(json.dumps(ecl))
    steps, counted = tables.steps(srp, path), tables.populations(srp, str(path))
    assert steps.method.tolist() == ["srp"] * 3 + ["ecl"] * 4
    assert steps.t.tolist() == [1, 2, 3, 1, 2, 3, 4]
    assert steps.latency.tolist() == [3, 4, 5, 1, 2, 3, 4]
    assert steps.set.tolist()[0] == "tau=2"
    for found, rows in ((srp, steps[:3]), (ecl, steps[3:])):
        assert rows.correct.tolist() == found["snn"]["correct"]
        assert (rows.accuracy == rows.correct / 20 * 100).all()
        assert (rows.ann_accuracy == found["ann"]["correct"] / 20 * 100).all()
        for name, energy in found["energy"].items():
            assert (rows[f"pJ {name}"] * 20).tolist() == pytest.approx(energy["snn_pJ"])
            if energy["ann_pJ"] is None:
                assert rows[f"ratio {name}"].isna().all()
        for kind, signs in (
            ("spikes", ("spikes", "negative")),
            ("synops", ("synops",)),
        ):
            stages = [found.get(stage, {}) for stage in ("observing", "snn")]
            ahead, own = (
                [
                    population[sign]
                    for population in stage.get("populations", {}).values()
                    for sign in signs
                ]
                for stage in stages
            )
            want = [
                sum(map(sum, ahead)) + sum(sum(of[:t]) for of in own)
                for t in range(1, len(rows) + 1)
            ]
            assert rows[kind].tolist() == want
    assert len(counted) == 4 * (2 + 3) + 4 * 4
    one = counted[(counted.method == "srp") & (counted.population == "act2")]
    assert one.observing.tolist() == [True] * 2 + [False] * 3
    assert one.t.tolist() == [1, 2, 1, 2, 3]
    act2 = [srp[stage]["populations"]["act2"] for stage in ("observing", "snn")]
    assert one.synops.tolist() == act2[0]["synops"] + act2[1]["synops"]
    assert one.rate.tolist() == [
        n / (act2[0]["neurons"] * 20) for n in act2[0]["spikes"] + act2[1]["spikes"]
    ]
    assert counted.negative.sum() > 0  # ECL's


def test_a_method_for_one_T_has_that_T_alone() -> None:
    rts = tables.steps(made("rts", 3, ann=False))
    assert rts.t.tolist() == [3]
    assert rts[["ann_accuracy", "synops_per_mac"]].isna().all(axis=None)


def test_published_rows_are_those_of_the_reproductions() -> None:
    rows = tables.published("digits", "qcfs_cifar10")
    assert set(rows.reproduction) == {"digits", "qcfs_cifar10"}
    known = rows[rows.published.notna() & rows.ours.notna()]
    assert len(known) > 7
    assert known.source.all()
    want = (known.ours - known.published).round(4)
    assert known.difference.tolist() == pytest.approx(want.tolist(), abs=1e-4)
    assert set(tables.published().reproduction) > {"digits", "srp_cifar100"}


def test_what_is_no_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="nonesuch"):
        tables.published("nonesuch")
    path = tmp_path / "net.json"
    path.write_text("[1]")
    for wrong in (path, {"format": "refsnn-reproduction"}):
        with pytest.raises(FormatError, match="refsnn run --json"):
            tables.steps(wrong)
    path.write_text("no")
    with pytest.raises(FormatError, match=r"net\.json: got no JSON"):
        tables.populations(path)
