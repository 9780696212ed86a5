"""The two operations that cost time, compiled or as defined."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from refsnn import neurons
from refsnn.errors import OptionError
from refsnn.layers import LinearMap
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

    accumulate: Callable[[LinearMap, Array, Array], Array]
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
