"""Every arithmetic decision, made once.

All results of refsnn are sums, differences, products, quotients, square roots, floors
and comparisons of IEEE 754 binary64 numbers, each correctly rounded, in an order that
the definitions state. Nothing here is contracted to fused multiply-adds.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from refsnn.errors import NumericalError, ShapeError

Array: TypeAlias = npt.NDArray[Any]
Shape: TypeAlias = tuple[int, ...]

ALIGNMENT = 64
"""Bytes of a cache line."""

NO_BITS = -(2**20)
"""What :func:`bits_behind_point` says of 0: it lies on every grid."""


def floor_half_up(x: Array) -> Array:
    """Round to the nearest integer, halves up: floor(x + 1/2).

    Parameters
    ----------
    x : ndarray
        Values to round.

    Returns
    -------
    ndarray
        ``floor(x + 0.5)`` with the sum rounded to the type of `x` first; so the
        largest double below one half gives 1, where ``rint`` gives 0, and an odd
        integer from 2^52 on the even one above. This is the rounding of the QCFS
        activation (Bu et al., ICLR 2022, Eq. 15).
    """
    rounded: Array = np.floor(x + bind(0.5, x))
    return rounded


def round_to_grid(x: Array, q: npt.ArrayLike) -> Array:
    """Round to the nearest multiple of 2^-q, halves to the even multiple.

    Parameters
    ----------
    x : ndarray of float64
        Values.
    q : array_like of int
        Bits behind the point, broadcastable over `x`.

    Returns
    -------
    ndarray of float64
        The multiples; exact but for the one rounding.
    """
    q = np.asarray(q)
    with np.errstate(over="ignore"):
        scaled = np.ldexp(x, q)
    # what overflows has no bits behind the point
    rounded: Array = np.where(np.isfinite(scaled), np.ldexp(np.rint(scaled), -q), x)
    return rounded


def collapsed(value: Array, like: Array) -> Array:
    """Return equal values as one scalar, if they came from a scalar.

    Parameters
    ----------
    value : ndarray
        Values.
    like : ndarray
        What they were computed from.

    Returns
    -------
    ndarray
        One of the values, shape (), or all of them.
    """
    first = value.reshape(-1)[0]
    return np.asarray(first) if like.ndim == 0 and (value == first).all() else value


def bits_behind_point(x: Array) -> Array:
    """Return the least q of each value for which it is a multiple of 2^-q.

    Parameters
    ----------
    x : ndarray of float64
        Finite values.

    Returns
    -------
    ndarray of int64
        q, negative for multiples of larger powers of two; ``NO_BITS`` for 0.
    """
    mantissa, exponent = np.frexp(x)
    integer = np.ldexp(mantissa, 53).astype(np.int64)
    lowest = np.frexp((integer & -integer).astype(np.float64))[1] - 1
    q: Array = np.where(x == 0, NO_BITS, 53 - exponent - lowest).astype(np.int64)
    return q


def grid_integers(x: Array, one: Array) -> Array:
    """Round values once to a grid, as integers.

    Parameters
    ----------
    x : ndarray of float64
        Values.
    one : ndarray
        What 1 is in units of the grid, broadcastable over `x`.

    Returns
    -------
    ndarray of int64
        floor(x one + 1/2), the product rounded to float64; from 2^52 on the product
        itself, which is an integer.
    """
    units = x * one
    whole = np.abs(units) >= 2.0**52
    return np.where(whole, units, floor_half_up(units)).astype(np.int64)


def exact_sum(values: Array) -> int:
    """Add 64-bit integers without overflow.

    Parameters
    ----------
    values : ndarray of int64
        Fewer than 2^31 integers.

    Returns
    -------
    int
        Their sum.
    """
    high = int((values >> 32).sum())
    return (high << 32) + int((values & 0xFFFFFFFF).sum())


def outward(bound: Array, g: Array) -> Array:
    """Make sums of non-negative multiples of g upper bounds in spite of rounding.

    Parameters
    ----------
    bound : ndarray of float64
        Sums and products of non-negative terms, as computed.
    g : ndarray of float64
        The terms' grids.

    Returns
    -------
    ndarray of float64
        The same values where they are exact, up to 2^52 g; else enlarged by more than
        millions of roundings can take away.
    """
    larger: Array = np.where(bound > 2.0**52 * g, bound * (1 + 2.0**-30), bound)
    return larger


def bind(value: npt.ArrayLike, like: Array) -> Array:
    """Give a scalar or an array the floating type of another array.

    Parameters
    ----------
    value : array_like
        A parameter such as a threshold.
    like : ndarray
        The array that the parameter will meet.

    Returns
    -------
    ndarray
        `value` in the type of `like`; without this a compiled kernel would promote a
        float32 array that meets a Python float to float64, and NumPy would not.
    """
    return np.asarray(value, dtype=like.dtype)


def per_channel(value: Array, shape: Shape, *, where: str) -> Array:
    """Shape a scalar, per-channel or per-neuron parameter to broadcast over (..., *S).

    Parameters
    ----------
    value : ndarray, shape (), (C,) or S
        The parameter.
    shape : tuple of int
        S, channels first: (C, H, W) or (N,).
    where : str
        What the parameter belongs to, for the error.

    Returns
    -------
    ndarray
        A view with `len(shape)` dimensions (none for a scalar).

    Raises
    ------
    ShapeError
        If `value` has any other shape.
    """
    if value.shape in {(), shape}:
        return value
    if value.shape == shape[:1]:
        return value.reshape(value.shape + (1,) * (len(shape) - 1))
    raise ShapeError(
        where=where,
        got=f"a parameter of shape {value.shape}",
        expected=f"a scalar, {shape[:1]} (per channel) or {shape} (per neuron)",
    )


def require_finite(values: Array, *, where: str, axes: str) -> None:
    """Raise at the first NaN or infinity, saying where it is.

    Parameters
    ----------
    values : ndarray
        What was just computed.
    where : str
        The node or population that computed it.
    axes : str
        Names of the axes of `values`, for the error.

    Raises
    ------
    NumericalError
        At the first element, in C order, that is not finite.
    """
    finite = np.isfinite(values)
    if finite.all():
        return
    index = tuple(int(i) for i in np.argwhere(~finite)[0])
    raise NumericalError(
        where=where,
        got=f"{values[index]} at index {index} of axes {axes}",
        expected="finite numbers",
        do="Look for weights or inputs so large that their sums overflow.",
    )


def aligned(values: Array) -> Array:
    """Copy values to where a cache line begins.

    Parameters
    ----------
    values : ndarray
        Any, of any shape.

    Returns
    -------
    ndarray
        The same in C order, flat, at a multiple of :data:`ALIGNMENT` bytes.
    """
    raw = np.empty(values.nbytes + ALIGNMENT, dtype=np.uint8)
    begin = -raw.ctypes.data % ALIGNMENT
    copy = raw[begin : begin + values.nbytes].view(values.dtype)
    copy[:] = values.reshape(-1)
    return copy
