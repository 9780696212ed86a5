"""The current that an image causes: ordered sums, rounded once."""

from __future__ import annotations

import numpy as np

from refsnn.kernels.intrinsics import add, add_scaled, move
from refsnn.kernels.pairs import exact, part
from refsnn.kernels.vectors import LANES


@exact
def image_currents(  # type: ignore[no-untyped-def]  # typed by Numba
    registers, x, weights, bias, shape, rows, columns, one, bounds, true, fast, scale
):
    """Sum the terms of a convolution of analog images in order, the bias last; round.

    `weights` has a row of lanes for each (channel, row, column) of the kernel, `shape`
    is that of the kernel. `true` gets multiples of the grid, whose inverse is `one`, to
    nearest even; `fast` gets them times `scale`, to the nearest integer. Without
    `scale`, shape (0,), it gets them as they are. Returns whether a current is outside
    of `bounds`.
    """
    lanes = LANES * len(registers)
    zero, v = np.zeros(lanes), np.zeros(lanes + 8)
    at = (-v.ctypes.data % 64) // v.itemsize
    outside = False
    for b in range(len(x)):
        for i in range(len(rows)):
            for j in range(len(columns)):
                move(v, at, zero, 0, registers)
                add_window(registers, x[b], weights, shape, rows[i], columns[j], v, at)
                add(v, at, bias, 0, registers)
                for k in range(lanes):
                    current = np.rint(v[at + k] * one[k]) / one[k]
                    low, high = bounds[0, i, j, k], bounds[1, i, j, k]
                    outside |= not low <= current <= high
                    true[b, i, j, k] = current
                    if len(scale):
                        current = np.rint(current * scale[k])
                    fast[b, i, j, k] = current
    return outside


@part
def add_window(registers, x, weights, shape, rows, columns, v, at):  # type: ignore[no-untyped-def]  # typed by Numba
    """Add the terms of a window of an image, (channel, row, column) by (...)."""
    row = 0
    for c in range(len(x)):
        for p in range(shape[0]):
            for q in range(shape[1]):
                y, z = rows[p], columns[q]
                if y >= 0 and z >= 0:
                    add_scaled(v, at, weights, row, x[c, y, z], registers)
                row += LANES * len(registers)
