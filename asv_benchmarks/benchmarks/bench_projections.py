"""Projections of spikes: how the time depends on the rate."""

from __future__ import annotations

import numpy as np

from refsnn import kernels
from refsnn.layers import Linear

from .common import convolution, spikes

SHAPES = {16: (16, 32, 32), 64: (64, 8, 8)}


class Convolution:
    """3x3 convolution of the spikes of 8 steps of 16 images."""

    params = (list(SHAPES), [0.02, 0.1, 0.3])
    param_names = ("channels", "rate")

    def setup(self, channels: int, rate: float) -> None:
        """Draw weights and spikes, and compile."""
        self.op = convolution(channels)
        self.x = spikes(SHAPES[channels], rate)
        self.begun = np.zeros(self.x.shape)
        kernels.accumulate(self.op, self.begun, self.x)

    def time_accumulate(self, channels: int, rate: float) -> None:
        """Time all terms."""
        kernels.accumulate(self.op, self.begun, self.x)

    def peakmem_accumulate(self, channels: int, rate: float) -> None:
        """Memory of all terms."""
        kernels.accumulate(self.op, self.begun, self.x)

    def track_operations(self, channels: int, rate: float) -> int:
        """Count synaptic operations, borders exact."""
        fan_out = self.op.fan_out(self.x.shape[1:])
        return int((self.x.astype(np.int64) * fan_out).sum())

    track_operations.unit = "operations"


class FullyConnected:
    """A 512 to 4096 layer at a rate of a tenth."""

    def setup(self) -> None:
        """Draw weights and spikes, and compile."""
        weight = np.random.default_rng(1).standard_normal((4096, 512))
        self.op, self.x = Linear(weight=weight), spikes((512,), 0.1)
        self.begun = np.zeros((len(self.x), 4096))
        self.time_accumulate()

    def time_accumulate(self) -> None:
        """Time all terms."""
        kernels.accumulate(self.op, self.begun, self.x)


def track_kernel_equals_definition() -> int:
    """Count sums in which kernel and definition differ in a bit: 0."""
    op, x = convolution(16), spikes((16, 9, 7), 0.3)
    begun = np.random.default_rng(2).standard_normal(x.shape)
    got, want = kernels.accumulate(op, begun, x), op.accumulate(begun, x)
    return int((got.view(np.int64) != want.view(np.int64)).sum())


track_kernel_equals_definition.unit = "sums"
