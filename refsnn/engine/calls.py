"""Calls of a kernel: what of them stays the same from images to images."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from refsnn.engine.layout import LANES
from refsnn.engine.plan import Part
from refsnn.engine.seen import Window
from refsnn.kernels import jobs
from refsnn.kernels.lists import LIST
from refsnn.numerics import Array

CHUNK, LARGEST = 2**15, 2**18
"""Events that are listed before their rows are computed, at least and at most: the more
weights there are, the longer a tile of them is used before the next. Only time depends
on it."""

ROWS = 64
"""Rows of pixels whose events are listed at once, at most."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Call:
    """Some channels of a population, with the places of what they read and write.

    Attributes
    ----------
    registers : tuple
        As many elements as registers in a tile.
    window : tuple of tuple
        Of sums that are looked up.
    tables : ndarray of int64
        What the records point into.
    job : Job
        The kernel's record of the channels.
    lists, taps : ndarray
        Its records of their projections.
    fast, true : Values
        The kernel's values, and those of float64 if they are filtered.
    entry : type
        Of what is listed.
    chunk, columns : int
        Events or words that are listed at once; borders of a row's windows.
    additions : int
        Of a row of pixels and a step, were all that they see to spike.
    """

    registers: tuple[int, ...]
    window: Window
    tables: Array
    job: jobs.Job
    lists: Array
    taps: Array
    fast: jobs.Values
    true: jobs.Values
    entry: type[np.unsignedinteger[Any]]
    chunk: int
    columns: int
    additions: int

    def room(self) -> tuple[Array, Array]:
        """Make room for lists; of each thread its own.

        Returns
        -------
        events, first : ndarray
            Room for what is listed, and for where each window begins.
        """
        shape = (ROWS, len(self.lists), self.job.listed, self.columns)
        return np.empty(self.chunk, dtype=self.entry), np.empty(shape, dtype=np.int32)


Sources = Mapping[tuple[str, int], int]


def call_of(
    part: Part, lists: Sources, taps: Sources, places: Mapping[str, int]
) -> Call:
    """Say where in the arena a part finds spikes, and where it writes them.

    Parameters
    ----------
    part : Part
        Some channels of a population.
    lists, taps : mapping of (str, int) to int
        Where the spikes of a source, and of a sign, are: those that are listed, and
        those of channels to themselves.
    places : mapping of str to int
        Fields of the kernel's record that belong to the run.

    Returns
    -------
    Call
        The call.
    """
    job = jobs.Job(**{**part.job, **places})
    sizes = ("columns", "kernel_rows", "read_words")
    rows = max((math.prod(one[n] for n in sizes) for one in part.lists), default=0)
    at_once = min(LARGEST, max(CHUNK, part.fast["weights"].nbytes // 16))
    return Call(
        registers=part.registers,
        window=part.window,
        tables=part.tables,
        job=job,
        lists=_records(LIST, part.lists, lists),
        taps=_records(jobs.TAP, part.taps, taps),
        fast=jobs.Values(**part.fast),
        true=jobs.Values(**part.true),
        entry=np.uint16 if rows * LANES <= 2**16 else np.uint32,
        chunk=job.worst + at_once + 2 * LANES,
        columns=max((one["columns"] for one in part.lists), default=0) + 1,
        additions=part.additions,
    )


def _records(
    kind: np.dtype[np.void], given: list[dict[str, Any]], places: Sources
) -> Array:
    """Make the kernel's records of projections."""
    filled = [{**one, "source": places[one["source"]]} for one in given]
    rows = [tuple(one[n] for n in kind.names or ()) for one in filled]
    return jobs.records(kind, rows)
