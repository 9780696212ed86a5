"""How channels lie in registers: tiles of lanes, rows on cache lines."""

from __future__ import annotations

from functools import cache

import numpy as np

from refsnn.numerics import Array, aligned

LANES = 16
REGISTERS = (1, 2, 4)
"""Registers that a kernel is compiled for."""

NEAR = 64 * 1024
"""Bytes of weights that a tile may have before it is narrowed: the smaller, the more of
it the first-level cache keeps."""

OVERHEAD = 1.5
"""What a pass over a list costs besides its registers, in registers."""


@cache
def words_of(channels: int) -> int:
    """Return the words that a pixel's spikes are kept in.

    Parameters
    ----------
    channels : int
        C.

    Returns
    -------
    int
        One for 16 channels, and some to fill the last tile.
    """
    tiles, registers = tiles_of(-(-channels // LANES))
    return tiles * registers


@cache
def tiles_of(words: int, *, whole: bool = False) -> tuple[int, int]:
    """Choose the width of a tile.

    Parameters
    ----------
    words : int
        Words that the channels fill.
    whole : bool
        Whether tiles must not reach beyond them.

    Returns
    -------
    tiles, registers : int
        The least work: rows of all tiles, and a pass over the lists for each.
    """
    fits = [r for r in REGISTERS if not whole or words % r == 0]
    registers = min(fits, key=lambda r: (-(-words // r) * (r + OVERHEAD), -r))
    return -(-words // registers), registers


def narrowed(tiles: int, registers: int, lane: int) -> tuple[int, int]:
    """Halve tiles whose weights are too many, to two registers at the least.

    Parameters
    ----------
    tiles, registers : int
        As chosen.
    lane : int
        Bytes of weights of a lane.

    Returns
    -------
    tiles, registers : int
        As many lanes.
    """
    while registers > 2 and lane * LANES * registers > NEAR:
        tiles, registers = 2 * tiles, registers // 2
    return tiles, registers


def in_words(bits: Array) -> Array:
    """Pack truth values into words, a bit a channel.

    Parameters
    ----------
    bits : ndarray of bool, shape (..., C, H, W)
        Truth values of a map's elements.

    Returns
    -------
    ndarray of uint16, shape (..., H, W, words)
        The first channel in the lowest bit of the first word.
    """
    C = bits.shape[-3]
    moved = np.moveaxis(bits, -3, -1)
    full = np.zeros((*moved.shape[:-1], words_of(C) * LANES), dtype=bool)
    full[..., :C] = moved
    words: Array = np.packbits(full, axis=-1, bitorder="little").view("<u2")
    return words


def from_words(words: Array, C: int) -> Array:
    """Unpack truth values.

    Parameters
    ----------
    words : ndarray of uint16, shape (..., H, W, words)
        As :func:`in_words` returns them.
    C : int
        Channels.

    Returns
    -------
    ndarray of bool, shape (..., C, H, W)
        Truth values.
    """
    flat = np.ascontiguousarray(words, dtype="<u2").view(np.uint8)
    bits = np.unpackbits(flat, axis=-1, count=C, bitorder="little").astype(bool)
    return np.moveaxis(bits, -1, -3)


def in_lanes(values: Array, lanes: int, fill: float) -> Array:
    """Bring channels to the end, and fill up the lanes.

    Parameters
    ----------
    values : ndarray, shape (C, ...)
        A value for each channel.
    lanes : int
        Lanes, C or more.
    fill : float
        What stands in the others.

    Returns
    -------
    ndarray, shape (..., lanes)
        The same type.
    """
    moved = np.moveaxis(values, 0, -1)
    full = np.full((*moved.shape[:-1], lanes), fill, dtype=values.dtype)
    full[..., : moved.shape[-1]] = moved
    return full


def in_tiles(rows: Array, tiles: int) -> Array:
    """Split rows of weights into tiles, one behind the other.

    Parameters
    ----------
    rows : ndarray, shape (n, lanes)
        Rows.
    tiles : int
        Tiles.

    Returns
    -------
    ndarray
        Shape (tiles, n, lanes / tiles), flat, on cache lines.
    """
    parts = rows.reshape(len(rows), tiles, rows.shape[1] // tiles)
    return aligned(np.ascontiguousarray(parts.swapaxes(0, 1)))
