"""Convolution of analog maps: the sums of some pixels in registers, term by term.

Few elements of an analog map are zero, so here no term is skipped: padding and silent
elements add a zero, which changes no bit, since no sum is -0. Every sum gets its terms
in the order of the definition, (channel, row, column) of the kernel.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir

from refsnn.kernels.intrinsics import Registers, operation, width
from refsnn.kernels.pairs import exact
from refsnn.kernels.vectors import LANES, Vectors
from refsnn.layers import Conv2d
from refsnn.numerics import Array

PIXELS = 8
"""Pixels whose sums are held at once, a register each."""


def _add_products(v: Vectors, kinds: Any, values: Any, count: int) -> None:
    """Emit the loop over terms; the sums are its registers."""
    sums, at, weights, row, x, bases, first, offsets, _ = values
    b, place = v.builder, v.place(kinds[0], sums, at)
    zero, one = (ir.Constant(at.type, k) for k in (0, 1))
    size = v.context.make_array(kinds[7])(v.context, b, offsets).nitems
    base = [b.load(v.element(kinds[5], bases, first, r)) for r in range(count)]
    begun = [v.load(place, r) for r in range(count)]
    entry, loop = b.block, b.append_basic_block("terms")
    done = b.append_basic_block("done")
    b.cbranch(b.icmp_signed("<", zero, size), loop, done)

    b.position_at_end(loop)
    i = b.phi(at.type)
    acc = [b.phi(v.type) for _ in range(count)]
    offset = b.load(v.element(kinds[7], offsets, i))
    begin = b.add(row, b.mul(i, ir.Constant(at.type, LANES)))
    weight = v.load(v.place(kinds[2], weights, begin), 0)
    after = []
    for r in range(count):
        value = b.load(v.element(kinds[4], x, b.add(base[r], offset)))
        after.append(v.operate("add", acc[r], v.operate("mul", weight, v.same(value))))
    following = b.add(i, one)
    for phi, start, then in zip(
        [i, *acc], [zero, *begun], [following, *after], strict=True
    ):
        phi.add_incoming(start, entry)
        phi.add_incoming(then, loop)
    b.cbranch(b.icmp_signed("<", following, size), loop, done)

    b.position_at_end(done)
    for r in range(count):
        total = b.phi(v.type)
        total.add_incoming(begun[r], entry)
        total.add_incoming(after[r], loop)
        begun[r] = total
    for r in range(count):
        v.store(begun[r], place, r)


@operation("aiaiaaiar", _add_products)
def add_products(
    v: Array,
    at: int,
    weights: Array,
    row: int,
    x: Array,
    bases: Array,
    first: int,
    offsets: Array,
    registers: Registers,
) -> None:
    """Add products, each rounded before the sum; a register is a pixel.

    Term t of pixel r is the register of weights at ``row + LANES t`` times
    ``x[bases[first + r] + offsets[t]]``.
    """
    sums = v[at : at + width(registers)].reshape(-1, LANES)  # a view
    for t, offset in enumerate(offsets):
        weight = weights[row + LANES * t : row + LANES * (t + 1)]
        sums += x[bases[first : first + len(registers)] + offset][:, None] * weight


def convolve(op: Conv2d, acc: Array, x: Array) -> Array:
    """Add the terms of a convolution of analog maps; see the module.

    Parameters
    ----------
    op : Conv2d
        The map.
    acc : ndarray, shape (M, O, H', W')
        The sums so far.
    x : ndarray, shape (M, C, H, W)
        The input.

    Returns
    -------
    ndarray, shape (M, O, H', W')
        The sums with every term added.
    """
    M, O, H, W = acc.shape
    group, tiles = O // op.groups, -(-(O // op.groups) // LANES)
    pixels = -(-(H * W) // PIXELS) * PIXELS
    planes, bases, offsets = _laid(op, acc, x, pixels)
    lanes = np.zeros((op.groups, tiles * LANES, offsets.size), dtype=acc.dtype)
    lanes[:, :group] = op.weight.reshape(op.groups, group, -1)
    weights = lanes.reshape(-1, LANES, offsets.size).swapaxes(1, 2).reshape(-1)
    sums = np.zeros((M, pixels, op.groups, tiles * LANES), dtype=acc.dtype)
    by_pixel = acc.reshape(M, op.groups, group, H * W).transpose(0, 3, 1, 2)
    sums[:, : H * W, :, :group] = by_pixel
    shared = math.prod(planes.shape[1:]) // op.groups
    _convolve((0,) * PIXELS, sums, weights, planes, bases, offsets, shared)
    added = sums[:, : H * W, :, :group].transpose(0, 2, 3, 1)
    return np.ascontiguousarray(added).reshape(acc.shape)


def _laid(op: Conv2d, acc: Array, x: Array, pixels: int) -> tuple[Array, Array, Array]:
    """Pad the maps, in the type of the sums; say where each pixel's terms are.

    The pixels that fill up the last tile are the last one again.
    """
    M, C, H, W = x.shape
    (top, bottom), (left, right) = op.pads
    shape = (M, C, top + H + bottom, left + W + right)
    planes = np.zeros(shape, dtype=acc.dtype)
    planes[:, :, top : top + H, left : left + W] = x
    _, I, P, Q = op.weight.shape
    c, p, q = np.indices((I, P, Q)).reshape(3, -1)
    offsets = (c * shape[2] + p * op.dilation[0]) * shape[3] + q * op.dilation[1]
    i, j = np.indices(acc.shape[2:]).reshape(2, -1)
    base = i * op.stride[0] * shape[3] + j * op.stride[1]
    bases = base[np.minimum(np.arange(pixels), base.size - 1)]
    return planes, bases, offsets


@exact
def _convolve(registers, sums, weights, planes, bases, offsets, shared):  # type: ignore[no-untyped-def]  # typed by Numba
    M, pixels, groups, lanes = sums.shape
    v = np.zeros(len(registers) * LANES, dtype=sums.dtype)
    row = offsets.size * LANES
    for m in range(M):
        plane = planes[m].reshape(-1)
        for g in range(groups):
            x = plane[g * shared :]
            for tile in range(lanes // LANES):
                some = slice(tile * LANES, (tile + 1) * LANES)
                begin = (g * (lanes // LANES) + tile) * row
                for first in range(0, pixels, len(registers)):
                    for r in range(len(registers)):
                        here = sums[m, first + r, g, some]
                        for k in range(LANES):
                            v[r * LANES + k] = here[k]
                    add_products(
                        v, 0, weights, begin, x, bases, first, offsets, registers
                    )
                    for r in range(len(registers)):
                        here = sums[m, first + r, g, some]
                        for k in range(LANES):
                            here[k] = v[r * LANES + k]
