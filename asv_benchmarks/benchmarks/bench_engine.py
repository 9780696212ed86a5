"""The event-driven engine: one layer, whole networks, what it decides twice."""

from __future__ import annotations

import dataclasses

from refsnn.network import Stages
from refsnn.run import run_snn

from .common import filled, layer, seeded, some_images, spikes

SIZES = {16: 32, 32: 16, 64: 32, 128: 16, 256: 8, 512: 4}
"""Rows and columns of maps by their channels, as ResNets have them."""


class Layers:
    """A 3x3 convolution with its neurons: 16 images, 8 steps."""

    params = (list(SIZES), [0.05, 0.10, 0.15, 0.20])
    param_names = ("channels", "rate")

    def setup(self, channels: int, rate: float) -> None:
        """Prepare, put spikes into the source, run once, which compiles."""
        shape = (channels, SIZES[channels], SIZES[channels])
        self.snn = layer(channels, SIZES[channels])
        self.engine = filled(self.snn, spikes(shape, rate))
        self.engine.fire("to")

    def time_fire(self, channels: int, rate: float) -> None:
        """Time lists, sums and neurons."""
        self.engine.fire("to")

    def time_count(self, channels: int, rate: float) -> None:
        """Time the counting of spikes and operations."""
        self.engine.count("from")


class Moved:
    """ResNet-20 with seeded weights, COS: 16 images, 8 steps, 4 of them observed."""

    params = ([0.05, 0.10, 0.15, 0.20],)
    param_names = ("rate",)

    def setup(self, rate: float) -> None:
        """Run once, which compiles."""
        self.snn = dataclasses.replace(seeded("resnet20", rate), stages=Stages(rho=4))
        self.x = self.snn.preprocess(some_images(16, self.snn.input_shape))
        self.run = run_snn(self.snn, self.x, 8, engine="event")

    def time_event(self, rate: float) -> None:
        """Time a run."""
        run_snn(self.snn, self.x, 8, engine="event")

    def time_ordinary(self, rate: float) -> None:
        """Time the kernels that add term by term."""
        run_snn(self.snn, self.x, 8, engine="ordinary")

    def track_moved(self, rate: float) -> int:
        """Count neurons whose initial potentials are moved."""
        return sum(int((v0 != 0.5).sum()) for v0 in self.run.v0.values())


class Networks:
    """ResNet-20 with seeded weights, thresholds set to a rate."""

    params = ([0.05, 0.10, 0.15, 0.20], [2, 4, 8, 32, 64], [1, 64])
    param_names = ("rate", "T", "batch")
    timeout = 300

    def setup_cache(self) -> dict[float, object]:
        """Make the networks once."""
        return {rate: seeded("resnet20", rate) for rate in self.params[0]}

    def setup(
        self, networks: dict[float, object], rate: float, T: int, batch: int
    ) -> None:
        """Run once, which compiles."""
        self.snn = networks[rate]
        self.x = self.snn.preprocess(some_images(batch, self.snn.input_shape))
        self.run = run_snn(self.snn, self.x, T, engine="event")

    def time_event(
        self, networks: dict[float, object], rate: float, T: int, batch: int
    ) -> None:
        """Time a run."""
        run_snn(self.snn, self.x, T, engine="event")

    def peakmem_event(
        self, networks: dict[float, object], rate: float, T: int, batch: int
    ) -> None:
        """Memory of a run."""
        run_snn(self.snn, self.x, T, engine="event")

    def track_operations(
        self, networks: dict[float, object], rate: float, T: int, batch: int
    ) -> int:
        """Count synaptic operations."""
        return int(sum(counts.sum() for counts in self.run.synops.values()))

    def track_marked(
        self, networks: dict[float, object], rate: float, T: int, batch: int
    ) -> int:
        """Count neurons that are computed twice."""
        return sum(self.run.marked.values())


Moved.track_moved.unit = "neurons"
Networks.track_operations.unit = "operations"
Networks.track_marked.unit = "neurons"
