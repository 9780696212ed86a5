"""What a spiking run gives, and who may watch it."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np

from refsnn.network import Population
from refsnn.neurons import State
from refsnn.numerics import Array


class Observer(Protocol):
    """What can watch a spiking run."""

    def __call__(
        self, population: Population, start: int, x: Array, s: Array, state: State
    ) -> None:
        """Take note of some steps of a population.

        Parameters
        ----------
        population : Population
            The population.
        start : int
            Number of steps before these.
        x : ndarray, shape (T', B, *S), potential
            Currents, bias included.
        s : ndarray of int8, shape (T', B, *S)
            Spikes as fired; a mask of the run lets them out or not, see
            :meth:`SpikingRun.emitted`.
        state : State
            State after the last of these steps.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpikingRun:
    """What a spiking network did in T steps.

    Attributes
    ----------
    logits : ndarray of float64, shape (T, B, classes)
        Readout at every t: W' counts(t) + t b.
    spikes, negative : dict of str to ndarray of int64, shape (T,)
        Spikes +1 and -1 of each population at every step, summed over the batch.
    synops : dict of str to ndarray of int64, shape (T,)
        Synaptic operations that these spikes cause, borders exact.
    v0 : dict of str to ndarray of float64, shape (B, *S), potential
        Initial potentials of populations whose method moved them for each image.
    masks : dict of str to ndarray of bool, shape (B, *S)
        Which neurons were let out, by population; empty without observing steps.
    observing : SpikingRun or None
        The observing steps before, whose logits do not count.
    marked : dict of str to int
        Neurons that were computed again in float64, by population; of those alone that
        ran filtered, or might have, see :mod:`refsnn.engine.filter`.
    """

    logits: Array
    spikes: dict[str, Array]
    negative: dict[str, Array]
    synops: dict[str, Array]
    v0: dict[str, Array] = dataclasses.field(default_factory=dict)
    masks: dict[str, Array] = dataclasses.field(default_factory=dict)
    observing: SpikingRun | None = None
    marked: dict[str, int] = dataclasses.field(default_factory=dict)

    def emitted(self, name: str, s: Array) -> Array:
        """Return the spikes of a population that are let out.

        Parameters
        ----------
        name : str
            The population.
        s : ndarray of int8, shape (T', B, *S)
            Its spikes as fired.

        Returns
        -------
        ndarray of int8, shape (T', B, *S)
            All of them, if the population has no mask.
        """
        mask = self.masks.get(name)
        return s if mask is None else s * mask.astype(np.int8)
