"""What one call of a kernel works in: records of its projections, room for lists."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from refsnn.engine.layout import LANES
from refsnn.engine.plan import Part
from refsnn.kernels import events
from refsnn.kernels.lists import LIST
from refsnn.numerics import Array

CHUNK, LARGEST = 2**15, 2**18
"""Events that are listed before their rows are computed, at least and at most: the more
weights there are, the longer a tile of them is used before the next. Only time depends
on it."""

ROWS = 64
"""Rows of pixels whose events are listed at once, at most."""


def records(part: Part) -> tuple[Array, Array]:
    """Make the kernel's records of a part, their sources left open.

    Parameters
    ----------
    part : Part
        Some channels of a population.

    Returns
    -------
    lists, taps : ndarray of int64, shape (n, fields)
        In the order of the fields of their kinds.
    """
    made = []
    for kind, given in ((LIST, part.lists), (events.TAP, part.taps)):
        names = kind.names or ()
        rows = [[0 if n == "source" else one[n] for n in names] for one in given]
        made.append(np.array(rows, dtype=np.int64).reshape(-1, len(names)))
    return made[0], made[1]


def buffers(
    part: Part,
    kept: tuple[Array, Array],
    places: tuple[Mapping[tuple[str, int], int], Mapping[tuple[str, int], int]],
    job: events.Job,
) -> tuple[Array, Array, Array, Array]:
    """Fill in where projections find spikes; make room for their lists.

    Parameters
    ----------
    part : Part
        Some channels of a population.
    kept : tuple of ndarray
        Their records.
    places : tuple of mapping of (str, int) to int
        Where the spikes of a source, and of a sign, are in the arena: those that are
        listed, and those of channels to themselves.
    job : Job
        The record of the part.

    Returns
    -------
    lists, taps : ndarray
        The records.
    events, first : ndarray
        Room.
    """
    listed, own = places
    lists = _with_sources(LIST, kept[0], [listed[one["source"]] for one in part.lists])
    taps = _with_sources(events.TAP, kept[1], [own[t["source"]] for t in part.taps])
    columns = max((one["columns"] for one in part.lists), default=0) + 1
    chunk = min(LARGEST, max(CHUNK, part.fast["weights"].nbytes // 16))
    sizes = ("columns", "kernel_rows", "read_words")
    rows = max((math.prod(one[n] for n in sizes) for one in part.lists), default=0)
    entry = np.uint16 if rows * LANES <= 2**16 else np.uint32
    buffer = np.empty(job.worst + chunk + 2 * LANES, dtype=entry)
    first = np.empty((ROWS, len(lists), job.listed, columns), dtype=np.int32)
    return lists, taps, buffer, first


def _with_sources(kind: np.dtype[np.void], rows: Array, sources: list[int]) -> Array:
    """Say where in the arena the spikes of each projection are: the first field."""
    filled = rows.copy()
    filled[:, 0] = sources
    return filled.view(kind).reshape(-1)
