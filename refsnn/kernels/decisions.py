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

COMPRESSES = "+avx512vbmi2"
"""The feature of processors that compress lanes of 16 bits."""

BYTE = 8
"""Bits that others look up at once."""

SET_BITS = np.zeros((1 << BYTE, BYTE), dtype=np.uint8)
"""The set bits of every byte, in order."""
for _bits in range(1 << BYTE):
    _set = [k for k in range(BYTE) if _bits >> k & 1]
    SET_BITS[_bits, : len(_set)] = _set


def _near(v: Vectors, u: Any, level: Any, reach: Any) -> Any:
    """Say where -reach <= u - level <= reach."""
    distance = v.operate("sub", u, level)
    below = v.compare("<=", distance, reach)
    zero = v.same(ir.Constant(v.scalar, 0))
    above = v.compare(">=", v.operate("add", distance, reach), zero)
    return v.builder.and_(below, above)


def _is_near(u: Array, level: Array, reach: Any) -> Array:
    distance = u - level
    near: Array = (distance <= reach) & (distance + reach >= 0)
    return near


def _set_where(v: Vectors, bits: Any, place: Any) -> None:
    """Set the bits of a word in memory."""
    v.builder.store(v.builder.or_(v.builder.load(place), v.word(bits)), place)


def _fire(v: Vectors, kinds: Any, values: Any, count: int) -> None:
    potential, threshold = (v.place(kinds[k], values[k], values[k + 1]) for k in (0, 2))
    reach = v.same(values[4])
    for r in range(count):
        u, theta = v.load(potential, r), v.load(threshold, r)
        _set_where(
            v, _near(v, u, theta, reach), v.element(kinds[5], values[5], values[6], r)
        )
        s = v.compare(">=", u, theta)
        v.store(v.operate("sub", u, v.under(s, theta)), potential, r)
        v.builder.store(v.word(s), v.element(kinds[7], values[7], values[8], r))


@operation("aiaisaiair", _fire)
def fire(
    v: Array,
    at: int,
    theta: Array,
    first: int,
    reach: Any,
    marks: Array,
    mark: int,
    words: Array,
    word: int,
    registers: Registers,
) -> None:
    """Mark, fire, reset: s = v >= theta, v = v - theta s; s is written as bits.

    Marks are set, and none changed, where -reach <= v - theta <= reach before that.
    """
    lanes = slice(at, at + width(registers))
    u, theta = v[lanes].copy(), theta[first : first + width(registers)]
    reach = v.dtype.type(reach)
    marks[mark : mark + len(registers)] |= packed(_is_near(u, theta, reach))
    s = u >= theta
    v[lanes] = u - np.where(s, theta, 0).astype(v.dtype)
    words[word : word + len(registers)] = packed(s)


def _fire_both(v: Vectors, kinds: Any, values: Any, count: int) -> None:
    b, integers = v.builder, Vectors(v.context, v.builder, kinds[9].dtype)
    potential, threshold, other = (
        v.place(kinds[k], values[k], values[k + 1]) for k in (0, 2, 4)
    )
    reach, counts = v.same(values[6]), integers.place(kinds[9], values[9], values[10])
    least = integers.same(b.trunc(values[11], integers.scalar))
    one = integers.same(ir.Constant(integers.scalar, 1))
    for r in range(count):
        u, theta, level = (v.load(place, r) for place in (potential, threshold, other))
        N = integers.load(counts, r)
        near = b.or_(_near(v, u, theta, reach), _near(v, u, level, reach))
        _set_where(v, near, v.element(kinds[7], values[7], values[8], r))
        above = v.compare(">=", u, theta)
        below = b.and_(v.compare("<=", u, level), integers.compare(">", N, least))
        rest = v.operate("sub", u, v.under(above, theta))
        v.store(v.operate("add", rest, v.under(below, theta)), potential, r)
        N = integers.operate("add", N, integers.under(above, one))
        N = integers.operate("sub", N, integers.under(below, one))
        integers.store(N, counts, r)
        for s, at in ((above, 13), (below, 14)):
            b.store(v.word(s), v.element(kinds[12], values[12], values[at], r))


