"""The networks of the conformance vectors.

They are built of dyadic numbers by code, equal everywhere, and certified for binary32:
whatever adds them in any order of binary32 (or wider, or integer) additions gets the
same spikes, so the only passing score is no difference at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from refsnn.conformance.base import Vector
from refsnn.conformance.large import LARGE
from refsnn.conformance.small import SMALL

QUICK = (*SMALL, "batch-norm")
"""The quick part."""


def names(*, quick: bool = False) -> tuple[str, ...]:
    """Return the names of the vectors, the probe first.

    Parameters
    ----------
    quick : bool
        Whether only the small networks are wanted.

    Returns
    -------
    tuple of str
        The names.
    """
    return QUICK if quick else (*SMALL, *LARGE)


@cache
def vector(name: str) -> Vector:
    """Build a vector.

    Parameters
    ----------
    name : str
        One of :func:`names`.

    Returns
    -------
    Vector
        The vector; the same object every time.
    """
    return {**SMALL, **LARGE}[name](name)


def vectors() -> Iterator[Vector]:
    """Build the vectors, the probe first.

    Yields
    ------
    Vector
        One after another.
    """
    for name in names():
        yield vector(name)
