"""How many threads a run may take, and how they share it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

Item = TypeVar("Item")
Part = TypeVar("Part")

ALONE: set[int] = set()
"""Processes that leave all processors but one to others like them."""


def alone() -> None:
    """Let this process take one processor: others do the same work beside it."""
    ALONE.add(os.getpid())


def processors() -> int:
    """Count the processors that this process may use.

    Returns
    -------
    int
        At least one; one behind :func:`alone`.
    """
    if os.getpid() in ALONE:
        return 1
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
        All but the calling one; None for one thread. The last ones are kept, since
        starting them takes as long as a small layer; a forked process gets its own.
        Whoever asks them must not wait for what they have not begun: they may be busy
        with the work of another thread.
    """
    return _kept(threads - 1, os.getpid()) if threads > 1 else None


@lru_cache(maxsize=1)
def _kept(count: int, process: int) -> ThreadPoolExecutor:  # noqa: ARG001 - a fork has none
    """Make a pool, unless it is the last one."""
    return ThreadPoolExecutor(count, thread_name_prefix="refsnn")


def shared(
    work: Callable[[Item], Part], items: Iterable[Item], threads: int
) -> list[Part]:
    """Do some work on every item, the calling thread beside its helpers.

    Parameters
    ----------
    work : callable
        From an item to a part.
    items : iterable
        What is taken one by one, in order, by whoever is free.
    threads : int
        How many they are together.

    Returns
    -------
    list
        The parts, in the order of the items.

    Raises
    ------
    Exception
        The error of the first item that fails; none is begun behind it. Where the
        calling thread is interrupted, helpers end the items that they have begun.
    """
    waiting = deque(enumerate(items))
    parts: dict[int, Part] = {}
    errors: dict[int, Exception] = {}

    def take() -> None:
        while True:
            try:
                at, item = waiting.popleft()
            except IndexError:
                return
            try:
                parts[at] = work(item)
            except Exception as error:  # noqa: BLE001 - raised below
                errors[at] = error
                waiting.clear()
            except BaseException:
                waiting.clear()
                raise

    pool, others = helpers(threads), list[Future[None]]()
    try:
        if pool:
            for _ in range(threads - 1):
                others.append(pool.submit(take))
        take()
    finally:
        waiting.clear()
        begun = [other for other in others if not other.cancel()]
    for other in begun:
        other.result()
    if errors:
        raise errors.pop(min(errors))
    return [parts[at] for at in sorted(parts)]
