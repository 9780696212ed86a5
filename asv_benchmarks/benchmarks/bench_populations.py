"""The event-driven engine by kinds of projections, neurons and numbers."""

from __future__ import annotations

import numpy as np

from refsnn.layers import Conv2d, Identity, Linear, LinearMap, SumPool
from refsnn.neurons import IF, DualThresholdIF, GatedIF

from .common import BATCH, between, convolution, filled, spikes

MAPS = (64, 16, 16)
RATE = 0.1


def _convolution(*kernel: int, **how: object) -> Conv2d:
    """Make a convolution to 64 channels; `kernel` ends the shape of its weight."""
    weight = np.random.default_rng(0).standard_normal((64, *kernel))
    return Conv2d(weight=weight / np.sqrt(weight[0].size), **how)


PROJECTIONS: dict[str, LinearMap] = {
    "1x1": _convolution(64, 1, 1),
    "5x5": _convolution(64, 5, 5, padding=(2, 2)),
    "7x1": _convolution(64, 7, 1, padding=(3, 0)),
    "stride": _convolution(64, 3, 3, stride=(2, 2), padding=(1, 1)),
    "dilation": _convolution(64, 3, 3, dilation=(2, 2), padding=(2, 2)),
    "groups": _convolution(16, 3, 3, groups=4, padding=(1, 1)),
    "depthwise": _convolution(1, 3, 3, groups=64, padding=(1, 1)),
    "pooled": convolution(64),
    "shortcut": Identity(weight=np.linspace(0.3, 0.9, 64)),
    "linear": Linear(
        weight=np.random.default_rng(0).standard_normal((256, 64 * 16 * 16)) / 64
    ),
}


class Projections:
    """A projection of each kind with its neurons: 16 images, 8 steps, rate a tenth."""

    params = (list(PROJECTIONS),)
    param_names = ("kind",)

    def setup(self, kind: str) -> None:
        """Prepare, put spikes into the source, run once, which compiles."""
        pool = (SumPool(),) if kind == "pooled" else ()
        self.snn = between(PROJECTIONS[kind], MAPS, pool=pool)
        self.engine = filled(self.snn, spikes(MAPS, RATE))
        self.time_fire(kind)

    def time_fire(self, kind: str) -> None:
        """Time lists, sums and neurons."""
        self.engine.fire("to")

    def time_count(self, kind: str) -> None:
        """Time the counting of spikes and operations."""
        self.engine.count("from")


class Neurons:
    """Neurons of both populations around a 3x3 convolution of 64 channels."""

    params = (["if", "dual", "masked", "observed"],)
    param_names = ("neuron",)

    def setup(self, neuron: str) -> None:
        """Prepare, put spikes into the source, run once, which compiles."""
        kinds = {"if": IF(), "dual": DualThresholdIF(theta_neg=np.array(-0.001))}
        model = kinds.get(neuron, GatedIF(tolerance=np.array(0.001)))
        s, rng = spikes(MAPS, RATE), np.random.default_rng(1)
        if neuron == "dual":
            s = np.where(rng.random(s.shape) < 0.2, -s, s)
        self.snn = between(convolution(64), MAPS, emits=model, reads=model)
        some = {name: rng.random((BATCH, *MAPS)) < 0.5 for name in ("from", "to")}
        gates = some if neuron == "masked" else {}
        self.engine = filled(self.snn, s, gates=gates, keeping=neuron == "observed")
        self.time_fire(neuron)

    def time_fire(self, neuron: str) -> None:
        """Time lists, sums and neurons."""
        self.engine.fire("to")


class Carriers:
    """The numbers that a 3x3 convolution of 64 channels is run in."""

    params = (["float64", "float32", "int32"],)
    param_names = ("carrier",)

    def setup(self, carrier: str) -> None:
        """Prepare, put spikes into the source, run once, which compiles."""
        self.snn = between(convolution(64), MAPS, target=carrier)
        self.engine = filled(self.snn, spikes(MAPS, RATE))
        self.time_fire(carrier)

    def time_fire(self, carrier: str) -> None:
        """Time lists, sums and neurons."""
        self.engine.fire("to")


class Ends:
    """What is only done once in a network: the image's currents, and the readout."""

    def setup(self) -> None:
        """Prepare, and run once, which compiles."""
        self.snn = between(convolution(64), MAPS)
        self.engine = filled(self.snn, spikes(MAPS, RATE))
        self.time_image()
        self.engine.fire("to")
        self.time_read_out()

    def time_image(self) -> None:
        """Time the image's current and the neurons that it drives."""
        self.engine.fire("from")

    def time_read_out(self) -> None:
        """Time the readout at every step."""
        self.engine.read_out()
