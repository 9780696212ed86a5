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
from collections.abc import Callable
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
    for k in range(1 << SUMMED):
        for bit in range(SUMMED):
            if k >> bit & 1:
                sums[:, k] += groups[:, bit]
    return sums


def _looked_up(name: str) -> Emit:
    """Emit the loop over the words of windows, a register each."""

    def emit(v: Vectors, kinds: Any, values: Any, count: int) -> Any:
        potential, at, sums, origin, words, first, gap, offsets, begin, end, _ = values
        b, place, entry = v.builder, v.place(kinds[0], potential, at), v.builder.block
        loop, done = b.append_basic_block("words"), b.append_basic_block("done")
        index = first.type

        def constant(value: int) -> Any:
            return ir.Constant(index, value)

        state = [v.zero()] * count + [constant(0)] * count
        starts = [begin, origin, *state]
        b.cbranch(b.icmp_signed("<", begin, end), loop, done)

        b.position_at_end(loop)
        now = [b.phi(one.type) for one in starts]
        (k, table), totals, bits = now[:2], now[2 : 2 + count], now[2 + count :]
        window = b.add(first, b.load(v.element(kinds[7], offsets, k)))
        for r in range(count):
            where = b.add(window, b.mul(gap, constant(r)))
            word = b.zext(b.load(v.element(kinds[4], words, where)), index)
            bits[r] = b.add(bits[r], b.ctpop(word))
            for n in range(0, LANES, SUMMED):
                subset = b.and_(b.lshr(word, constant(n)), constant((1 << SUMMED) - 1))
                row = b.add(table, constant(n // SUMMED * ENTRIES))
                row = b.add(row, b.mul(subset, constant(LANES)))
                term = v.load(v.place(kinds[2], sums, row), 0, align=ALIGNMENT)
                totals[r] = v.operate("add", totals[r], term)
        k, table = b.add(k, constant(1)), b.add(table, constant(WORD))
        after = [k, table, *totals, *bits]
        again = b.cbranch(b.icmp_signed("<", k, end), loop, done)
        again.set_metadata("llvm.loop", v.rolled())

        b.position_at_end(done)
        found = [b.phi(one.type) for one in starts]
        for phis, block in ((now, loop), (found, loop)):
            for phi, one in zip(phis, after, strict=True):
                phi.add_incoming(one, block)
        for phis in (now, found):
            for phi, one in zip(phis, starts, strict=True):
                phi.add_incoming(one, entry)
        totals, bits = found[2 : 2 + count], found[2 + count :]
        most = constant(0)
        for r in range(count):
            v.store(v.operate(name, v.load(place, r), totals[r]), place, r)
            most = b.select(b.icmp_signed(">", bits[r], most), bits[r], most)
        return most

    return emit


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
