"""Number types that sums and potentials are held in."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from refsnn.errors import OptionError
from refsnn.numerics import Array

TOO_MANY = 2**20
"""Bits of sizes beyond float64."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Accumulator:
    """A number type that sums and potentials are held in.

    Attributes
    ----------
    dtype : type
        The type in NumPy.
    bits : int
        p: integers of size up to 2^p, or below it if `strict`, are held exactly.
    strict : bool
        Whether 2^p itself is not held.
    """

    dtype: type[Any]
    bits: int
    strict: bool = False

    def need(self, ratio: Array) -> Array:
        """Return the bits that integers of a size need.

        Parameters
        ----------
        ratio : ndarray of float64
            Sizes in units of the grid.

        Returns
        -------
        ndarray of int64
            The least p for which ratio <= 2^p, or ratio < 2^p; `TOO_MANY` for what
            overflowed.
        """
        mantissa, exponent = np.frexp(ratio)
        p: Array = np.where(
            (mantissa == 0.5) & (not self.strict), exponent - 1, exponent
        )
        return np.where(np.isfinite(ratio), p, TOO_MANY).astype(np.int64)

    @property
    def integer(self) -> bool:
        """Whether it holds integers, in units of a grid."""
        return np.issubdtype(self.dtype, np.integer)


ACCUMULATORS: dict[str, Accumulator] = {
    "float64": Accumulator(dtype=np.float64, bits=53),
    "float32": Accumulator(dtype=np.float32, bits=24),
    "int32": Accumulator(dtype=np.int32, bits=31, strict=True),
}
"""Carriers by name."""

READOUT = ACCUMULATORS["float64"]


def accumulator(name: str) -> Accumulator:
    """Return an accumulator by its name.

    Parameters
    ----------
    name : str
        A key of :data:`ACCUMULATORS`.

    Returns
    -------
    Accumulator
        The type.

    Raises
    ------
    OptionError
        If there is none of that name.
    """
    if name not in ACCUMULATORS:
        expected = f"one of {', '.join(ACCUMULATORS)}"
        raise OptionError(where="accumulator", got=name, expected=expected)
    return ACCUMULATORS[name]
