"""Certificates, snapping, carriers."""

from __future__ import annotations

from refsnn import datasets, io
from refsnn.certificate import certify
from refsnn.convert import convert
from refsnn.run import run_snn
from refsnn.snap import snap

IMAGES = 32
STEPS = 8


class Carriers:
    """A digits network snapped for each carrier, 32 images, 8 steps."""

    params = (["float64", "float32", "int32"],)
    param_names = ("carrier",)

    def setup(self, carrier: str) -> None:
        """Convert, snap and run once, which compiles."""
        ann = io.load_ann(datasets.weights_folder() / "digits_relu.h5")
        train = datasets.load("digits", "train").images[:256]
        self.raw = convert(ann, "max-norm", images=train, exact=False)
        self.x = ann.preprocess(datasets.load("digits", "test").images[:IMAGES])
        self.snn = snap(self.raw, carrier, T=STEPS)
        self.run = run_snn(self.snn, self.x, STEPS, carrier=carrier)

    def time_run(self, carrier: str) -> None:
        """Time the spiking network."""
        run_snn(self.snn, self.x, STEPS, carrier=carrier)

    def time_snap(self, carrier: str) -> None:
        """Time rounding to certified grids, certificates of every try included."""
        snap(self.raw, carrier, T=STEPS)

    def track_bits(self, carrier: str) -> int:
        """Count the bits that the network needs."""
        return certify(self.snn, carrier, T=STEPS).bits or 0

    def track_ordered_differs(self, carrier: str) -> int:
        """Count logits in which the carrier and mode ordered differ: 0."""
        want = run_snn(self.snn, self.x, STEPS, mode="ordered").logits
        return int((self.run.logits != want).sum())


Carriers.track_bits.unit = "bits"
Carriers.track_ordered_differs.unit = "logits"
