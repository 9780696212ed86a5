"""Whole networks: simulation, conversion, files."""

from __future__ import annotations

import tempfile
from pathlib import Path

from refsnn import datasets, io
from refsnn.convert import convert
from refsnn.run import run_ann, run_snn

IMAGES = 32
STEPS = 8


class Digits:
    """The shipped digits networks, 32 images, 8 steps."""

    params = (["qcfs", "max-norm"],)
    param_names = ("method",)

    def setup(self, method: str) -> None:
        """Load, convert and run once, which compiles."""
        kind = {"qcfs": "qcfs", "max-norm": "relu"}[method]
        self.file = datasets.weights_folder() / f"digits_{kind}.h5"
        self.ann = io.load_ann(self.file)
        self.train = datasets.load("digits", "train").images[:256]
        test = datasets.load("digits", "test")
        self.images, self.labels = test.images[:IMAGES], test.labels[:IMAGES]
        self.x = self.ann.preprocess(self.images)
        self.snn = convert(self.ann, method, images=self.train)
        self.folder = tempfile.TemporaryDirectory()
        self.run = run_snn(self.snn, self.x, STEPS)

    def teardown(self, method: str) -> None:
        """Remove what was written."""
        self.folder.cleanup()

    def time_snn(self, method: str) -> None:
        """Time the spiking network."""
        run_snn(self.snn, self.x, STEPS)

    def peakmem_snn(self, method: str) -> None:
        """Memory of the spiking network."""
        run_snn(self.snn, self.x, STEPS)

    def time_ann(self, method: str) -> None:
        """Time the trained network."""
        run_ann(self.ann, self.x)

    def time_convert(self, method: str) -> None:
        """Time the conversion."""
        convert(self.ann, method, images=self.train)

    def time_save(self, method: str) -> None:
        """Time writing the converted network."""
        io.save(self.snn, Path(self.folder.name) / "snn.h5", force=True)

    def time_load(self, method: str) -> None:
        """Time reading the trained network."""
        io.load_ann(self.file)

    def track_spikes(self, method: str) -> int:
        """Count spikes of both signs."""
        runs = (self.run.spikes, self.run.negative)
        return int(sum(counts.sum() for run in runs for counts in run.values()))

    def track_operations(self, method: str) -> int:
        """Count synaptic operations."""
        return int(sum(counts.sum() for counts in self.run.synops.values()))

    def track_correct(self, method: str) -> int:
        """Count correct predictions at the last step."""
        return int((self.run.logits[-1].argmax(axis=-1) == self.labels).sum())

    def track_definition_differs(self, method: str) -> int:
        """Count logits in which kernels and definitions differ: 0."""
        want = run_snn(self.snn, self.x, STEPS, impl="definition").logits
        return int((self.run.logits != want).sum())


Digits.track_spikes.unit = "spikes"
Digits.track_operations.unit = "operations"
Digits.track_correct.unit = "images"
Digits.track_definition_differs.unit = "logits"
