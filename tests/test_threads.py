"""Threads that share a run."""

from __future__ import annotations

import os
import threading
import time
from multiprocessing import get_context

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


def test_the_last_helpers_are_kept() -> None:
    last = helpers(3)
    assert helpers(3) is last
    assert helpers(2) is not last


def settled() -> None:
    """Wait for what the helper has begun, and ask whether it has more to do."""
    helpers(2).submit(lambda: None).result(timeout=30)


class Stop(BaseException):
    """What no handler of errors is meant to catch."""


@pytest.mark.parametrize("kind", [ValueError, Stop, KeyboardInterrupt])
@pytest.mark.parametrize("failing", [True, False], ids=["here", "beside"])
def test_what_fails_is_told_and_ends_the_work(
    failing: bool, kind: type[BaseException]
) -> None:
    here, both, done = threading.get_ident(), threading.Barrier(2), []
    failed = threading.Event()

    def work(item: int) -> None:
        if item < 2:
            both.wait(timeout=30)
        if (threading.get_ident() == here) == failing:
            failed.set()
            raise kind("stopped")
        failed.wait(timeout=30)
        time.sleep(0.5)  # until nothing waits
        done.append(item)

    with pytest.raises(kind, match="stopped"):
        shared(work, range(1000), 2)
    settled()
    assert len(done) == 1


def test_the_first_item_that_fails_is_told() -> None:
    both, second = threading.Barrier(2), threading.Event()

    def work(item: int) -> None:
        both.wait(timeout=30)
        if item == 0:
            second.wait(timeout=30)
        second.set()
        raise ValueError(f"item {item}")

    with pytest.raises(ValueError, match="item 0"):
        shared(work, range(9), 2)


def test_nobody_waits_for_helpers_that_are_busy() -> None:
    free = threading.Event()
    busy = helpers(2).submit(free.wait, 30)
    assert shared(abs, range(-3, 0), 2) == [3, 2, 1]
    assert shared(lambda k: shared(abs, [k], 2), [-1, -2], 2) == [[1], [2]]
    assert not busy.done()
    free.set()
    busy.result(timeout=30)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_helpers_of_its_own() -> None:
    test_parts_keep_the_order_of_their_items()
    child = get_context("fork").Process(target=test_parts_keep_the_order_of_their_items)
    child.start()
    child.join(timeout=60)
    assert child.exitcode == 0
