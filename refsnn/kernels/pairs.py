"""Which kernel is the twin of which definition, and how kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

from refsnn.records import Record

PAIRS: dict[type[Record], Callable[..., Any]] = {}
"""Kernel by the class whose definition it repeats."""

KernelType = TypeVar("KernelType", bound=Callable[..., Any])


def exact(function: Callable[..., Any], *, inlined: bool = False) -> Callable[..., Any]:
    """Compile a kernel, in the one way that all kernels are compiled.

    Parameters
    ----------
    function : callable
        Loops over arrays.
    inlined : bool
        Whether it is a part of kernels, to be compiled into them.

    Returns
    -------
    callable
        The kernel: no reassociation, no contraction to fused multiply-adds, IEEE
        division, so compiled and interpreted bits are equal. It is cached on disk
        where Numba finds a folder to write to.
    """
    how: dict[str, Any] = {"fastmath": False, "error_model": "numpy", "nogil": True}
    if inlined:
        how.update(forceinline=True, _nrt=False)
    try:
        kernel: Callable[..., Any] = numba.njit(cache=True, **how)(function)
    except RuntimeError:  # no folder for the cache: a read-only installation
        kernel = numba.njit(**how)(function)
    return kernel


def part(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a part of kernels.

    Parameters
    ----------
    function : callable
        What stands in its callers after compilation.

    Returns
    -------
    callable
        The part, compiled as kernels are.
    """
    return exact(function, inlined=True)


def kernel_of(definition: type[Record]) -> Callable[[KernelType], KernelType]:
    """Register a kernel as the twin of a definition.

    Parameters
    ----------
    definition : type
        A linear map, whose `accumulate` the kernel repeats, or a neuron, for which it
        repeats :func:`refsnn.neurons.unroll`, bit for bit.

    Returns
    -------
    callable
        The decorator.
    """

    def register(kernel: KernelType) -> KernelType:
        PAIRS[definition] = kernel
        return kernel

    return register
