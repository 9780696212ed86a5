"""Linear maps by matrix products, and their gradients.

For statistics, gradients and training. The sums are those of :mod:`refsnn.layers` in
another order, in the type of the input, so the last bits depend on the library that
multiplies. Simulation takes them in the engine ``dense`` alone, where a certificate
makes every sum exact in any order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch

import numpy as np

from refsnn.layers.linear_maps import Conv2d, Identity, Linear, LinearMap
from refsnn.layers.windows import taps
from refsnn.numerics import Array, Shape, bind, per_channel

Gradient = Callable[[Array], Array]
"""From the gradient by the output to that by the weight."""


@singledispatch
def linearised(op: LinearMap, x: Array) -> tuple[Array, Gradient]:
    """Return W x, without the bias, and how its gradient goes back to W.

    Parameters
    ----------
    op : LinearMap
        The map.
    x : ndarray, shape (M, *S)
        The input.

    Returns
    -------
    y : ndarray, shape (M, *S')
        The output, in the type of `x`.
    gradient : callable
        From the gradient by y, shape (M, *S'), to the gradient by the weight, summed
        over M.
    """
    raise NotImplementedError(type(op))


def product(op: LinearMap, x: Array) -> Array:
    """Return W x, without the bias.

    Parameters
    ----------
    op : LinearMap
        The map.
    x : ndarray, shape (M, *S)
        The input.

    Returns
    -------
    ndarray, shape (M, *S')
        The output, in the type of `x`.
    """
    return linearised(op, x)[0]


@singledispatch
def pulled_back(op: LinearMap, g: Array, shape: Shape) -> Array:
    """Return the gradient by the input, W^T g.

    Parameters
    ----------
    op : LinearMap
        The map.
    g : ndarray, shape (M, *S')
        Gradient by the output.
    shape : tuple of int
        S.

    Returns
    -------
    ndarray, shape (M, *S)
        Gradient by the input, in the type of `g`.
    """
    raise NotImplementedError(type(op))


def vjp(op: LinearMap, x: Array, g: Array) -> tuple[Array, Array]:
    """Return the vector-Jacobian products of y = W x.

    Parameters
    ----------
    op : LinearMap
        The map.
    x : ndarray, shape (M, *S)
        The input.
    g : ndarray, shape (M, *S')
        Gradient of some number by y.

    Returns
    -------
    dx : ndarray, shape (M, *S)
        Its gradient by x.
    dW : ndarray, the shape of the weight
        Its gradient by W.
    """
    return pulled_back(op, g, x.shape[1:]), linearised(op, x)[1](g)


def _windows(op: Conv2d, x: Array, size: Shape) -> list[Array]:
    """Return, for each kernel element in order, what it meets: views of padded x."""
    return taps(x, size, op.weight.shape[2:], op.stride, op.dilation)


def _columns(op: Conv2d, x: Array) -> Array:
    """Unfold the input into matrices, (M, groups, I P Q, H' W')."""
    (top, bottom), (left, right) = op.pads
    M, C, H, W = x.shape
    padded = np.zeros((M, C, H + top + bottom, W + left + right), dtype=x.dtype)
    padded[:, :, top : top + H, left : left + W] = x
    windows = _windows(op, padded, op.out_shape(x.shape[1:])[1:])
    columns = np.empty((M, C, len(windows), *windows[0].shape[2:]), dtype=x.dtype)
    for k, window in enumerate(windows):
        columns[:, :, k] = window
    return columns.reshape(M, op.groups, C // op.groups * len(windows), -1)


def _matrix(op: Conv2d) -> Array:
    """Return the weight as matrices, (groups, O / groups, I P Q)."""
    return op.weight.reshape(op.groups, len(op.weight) // op.groups, -1)


def _rows(op: Conv2d, g: Array) -> Array:
    """Return maps as matrices, (M, groups, O / groups, H' W')."""
    return g.reshape(len(g), op.groups, len(op.weight) // op.groups, -1)


@linearised.register
def _(op: Conv2d, x: Array) -> tuple[Array, Gradient]:
    columns = _columns(op, x)

    def gradient(g: Array) -> Array:
        total = np.zeros(_matrix(op).shape, dtype=x.dtype)
        for row, column in zip(_rows(op, bind(g, x)), columns, strict=True):
            total += row @ column.swapaxes(1, 2)
        return total.reshape(op.weight.shape)

    y: Array = bind(_matrix(op), x) @ columns
    return y.reshape(len(x), *op.out_shape(x.shape[1:])), gradient


@pulled_back.register
def _(op: Conv2d, g: Array, shape: Shape) -> Array:
    columns = bind(_matrix(op), g).swapaxes(1, 2) @ _rows(op, g)
    (top, bottom), (left, right) = op.pads
    C, H, W = shape
    padded = np.zeros((len(g), C, H + top + bottom, W + left + right), dtype=g.dtype)
    columns = columns.reshape(len(g), C, -1, *g.shape[2:])
    for k, window in enumerate(_windows(op, padded, g.shape[2:])):
        window += columns[:, :, k]  # noqa: PLW2901 - views of `padded`
    return padded[:, :, top : top + H, left : left + W]


@linearised.register
def _(op: Linear, x: Array) -> tuple[Array, Gradient]:
    flat = x.reshape(len(x), -1)

    def gradient(g: Array) -> Array:
        product: Array = bind(g, x).T @ flat
        return product

    return flat @ bind(op.weight, x).T, gradient


@pulled_back.register
def _(op: Linear, g: Array, shape: Shape) -> Array:
    return (g @ bind(op.weight, g)).reshape(len(g), *shape)


@linearised.register
def _(op: Identity, x: Array) -> tuple[Array, Gradient]:
    shaped = x.reshape(len(x), *op.out_shape(x.shape[1:]))

    def gradient(g: Array) -> Array:
        axes = tuple(i for i in range(g.ndim) if i != 1)
        return np.asarray((shaped * bind(g, x)).sum(axis=axes))

    weight = per_channel(bind(op.weight, x), shaped.shape[1:], where=op.op)
    return weight * shaped, gradient


@pulled_back.register
def _(op: Identity, g: Array, shape: Shape) -> Array:
    return product(op, g).reshape(len(g), *shape)
