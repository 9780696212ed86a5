"""Several steps at once: rows of weights that serve more than one are added once.

Steps are taken in *blocks* of K. A spike belongs to one *pattern* of a block: the set
of its steps in which its neuron spikes, a number whose bit k stands for step k, from 1
to 2^K - 1. Spikes are listed once for each block, by pattern, and the rows of a pattern
are added up once: the sum of step k is that of the sums of all patterns that hold k.
So a neuron that spikes c times in a block costs one row and not c. Sums of a step are
the same numbers in another order, hence equal wherever order does not matter. The terms
of a step are counted as if each were added there, which is what bounds on errors need.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir

from refsnn.kernels.intrinsics import (
    Emit,
    Registers,
    named_rows,
    operation,
    summed,
    width,
)
from refsnn.kernels.pairs import exact
from refsnn.kernels.vectors import Vectors
from refsnn.numerics import Array


def _shared(name: str) -> Emit:
    """Emit the sums of a block of steps: a loop for each pattern."""

    def emit(v: Vectors, kinds: Any, values: Any, count: int) -> None:
        b, K = v.builder, kinds[12].count
        to, source = (v.place(kinds[k], values[k], values[k + 1]) for k in (0, 2))
        sums = [[v.load(source, k * count + r) for r in range(count)] for k in range(K)]
        rows, listed = ((kinds[4], values[4]), values[5]), (kinds[6], values[6])
        at, gap, span = values[8:11]
        indices = [ir.Constant(at.type, k) for k in range(K)]
        places = [v.element(kinds[11], values[11], k) for k in indices]
        terms = [b.load(place) for place in places]
        for pattern in range(1, 2**K):
            start, stop = (
                b.sext(b.load(v.element(kinds[7], values[7], border)), at.type)
                for border in (at, b.add(at, span))
            )
            held = [k for k in range(K) if pattern >> k & 1]
            alone = len(held) == 1
            begun = sums[held[0]] if alone else [v.zero()] * count
            part = summed(v, name, begun, rows, listed, (start, stop))
            for k in held:
                both = zip(sums[k], part, strict=True)
                sums[k] = part if alone else [v.operate("add", *pair) for pair in both]
                terms[k] = b.add(terms[k], b.sub(stop, start))
            at = b.add(at, gap)
        for k in range(K):
            b.store(terms[k], places[k])
            for r in range(count):
                v.store(sums[k][r], to, k * count + r)

    return emit


def _combined(
    combine: Callable[[Array, Array], Array], sums: Array, rows: list[Array]
) -> None:
    """Combine the rows of each pattern, those of one step at once with its sum."""
    K = len(sums)
    for pattern in range(1, 2**K):
        held = [k for k in range(K) if pattern >> k & 1]
        part = sums[held[0]] if len(held) == 1 else np.zeros_like(sums[0])
        for row in rows[pattern - 1]:
            part = combine(part, row)
        for k in held:
            sums[k] = part if len(held) == 1 else sums[k] + part


def _define(
    combine: Callable[[Array, Array], Array],
    sums: tuple[Array, int, Array, int],
    rows: tuple[Array, int, Array],
    borders: tuple[Array, int, int, int],
    terms: Array,
    block: Registers,
    registers: Registers,
) -> None:
    """Define both operations, by what combines a sum with a row."""
    (to, at, begun, begin), (weights, origin, events) = sums, rows
    first, stretch, gap, span = borders
    K, size = len(block), len(block) * width(registers)
    own = begun[begin : begin + size].copy().reshape(K, -1)
    starts = stretch + np.arange(2**K - 1) * gap
    begins, ends = first.reshape(-1)[starts], first.reshape(-1)[starts + span]
    stretches = [events[s:e] for s, e in zip(begins, ends, strict=True)]
    named = [named_rows(weights, origin, some, registers) for some in stretches]
    _combined(combine, own, named)
    to[at : at + size] = own.reshape(-1)
    for k in range(K):
        terms[k] += sum(len(r) for m, r in enumerate(named, 1) if m >> k & 1)


@operation("aiaiaiaaiiiarr", _shared("add"))
def add_shared(
    sums: Array,
    at: int,
    begun: Array,
    begin: int,
    weights: Array,
    origin: int,
    events: Array,
    first: Array,
    stretch: int,
    gap: int,
    span: int,
    terms: Array,
    block: Registers,
    registers: Registers,
) -> None:
    """Add the rows of weights of every pattern to the sums of the steps it holds.

    Those of step k stand k widths behind `at`, and begin as those behind `begin`. The
    events of pattern m are between the borders ``first[stretch + (m - 1) gap]`` and
    ``first[... + span]``; their number is added to `terms` of each step.
    """
    places = ((sums, at, begun, begin), (weights, origin, events))
    borders = (first, stretch, gap, span)
    _define(np.add, *places, borders, terms, block, registers)


@operation("aiaiaiaaiiiarr", _shared("sub"))
def subtract_shared(
    sums: Array,
    at: int,
    begun: Array,
    begin: int,
    weights: Array,
    origin: int,
    events: Array,
    first: Array,
    stretch: int,
    gap: int,
    span: int,
    terms: Array,
    block: Registers,
    registers: Registers,
) -> None:
    """Take the rows of weights away, otherwise as :func:`add_shared`."""
    places = ((sums, at, begun, begin), (weights, origin, events))
    borders = (first, stretch, gap, span)
    _define(np.subtract, *places, borders, terms, block, registers)


@exact
def split(block, arena, source, into, images, steps, words):  # type: ignore[no-untyped-def]  # typed by Numba
    """Split the spikes of every block of steps by their patterns.

    From `source` on there are `words` words for each image and step; from `into` on as
    many are written for each image, block and pattern. Steps behind the last have none.
    """
    K, blocks = len(block), -(-steps // len(block))
    size, none = 2**K - 1, np.empty(words, dtype=np.uint16)
    for b in range(images):
        for g in range(blocks):
            none[:] = 0xFFFF
            first = into + ((b * blocks + g) * size - 1) * words
            for k in range(K):
                t = source + (b * steps + g * K + k) * words
                spikes = arena[t : t + words] if g * K + k < steps else arena[:0]
                for pattern in range(2**k):
                    at, more = first + pattern * words, (1 << k) * words
                    old = arena[at : at + words] if pattern else none
                    move_where(old, spikes, arena[at + more : at + more + words])


@exact
def move_where(old, spikes, new):  # type: ignore[no-untyped-def]  # typed by Numba
    """Move bits of words that are set in others, if there are any, to new ones."""
    if len(spikes) == 0:
        new[:] = 0
        return
    for i in range(len(old)):
        new[i] = old[i] & spikes[i]
        old[i] &= ~spikes[i]
