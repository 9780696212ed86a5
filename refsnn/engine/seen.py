"""Projections as the event-driven kernels see them."""

from __future__ import annotations

import dataclasses
from typing import cast

import numpy as np

from refsnn.engine.geometry import Windows, as_map, windows
from refsnn.engine.layout import LANES, words_of
from refsnn.network import Projection, SpikingNetwork
from refsnn.numerics import Array

LOOKED_UP = 9 * LANES
"""Rows of weights whose sums are looked up, at most: those of 3x3 kernels over 16
channels, 39 KB in int32. More, of which first-level caches hold less, was not tried."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seen:
    """A projection from a population, laid out.

    Attributes
    ----------
    source : str
        The population.
    signs : tuple of int
        Of the spikes it can emit.
    words : int
        Words of one of its pixels.
    shape : tuple of int
        Its rows and columns.
    windows : Windows
        The layout.
    """

    source: str
    signs: tuple[int, ...]
    words: int
    shape: tuple[int, int]
    windows: Windows

    def terms(self, fold: int) -> int:
        """Bound the terms of a window.

        Parameters
        ----------
        fold : int
            Pixels taken together.

        Returns
        -------
        int
            Spikes that it can see.
        """
        w = self.windows
        P, Q = w.weight.shape[2:]
        taps = int(w.rows.shape[2] * w.columns.shape[1])
        if w.by_channel:
            return int(P * Q * taps * len(self.signs))  # both signs are looked at
        channels = w.weight.shape[1] * w.groups
        return int(P * (Q + (fold - 1) * w.stride) * taps * channels)

    def folds(self, columns: int) -> bool:
        """Say whether neighbouring pixels can be taken together.

        Parameters
        ----------
        columns : int
            Columns of the population.

        Returns
        -------
        bool
            Whether their windows overlap, or a register of words holds both.
        """
        w = self.windows
        if not w.by_channel:
            return bool(0 < w.stride <= w.weight.shape[3])
        if w.weight.shape[3] > 1 or w.columns.shape[1] > 1 or self.words > 1:
            return False
        in_order = np.array_equal(w.columns[:, 0], np.arange(columns))
        return in_order and w.stride == 1

    def looks_up(self, words: int) -> bool:
        """Say whether sums of rows are looked up, instead of listing events.

        Parameters
        ----------
        words : int
            Words that are read of a pixel.

        Returns
        -------
        bool
            Whether windows are stretches of rows of whole pixels, and their rows of
            weights few. Only time depends on it.
        """
        w, (P, Q) = self.windows, self.windows.weight.shape[2:]
        if P * Q * words * LANES > LOOKED_UP or words != self.words:
            return False
        return w.stride > 0 and w.rows.shape[2] == w.columns.shape[1] == 1

    def copied(self) -> tuple[dict[str, int], Array]:
        """Describe copies of rows of words, in which the windows of pixels are.

        Returns
        -------
        row : dict of str to int
            Fields of the kernel's record: words of padding before and behind a row, of
            the source within, and from the window of one pixel to that of the next.
        offsets : ndarray of int, shape (P, Q words)
            Where the words of a window are, behind its first.
        """
        inside, (P, Q) = self.windows.columns[:, 0] >= 0, self.windows.weight.shape[2:]
        before, within = int(np.argmax(inside)), int(inside.sum())
        row = {
            "before": before * self.words,
            "within": within * self.words,
            "behind": (len(inside) - before - within) * self.words,
            "gap": self.windows.stride * self.words,
        }
        rows = np.arange(P)[:, None] * len(inside) * self.words
        return row, rows + np.arange(Q * self.words)


def seen_by(snn: SpikingNetwork, q: Projection) -> Seen:
    """Lay out a projection that has windows.

    Parameters
    ----------
    snn : SpikingNetwork
        Its network.
    q : Projection
        The projection, from a population.

    Returns
    -------
    Seen
        The projection, laid out.
    """
    source = snn[q.source]
    laid = cast(Windows, windows(q, source.shape))  # why_ordinary was asked before
    C, H, W = as_map(source.shape)
    return Seen(
        source=q.source,
        signs=source.signs,
        words=words_of(C),
        shape=(H, W),
        windows=laid,
    )
