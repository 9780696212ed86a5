"""Convolution of spikes: what arrives is listed, and summed in registers, in order.

Of a pixel's window every channel is one word, a bit for each element of the kernel that
meets a spike. Set bits name rows of weights, in the order of the definition, (channel,
row, column) of the kernel. Rows are added to sums in registers one by one, so every sum
gets its terms in that order. For each value that a source can have there is a copy of
the weights, times it: a term is rounded as in the definition.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from refsnn.kernels.decisions import append_set_bits
from refsnn.kernels.dense import by_pixel
from refsnn.kernels.intrinsics import add_rows
from refsnn.kernels.pairs import exact, part
from refsnn.kernels.vectors import LANES
from refsnn.layers import Conv2d
from refsnn.numerics import Array, aligned

VALUES = 8
"""Values of a source, 0 apart, that there are copies of the weights for at most."""

ALL = np.uint16(2**16 - 1)
"""A word of set bits."""

WIDE = 4
"""Registers of a tile, where they divide the channels."""


def values_of(x: Array) -> Array | None:
    """Return the values of a source.

    Parameters
    ----------
    x : ndarray
        Spikes, sums of them, or an analog map.

    Returns
    -------
    ndarray of int64, or None
        From the least to the largest, from 1 where none is negative; None if they are
        too many, or not spikes.
    """
    if x.dtype != np.int8:
        return None
    least, most = (int(x.min()), int(x.max())) if x.size else (0, 0)
    values = np.arange(least if least < 0 else 1, max(most, 1) + 1)
    return values if len(values) <= VALUES else None


def convolve(op: Conv2d, acc: Array, x: Array, values: Array) -> Array:
    """Add the terms of a convolution of spikes; see the module.

    Parameters
    ----------
    op : Conv2d
        The map.
    acc : ndarray, shape (M, O, H', W')
        The sums so far.
    x : ndarray of int8, shape (M, C, H, W)
        The input.
    values : ndarray of int64
        Those that it can have, as :func:`values_of` returns them.

    Returns
    -------
    ndarray, shape (M, O, H', W')
        The sums with every term added.
    """
    M, O, H, W = acc.shape
    group, dtype = O // op.groups, acc.dtype
    registers = WIDE if group % (WIDE * LANES) == 0 else 1
    lanes = -(-group // (LANES * registers)) * LANES * registers
    made = np.empty if lanes == group else np.zeros
    sums = made((M, H, W, op.groups, lanes), dtype=dtype)
    sums[..., :group] = by_pixel(acc, op.groups).reshape(*sums.shape[:4], group)
    planes = _planes(op, x)
    places = _places(op, planes)
    weights = _rows(op, values, lanes, registers, dtype)
    _convolve(
        *((0,) * registers, sums, weights, planes, ALL * (planes != 0)),
        *(places, op.weight.shape[1], op.stride, int(values[0]), len(values)),
    )
    added = sums[..., :group].transpose(0, 3, 4, 1, 2)
    return np.ascontiguousarray(added).reshape(acc.shape)


def _planes(op: Conv2d, x: Array) -> Array:
    """Pad the input, its channels behind its pixels."""
    M, C, H, W = x.shape
    (top, bottom), (left, right) = op.pads
    planes = np.zeros((M, top + H + bottom, left + W + right, C), dtype=np.int8)
    planes[:, top : top + H, left : left + W] = x.transpose(0, 2, 3, 1)
    return planes


def _places(op: Conv2d, planes: Array) -> Array:
    """Say where the elements of a kernel are, of a channel, behind a window's first."""
    p, q = np.indices(op.weight.shape[2:]).reshape(2, -1)
    row = p * op.dilation[0] * planes.shape[2] + q * op.dilation[1]
    places: Array = row * planes.shape[3]
    return places


def _rows(op: Conv2d, values: Array, lanes: int, registers: int, dtype: Any) -> Array:
    """Lay weights out: shape (groups, tiles, values, terms, lanes of a tile), flat."""
    group, terms = len(op.weight) // op.groups, math.prod(op.weight.shape[1:])
    weight: Array = op.weight.astype(dtype).reshape(op.groups, group, 1, terms)
    rows: Array = np.zeros((op.groups, lanes, len(values), terms), dtype=dtype)
    rows[:, :group] = weight * values.astype(dtype)[:, None]
    shape = (op.groups, -1, LANES * registers, len(values), terms)
    return aligned(rows.reshape(shape).transpose(0, 1, 3, 4, 2))


@part
def mark_row(active, first, places, stride, words):  # type: ignore[no-untyped-def]  # typed by Numba
    """Set the bits of a row of windows: words of shape (words, W', C)."""
    W, C = words.shape[1:]
    runs, length = (1, W * C) if stride == 1 else (W, C)
    words[:] = 0
    for k in range(len(places)):
        row = words[k // LANES].reshape(-1)
        bit = np.uint16(1 << (k % LANES))
        for run in range(runs):
            begin = first + places[k] + run * stride * C
            some = active[begin : begin + length]
            own = row[run * length : (run + 1) * length]
            for c in range(length):
                own[c] |= some[c] & bit


@exact
def _convolve(  # type: ignore[no-untyped-def]
    registers, sums, rows, planes, active, places, channels, stride, least, values
):
    M, H, W, groups, lanes = sums.shape
    _, _, columns, C = planes.shape
    width, K, terms = len(registers) * LANES, len(places), channels * len(places)
    tiles, flat, at = lanes // width, sums.reshape(-1), 0
    words = np.empty(((K - 1) // LANES + 1, W, C), dtype=np.uint16)
    bits, events = words.reshape(-1), np.empty(terms + 2 * LANES, dtype=np.uint32)
    for m in range(M):
        x, some = planes[m].reshape(-1), active[m].reshape(-1)
        for i in range(H):
            line = i * stride[0] * columns * C
            mark_row(some, line, places, stride[1], words)
            for j in range(W):
                for g in range(groups):
                    used = 0
                    for c in range(channels):
                        for n in range(len(words)):
                            word = (n * W + j) * C + g * channels + c
                            term = c * K + n * LANES
                            used = append_set_bits(events, used, bits, word, 0, term)
                    if values > 1:
                        first = line + j * stride[1] * C + g * channels
                        for k in range(used):
                            event = np.int64(events[k])
                            s = np.int64(x[first + places[event % K] + event // K])
                            events[k] += (s - least) * terms
                    for tile in range(tiles):
                        row = (g * tiles + tile) * values * terms * width
                        add_rows(flat, at, rows, row, events, 0, used, registers)
                        at += width
