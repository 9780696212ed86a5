"""Level 3 again: Numba off, bounds-checked, on one thread, for a plain processor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from refsnn import datasets

MODES = {
    "interpreted": {"NUMBA_DISABLE_JIT": "1"},
    "bounds-checked": {"NUMBA_BOUNDSCHECK": "1"},
    "one thread": {"NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    "generic processor": {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
}


@pytest.mark.parametrize("mode", MODES)
def test_twins_in_mode(mode: str, tmp_path: Path) -> None:
    """Each mode compiles afresh into its own cache."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), **MODES[mode]}
    twins = Path(__file__).with_name("test_twins.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", twins],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout
    assert any(tmp_path.rglob("*.nbc")) == (mode != "interpreted")


@pytest.mark.parametrize("method", [("ecl",), ("cos", "--set", "rho=2")])
def test_the_engine_interpreted(method: tuple[str, ...], tmp_path: Path) -> None:
    """Both kinds of sums, both signs, potentials moved: as of compiled kernels."""
    network = datasets.weights_folder() / "digits_qcfs.h5"
    how = ["-m", *method, "-T", "2", "--limit", "1", "--engine", "event"]
    digests = set()
    for name, off in (("compiled", "0"), ("interpreted", "1")):
        out = tmp_path / f"{name}.json"
        subprocess.run(
            [sys.executable, "-m", "refsnn", "run", network, *how, "--json", out],
            env={**os.environ, "NUMBA_DISABLE_JIT": off},
            capture_output=True,
            check=True,
        )
        digests.add(json.loads(out.read_text())["digest"])
    assert len(digests) == 1
