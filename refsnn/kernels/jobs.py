"""What a kernel of events is told of a population: its records and their numbers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import config

from refsnn.kernels.pairs import part
from refsnn.kernels.vectors import LANES
from refsnn.numerics import Array

TAP = np.dtype(
    [
        (name, np.int64)
        for name in (
            "source",
            "sign",
            "height",
            "width",
            "words",
            "rows",  # in `tables`: output row -> row or -1
            "columns",  # in `tables`: output column -> column or -1
        )
    ]
)
"""A projection of a channel to itself: a row of weights under a mask of bits."""


class Job(NamedTuple):
    """A population, or some of its channels; where its numbers are.

    Attributes
    ----------
    steps, listed, height, width : int
        T, steps or patterns of spikes that are listed, rows and columns.
    words, word, tiles : int
        Words of a pixel, the first of these tiles, and their number.
    rows : int
        Rows of weights of a tile.
    worst : int
        Events or words in a row of pixels, at most.
    positive, negative : int
        Where spikes go in the arena, or -1.
    gate, keep : int
        Where a mask of the spikes is, and where one is written of the neurons whose
        last potential is not below the tolerance, or -1.
    moves : int
        Whether those are marked who spiked too often, or too seldom.
    least : int
        Net spikes that a negative one needs more than.
    filtered, constant : int
        Whether neurons are marked, and whether there is a constant current.
    constant_image, constant_row, constant_column : int
        How many numbers from one to the next; so for what follows.
    start_image, start_row, start_column, level_row, level_column : int
        The same of v(0) and of negative thresholds.
    """

    steps: int
    listed: int
    height: int
    width: int
    words: int
    word: int
    tiles: int
    rows: int
    worst: int
    positive: int
    negative: int
    gate: int
    keep: int
    moves: int
    least: int
    filtered: int
    constant: int
    constant_image: int
    constant_row: int
    constant_column: int
    start_image: int
    start_row: int
    start_column: int
    level_row: int
    level_column: int


class Values(NamedTuple):
    """The numbers of a population in one type.

    Attributes
    ----------
    weights : ndarray, shape (tiles rows lanes,)
        Rows of weights, tile by tile.
    sums : ndarray
        Sums of few rows each, of projections that look them up.
    taps : ndarray, shape (tiles taps lanes,)
        Rows of weights of channels to themselves.
    theta : ndarray, shape (tiles lanes,)
        Threshold.
    level : ndarray
        Negative threshold.
    start : ndarray
        v(0).
    constant : ndarray
        Current that is the same at every step.
    tolerance : ndarray, shape (tiles lanes,)
        Potential from which on a neuron is kept; 0 for neurons that are never asked.
    below, above : ndarray, shape (tiles lanes,)
        0.999 and 1.001 theta, rounded away from theta to the grid, see
        :mod:`refsnn.neurons.offset`.
    """

    weights: Any
    sums: Any
    taps: Any
    theta: Any
    level: Any
    start: Any
    constant: Any
    tolerance: Any
    below: Any
    above: Any


def records(kind: np.dtype[np.void], rows: list[tuple[int, ...]]) -> Array:
    """Make records for kernels.

    Parameters
    ----------
    kind : dtype
        Their fields.
    rows : list of tuple
        Their values.

    Returns
    -------
    ndarray
        The records. Interpreted kernels read fields as attributes; compiled ones are
        called in less time with a plain array.
    """
    made = np.array(rows, dtype=kind)
    return made.view(np.recarray) if config.DISABLE_JIT else made  # type: ignore[attr-defined]


@part
def facts(one, job, tile):  # type: ignore[no-untyped-def]  # typed by Numba
    """Gather what a list's windows need, for the processor to keep at hand."""
    column = one.kernel_rows * one.read_words * LANES
    return one.windows, one.span, column, tile * job.rows + one.first_row, one.sign


@part
def word_of(tables, job, tap, where, t):  # type: ignore[no-untyped-def]  # typed by Numba
    """Return the word of a tap in the first tile, -1 in the padding."""
    b, i, j, _ = where
    y, x = tables[tap.rows + i], tables[tap.columns + j]
    if y < 0 or x < 0:
        return -1
    pixel = ((b * job.steps + t) * tap.height + y) * tap.width + x
    return tap.source + pixel * tap.words + job.word
