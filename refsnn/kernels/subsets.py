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

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from refsnn.kernels.intrinsics import Emit, Registers, operation, unpacked
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


def _looked_up(name: str) -> Emit:
    """Emit the loop over the words of windows, a register each."""

    def emit(v: Vectors, kinds: Any, values: Any, count: int) -> Any:
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
            v.store(v.operate(name, v.load(place, r), found[r]), place, r)
            most = b.select(b.icmp_signed(">", bits, most), bits, most)
        return most

    return emit


def _rows(b: Any, word: Any, table: Any) -> Iterator[Any]:
    """Emit where the sums begin that the bits of a word choose."""
    for n in range(0, LANES, SUMMED):
        few, mask = (ir.Constant(word.type, k) for k in (n, (1 << SUMMED) - 1))
        subset = b.and_(b.lshr(word, few), mask)
        row = b.add(table, ir.Constant(word.type, n // SUMMED * ENTRIES))
        yield b.add(row, b.mul(subset, ir.Constant(word.type, LANES)))


def _define(
    combine: Callable[[Array, Array], Array],
    v: Array,
    sums: Array,
    words: tuple[Array, int, int],
    offsets: Array,
    registers: Registers,
) -> int:
    """Define both operations, by what combines the potential with a sum."""
    (some, first, gap), most = words, 0
    shape = (len(offsets) * LANES // SUMMED, ENTRIES // LANES, LANES)
    table = sums[: math.prod(shape)].reshape(shape)
    for r in range(len(registers)):
        window = some[first + r * gap + offsets]
        bits = unpacked(window, 0, (0,) * len(window))
        subsets = bits.reshape(-1, SUMMED) @ (1 << np.arange(SUMMED))
        lanes, own = slice(r * LANES, (r + 1) * LANES), np.zeros(LANES, dtype=v.dtype)
        for k, subset in enumerate(subsets):
            own += table[k, subset]
        v[lanes] = combine(v[lanes], own)
        most = max(most, int(bits.sum()))
    return most


@operation("aiaiaiiaiir", _looked_up("add"), types.intp)
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
    sums of its rows begin at `origin`, as :func:`subset_sums` returns them. Returns how
    many bits are set in the window that has most.
    """
    windows = (words, first, gap)
    return _define(
        np.add, v[at:], sums[origin:], windows, offsets[begin:end], registers
    )


@operation("aiaiaiiaiir", _looked_up("sub"), types.intp)
def subtract_looked_up(
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
    """Take them away, otherwise as :func:`add_looked_up`."""
    windows = (words, first, gap)
    return _define(
        np.subtract, v[at:], sums[origin:], windows, offsets[begin:end], registers
    )
