"""A pytest plugin: ``pytest -p refsnn.conformance.plugin --refsnn-adapter M:A``.

Every vector is a test of its own, beside those of the project that it is run in.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from refsnn.conformance.agreement import agreed, story
from refsnn.conformance.judge import (
    NO_BINARY32,
    Score,
    find_adapter,
    is_rounding,
    judge,
)
from refsnn.conformance.networks import names, vector
from refsnn.errors import RefsnnError

SCORES = pytest.StashKey[list[Score]]()
"""What the adapter got so far."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options.

    Parameters
    ----------
    parser : pytest.Parser
        The parser.
    """
    group = parser.getgroup("refsnn")
    group.addoption("--refsnn-adapter", metavar="MODULE:CLASS", help="the adapter")
    group.addoption("--refsnn-quick", action="store_true", help="small networks only")


def pytest_configure(config: pytest.Config) -> None:
    """Find the adapter, in the folders that the project imports from.

    Parameters
    ----------
    config : pytest.Config
        The options.
    """
    target = config.getoption("--refsnn-adapter")
    if target:
        for folder in (config.rootpath, config.invocation_params.dir):
            sys.path.insert(0, str(folder))
        try:
            find_adapter(target)
        except RefsnnError as error:
            raise pytest.UsageError(str(error)) from None


def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add a test for every vector.

    Parameters
    ----------
    session : pytest.Session
        The session.
    config : pytest.Config
        Its options.
    items : list of pytest.Item
        The tests so far; the vectors are put behind them.
    """
    target = config.getoption("--refsnn-adapter")
    if target:
        quick = config.getoption("--refsnn-quick")
        parent = _Vectors.from_parent(session, name="refsnn", nodeid="refsnn")
        parent.target, parent.quick = target, quick
        items.extend(parent.collect())


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say what explains the vectors that failed.

    Parameters
    ----------
    terminalreporter : pytest.TerminalReporter
        Where to.
    config : pytest.Config
        Holds the scores.
    """
    scores: list[Score] = config.stash.setdefault(SCORES, [])
    said = story(agreed(scores))
    if said:
        terminalreporter.write_line(f"refsnn: {said}")


class Failed(Exception):  # noqa: N818 - pytest shows the name beside the vector
    """A vector that an adapter fails."""


class _Vectors(pytest.Collector):
    """The vectors of an adapter."""

    target: str
    quick: bool
    rounds: bool = False

    def collect(self) -> Iterator[pytest.Item]:
        for name in names(quick=self.quick):
            yield _Item.from_parent(self, name=name, target=self.target)


class _Item(pytest.Item):
    """One vector."""

    def __init__(self, *, target: str, **how: Any) -> None:
        super().__init__(**how)
        self.target = target

    def runtest(self) -> None:
        if getattr(self.parent, "rounds", False):
            pytest.skip(NO_BINARY32)
        score = judge(find_adapter(self.target), vector(self.name))
        self.config.stash.setdefault(SCORES, []).append(score)
        if self.name == "probe" and is_rounding(score):
            self.parent.rounds = True  # type: ignore[union-attr]  # a _Vectors
        if score.status == "skipped":
            pytest.skip(score.reason)
        if score.status == "expected failure":
            pytest.xfail(score.reason)
        if score.status != "passed":
            raise Failed(_message(score))

    def repr_failure(self, excinfo: Any, style: Any = None) -> Any:
        if isinstance(excinfo.value, Failed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        return Path(), None, f"vector {self.name}: {vector(self.name).about}"


def _message(score: Score) -> str:
    lines = [f"{score.status}: {score.reason}" if score.reason else score.status]
    if score.first is not None:
        lines.append(f"{score.differing} spikes differ; {score.first}")
    if score.explanation is not None:
        names = [fit.name for fit in score.explanation.fits[:3]]
        lines.append(f"explanation: {' or '.join(names) or score.explanation}")
    return "\n".join(lines)
