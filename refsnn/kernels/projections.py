"""Twins of the linear maps.

Convolutions keep the sums of a pixel in registers, but for those of a few channels.
These, and linear layers, visit the presynaptic elements in ascending (channel, row,
column) order, skip the silent ones, and add each term to the sums of the neurons it
reaches. So every sum gets its terms in the order of the definition, and the bits are
equal.
"""

from __future__ import annotations

import numpy as np

from refsnn.kernels import dense, sparse
from refsnn.kernels.pairs import exact, kernel_of
from refsnn.kernels.vectors import LANES
from refsnn.layers import Conv2d, Linear
from refsnn.numerics import Array


def _events(x: Array, carrier: Array) -> Array:
    """Return `x` as contiguous int8 (spikes) or in the type of the sums."""
    return np.ascontiguousarray(x, dtype=None if x.dtype == np.int8 else carrier.dtype)


@kernel_of(Conv2d)
def conv2d(op: Conv2d, acc: Array, x: Array) -> Array:
    """Twin of :meth:`refsnn.layers.Conv2d.accumulate`.

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
    if len(op.weight) // op.groups >= LANES // 2:
        return _in_registers(op, acc, x)
    out = np.array(acc.transpose(0, 2, 3, 1), order="C")
    weight = np.array(op.weight.transpose(1, 2, 3, 0), dtype=acc.dtype, order="C")
    rows, columns = op.targets(x.shape[1:])
    _conv2d(out, _events(x, acc), weight, rows, columns, op.groups)
    return np.ascontiguousarray(out.transpose(0, 3, 1, 2))


def _in_registers(op: Conv2d, acc: Array, x: Array) -> Array:
    """Choose by the input: terms of spikes are listed, others multiplied."""
    values = sparse.values_of(x)
    if values is None:
        return dense.convolve(op, acc, x)
    return sparse.convolve(op, acc, x, values)


@exact
def _conv2d(out, x, weight, rows, columns, groups):  # type: ignore[no-untyped-def]  # noqa: C901 - typed by Numba; one nest of loops
    M, C, H, W = x.shape
    I, P, Q, O = weight.shape
    carried = out.dtype.type
    width = O // groups
    for m in range(M):
        for c in range(C):
            first = (c // I) * width
            for i in range(H):
                for j in range(W):
                    s = carried(x[m, c, i, j])
                    if s == 0:
                        continue
                    for p in range(P):
                        if rows[i, p] < 0:
                            continue
                        for q in range(Q):
                            if columns[j, q] < 0:
                                continue
                            target = out[m, rows[i, p], columns[j, q]]
                            sums = target[first : first + width]
                            terms = weight[c % I, p, q, first : first + width]
                            for o in range(width):
                                sums[o] += carried(terms[o] * s)


@kernel_of(Linear)
def linear(op: Linear, acc: Array, x: Array) -> Array:
    """Twin of :meth:`refsnn.layers.Linear.accumulate`.

    Parameters
    ----------
    op : Linear
        The map.
    acc : ndarray, shape (M, O)
        The sums so far.
    x : ndarray, shape (M, *S)
        The input.

    Returns
    -------
    ndarray, shape (M, O)
        The sums with every term added.
    """
    out = np.array(acc, order="C")
    weight = np.array(op.weight.T, dtype=acc.dtype, order="C")
    _linear(out, _events(x.reshape(len(x), len(weight)), acc), weight)
    return out


@exact
def _linear(out, x, weight):  # type: ignore[no-untyped-def]  # typed by Numba
    M, I = x.shape
    O = out.shape[1]
    carried = out.dtype.type
    for m in range(M):
        sums = out[m]
        for i in range(I):
            s = carried(x[m, i])
            if s == 0:
                continue
            terms = weight[i]
            for o in range(O):
                sums[o] += carried(terms[o] * s)
