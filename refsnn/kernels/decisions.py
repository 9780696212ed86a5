"""Vector operations that decide: thresholds, doubts, lists of set bits.

See :mod:`refsnn.kernels.intrinsics`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from refsnn.kernels.intrinsics import Registers, operation, packed, width
from refsnn.kernels.vectors import LANES, Vectors
from refsnn.numerics import Array


def _fire_above(v: Vectors, kinds: Any, values: Any, count: int) -> None:
    potential, theta = (v.place(kinds[k], values[k], values[k + 1]) for k in (0, 2))
    for r in range(count):
        u, level = v.load(potential, r), v.load(theta, r)
        fired = v.compare(">=", u, level)
        v.store(v.operate("sub", u, v.under(fired, level)), potential, r)
        word = v.element(kinds[4], values[4], values[5], r)
        v.builder.store(v.word(fired), word)


@operation("aiaiair", _fire_above)
def fire_above(
    v: Array,
    at: int,
    theta: Array,
    first: int,
    words: Array,
    word: int,
    registers: Registers,
) -> None:
    """Fire and reset: s = v >= theta, v = v - theta s; s is written as bits."""
    lanes, level = slice(at, at + width(registers)), theta[first:]
    s = v[lanes] >= level[: width(registers)]
    v[lanes] -= np.where(s, level[: width(registers)], 0).astype(v.dtype)
    words[word : word + len(registers)] = packed(s)


def _fire_below(v: Vectors, kinds: Any, values: Any, count: int) -> None:
    b, integers = v.builder, Vectors(v.context, v.builder, kinds[6].dtype)
    potential, theta, level = (
        v.place(kinds[k], values[k], values[k + 1]) for k in (0, 2, 4)
    )
    counts = integers.place(kinds[6], values[6], values[7])
    least = integers.same(b.trunc(values[8], integers.scalar))
    for r in range(count):
        u = v.load(potential, r)
        below = v.compare("<=", u, v.load(level, r))
        free = integers.compare(">", integers.load(counts, r), least)
        fired = b.and_(below, free)
        term = v.under(fired, v.load(theta, r))
        v.store(v.operate("add", u, term), potential, r)
        b.store(v.word(fired), v.element(kinds[9], values[9], values[10], r))


@operation("aiaiaiaiiair", _fire_below)
def fire_below(
    v: Array,
    at: int,
    theta: Array,
    first: int,
    level: Array,
    below: int,
    counts: Array,
    counted: int,
    least: int,
    words: Array,
    word: int,
    registers: Registers,
) -> None:
    """Fire negative spikes: where v <= level and counts > least, v = v + theta."""
    lanes = slice(at, at + width(registers))
    s = v[lanes] <= level[below : below + width(registers)]
    s &= counts[counted : counted + width(registers)] > least
    term = np.where(s, theta[first : first + width(registers)], 0)
    v[lanes] += term.astype(v.dtype)
    words[word : word + len(registers)] = packed(s)


def _keep_above(v: Vectors, kinds: Any, values: Any, count: int) -> None:
    potential, level = (v.place(kinds[k], values[k], values[k + 1]) for k in (0, 2))
    for r in range(count):
        kept = v.compare(">=", v.load(potential, r), v.load(level, r))
        word = v.element(kinds[4], values[4], values[5], r)
        v.builder.store(v.word(kept), word)


@operation("aiaiair", _keep_above)
def keep_above(
    v: Array,
    at: int,
    level: Array,
    first: int,
    words: Array,
    word: int,
    registers: Registers,
) -> None:
    """Write as bits where v >= level."""
    kept = v[at : at + width(registers)] >= level[first : first + width(registers)]
    words[word : word + len(registers)] = packed(kept)


def _mark_near(v: Vectors, kinds: Any, values: Any, count: int) -> None:
    potential, level = (v.place(kinds[k], values[k], values[k + 1]) for k in (0, 2))
    b, reach = v.builder, v.same(values[4])
    zero = v.same(ir.Constant(v.scalar, 0))
    for r in range(count):
        distance = v.operate("sub", v.load(potential, r), v.load(level, r))
        below = v.compare("<=", distance, reach)
        above = v.compare(">=", v.operate("add", distance, reach), zero)
        place = v.element(kinds[5], values[5], values[6], r)
        near = v.word(b.and_(below, above))
        b.store(b.or_(b.load(place), near), place)


@operation("aiaisair", _mark_near)
def mark_near(
    v: Array,
    at: int,
    level: Array,
    first: int,
    reach: Any,
    words: Array,
    word: int,
    registers: Registers,
) -> None:
    """Set bits where -reach <= v - level <= reach; no other bit is changed."""
    reach = v.dtype.type(reach)
    distance = v[at : at + width(registers)] - level[first : first + width(registers)]
    near = (distance <= reach) & (distance + reach >= 0)
    words[word : word + len(registers)] |= packed(near)


def _append_set_bits(v: Vectors, kinds: Any, values: Any, count: int) -> Any:  # noqa: ARG001
    array, used, word, base = values
    b, counted = v.builder, ir.Constant(v.type, list(range(LANES)))
    numbers = b.add(v.same(b.trunc(base, v.scalar)), counted)
    bits = v.bits(word)
    # declared by name: llvmlite's own way of declaring does not take vectors
    kind = ir.FunctionType(v.type, [v.type, bits.type, v.type])
    name = f"llvm.experimental.vector.compress.v{LANES}i{v.scalar.width}"
    compress = b.module.globals.get(name) or ir.Function(b.module, kind, name)
    listed = b.call(compress, [numbers, bits, ir.Constant(v.type, ir.Undefined)])
    v.store(listed, v.place(kinds[0], array, used), 0)
    return b.add(used, b.zext(b.ctpop(word), used.type))


@operation("aiwi", _append_set_bits, types.intp)
def append_set_bits(events: Array, used: int, word: int, base: int) -> int:
    """Append base + k for every set bit k, in order; return the new length.

    Any of the 16 places behind the list may be written.
    """
    listed = [base + k for k in range(LANES) if int(word) >> k & 1]
    events[used : used + len(listed)] = listed
    return used + len(listed)


def _count_bits(v: Vectors, kinds: Any, values: Any, count: int) -> Any:  # noqa: ARG001
    return v.builder.zext(v.builder.ctpop(values[0]), ir.IntType(64))


@operation("w", _count_bits, types.int64)
def count_bits(word: int) -> int:
    """Count the set bits of a word."""
    return int(word).bit_count()
