"""Sums of few rows of weights, looked up: for projections that have few weights.

A word of spikes names up to 16 rows of weights. The sums of all subsets of every
:data:`SUMMED` rows are laid out once; then a word takes as many additions as it has
such groups, however many spikes it holds. There is no list of events, and no branch
that depends on spikes: they only choose which sums are added. The *window* of a pixel
is some words; those of the pixels of a tile overlap, and each has a register of its
own. Sums are the same numbers in another order, hence equal wherever order does not
matter.
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
    """Emit the loop over the words of windows, a register each."""
    potential, at, sums, origin, words, first, gap, offsets, begin, end, _ = values
    b, place = v.builder, v.place(kinds[0], potential, at)
    zero, size = (ir.Constant(begin.type, k) for k in (0, WORD))

    def add_word(k: Any, state: list[Any]) -> list[Any]:
        (table, *totals), bits = state[: 1 + count], state[1 + count :]
        window = b.add(first, b.load(v.element(kinds[7], offsets, k)))
        for r in range(count):
            where = b.add(window, b.mul(gap, ir.Constant(gap.type, r)))
            word = b.load(v.element(kinds[4], words, where))
            word = b.zext(word, begin.type)
            bits[r] = b.add(bits[r], b.ctpop(word))
            for row in _rows(b, word, table):
                term = v.load(v.place(kinds[2], sums, row), 0, align=ALIGNMENT)
                totals[r] = v.operate("add", totals[r], term)
        return [b.add(table, size), *totals, *bits]

    state = [origin, *[v.zero()] * count, *[zero] * count]
    _, *found = v.loop(begin, end, state, add_word)
    most = zero
    for r, bits in enumerate(found[count:]):
        v.store(v.operate("add", v.load(place, r), found[r]), place, r)
        most = b.select(b.icmp_signed(">", bits, most), bits, most)
    return most


def _rows(b: Any, word: Any, table: Any) -> Iterator[Any]:
    """Emit where the sums begin that the bits of a word choose."""
    for n in range(0, LANES, SUMMED):
        few, mask = (ir.Constant(word.type, k) for k in (n, (1 << SUMMED) - 1))
        subset = b.and_(b.lshr(word, few), mask)
        row = b.add(table, ir.Constant(word.type, n // SUMMED * ENTRIES))
        yield b.add(row, b.mul(subset, ir.Constant(word.type, LANES)))


@operation("aiaiaiiaiir", _add_looked_up, types.intp)
def add_looked_up(
    v: Array,
    at: int,
    sums: Array,
    origin: int,
    words: Array,
    first: int,
    gap: int,
    offsets: Array,
    begin: int,
    end: int,
    registers: Registers,
) -> int:
    """Add the rows of weights whose bits are set in the windows of some pixels.

    The window of register r has the words ``first + r gap + offsets[begin:end]``. The
    sums of its rows begin at `origin`, as :func:`subset_sums` returns them; they are
    added up from 0, then to v. Returns how many bits are set in the window that has
    most.
    """
    groups = (end - begin) * LANES // SUMMED
    table = sums[origin : origin + groups * ENTRIES].reshape(-1, LANES)
    most = 0
    for r in range(len(registers)):
        window = words[first + r * gap + offsets[begin:end]]
        bits = unpacked(window, 0, (0,) * len(window))
        subsets = bits.reshape(-1, SUMMED) @ (1 << np.arange(SUMMED))
        total = np.zeros(LANES, dtype=v.dtype)
        for k, subset in enumerate(subsets):
            total += table[k * ENTRIES // LANES + subset]
        v[at + r * LANES : at + (r + 1) * LANES] += total
        most = max(most, int(bits.sum()))
    return most
