"""Which kernel is the twin of which definition, and how kernels are compiled."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

from refsnn import numerics
from refsnn.records import Record

PAIRS: dict[type[Record], Callable[..., Any]] = {}
"""Kernel by the class whose definition it repeats."""

KernelType = TypeVar("KernelType", bound=Callable[..., Any])


_FILES = [*sorted(Path(__file__).parent.glob("*.py")), Path(numerics.__file__)]
SOURCES = hashlib.sha256(b"".join(file.read_bytes() for file in _FILES)).hexdigest()
"""What all kernels, their parts and operations were written as."""


class KernelCache(FunctionCache):
    """Numba's cache on disk, given up when the source of any kernel changes.

    Numba's own looks at the file of a kernel alone, and would go on with parts and
    operations that another file has held.

    Parameters
    ----------
    function : callable
        What is compiled.

    Raises
    ------
    RuntimeError
        If there is no folder to write to.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]  # Numba
        self._cache_file = IndexDataCacheFile(  # type: ignore[no-untyped-call]  # Numba
            cache_path=self._cache_path,
            filename_base=self._impl.filename_base,
            source_stamp=self._impl.locator.get_source_stamp(),
        )
        # compared before the rest is read, which may name what has moved
        self._cache_file._version = (numba.__version__, SOURCES)


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
    kernel: Any = numba.njit(**how)(function)
    if kernel is not function:  # compilation is not switched off
        with suppress(RuntimeError):  # no folder: a read-only installation
            kernel._cache = KernelCache(function)  # as cache=True does
    return cast(Callable[..., Any], kernel)


def part(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a part of kernels.

    Parameters
    ----------
    function : callable
        What stands in its callers after compilation.

    Returns
    -------
    callable
        The part, compiled as kernels are, but without counting references to arrays,
        which costs more than the sums of a window: it must not make any.
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
