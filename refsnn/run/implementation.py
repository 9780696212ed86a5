"""The two operations that cost time, compiled or as defined."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from refsnn import neurons
from refsnn.arithmetic import Accumulate
from refsnn.errors import OptionError
from refsnn.layers import LinearMap, product
from refsnn.neurons import Neuron, State
from refsnn.numerics import Array

IMPLS = ("kernel", "definition")
"""Implementations by name."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Impl:
    """An implementation of the two operations that cost time.

    Attributes
    ----------
    accumulate : callable
        Adds the terms of a linear map to sums already begun.
    unroll : callable
        Advances a population of neurons.
    """

    accumulate: Accumulate
    unroll: Callable[[Neuron, Array, State, Array], tuple[Array, State]]


def implementation(name: str) -> Impl:
    """Return an implementation by its name.

    Parameters
    ----------
    name : str
        ``kernel`` (compiled) or ``definition`` (NumPy); both give the same bits.

    Returns
    -------
    Impl
        The implementation.

    Raises
    ------
    OptionError
        If there is none of that name.
    """
    if name == "definition":
        return Impl(
            accumulate=lambda op, acc, x: op.accumulate(acc, x), unroll=neurons.unroll
        )
    if name == "kernel":
        from refsnn import kernels  # noqa: PLC0415 - loads Numba, only where it is used

        return Impl(accumulate=kernels.accumulate, unroll=kernels.unroll)
    raise OptionError(where="impl", got=name, expected=" or ".join(IMPLS))


def dense() -> Impl:
    """Return the implementation that multiplies spikes as dense matrices, by BLAS.

    Where every sum is exact, as a certificate says, the order of a library's additions
    changes no bit. What the image causes is analog: its terms are added by the compiled
    kernels, in order.

    Returns
    -------
    Impl
        The implementation, for mode ``exact``.
    """
    kernel = implementation("kernel")

    def accumulate(op: LinearMap, acc: Array, x: Array) -> Array:
        if x.dtype.kind == "f":
            return kernel.accumulate(op, acc, x)
        total: Array = acc + product(op, x.astype(acc.dtype)).reshape(acc.shape)
        return total

    return Impl(accumulate=accumulate, unroll=kernel.unroll)
