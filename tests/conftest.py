"""Settings of the whole suite."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import Phase, settings

settings.register_profile("refsnn", derandomize=True, deadline=None, max_examples=60)
# whether a wrong program fails is asked, not for the smallest example
settings.register_profile(
    "mutants", parent=settings.get_profile("refsnn"), phases=(Phase.generate,)
)
settings.load_profile("refsnn")


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Random numbers that depend on the test's name only."""
    return np.random.default_rng(list(request.node.nodeid.encode()))


class Said(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def refsnn(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run a command in this process."""
    from refsnn import cli

    def run(*arguments: object) -> Said:
        with pytest.raises(SystemExit) as end:
            cli.main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return Said(end.value.code or 0, said.out, said.err)

    return run
