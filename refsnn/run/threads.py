"""How many threads a run may take, and how they share it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

Item = TypeVar("Item")
Part = TypeVar("Part")


def processors() -> int:
    """Count the processors that this process may use.

    Returns
    -------
    int
        At least one.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def helpers(threads: int) -> ThreadPoolExecutor | None:
    """Return threads that help the calling one.

    Parameters
    ----------
    threads : int
        How many they are together.

    Returns
    -------
    ThreadPoolExecutor or None
        All but the calling one; None for one thread. They are kept, since starting
        them takes as long as a small layer.
    """
    return _kept(threads - 1, os.getpid()) if threads > 1 else None


@cache
def _kept(count: int, process: int) -> ThreadPoolExecutor:  # noqa: ARG001 - a fork has none
    """Make a pool, once for each number of threads and process."""
    return ThreadPoolExecutor(count, thread_name_prefix="refsnn")


def shared(
    work: Callable[[Item], Part], items: Iterable[Item], threads: int
) -> list[Part]:
    """Do some work on every item, the calling thread beside its helpers.

    Parameters
    ----------
    work : callable
        From an item to a part; must not ask the same helpers.
    items : iterable
        What is taken one by one, by whoever is free.
    threads : int
        How many they are together.

    Returns
    -------
    list
        The parts, in the order of the items.
    """
    waiting = deque(enumerate(items))

    def take() -> dict[int, Part]:
        parts: dict[int, Part] = {}
        while True:
            try:
                at, item = waiting.popleft()
            except IndexError:
                return parts
            parts[at] = work(item)

    pool = helpers(threads)
    others = [pool.submit(take) for _ in range(threads - 1)] if pool else []
    try:
        parts = take()
    finally:
        waiting.clear()  # where this thread is stopped, nobody begins another item
    for other in others:
        parts |= other.result()
    return [parts[at] for at in sorted(parts)]
