"""Populations over time: kernel and definition."""

from __future__ import annotations

import numpy as np

from refsnn import kernels, neurons
from refsnn.neurons import IF, DualThresholdIF

from .common import currents

SHAPE = (16, 32, 32)
MODELS = {"if": IF(), "dual": DualThresholdIF(theta_neg=np.array(-0.001))}
IMPLS = {"kernel": kernels.unroll, "definition": neurons.unroll}


class Unroll:
    """One population, 8 steps of 16 images."""

    params = (list(MODELS), list(IMPLS))
    param_names = ("neuron", "impl")

    def setup(self, neuron: str, impl: str) -> None:
        """Draw currents, and compile."""
        self.model, self.unroll = MODELS[neuron], IMPLS[impl]
        self.x, self.theta = currents(SHAPE), np.ones((1, 1, 1))
        self.state = neurons.initial_state(np.full((1, 1, 1), 0.5), self.x.shape[1:])
        self.run()

    def run(self) -> np.ndarray:
        """Advance the population."""
        return self.unroll(self.model, self.x, self.state, self.theta)[0]

    def time_unroll(self, neuron: str, impl: str) -> None:
        """Time 8 steps."""
        self.run()

    def peakmem_unroll(self, neuron: str, impl: str) -> None:
        """Memory of 8 steps."""
        self.run()

    def track_spikes(self, neuron: str, impl: str) -> int:
        """Count spikes of both signs."""
        return int(np.count_nonzero(self.run()))

    track_spikes.unit = "spikes"


def track_kernels_equal_definitions() -> int:
    """Count neurons whose kernel and definition differ in a spike or a bit: 0."""
    differ = 0
    x, theta = currents(SHAPE), np.ones((1, 1, 1))
    state = neurons.initial_state(np.full((1, 1, 1), 0.5), x.shape[1:])
    for model in MODELS.values():
        got, want = (unroll(model, x, state, theta) for unroll in IMPLS.values())
        differ += int((got[0] != want[0]).any(axis=0).sum())
        differ += int((got[1].v.view(np.int64) != want[1].v.view(np.int64)).sum())
    return differ


track_kernels_equal_definitions.unit = "neurons"
