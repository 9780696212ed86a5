"""Threads that share a run."""

from __future__ import annotations

import threading
import time

import pytest

from refsnn.run.threads import helpers, shared


def test_parts_keep_the_order_of_their_items() -> None:
    both = threading.Barrier(2)  # nobody goes on before two work

    def work(item: int) -> tuple[int, int]:
        if item < 2:
            both.wait(timeout=30)
        return item, threading.get_ident()

    parts = shared(work, range(50), 2)
    assert [item for item, _ in parts] == list(range(50))
    assert len({thread for _, thread in parts}) == 2


def test_one_thread_works_alone() -> None:
    here = threading.get_ident()
    assert shared(lambda _: threading.get_ident(), range(3), 1) == [here] * 3
    assert helpers(1) is None


def test_helpers_are_kept() -> None:
    assert helpers(3) is helpers(3)
    assert helpers(3) is not helpers(2)


@pytest.mark.parametrize("failing", [True, False], ids=["here", "beside"])
def test_what_fails_is_told_and_ends_the_work(failing: bool) -> None:
    here, both, done = threading.get_ident(), threading.Barrier(2), []

    def work(item: int) -> None:
        if item < 2:
            both.wait(timeout=30)
        if (threading.get_ident() == here) == failing:
            raise ValueError("stopped")
        time.sleep(0.001)  # lets the other one go on
        done.append(item)

    with pytest.raises(ValueError, match="stopped"):
        shared(work, range(1000), 2)
    if failing:  # the other had begun at most what it had taken
        assert len(done) < 1000
