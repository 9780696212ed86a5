"""The current that an image causes: ordered sums, rounded once."""

from __future__ import annotations

import numpy as np

from refsnn.kernels.intrinsics import add, add_scaled, move
from refsnn.kernels.pairs import exact
from refsnn.kernels.vectors import LANES


@exact
def image_currents(  # type: ignore[no-untyped-def]  # noqa: C901 - typed by Numba; one nest of loops
    registers, x, weights, bias, shape, rows, columns, one, bounds, true, fast, scale, near
):
    """Sum the terms of a convolution of analog images in order, the bias last; round.

    `weights` has a row of lanes for each (channel, row, column) of the kernel, `shape`
    is that of the kernel. `true` gets multiples of the grid, whose inverse is `one`, to
    nearest even; `fast` gets it times `scale`, the
    nearest integer if `near`. Returns whether a
    current is outside of `bounds`.
    """
    B, C = x.shape[:2]
    P, Q = shape
    lanes = LANES * len(registers)
    zero, v = np.zeros(lanes), np.zeros(lanes + 8)
    at = (-v.ctypes.data % 64) // v.itemsize
    outside = False
    for b in range(B):
        for i in range(len(rows)):
            for j in range(len(columns)):
                move(v, at, zero, 0, registers)
                for c in range(C):
                    for p in range(P):
                        y = rows[i, p]
                        if y < 0:
                            continue
                        for q in range(Q):
                            s = columns[j, q]
                            if s < 0:
                                continue
                            row = ((c * P + p) * Q + q) * lanes
                            add_scaled(v, at, weights, row, x[b, c, y, s], registers)
                add(v, at, bias, 0, registers)
                for k in range(lanes):
                    current = np.rint(v[at + k] * one[k]) / one[k]
                    low, high = bounds[0, i, j, k], bounds[1, i, j, k]
                    outside |= not low <= current <= high
                    true[b, i, j, k] = current
                    scaled = current * scale[k]
                    fast[b, i, j, k] = np.rint(scaled) if near else scaled
    return outside
