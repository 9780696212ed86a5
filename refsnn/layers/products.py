"""Linear maps by matrix products, and their gradients.

For statistics, gradients and training. The sums are those of :mod:`refsnn.layers` in
another order, in the type of the input, so the last bits depend on the library that
multiplies; nothing that is simulated runs on them.
"""

from __future__ import annotations

from functools import singledispatch

import numpy as np

from refsnn.layers.linear_maps import Conv2d, Identity, Linear, LinearMap
from refsnn.numerics import Array, Shape, bind, per_channel


@singledispatch
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
    raise NotImplementedError(type(op))


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


@singledispatch
def weight_gradient(op: LinearMap, x: Array, g: Array) -> Array:
    """Return the gradient by the weight, summed over M.

    Parameters
    ----------
    op : LinearMap
        The map.
    x : ndarray, shape (M, *S)
        The input.
    g : ndarray, shape (M, *S')
        Gradient by the output.

    Returns
    -------
    ndarray, the shape of the weight
        Gradient by the weight, in the type of `g`.
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
    return pulled_back(op, g, x.shape[1:]), weight_gradient(op, x, g)


def _windows(op: Conv2d, x: Array) -> list[Array]:
    """Return, for each kernel element in order, what it meets: views of padded x."""
    _, _, P, Q = op.weight.shape
    H, W = (
        (n - d * (k - 1) - 1) // s + 1
        for n, d, k, s in zip(x.shape[2:], op.dilation, (P, Q), op.stride, strict=True)
    )
    (s0, s1), (d0, d1) = op.stride, op.dilation
    return [
        x[
            :,
            :,
            p * d0 : p * d0 + (H - 1) * s0 + 1 : s0,
            q * d1 : q * d1 + (W - 1) * s1 + 1 : s1,
        ]
        for p, q in np.ndindex(P, Q)
    ]


def _columns(op: Conv2d, x: Array) -> Array:
    """Unfold the input into matrices, (M, groups, I P Q, H' W')."""
    padded = np.pad(x, ((0, 0), (0, 0), *op.pads))
    columns = np.stack(_windows(op, padded), axis=2)  # (M, C, P Q, H', W')
    taps = columns.shape[1] // op.groups * columns.shape[2]
    return columns.reshape(len(x), op.groups, taps, -1)


def _matrix(op: Conv2d) -> Array:
    """Return the weight as matrices, (groups, O / groups, I P Q)."""
    return op.weight.reshape(op.groups, len(op.weight) // op.groups, -1)


@product.register
def _(op: Conv2d, x: Array) -> Array:
    y: Array = bind(_matrix(op), x) @ _columns(op, x)
    return y.reshape(len(x), *op.out_shape(x.shape[1:]))


@pulled_back.register
def _(op: Conv2d, g: Array, shape: Shape) -> Array:
    rows = g.reshape(len(g), op.groups, len(op.weight) // op.groups, -1)
    columns = bind(_matrix(op), g).swapaxes(1, 2) @ rows
    (top, bottom), (left, right) = op.pads
    C, H, W = shape
    padded = np.zeros((len(g), C, H + top + bottom, W + left + right), dtype=g.dtype)
    columns = columns.reshape(len(g), C, -1, *g.shape[2:])
    for k, window in enumerate(_windows(op, padded)):
        window += columns[:, :, k]  # noqa: PLW2901 - views of `padded`
    return padded[:, :, top : top + H, left : left + W]


@weight_gradient.register
def _(op: Conv2d, x: Array, g: Array) -> Array:
    rows = g.reshape(len(g), op.groups, len(op.weight) // op.groups, -1)
    total = np.zeros(_matrix(op).shape, dtype=g.dtype)
    for row, columns in zip(rows, _columns(op, bind(x, g)), strict=True):
        total += row @ columns.swapaxes(1, 2)
    return total.reshape(op.weight.shape)


@product.register
def _(op: Linear, x: Array) -> Array:
    y: Array = x.reshape(len(x), -1) @ bind(op.weight, x).T
    return y


@pulled_back.register
def _(op: Linear, g: Array, shape: Shape) -> Array:
    return (g @ bind(op.weight, g)).reshape(len(g), *shape)


@weight_gradient.register
def _(op: Linear, x: Array, g: Array) -> Array:  # noqa: ARG001 - W is not in its own gradient
    gradient: Array = g.T @ bind(x.reshape(len(x), -1), g)
    return gradient


@product.register
def _(op: Identity, x: Array) -> Array:
    x = x.reshape(len(x), *op.out_shape(x.shape[1:]))
    return per_channel(bind(op.weight, x), x.shape[1:], where=op.op) * x


@pulled_back.register
def _(op: Identity, g: Array, shape: Shape) -> Array:
    return product(op, g).reshape(len(g), *shape)


@weight_gradient.register
def _(op: Identity, x: Array, g: Array) -> Array:
    products = bind(x, g).reshape(g.shape) * g
    axes = tuple(i for i in range(products.ndim) if i != 1)
    return np.asarray(products.sum(axis=axes)).reshape(op.weight.shape)
