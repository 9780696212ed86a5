"""Sums of few rows of weights, looked up: for projections that have few weights.

A word of spikes names up to 16 rows of weights. The sums of all subsets of every
:data:`SUMMED` rows are laid out once; then a word takes as many additions as it has
such groups, however many spikes it holds. There is no list of events, and no branch
that depends on spikes: they only choose which sums are added. The *window* of a pixel
is some rows of words; those of the pixels of a tile overlap, and each has a register of
its own, so which sums a word chooses is found out once for all that see it. Sums are
the same numbers in another order, hence equal wherever order does not matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from refsnn.kernels.intrinsics import Registers, operation, unpacked
from refsnn.kernels.vectors import LANES, Vectors
from refsnn.numerics import ALIGNMENT, Array

SUMMED = 4
"""Rows whose sums are looked up together."""

ENTRIES = LANES * ((1 << SUMMED) + 1)
"""Numbers in the sums of so many rows: one register more than subsets, or the empty
subsets of all words, which are looked up most, would share few lines of a cache."""

WORD = LANES // SUMMED * ENTRIES
"""Numbers in the sums of the rows of a word."""


def subset_sums(rows: Array) -> Array:
    """Add up every subset of every few rows.

    Parameters
    ----------
    rows : ndarray, shape (n, lanes)
        Rows of weights, n a multiple of :data:`SUMMED`.

    Returns
    -------
    ndarray, shape (n / SUMMED, 2**SUMMED + 1, lanes)
        At k the sums of the rows whose bits are set in k, the first in the lowest;
        zeros at the end.
    """
    groups = rows.reshape(-1, SUMMED, rows.shape[1])
    sums = np.zeros((len(groups), ENTRIES // LANES, rows.shape[1]), dtype=rows.dtype)
    with np.errstate(over="ignore", invalid="ignore"):  # of weights that meet no pixel
        for k in range(1 << SUMMED):
            for bit in range(SUMMED):
                if k >> bit & 1:
                    sums[:, k] += groups[:, bit]
    return sums


def _add_looked_up(v: Vectors, kinds: Any, values: Any, count: int) -> Any:
    """Emit the loop over the rows of windows, a register each."""
    potential, at, sums, origin, words, first, pitch, rows, *_ = values
    b, place = v.builder, v.place(kinds[0], potential, at)
    span, gap = (kind.count for kind in kinds[8:10])
    zero, size = (ir.Constant(rows.type, k) for k in (0, span * WORD))

    def add_row(_: Any, state: list[Any]) -> list[Any]:
        table, window, bits, *totals = state
        for k, views in _views(span, gap, count).items():
            where = b.add(window, ir.Constant(window.type, k))
            word = b.zext(b.load(v.element(kinds[4], words, where)), rows.type)
            bits = b.add(bits, b.ctpop(word))
            for n, subset in enumerate(_subsets(b, word)):
                for r, own in views:
                    group = own * WORD + n * ENTRIES
                    row = b.add(b.add(table, ir.Constant(table.type, group)), subset)
                    term = v.load(v.place(kinds[2], sums, row), 0, align=ALIGNMENT)
                    totals[r] = v.operate("add", totals[r], term)
        return [b.add(table, size), b.add(window, pitch), bits, *totals]

    state = [origin, first, zero, *[v.zero()] * count]
    _, _, bits, *found = v.loop(zero, rows, state, add_row)
    for r, total in enumerate(found):
        v.store(v.operate("add", v.load(place, r), total), place, r)
    return bits


def _views(span: int, gap: int, count: int) -> dict[int, list[tuple[int, int]]]:
    """Say of each word of a row which windows see it, and where it is in theirs."""
    views: dict[int, list[tuple[int, int]]] = {}
    for r in range(count):
        for k in range(span):
            views.setdefault(r * gap + k, []).append((r, k))
    return views


def _subsets(b: Any, word: Any) -> Iterator[Any]:
    """Emit where, behind the first, the sums are that the bits of a word choose."""
    for n in range(0, LANES, SUMMED):
        few, mask = (ir.Constant(word.type, k) for k in (n, (1 << SUMMED) - 1))
        subset = b.and_(b.lshr(word, few), mask)
        yield b.mul(subset, ir.Constant(word.type, LANES))


@operation("aiaiaiiirrr", _add_looked_up, types.intp)
def add_looked_up(
    v: Array,
    at: int,
    sums: Array,
    origin: int,
    words: Array,
    first: int,
    pitch: int,
    rows: int,
    span: Registers,
    gap: Registers,
    registers: Registers,
) -> int:
    """Add the rows of weights whose bits are set in the windows of some pixels.

    The window of a pixel has `rows` rows of as many words as `span` has elements, which
    begin `pitch` words from each other; it begins as many words behind that of the
    pixel before it as `gap` has elements, the first at `first`. Each pixel has a
    register. The sums of its rows begin at `origin`, as :func:`subset_sums` returns
    them; they are added up from 0, then to v. Returns how many bits are set in the
    words of all windows, each of which counts once.
    """
    size = len(span) * rows * LANES // SUMMED
    table = sums[origin : origin + size * ENTRIES].reshape(-1, LANES)
    begins = first + np.arange(rows)[:, None] * pitch
    for r in range(len(registers)):
        places = (begins + r * len(gap) + np.arange(len(span))).reshape(-1)
        window = words[places]
        bits = unpacked(window, 0, (0,) * len(window))
        subsets = bits.reshape(-1, SUMMED) @ (1 << np.arange(SUMMED))
        total = np.zeros(LANES, dtype=v.dtype)
        for k, subset in enumerate(subsets):
            total += table[k * ENTRIES // LANES + subset]
        v[at + r * LANES : at + (r + 1) * LANES] += total
    views = _views(len(span), len(gap), len(registers))
    every = words[(begins + np.array(list(views), dtype=int)).reshape(-1)]
    return int(unpacked(every, 0, (0,) * len(every)).sum())
