"""What a conformance vector is."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from refsnn.conformance.draws import integers
from refsnn.network import SpikingNetwork
from refsnn.numerics import Array, Shape

T, B = 8, 4
"""Steps and samples of the small networks."""

MEAN, STD = 128 / 255, 64 / 255
"""Pixels of 0 to 255 become multiples of 1/64 from -2 to 127/64."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Vector:
    """A network, inputs, and what an implementation needs to run them.

    Attributes
    ----------
    name : str
        The vector's name.
    about : str
        What it brings out.
    snn : SpikingNetwork
        The network, certified for binary32.
    images : ndarray of uint8, shape (B, C, H, W)
        The input.
    T : int
        Number of steps.
    needs : frozenset of str
        Capabilities that an adapter needs.
    exact_readout : bool
        Whether the readout's sums are exact in binary32 too.
    units : mapping of str to ndarray, shape (C,)
        Powers of two by population: its potentials are handed out in other units, its
        thresholds being these.
    """

    name: str
    about: str
    snn: SpikingNetwork
    images: Array
    T: int = T
    needs: frozenset[str] = frozenset()
    exact_readout: bool = True
    units: Mapping[str, Array] = dataclasses.field(default_factory=dict)


def pixels(seed: int, shape: Shape, batch: int = B) -> Array:
    """Draw images.

    Parameters
    ----------
    seed : int
        Names the stream.
    shape : tuple of int
        (C, H, W).
    batch : int
        Number of images.

    Returns
    -------
    ndarray of uint8, shape (batch, C, H, W)
        The images.
    """
    return integers(seed, (batch, *shape), 0, 255).astype(np.uint8)
