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
    sums, at, weights, row, x, bases, first, offsets, listed, start, stop, _ = values
    b, place = v.builder, v.place(kinds[0], sums, at)
    base = [b.load(v.element(kinds[5], bases, first, r)) for r in range(count)]

    def add_term(i: Any, acc: list[Any]) -> list[Any]:
        term = b.zext(b.load(v.element(kinds[8], listed, i)), at.type)
        offset = b.load(v.element(kinds[7], offsets, term))
        begin = b.add(row, b.mul(term, ir.Constant(at.type, LANES)))
        weight, after = v.load(v.place(kinds[2], weights, begin), 0), []
        for total, own in zip(acc, base, strict=True):
            value = v.same(b.load(v.element(kinds[4], x, b.add(own, offset))))
            after.append(v.operate("add", total, v.operate("mul", weight, value)))
        return after

    begun = [v.load(place, r) for r in range(count)]
    totals = v.loop(start, stop, begun, add_term)
    for r, total in enumerate(totals):
        v.store(total, place, r)


@operation("aiaiaaiaaiir", _add_products)
def add_products(
    v: Array,
    at: int,
    weights: Array,
    row: int,
    x: Array,
    bases: Array,
    first: int,
    offsets: Array,
    listed: Array,
    start: int,
    stop: int,
    registers: Registers,
) -> None:
    """Add products, each rounded before the sum; a register is a pixel.

    Term t of pixel r is the register of weights at ``row + LANES t`` times
    ``x[bases[first + r] + offsets[t]]``; ``listed[start:stop]`` are the terms.
    """
    sums = v[at : at + width(registers)].reshape(-1, LANES)  # a view
    for t in listed[start:stop].astype(np.int64):
        offset = offsets[t]
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
    planes, bases, offsets = laid(op, x, acc.dtype)
    weights = in_tiles(op.weight, op.groups, acc.dtype)
    sums = np.array(acc, order="C").reshape(M, op.groups, O // op.groups, H * W)
    shared = math.prod(planes.shape[1:]) // op.groups
    flat = planes.reshape(M, -1) if M else planes.reshape(0, shared * op.groups)
    _convolve((0,) * PIXELS, sums, weights, flat, bases, offsets, shared)
    return sums.reshape(acc.shape)


def laid(op: Conv2d, x: Array, dtype: Any) -> tuple[Array, Array, Array]:
    """Pad maps, and say where the terms of each pixel are.

    Parameters
    ----------
    op : Conv2d
        The map.
    x : ndarray, shape (M, C, H, W)
        The input.
    dtype : type
        Type of the sums.

    Returns
    -------
    planes : ndarray, shape (M, C, H + rows of padding, W + columns)
        The padded input, in that type.
    bases : ndarray of int64, shape (pixels,)
        Where the window of each output pixel begins in a plane. Those that fill up the
        last tile are the last one again.
    offsets : ndarray of int64, shape (I P Q,)
        Where its terms are behind that, in order.
    """
    M, C, H, W = x.shape
    (top, bottom), (left, right) = op.pads
    shape = (M, C, top + H + bottom, left + W + right)
    planes = np.zeros(shape, dtype=dtype)
    planes[:, :, top : top + H, left : left + W] = x
    _, I, P, Q = op.weight.shape
    c, p, q = np.indices((I, P, Q)).reshape(3, -1)
    offsets = (c * shape[2] + p * op.dilation[0]) * shape[3] + q * op.dilation[1]
    i, j = np.indices(op.out_shape(x.shape[1:])[1:]).reshape(2, -1)
    return planes, filled(i * op.stride[0] * shape[3] + j * op.stride[1]), offsets


def filled(places: Array) -> Array:
    """Fill up the last tile of pixels.

    Parameters
    ----------
    places : ndarray, shape (n,)
        One a pixel.

    Returns
    -------
    ndarray, shape (n rounded up to PIXELS,)
        With the last one again and again.
    """
    size = -(-places.size // PIXELS) * PIXELS
    more: Array = places[np.minimum(np.arange(size), places.size - 1)]
    return more


def in_tiles(weight: Array, groups: int, dtype: Any) -> Array:
    """Lay out a kernel in registers.

    Parameters
    ----------
    weight : ndarray, shape (O, ...)
        The kernel.
    groups : int
        Groups of channels.
    dtype : type
        Type of the sums.

    Returns
    -------
    ndarray
        Shape (groups, tiles, terms, LANES), flat; 0 where a tile has no channel.
    """
    group, terms = len(weight) // groups, math.prod(weight.shape[1:])
    lanes = np.zeros((groups, -(-group // LANES) * LANES, terms), dtype=dtype)
    lanes[:, :group] = weight.reshape(groups, group, terms)
    return lanes.reshape(-1, LANES, terms).swapaxes(1, 2).reshape(-1)


def by_pixel(maps: Array, groups: int) -> Array:
    """Bring the channels of maps behind their pixels.

    Parameters
    ----------
    maps : ndarray, shape (M, O, H, W)
        Maps.
    groups : int
        Groups of channels.

    Returns
    -------
    ndarray, shape (M, H W, groups, O / groups)
        A view.
    """
    M, O, H, W = maps.shape
    return maps.reshape(M, groups, O // groups, H * W).transpose(0, 3, 1, 2)


@exact
def _convolve(registers, sums, weights, planes, bases, offsets, shared):  # type: ignore[no-untyped-def]  # typed by Numba
    M, groups, channels, pixels = sums.shape
    v = np.zeros(len(registers) * LANES, dtype=sums.dtype)  # some lanes are no sums
    row, tiles = offsets.size * LANES, -(-channels // LANES)
    listed = np.arange(offsets.size).astype(np.uint32)
    for m in range(M):
        for g in range(groups):
            x = planes[m, g * shared :]
            for tile in range(tiles):
                own = sums[m, g, tile * LANES : (tile + 1) * LANES]
                begin = (g * tiles + tile) * row
                for first in range(0, pixels, len(registers)):
                    here = own[:, first : first + len(registers)]
                    for k in range(len(here)):
                        for r in range(here.shape[1]):
                            v[r * LANES + k] = here[k, r]
                    add_products(
                        *(v, 0, weights, begin, x, bases, first, offsets),
                        *(listed, 0, listed.size, registers),
                    )
                    for k in range(len(here)):
                        for r in range(here.shape[1]):
                            here[k, r] = v[r * LANES + k]
