"""Event-driven twins of the linear maps.

They visit the presynaptic elements in ascending (channel, row, column) order, skip the
silent ones, and add each term to the sums of the neurons it reaches. So every sum gets
its terms in the order of the definition, and the bits are equal.
"""

from __future__ import annotations

import numpy as np

from refsnn.kernels.pairs import exact, kernel_of
from refsnn.layers import Conv2d, Linear
from refsnn.numerics import Array


def _events(x: Array) -> Array:
    """Return `x` as contiguous int8 (spikes) or float64 (all else, exactly)."""
    return np.ascontiguousarray(x, dtype=None if x.dtype == np.int8 else np.float64)


@kernel_of(Conv2d)
def conv2d(op: Conv2d, acc: Array, x: Array) -> Array:
    """Twin of :meth:`refsnn.layers.Conv2d.accumulate`.

    Parameters
    ----------
    op : Conv2d
        The map.
    acc : ndarray of float64, shape (M, O, H', W')
        The sums so far.
    x : ndarray, shape (M, C, H, W)
        The input.

    Returns
    -------
    ndarray of float64, shape (M, O, H', W')
        The sums with every term added.
    """
    out = np.array(acc.transpose(0, 2, 3, 1), dtype=np.float64, order="C")
    weight = np.array(op.weight.transpose(1, 2, 3, 0), dtype=np.float64, order="C")
    _conv2d(out, _events(x), weight, op.stride, op.padding, op.dilation, op.groups)
    return np.ascontiguousarray(out.transpose(0, 3, 1, 2))


@exact
def _conv2d(  # type: ignore[no-untyped-def]  # noqa: C901 - typed by Numba; one loop nest
    out, x, weight, stride, padding, dilation, groups
):
    M, C, H, W = x.shape
    _, rows, columns, O = out.shape
    I, P, Q, _ = weight.shape
    width = O // groups
    for m in range(M):
        for channel in range(C):
            first = (channel // I) * width
            for i in range(H):
                for j in range(W):
                    s = x[m, channel, i, j]
                    if s == 0:
                        continue
                    for p in range(P):
                        row = i + padding[0] - p * dilation[0]
                        if row < 0 or row % stride[0] != 0:
                            continue
                        row //= stride[0]
                        if row >= rows:
                            continue
                        for q in range(Q):
                            column = j + padding[1] - q * dilation[1]
                            if column < 0 or column % stride[1] != 0:
                                continue
                            column //= stride[1]
                            if column >= columns:
                                continue
                            sums = out[m, row, column]
                            terms = weight[channel % I, p, q]
                            for o in range(first, first + width):
                                sums[o] += terms[o] * s


@kernel_of(Linear)
def linear(op: Linear, acc: Array, x: Array) -> Array:
    """Twin of :meth:`refsnn.layers.Linear.accumulate`.

    Parameters
    ----------
    op : Linear
        The map.
    acc : ndarray of float64, shape (M, O)
        The sums so far.
    x : ndarray, shape (M, *S)
        The input.

    Returns
    -------
    ndarray of float64, shape (M, O)
        The sums with every term added.
    """
    out = np.array(acc, dtype=np.float64, order="C")
    weight = np.array(op.weight.T, dtype=np.float64, order="C")
    _linear(out, _events(x.reshape(len(x), len(weight))), weight)
    return out


@exact
def _linear(out, x, weight):  # type: ignore[no-untyped-def]  # typed by Numba
    M, I = x.shape
    O = out.shape[1]
    for m in range(M):
        for i in range(I):
            s = x[m, i]
            if s == 0:
                continue
            for o in range(O):
                out[m, o] += weight[i, o] * s
