"""Numbers for generated networks that no library's version can change."""

from __future__ import annotations

import numpy as np

from refsnn.numerics import Array, Shape


def integers(seed: int, shape: Shape, low: int, high: int) -> Array:
    """Draw integers by SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).

    Parameters
    ----------
    seed : int
        Names the stream.
    shape : tuple of int
        How many.
    low, high : int
        Bounds, both included.

    Returns
    -------
    ndarray of int64
        The integers; the modulo's bias is below 2^-50 and of no account here.
    """
    count = int(np.prod(shape))
    with np.errstate(over="ignore"):
        start = np.uint64(seed) * np.uint64(0xD1342543DE82EF95)
        z = start + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(
            0x9E3779B97F4A7C15
        )
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    drawn = (z % np.uint64(high - low + 1)).astype(np.int64) + low
    return drawn.reshape(shape)


def dyadic(seed: int, shape: Shape, low: int, high: int, bits: int) -> Array:
    """Draw multiples of 2^-bits.

    Parameters
    ----------
    seed : int
        Names the stream.
    shape : tuple of int
        How many.
    low, high : int
        Bounds in units of 2^-bits, both included.
    bits : int
        Bits behind the point.

    Returns
    -------
    ndarray of float64
        The numbers.
    """
    return np.ldexp(integers(seed, shape, low, high).astype(np.float64), -bits)
