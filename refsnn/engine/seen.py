"""Projections as the event-driven kernels see them."""

from __future__ import annotations

import dataclasses
from typing import cast

import numpy as np

from refsnn.engine.geometry import Windows, as_map, windows
from refsnn.engine.layout import LANES, words_of
from refsnn.network import Projection, SpikingNetwork
from refsnn.numerics import Shape

LOOKED_UP = 9 * LANES
"""Rows of weights whose sums are looked up, at most: those of 3x3 kernels over 16
channels, 39 KB in int32. More, of which first-level caches hold less, was not tried."""

FOLD = 2
"""Neighbouring pixels of at most 16 channels that are taken together."""

LOOKED_UP_FOLD = 4
"""The same where sums are looked up: what a word says where is found out once."""

Window = tuple[tuple[int, ...], tuple[int, ...]]
"""Words of a row of a window, and words from it to the next pixel's, as elements: they
are known when a kernel is compiled."""

NO_WINDOW: Window = ((), ())
"""Of parts of which no sums are looked up."""


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
            Whether windows are stretches of rows of whole pixels that lie side by side,
            and their rows of weights few. Only time depends on it.
        """
        w, (P, Q) = self.windows, self.windows.weight.shape[2:]
        if P * Q * words * LANES > LOOKED_UP or words != self.words:
            return False
        if w.stride == 0 or w.rows.shape[2] > 1 or w.columns.shape[1] > 1:
            return False
        inside = w.columns[w.columns[:, 0] >= 0, 0]
        return np.array_equal(inside, np.arange(len(inside)))

    def copied(self) -> dict[str, int]:
        """Describe copies of rows of words, in which the windows of pixels are.

        Returns
        -------
        dict of str to int
            Fields of the kernel's record: words of padding before and behind a row, and
            of the source within.
        """
        inside = self.windows.columns[:, 0] >= 0
        before, within = int(np.argmax(inside)), int(inside.sum())
        return {
            "before": before * self.words,
            "within": within * self.words,
            "behind": (len(inside) - before - within) * self.words,
        }

    @property
    def read(self) -> int:
        """Words of a pixel that all channels together read."""
        channels = int(self.windows.weight.shape[1]) * self.windows.groups
        return -(-channels // LANES)

    @property
    def window(self) -> Window:
        """Describe the windows, of a projection whose sums are looked up."""
        w = self.windows
        return (0,) * (w.weight.shape[3] * self.words), (0,) * (w.stride * self.words)


def fold_of(shape: Shape, seen: list[Seen]) -> int:
    """Choose how many neighbouring pixels of a population are taken together.

    Parameters
    ----------
    shape : tuple of int
        (C, H, W).
    seen : list of Seen
        Its projections.

    Returns
    -------
    int
        Such that a register holds the channels of a pixel; 1 where they fill more.
        Only time depends on it.
    """
    C, _, W = shape
    if C > LANES or not all(s.folds(W) for s in seen):
        return 1
    listed = [s for s in seen if not s.windows.by_channel]
    looked_up = {s.window if s.looks_up(s.read) else NO_WINDOW for s in listed}
    alike = len(looked_up) == 1 and NO_WINDOW not in looked_up
    folds = (LOOKED_UP_FOLD, FOLD) if alike else (FOLD,)
    return next((fold for fold in folds if W % fold == 0), 1)


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
