"""The README's Python runs, and its numbers are those of the code."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from refsnn import datasets, io
from refsnn.accounting import ENERGY_TABLES
from refsnn.convert import METHODS
from refsnn.io import RULES
from refsnn.layers import LinearMap
from refsnn.reproduce import declared, from_recorded, recorded
from refsnn.reproduce.coverage import coverage

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_python_example_runs(tmp_path: Path) -> None:
    example = "\n".join(re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL))
    example += "\nprint(Raised(raised=0.5))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "(8, 5, 10)" in done.stdout
    assert done.stdout.splitlines()[-1] == "Raised(raised=0.5)"
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"digits_relu_snn.h5", "mine.h5"}


def block(mark: str) -> str:
    """Return the commands of the fenced block behind a mark."""
    return re.search(
        rf"<!-- {mark} -->\n```sh\n(.*?)```", README, flags=re.DOTALL
    ).group(1)


def test_your_own_simulator_in_ten_minutes(tmp_path: Path) -> None:
    (tmp_path / "weights").symlink_to(datasets.weights_folder())
    bin_folder = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"}
    commands = ["bash", "-euo", "pipefail", "-c", block("check")]

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    done = run(*commands)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("identical: ")
    # the fault that the text speaks of
    mine = tmp_path / "mine.py"
    right, wrong = 'u - p["theta"].astype(np.float32) * s', "u * (s == 0)"
    assert f"`self.v[name] = {wrong}`" in README
    assert right in mine.read_text()
    script = block("check").split("cp ", 1)[0]
    script += block("check").split("--quick\n", 1)[1].replace(".h5", "2.h5")
    script = script.replace("weights/digits_qcfs2.h5", "weights/digits_qcfs.h5")
    mine.write_text(mine.read_text().replace(right, wrong))
    done = run("bash", "-c", script)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "explained by: reset=to-zero" in done.stdout


def test_the_tables_are_complete() -> None:
    for name in (*METHODS, *ENERGY_TABLES):
        assert f"| `{name}` |" in README
    assert f"`{min(RULES)}` to\n`-{max(RULES)[-3:]}`" in README


def test_the_balance_is_that_of_the_published_rows() -> None:
    root = ROOT / "reproductions"
    answers = [from_recorded(root, name) for name in declared(root)]
    found = Counter(row["verdict"] for row in coverage(root, answers))
    said = (
        f"{sum(found.values())} published rows that were collected "
        f"{found['reproduced']} is reproduced, "
        f"{found['reached by a reconstruction']} are reached by a reconstruction, in "
        f"{found['trend']} the trend agrees, {found['differs']} differ; "
        f"{found['not run']} are not run, for want of networks trained at that size, "
        f"and {found['out of scope']} are out of scope"
    )
    assert said in " ".join(README.split())


def test_the_share_of_padding_taps_is_as_said() -> None:
    ann = io.load_ann(datasets.weights_folder() / "digits_qcfs.h5")
    maps = [node for node in ann.nodes if isinstance(node.op, LinearMap)]
    inside = sum(int(n.op.fan_out(ann.shapes[n.inputs[0]]).sum()) for n in maps)
    assert f"{100 * (ann.macs() / inside - 1):.0f} % more" in README


def accuracies(names: list[str], network: str) -> dict[tuple[str, int | str], str]:
    """Return the recorded accuracies by the run's label and T, in %."""
    found: dict[tuple[str, int | str], str] = {}
    for name in names:
        result = recorded.load(ROOT / "reproductions", name)
        for run in result["runs"]:
            if network not in ("", run["network"]):
                continue
            plain = dataclasses.asdict(METHODS[run["method"]].options())
            given = [f"{k}={v}" for k, v in run["set"].items() if plain[k] != v]
            label = ":".join([run["method"], *([",".join(given)] if given else [])])
            steps = enumerate(run["correct"], 1)
            if METHODS[run["method"]].depends_on_T:
                steps = [(run["T"], run["correct"][-1])]
            for T, correct in [("ANN", run["ann_correct"]), *steps]:
                value = f"{100 * correct / result['data']['images']:.2f}"
                assert found.setdefault((label, T), value) == value
    return found


@pytest.mark.parametrize("name", ["README.md", "reproductions/README.md"])
def test_accuracies_are_the_recorded_ones(name: str) -> None:
    """`<!-- accuracy NAME .. [NETWORK] -->` marks a table of recorded accuracies."""
    text = (ROOT / name).read_text()
    tables = re.findall(r"<!-- accuracy (.*) -->\n((?:\|.*\n)+)", text)
    assert tables
    for mark, table in tables:
        words = mark.split()
        known = {w for w in words if (ROOT / f"reproductions/{w}.py").exists()}
        network = "".join(w for w in words if w not in known)
        want = accuracies(sorted(known), network)
        head, _, *rows = [
            [cell.strip() for cell in line.strip("|\n").split("|")]
            for line in table.splitlines()
        ]
        for label, *cells in rows:
            if "`" not in label:
                continue
            for title, cell in zip(head[1:], cells, strict=True):
                T = title.removeprefix("T = ")
                key = (label.split("`")[1], int(T) if T.isdigit() else T)
                if T.isdigit() or T == "ANN":
                    assert cell == want.get(key, ""), (name, mark, key)
