"""Where shards are done: here, in processes of this machine, on a dask cluster."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from refsnn.errors import OptionError, RefsnnError
from refsnn.reproduce.jobs import Shard, do
from refsnn.run import alone, processors

Work = Callable[[list[Shard]], Iterator[str]]


def serial(todo: list[Shard]) -> Iterator[str]:
    """Do shards one after another, each on all processors.

    Parameters
    ----------
    todo : list of Shard
        The shards.

    Yields
    ------
    str
        The file of every shard, when it is done.
    """
    for shard in todo:
        yield do(shard)


def processes(todo: list[Shard]) -> Iterator[str]:
    """Do shards in processes, one for each processor.

    Parameters
    ----------
    todo : list of Shard
        The shards.

    Yields
    ------
    str
        The file of every shard, when it is done.

    Raises
    ------
    RefsnnError
        If one of them is killed, or a shard fails; none is begun behind it.
    """
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processors(), mp_context=context, initializer=_join)
    try:
        for future in as_completed([pool.submit(do, shard) for shard in todo]):
            yield future.result()
    except BrokenProcessPool as error:
        raise RefsnnError(
            where="executor processes",
            got="a process that was killed, or ran out of memory",
            expected="processes that end by themselves",
            do="Type the same command again: finished shards are kept.",
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _join() -> None:
    """Begin a process of shards: on one processor, and ended by an interruption."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    alone()


def dask(todo: list[Shard], scheduler: str | None) -> Iterator[str]:
    """Do shards on a dask cluster; its workers see the same folders.

    Each worker of a cluster of this machine takes one processor.

    Parameters
    ----------
    todo : list of Shard
        The shards.
    scheduler : str or None
        Its address; a cluster of this machine for None.

    Yields
    ------
    str
        The file of every shard, when it is done. A shard whose worker dies is done by
        another.

    Raises
    ------
    OptionError
        If dask is not installed, or there is no cluster at the address.
    """
    with _client(scheduler) as (client, completed):
        futures = client.map(do, todo, pure=False, retries=3)
        for future in completed(futures):
            yield future.result()


@contextmanager
def _client(scheduler: str | None) -> Iterator[tuple[Any, Any]]:
    try:
        distributed: Any = import_module("dask.distributed")
    except ModuleNotFoundError as error:
        raise OptionError(
            where="executor dask",
            got="an environment without it",
            expected="the extra dask",
            do="pip install 'refsnn[dask]'",
        ) from error
    if scheduler is None:
        with (
            distributed.LocalCluster(
                n_workers=processors(), threads_per_worker=1, dashboard_address=None
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            client.register_worker_callbacks(alone)
            yield client, distributed.as_completed
        return
    try:
        client = distributed.Client(scheduler, timeout=10)
    except (OSError, ValueError) as error:
        expected = "the address of a running dask scheduler"
        raise OptionError(
            where=f"--scheduler {scheduler}", got=str(error), expected=expected
        ) from error
    with client:
        yield client, distributed.as_completed


EXECUTORS = ("serial", "processes", "dask")
"""Names of executors."""


def executor(name: str, scheduler: str | None = None) -> Work:
    """Return an executor by its name.

    Parameters
    ----------
    name : str
        One of :data:`EXECUTORS`.
    scheduler : str, optional
        Address of a dask scheduler.

    Returns
    -------
    callable
        Does shards, in any order.

    Raises
    ------
    OptionError
        If there is none of that name, or the address is for another.
    """
    if name not in EXECUTORS or (scheduler and name != "dask"):
        raise OptionError(
            where="executor",
            got=f"{name}{' with a scheduler' if scheduler else ''}",
            expected=f"one of {', '.join(EXECUTORS)}; a scheduler with dask only",
        )
    if name == "dask":
        return lambda todo: dask(todo, scheduler)
    return {"serial": serial, "processes": processes}[name]
