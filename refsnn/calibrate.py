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
    names = {node.name for node in ann.activations}
    largest = dict.fromkeys((node.name for node in ann.activations), -np.inf)

    def observe(name: str, value: Array) -> None:
        if name in names:
            largest[name] = max(largest[name], float(value.max()))

    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        run_ann(ann, ann.preprocess(batch), impl=impl, observe=observe)
        if progress:
            progress(start + len(batch), len(images))
    return {name: np.asarray(value) for name, value in largest.items()}
