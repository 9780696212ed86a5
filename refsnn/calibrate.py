"""Statistics of runs that conversion needs, independent of the order of the samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from refsnn.network import Network
from refsnn.numerics import Array
from refsnn.run import run_ann

BATCH = 64
"""Images evaluated at once; no result depends on it."""

Progress = Callable[[int, int], None]
"""Called with the number of images done and their total."""


def watch_ann(
    ann: Network,
    images: Array,
    observe: Callable[[str, Array], None],
    *,
    batch: int = BATCH,
    impl: str = "kernel",
    progress: Progress | None = None,
) -> None:
    """Run a trained network over some images and watch its nodes.

    Parameters
    ----------
    ann : Network
        A trained network.
    images : ndarray of uint8, shape (n, C, H, W)
        Images.
    observe : callable
        Told each node's name and outputs, shape (B, *S), batch by batch.
    batch : int
        Images evaluated at once.
    impl : str
        ``kernel`` or ``definition``.
    progress : callable, optional
        Told how far the work is.
    """
    for start in range(0, len(images), batch):
        some = images[start : start + batch]
        run_ann(ann, ann.preprocess(some), impl=impl, observe=observe)
        if progress:
            progress(start + len(some), len(images))


def by_channel(value: Array) -> Array:
    """Lay out outputs channel by channel.

    Parameters
    ----------
    value : ndarray, shape (B, C, ...)
        Outputs of a node.

    Returns
    -------
    ndarray, shape (C, n)
        Those of each channel over images, rows and columns.
    """
    return np.moveaxis(value, 1, 0).reshape(value.shape[1], -1)


def max_activations(
    ann: Network,
    images: Array,
    *,
    impl: str = "kernel",
    progress: Progress | None = None,
) -> dict[str, Array]:
    """Return the largest output of each activation over some images.

    Parameters
    ----------
    ann : Network
        A trained network.
    images : ndarray of uint8, shape (n, C, H, W)
        Training images.
    impl : str
        ``kernel`` or ``definition``.
    progress : callable, optional
        Told how far the work is.

    Returns
    -------
    dict of str to ndarray of float64, shape ()
        Maximum over images, channels, rows and columns, by activation; computed in
        the mode `ordered`. 0 marks an activation that was silent on every image.
    """
    peaks = channel_maxima(ann, images, impl=impl, progress=progress)
    return {name: np.asarray(peak.max()) for name, peak in peaks.items()}


def channel_maxima(
    ann: Network,
    images: Array,
    *,
    impl: str = "kernel",
    progress: Progress | None = None,
) -> dict[str, Array]:
    """Return the largest output of each channel of each activation over some images.

    Parameters
    ----------
    ann : Network
        A trained network.
    images : ndarray of uint8, shape (n, C, H, W)
        Training images.
    impl : str
        ``kernel`` or ``definition``.
    progress : callable, optional
        Told how far the work is.

    Returns
    -------
    dict of str to ndarray of float64, shape (C,)
        Maximum over images, rows and columns, by activation, in graph order.
    """
    names = {node.name for node in ann.activations}
    largest: dict[str, Array] = {}

    def observe(name: str, value: Array) -> None:
        if name in names:
            peak = by_channel(value).max(axis=1)
            largest[name] = np.maximum(largest.get(name, peak), peak)

    watch_ann(ann, images, observe, impl=impl, progress=progress)
    return largest


def percentile_activations(
    ann: Network,
    images: Array,
    percentile: float,
    *,
    impl: str = "kernel",
    progress: Progress | None = None,
) -> dict[str, Array]:
    """Return a percentile of each activation's outputs over some images.

    Parameters
    ----------
    ann : Network
        A trained network.
    images : ndarray of uint8, shape (n, C, H, W)
        Training images.
    percentile : float
        0 to 100; 100 is the maximum.
    impl : str
        ``kernel`` or ``definition``.
    progress : callable, optional
        Told how far the work is.

    Returns
    -------
    dict of str to ndarray of float64, shape ()
        The percentile over images, channels, rows and columns, zeros included, by
        activation; between two values it is interpolated linearly, as numpy.percentile
        does by default. Exact, whatever the order of the images: the largest values of
        each activation are kept, down to the one that the percentile asks for.
    """
    sizes = {a.name: int(np.prod(ann.shapes[a.name])) for a in ann.activations}
    ranks = {
        name: (size * len(images) - 1) * (1 - percentile / 100)
        for name, size in sizes.items()
    }
    largest = {name: np.empty(0) for name in sizes}

    def observe(name: str, value: Array) -> None:
        if name in largest:
            together = np.concatenate([largest[name], value.reshape(-1)])
            keep = min(int(np.ceil(ranks[name])) + 1, together.size)
            largest[name] = np.partition(together, together.size - keep)[-keep:]

    watch_ann(ann, images, observe, impl=impl, progress=progress)
    answer = {}
    for name, values in largest.items():
        descending = np.sort(values)[::-1]
        below, share = int(np.ceil(ranks[name])), ranks[name] % 1
        high = descending[int(np.floor(ranks[name]))]
        answer[name] = np.asarray(high + share * (descending[below] - high))
    return answer
