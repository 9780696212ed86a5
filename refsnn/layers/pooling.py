"""Pooling over windows without padding."""

from __future__ import annotations

import numpy as np

from refsnn.layers.base import Layer
from refsnn.layers.windows import taps
from refsnn.numerics import Array, Shape
from refsnn.records import ints


class Pool(Layer, abstract=True):
    """Base of the pooling layers: windows of `kernel` every `stride`, no padding.

    Rows and columns that do not fill a last window are dropped.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]

    @property
    def window(self) -> int:
        """Number of elements in one window."""
        return self.kernel[0] * self.kernel[1]

    def out_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        self._need_map(shape)
        C, H, W = shape
        (k0, k1), (s0, s1) = self.kernel, self.stride
        self._need(
            k0 <= H and k1 <= W,
            f"an input of shape {shape}",
            f"at least the size of a {self.kernel} window",
        )
        return (C, (H - k0) // s0 + 1, (W - k1) // s1 + 1)

    def taps(self, x: Array) -> list[Array]:
        """Split windows into their elements.

        Parameters
        ----------
        x : ndarray, shape (M, C, H, W)
            The input.

        Returns
        -------
        list of ndarray, shape (M, C, H', W')
            For each position in the window, in (row, column) order, that element of
            every window; views.
        """
        size = self.out_shape(x.shape[1:])[1:]
        return taps(x, size, self.kernel, self.stride)


class SumPool(Pool):
    """Sum over each window, in (row, column) order; of spikes an exact integer.

    Spiking networks only: the divisor of an average is in the canonical weights.
    """

    op = "sumpool"
    kernel: tuple[int, int] = ints(default=(2, 2), least=1)
    stride: tuple[int, int] = ints(default=(2, 2), least=1)

    def __call__(self, *xs: Array) -> Array:
        (x,) = xs
        wide = np.int64 if x.dtype.kind == "i" else np.float64
        first, *rest = self.taps(x)
        total = first.astype(wide)
        for tap in rest:
            total = total + tap
        return total

    def vjp(self, g: Array, shape: Shape) -> Array:
        """Return the gradient by the input: each window's, for every element in it.

        Parameters
        ----------
        g : ndarray, shape (M, C, H', W')
            Gradient of some number by the sums.
        shape : tuple of int
            (C, H, W), the shape that is pooled.

        Returns
        -------
        ndarray, shape (M, C, H, W)
            Its gradient by the input, in the type of `g`.
        """
        total = np.zeros((len(g), *shape), dtype=g.dtype)
        for tap in self.taps(total):
            np.add(tap, g, out=tap)
        return total

    def fan_out(self, onward: Array, shape: Shape) -> Array:
        """Carry fan-outs back through the pooling.

        Parameters
        ----------
        onward : ndarray of int64, shape (C, H', W')
            Fan-out of every window.
        shape : tuple of int
            (C, H, W), the shape that is pooled.

        Returns
        -------
        ndarray of int64, shape (C, H, W)
            For each input element the sum over the windows that hold it.
        """
        windows: Array = self.vjp(onward[None], shape)[0]
        return windows


class AvgPool(Pool):
    """Mean over each window: the sum in (row, column) order, divided once."""

    op = "avgpool"
    kernel: tuple[int, int] = ints(default=(2, 2), least=1)
    stride: tuple[int, int] = ints(default=(2, 2), least=1)

    def __call__(self, *xs: Array) -> Array:
        return SumPool(kernel=self.kernel, stride=self.stride)(*xs) / self.window


class MaxPool(Pool):
    """Maximum over each window.

    Of spikes, too, if that is asked for: at every step a window emits its largest
    spike. That is not the spike train of the largest rate (two neurons that take turns
    fire at every step), so conversion refuses this layer otherwise.
    """

    op = "maxpool"
    kernel: tuple[int, int] = ints(default=(2, 2), least=1)
    stride: tuple[int, int] = ints(default=(2, 2), least=1)

    def __call__(self, *xs: Array) -> Array:
        (x,) = xs
        largest: Array = np.max(np.stack(self.taps(x)), axis=0)
        return largest


class GlobalAvgPool(Layer):
    """Mean over all rows and columns, (C, H, W) to (C,)."""

    op = "globalavgpool"

    def out_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        self._need_map(shape)
        return shape[:1]

    def __call__(self, *xs: Array) -> Array:
        (x,) = xs
        size = (x.shape[2], x.shape[3])
        return AvgPool(kernel=size, stride=size)(x)[..., 0, 0]
