"""What a result was made with."""

from __future__ import annotations

from pathlib import Path

import pytest

import refsnn
from refsnn import environment


def test_the_processor_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Abacus 12: fast\nflags\t: a b\n")
    monkeypatch.setattr(environment, "CPUINFO", cpuinfo)
    assert environment.processor() == "Abacus 12: fast"
    cpuinfo.write_text("model name\t: \n")
    assert environment.processor()
    monkeypatch.setattr(environment, "CPUINFO", tmp_path / "absent")
    assert environment.processor()


def test_versions() -> None:
    found = environment.versions()
    assert found["refsnn"] == refsnn.__version__
    assert {"python", "platform", "numpy", "numba", "h5py"} < set(found)
