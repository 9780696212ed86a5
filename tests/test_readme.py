"""The README's Python runs, and its numbers are those of the code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from refsnn import datasets, io
from refsnn.accounting import ENERGY_TABLES
from refsnn.convert import METHODS
from refsnn.io import RULES
from refsnn.layers import LinearMap
from refsnn.reproduce import declared, from_recorded, load_declaration, recorded
from refsnn.reproduce.coverage import coverage
from refsnn.reproduce.done import done_of

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
    rows = coverage(root, answers)
    found = Counter(row["verdict"] for row in rows)
    not_run = groups(rows, "not run", NOT_RUN)
    left = groups(rows, "out of scope", OUT_OF_SCOPE)
    said = (
        f"{sum(found.values())} published rows that were collected "
        f"{found['reproduced']} are reproduced, "
        f"{found['reached by a reconstruction']} are reached by a reconstruction, in "
        f"{found['trend']} the trend agrees, {found['differs']} differ; "
        f"{found['not run']} are not run and {found['out of scope']} are out of scope. "
        f"Of those not run {not_run['ImageNet']} need ImageNet's images (and networks "
        f"trained on them), {not_run['network']} other networks that are not trained "
        "here (VGG-16, ResNet-18 on CIFAR-100, the calibration code's ResNet-20), "
        f"{not_run['T']} only a T of 512 or more. Out of scope are {left['re-run']} "
        f"re-runs by others, {left['method']} rows of methods that refsnn does not "
        "have, "
        f"{left['stem']} of ImageNet networks with another stem, {left['2021']} of the "
        f"ResNet-18 of the code of 2021, and {left['other']} of other or unnamed "
        "networks"
    )
    assert said in " ".join(README.split())


NOT_RUN = {
    "ImageNet": "needs ImageNet's validation images .*",
    "network": r"needs .* trained .*train\.py.*|weights/.*train\.py.*",
    "T": "the row is of T = >=512, the declaration runs .*: add the T of .*",
}
OUT_OF_SCOPE = {
    "re-run": "a re-run by others.*",
    "method": "another method, .*refsnn does not have it",
    "stem": "an ImageNet architecture .*another stem.*",
    "2021": "the architecture of the code of 2021 .*",
    "other": "CIFARNet is not in refsnn|the architecture is not named.*",
}


def groups(rows: list[dict], verdict: str, reasons: dict[str, str]) -> Counter[str]:
    """Count the rows of a verdict by the one reason that each has."""
    counts: Counter[str] = Counter()
    for row in rows:
        if row["verdict"] == verdict:
            (reason,) = (k for k, r in reasons.items() if re.fullmatch(r, row["note"]))
            counts[reason] += 1
    return counts


def test_the_share_of_padding_taps_is_as_said() -> None:
    ann = io.load_ann(datasets.weights_folder() / "digits_qcfs.h5")
    maps = [node for node in ann.nodes if isinstance(node.op, LinearMap)]
    inside = sum(int(n.op.fan_out(ann.shapes[n.inputs[0]]).sum()) for n in maps)
    assert f"{100 * (ann.macs() / inside - 1):.0f} % more" in README


@cache
def numbers(names: tuple[str, ...], network: str) -> dict[tuple[str, str], str]:
    """Return recorded accuracies, in %, and energies by the run's label and column."""
    found: dict[tuple[str, str], str] = {}

    def note(label: str, column: str, value: str) -> None:
        assert found.setdefault((label, column), value) == value

    for name in names:
        declaration = load_declaration(ROOT / "reproductions", name)
        result = recorded.load(ROOT / "reproductions", name)
        for d in done_of(declaration, result):
            if network not in ("", d.run.network):
                continue
            note(d.run.label, "ANN", f"{100 * d.correct() / d.images:.2f}")
            table = d.energy().get("horowitz-45nm")
            for T in d.answered:
                note(d.run.label, str(T), f"{100 * d.correct(T) / d.images:.2f}")
                if table:
                    energy = f"{table['snn_pJ'][T - 1] / table['ann_pJ']:.3f}"
                    note(d.run.label, f"energy, T = {T}", energy)
            if table and table["crosses_at"]:
                note(d.run.label, "reaches 1 at", str(table["crosses_at"]))
    return found


@pytest.mark.parametrize("name", ["README.md", "reproductions/README.md"])
def test_accuracies_and_energies_are_the_recorded_ones(name: str) -> None:
    """`<!-- accuracy NAME .. [NETWORK] -->` marks a table of recorded numbers.

    A row begins with its label, and with its network where that is not the table's.
    """
    text = (ROOT / name).read_text()
    tables = re.findall(r"<!-- accuracy (.*) -->\n((?:\|.*\n)+)", text)
    assert tables
    for mark, table in tables:
        words = mark.split()
        known = {w for w in words if (ROOT / f"reproductions/{w}.py").exists()}
        network = "".join(w for w in words if w not in known)
        head, _, *rows = [
            [cell.strip() for cell in line.strip("|\n").split("|")]
            for line in table.splitlines()
        ]
        for label, *cells in rows:
            if "`" not in label:
                continue
            _, run, _, *own = label.split("`")
            want = numbers(tuple(sorted(known)), own[0] if own else network)
            for title, cell in zip(head[1:], cells, strict=True):
                key = (run, title.removeprefix("T = "))
                got = cell.removeprefix("T = ")
                assert got == want.get(key, ""), (name, mark, key)
