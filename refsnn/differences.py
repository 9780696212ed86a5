"""How two networks of one graph differ, spike by spike."""

from __future__ import annotations

import dataclasses
from functools import reduce

import numpy as np

from refsnn.calibrate import Progress
from refsnn.datasets import Images
from refsnn.evaluate import correct_of, need_data, parts
from refsnn.network import SpikingNetwork
from refsnn.numerics import Array
from refsnn.recording import spikes_of
from refsnn.sums import added

BATCH = 16
"""Images in a batch: all its spikes are held, twice."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Differences:
    """How two networks of one graph differ on images; integers that add up.

    Attributes
    ----------
    images : int
        Number of images.
    steps : int
        Neuron-steps: neurons, steps and images multiplied.
    spikes : int
        Spikes of the first network, positive and negative.
    changed : int
        Neuron-steps with another spike in the second.
    predictions : ndarray of int64, shape (T,)
        Images with another prediction at every t.
    correct, correct_after : ndarray of int64, shape (T,)
        Correct predictions of the first and of the second network.
    """

    images: int
    steps: int
    spikes: int
    changed: int
    predictions: Array
    correct: Array
    correct_after: Array


def differences(
    before: SpikingNetwork,
    after: SpikingNetwork,
    data: Images,
    T: int,
    *,
    progress: Progress | None = None,
) -> Differences:
    """Run two networks on the same images and compare every spike.

    Parameters
    ----------
    before, after : SpikingNetwork
        Networks of one graph.
    data : Images
        Labelled images.
    T : int
        Number of steps.
    progress : callable, optional
        As in :func:`evaluate`.

    Returns
    -------
    Differences
        Sums over the images.
    """
    need_data(data, before.classes)

    def compare(images: Array, labels: Array) -> Differences:
        x = before.preprocess(images)
        was, first = spikes_of(before, x, T)
        now, second = spikes_of(after, x, T)
        old, new = first.logits, second.logits
        moved = old.argmax(axis=-1) != new.argmax(axis=-1)
        return Differences(
            images=len(images),
            predictions=np.count_nonzero(moved, axis=-1),
            correct=correct_of(old, labels),
            correct_after=correct_of(new, labels),
            steps=sum(s.size for s in was.values()),
            spikes=sum(int(np.count_nonzero(s)) for s in was.values()),
            changed=sum(
                int(np.count_nonzero(s != now[name])) for name, s in was.items()
            ),
        )

    return reduce(added, parts(compare, data, BATCH, None, progress))
