"""The README's Python runs, and its numbers are those of the code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from refsnn import datasets, io
from refsnn.accounting import ENERGY_TABLES
from refsnn.convert import METHODS
from refsnn.io import RULES
from refsnn.layers import LinearMap

README = (Path(__file__).parents[1] / "README.md").read_text()


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
    assert [path.name for path in tmp_path.iterdir()] == ["digits_relu_snn.h5"]


def test_the_tables_are_complete() -> None:
    for name in (*METHODS, *ENERGY_TABLES):
        assert f"| `{name}` |" in README
    assert f"`{min(RULES)}` to\n`-{max(RULES)[-3:]}`" in README


def test_the_share_of_padding_taps_is_as_said() -> None:
    ann = io.load_ann(datasets.weights_folder() / "digits_qcfs.h5")
    maps = [node for node in ann.nodes if isinstance(node.op, LinearMap)]
    inside = sum(int(n.op.fan_out(ann.shapes[n.inputs[0]]).sum()) for n in maps)
    assert f"{100 * (ann.macs() / inside - 1):.0f} % more" in README
