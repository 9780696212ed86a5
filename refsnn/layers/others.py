"""Batch normalisation, sums, reshaping, the input."""

from __future__ import annotations

import dataclasses

import numpy as np

from refsnn.errors import DomainError
from refsnn.layers.base import Layer
from refsnn.layers.linear_maps import MapType
from refsnn.numerics import Array, Shape, per_channel
from refsnn.records import real, tensor


class BatchNorm(Layer):
    """Batch normalisation with stored statistics, per channel.

    ::

        y = gamma (x - mean) / sqrt(var + eps) + beta

    evaluated as scale (x - mean) + beta with scale = gamma / sqrt(var + eps).
    """

    op = "batchnorm"
    gamma: Array = tensor("C")
    beta: Array = tensor("C")
    mean: Array = tensor("C")
    var: Array = tensor("C")
    eps: float = real(default=1e-5)

    def check(self) -> None:
        sizes = {a.shape for a in (self.gamma, self.beta, self.mean, self.var)}
        self._need(len(sizes) == 1, f"shapes {sizes}", "one size for all four tensors")
        if not (np.all(self.var >= 0) and np.all(self.var + self.eps > 0)):
            raise DomainError(
                where="batchnorm",
                got=f"a smallest variance of {self.var.min()} with eps {self.eps}",
                expected="var >= 0 and var + eps > 0",
            )

    @property
    def parameters(self) -> int:
        return self.gamma.size + self.beta.size

    @property
    def scale(self) -> Array:
        """The factor gamma / sqrt(var + eps), float64, shape (C,)."""
        root = np.sqrt(self.var.astype(np.float64) + self.eps)
        return self.gamma.astype(np.float64) / root

    def out_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        self._need(
            shape[:1] == self.gamma.shape,
            f"an input of shape {shape}",
            f"{len(self.gamma)} channels",
        )
        return shape

    def __call__(self, *xs: Array) -> Array:
        (x,) = xs
        scale, mean, beta = (
            per_channel(a.astype(np.float64), x.shape[1:], where=self.op)
            for a in (self.scale, self.mean, self.beta)
        )
        y: Array = scale * (x - mean) + beta
        return y

    def folded_into(self, layer: MapType) -> MapType:
        """Return the linear map followed by this normalisation as one linear map.

        Parameters
        ----------
        layer : LinearMap
            The map in front.

        Returns
        -------
        LinearMap
            Weight scale W, bias beta + scale (b - mean), in float64 (b = 0 if the
            map has none).
        """
        rows = self.scale.reshape((-1,) + (1,) * (layer.weight.ndim - 1))
        bias = np.zeros(len(rows)) if layer.bias is None else layer.bias
        mean, beta = (a.astype(np.float64) for a in (self.mean, self.beta))
        return dataclasses.replace(
            layer,
            weight=rows * layer.weight,
            bias=beta + self.scale * (bias - mean),
        )


class Add(Layer):
    """Sum of two or more inputs of equal shape, left to right."""

    op = "add"
    arity = None

    def out_shape(self, *shapes: Shape) -> Shape:
        self._need(
            len(shapes) > 1 and len(set(shapes)) == 1,
            f"inputs of shapes {', '.join(map(str, shapes))}",
            "two or more inputs of one shape",
        )
        return shapes[0]

    def __call__(self, *xs: Array) -> Array:
        total = xs[0]
        for x in xs[1:]:
            total = total + x
        return total


class Flatten(Layer):
    """Reshape (C, H, W) to (C H W,), channel by channel, row by row."""

    op = "flatten"

    def out_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        return (int(np.prod(shape)),)

    def __call__(self, *xs: Array) -> Array:
        (x,) = xs
        return x.reshape(len(x), *self.out_shape(x.shape[1:]))


class Input(Layer):
    """The analog image; its shape (C, H, W) is the network's."""

    op = "input"
    arity = 0