@operation("aiaiaisaiaiiaiir", _fire_both)
def fire_both(
    v: Array,
    at: int,
    theta: Array,
    first: int,
    level: Array,
    below: int,
    reach: Any,
    marks: Array,
    mark: int,
    counts: Array,
    counted: int,
    least: int,
    words: Array,
    positive: int,
    negative: int,
    registers: Registers,
) -> None:
    """Mark, fire, reset, count with two thresholds, of which v can reach one at most.

    s = [v >= theta] - [v <= level and counts > least], v = v - theta s, counts =
    counts + s; both kinds of spikes are written as bits. Marks are set, and none
    changed, where v is within reach of a threshold before that.
    """
    R, some = len(registers), width(registers)
    lanes, own = slice(at, at + some), slice(counted, counted + some)
    u, theta = v[lanes].copy(), theta[first : first + some]
    level, reach = level[below : below + some], v.dtype.type(reach)
    near = _is_near(u, theta, reach) | _is_near(u, level, reach)
    marks[mark : mark + R] |= packed(near)
    up, down = u >= theta, (u <= level) & (counts[own] > least)
    rest = u - np.where(up, theta, 0).astype(v.dtype)
    v[lanes] = rest + np.where(down, theta, 0).astype(v.dtype)
    counts[own] += up.astype(np.int32) - down.astype(np.int32)
    words[positive : positive + R] = packed(up)
    words[negative : negative + R] = packed(down)


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
    reach = v.same(values[4])
    for r in range(count):
        near = _near(v, v.load(potential, r), v.load(level, r), reach)
        _set_where(v, near, v.element(kinds[5], values[5], values[6], r))


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
    lanes, some = slice(at, at + width(registers)), level[first:][: width(registers)]
    near = _is_near(v[lanes], some, v.dtype.type(reach))
    words[word : word + len(registers)] |= packed(near)


def _compressed(v: Vectors, bits: Any, base: Any) -> Any:
    """Bring base + k for every set bit k to the front of a vector of as many lanes."""
    b, count = v.builder, bits.type.width
    kind, mask = (ir.VectorType(t, count) for t in (v.scalar, ir.IntType(1)))
    numbers = b.add(v.spread(base, count), ir.Constant(kind, list(range(count))))
    # declared by name: llvmlite's own way of declaring does not take vectors
    name = f"llvm.experimental.vector.compress.v{count}i{v.scalar.width}"
    function = ir.FunctionType(kind, [kind, mask, kind])
    compress = b.module.globals.get(name) or ir.Function(b.module, function, name)
    undefined = ir.Constant(kind, ir.Undefined)
    return b.call(compress, [numbers, b.bitcast(bits, mask), undefined])


def _from_table(v: Vectors, bits: Any, base: Any) -> Any:
    """The same for the bits of a byte, which processors without that operation need."""
    b, module, name = v.builder, v.builder.module, "refsnn.set_bits"
    row = ir.VectorType(ir.IntType(8), BYTE)
    table = module.globals.get(name)
    if table is None:
        kind = ir.ArrayType(row, len(SET_BITS))
        table = ir.GlobalVariable(module, kind, name)
        table.linkage, table.global_constant = "internal", True
        rows = [ir.Constant(row, some.tolist()) for some in SET_BITS]
        table.initializer = ir.Constant(kind, rows)
    index = b.zext(bits, ir.IntType(64))
    found = b.load(b.gep(table, [ir.Constant(index.type, 0), index]), align=BYTE)
    wide = b.zext(found, ir.VectorType(v.scalar, BYTE))
    return b.add(wide, v.spread(base, BYTE))


def _append_set_bits(v: Vectors, kinds: Any, values: Any, count: int) -> Any:  # noqa: ARG001
    array, used, words, at, gap, base = values
    b, pair, byte = v.builder, ir.IntType(2 * LANES), ir.IntType(BYTE)
    low, high = (
        b.zext(b.load(v.element(kinds[2], words, k)), pair)
        for k in (at, b.add(at, gap))
    )
    alone = b.icmp_signed("==", gap, ir.Constant(gap.type, 0))
    high = b.select(alone, ir.Constant(pair, 0), high)
    bits, listed = b.or_(low, b.shl(high, ir.Constant(pair, LANES))), _compressed
    parts = [(bits, 0)]
    features = v.context.codegen().magic_tuple()[2]
    if v.scalar.width > LANES or COMPRESSES not in features:
        listed = _from_table
        parts = [
            (b.trunc(b.lshr(bits, ir.Constant(pair, k)), byte), k)
            for k in range(0, 2 * LANES, BYTE)
        ]
    for some, k in parts:
        numbers = listed(v, some, b.add(base, ir.Constant(base.type, k)))
        place = b.bitcast(v.element(kinds[0], array, used), numbers.type.as_pointer())
        b.store(numbers, place, align=v.bytes)
        used = b.add(used, b.zext(b.ctpop(some), used.type))
    return used


@operation("aiaiii", _append_set_bits, types.intp)
def append_set_bits(
    events: Array, used: int, words: Array, at: int, gap: int, base: int
) -> int:
    """Append base + k for every set bit k of two words, in order; return the length.

    The words are at `at` and `gap` behind it, the bits of the second from 16 on; there
    is no second one for gap 0. Any of the 32 places behind the list may be written.
    """
    bits = int(words[at]) | (int(words[at + gap]) << LANES if gap else 0)
    listed = [base + k for k in range(2 * LANES) if bits >> k & 1]
    events[used : used + len(listed)] = listed
    return used + len(listed)


def _count_bits(v: Vectors, kinds: Any, values: Any, count: int) -> Any:  # noqa: ARG001
    return v.builder.zext(v.builder.ctpop(values[0]), ir.IntType(64))


@operation("w", _count_bits, types.int64)
def count_bits(word: int) -> int:
    """Count the set bits of a word."""
    return int(word).bit_count()
