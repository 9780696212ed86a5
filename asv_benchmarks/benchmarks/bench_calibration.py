"""Training of calibration: one step of a layer's weights."""

from __future__ import annotations

import numpy as np

from refsnn.calibration.weights import Layer, loss_and_gradient

from .common import convolution

SHAPES = {16: (16, 32, 32), 32: (32, 16, 16), 64: (64, 8, 8)}


def layer(channels: int, share: float, images: int) -> Layer:
    """A 3x3 convolution of averages of which a share is not zero, in runs."""
    rng = np.random.default_rng(0)
    shape = (images, *SHAPES[channels])
    active = np.repeat(rng.random((*shape[:3], shape[3] // 4)) < share, 4, axis=3)
    x = (rng.integers(1, 17, shape) / 16 * active).astype(np.float32)
    rest, a = (rng.random(shape).astype(np.float32) for _ in range(2))
    theta = np.ones((), dtype=np.float32)
    return Layer(op=convolution(channels), x=x, rest=rest, a=a, theta=theta, T=16)


class Step:
    """Loss and gradient of 32 images, on one thread."""

    params = (list(SHAPES), [0.2, 0.6])
    param_names = ("channels", "share")

    def setup(self, channels: int, share: float) -> None:
        """Draw the task, lay it out and compile."""
        self.layer = layer(channels, share, images=32)
        self.time_loss_and_gradient(channels, share)

    def time_loss_and_gradient(self, channels: int, share: float) -> None:
        """Time the step."""
        loss_and_gradient(self.layer, self.layer.op.weight, np.arange(32))


def track_gradients_differ() -> int:
    """Count elements of gradients in which kernel and definition differ in a bit: 0."""
    some = layer(16, 0.3, images=2)
    got, want = (
        loss_and_gradient(some, some.op.weight, np.arange(2), impl=impl)[1]
        for impl in ("kernel", "definition")
    )
    return int((got.view(np.int32) != want.view(np.int32)).sum())


track_gradients_differ.unit = "elements"
