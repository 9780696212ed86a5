"""Seeded inputs; must not be changed, only added to, or results are not comparable."""

from __future__ import annotations

import numpy as np

from refsnn.layers import Conv2d

T = 8
BATCH = 16


def currents(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Currents of about 0.2 thresholds a step, shape (T, BATCH, *shape)."""
    rng = np.random.default_rng(seed)
    return 0.2 + 0.5 * rng.standard_normal((T, BATCH, *shape))


def spikes(shape: tuple[int, ...], rate: float, seed: int = 0) -> np.ndarray:
    """Spikes, shape (T BATCH, *shape)."""
    rng = np.random.default_rng(seed)
    return (rng.random((T * BATCH, *shape)) < rate).astype(np.int8)


def convolution(channels: int, seed: int = 0) -> Conv2d:
    """A 3x3 convolution that keeps the shape."""
    weight = np.random.default_rng(seed).standard_normal((channels, channels, 3, 3))
    return Conv2d(weight=weight / (3 * np.sqrt(channels)), padding=(1, 1))
