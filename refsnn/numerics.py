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
        largest double below one half gives 1, where ``rint`` gives 0. This is the
        rounding of the QCFS activation (Bu et al., ICLR 2022, Eq. 15).
    """
    rounded: Array = np.floor(x + bind(0.5, x))
    return rounded


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
