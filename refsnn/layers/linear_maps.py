"""Linear maps: the layers that can be synaptic projections.

They add their terms in the order of the mode `ordered`: for every output one at a time,
left to right, in ascending (channel, row, column) order of the input.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TypeVar

import numpy as np

from refsnn.layers.base import Layer
from refsnn.layers.windows import taps
from refsnn.numerics import Array, Shape, per_channel
from refsnn.records import flag, ints, tensor

MapType = TypeVar("MapType", bound="LinearMap")


class LinearMap(Layer, abstract=True):
    """Base of the linear maps, the layers that can be a synaptic projection."""

    weight: Array
    bias: Array | None

    @property
    def parameters(self) -> int:
        return self.weight.size + (0 if self.bias is None else self.bias.size)

    def accumulate(self, acc: Array, x: Array) -> Array:
        """Add the terms W x to sums already begun, in the order of mode `ordered`.

        Parameters
        ----------
        acc : ndarray, shape (M, *S')
            The sums so far; terms are computed and added in its type, float64 but in
            certified arithmetic of other carriers.
        x : ndarray, shape (M, *S)
            The input: analog values, or integers (spikes, pooled spikes).

        Returns
        -------
        ndarray, shape (M, *S')
            The sums with every term added; `acc` is left as it was. Terms with x = 0
            add a zero and may be skipped without changing a bit, since no sum is -0.
        """
        out = acc
        for term in self.terms(x.astype(acc.dtype)):
            out = out + term.reshape(acc.shape)
        return out

    def terms(self, x: Array) -> Iterator[Array]:
        """Walk the terms of every output, in the order of mode `ordered`.

        Parameters
        ----------
        x : ndarray, shape (M, *S)
            The input; the weights are cast to its type.

        Yields
        ------
        ndarray, shape (M, *S'), or one that has as many elements
            The next term of every output, 0 where the padding supplies it.
        """
        raise NotImplementedError

    def tap_sums(self, weight: Array, shape: Shape) -> Array:
        """Add up weights over the taps of each output that are inside the input.

        Parameters
        ----------
        weight : ndarray, the shape of this map's weight
            Any weights.
        shape : tuple of int
            S.

        Returns
        -------
        ndarray, shape S'
            What the map with these weights gives of an input of ones.
        """
        raise NotImplementedError

    def extremes(self, low: Array, high: Array, shape: Shape) -> tuple[Array, Array]:
        """Bound every sub-sum of every output's terms, inputs within [low, high].

        Parameters
        ----------
        low, high : ndarray, shape (C,)
            Least and largest input of each channel of the map, low <= 0 <= high.
        shape : tuple of int
            S.

        Returns
        -------
        P, Nn : ndarray of float64, shape S'
            Every sum of some of the terms lies in [-Nn, P]; the sums of the terms'
            largest positive and negative parts.
        """
        plus = np.maximum(self.weight.astype(np.float64), 0)
        minus = np.maximum(-self.weight.astype(np.float64), 0)
        up, down = self._input_factor(high), self._input_factor(-low)
        P = self.tap_sums(plus * up + minus * down, shape)
        Nn = self.tap_sums(plus * down + minus * up, shape)
        return P, Nn

    def add_bias(self, acc: Array) -> Array:
        """Add the bias, the last term of every sum.

        Parameters
        ----------
        acc : ndarray, shape (M, *S')
            The sums so far.

        Returns
        -------
        ndarray, shape (M, *S')
            The sums.
        """
        if self.bias is None:
            return acc
        where = f"{self.op}.bias"
        return acc + per_channel(self.bias, acc.shape[1:], where=where)

    def __call__(self, *xs: Array) -> Array:
        (x,) = xs
        start = np.zeros((len(x), *self.out_shape(x.shape[1:])))
        return self.add_bias(self.accumulate(start, x))

    def fan_out(self, shape: Shape) -> Array:
        """Count the outputs that each input element reaches, borders exact.

        Parameters
        ----------
        shape : tuple of int
            S.

        Returns
        -------
        ndarray of int64, shape S
            Number of synapses out of each input element.
        """
        raise NotImplementedError

    def macs(self, shape: Shape) -> int:
        """Count multiply-accumulates of one dense evaluation.

        Parameters
        ----------
        shape : tuple of int
            S.

        Returns
        -------
        int
            Output elements times taps, padding taps included, as published counts do.
            Without padding taps it is ``fan_out(shape).sum()``. Biases not counted.
        """
        raise NotImplementedError

    def normalised(
        self: MapType, theta_in: Array, divisor: int, theta_out: Array
    ) -> MapType:
        """Return the map that acts on unit spikes and feeds thresholds of 1.

        Parameters
        ----------
        theta_in : ndarray, shape () or (C,), potential
            Threshold of the source, per channel of its map.
        divisor : int
            Number of elements averaged by the pooling in front.
        theta_out : ndarray, shape () or (O,), potential
            Threshold of the target.

        Returns
        -------
        LinearMap
            Weight (W theta_in) / (divisor theta_out), evaluated in float64 in this
            order; no bias.
        """
        columns = self._input_factor(np.asarray(theta_in, dtype=np.float64))
        rows = np.broadcast_to(
            np.asarray(theta_out, dtype=np.float64), self.weight.shape[:1]
        )
        rows = divisor * rows.reshape((-1,) + (1,) * (self.weight.ndim - 1))
        weight = (self.weight * columns) / rows
        return dataclasses.replace(self, weight=weight, bias=None)

    def _input_factor(self, theta_in: Array) -> Array:
        """Shape a per-channel factor of the input to broadcast over the weight."""
        raise NotImplementedError


class Conv2d(LinearMap):
    """Two-dimensional cross-correlation with zero padding.

    ::

        y[o, i, j] = sum over (c, p, q) of
            W[o, c, p, q] x[g C + c, i s0 + p d0 - p0, j s1 + q d1 - p1]

    with stride s, padding p0 p1, dilation d, group g = o // (O / groups) and C input
    channels a group. Ascending (c, p, q) is ascending (channel, row, column) of x.
    `padding` is (rows, columns) on both sides, or (top, left, bottom, right).
    """

    op = "conv2d"
    weight: Array = tensor("OIHW")
    bias: Array | None = tensor("O", default=None)
    stride: tuple[int, int] = ints(default=(1, 1), least=1)
    padding: tuple[int, ...] = ints(default=(0, 0), least=0, both_ends=True)
    dilation: tuple[int, int] = ints(default=(1, 1), least=1)
    groups: int = ints(default=1, least=1)

    def check(self) -> None:
        outputs = len(self.weight)
        self._need(
            min(self.weight.shape) > 0 and outputs % self.groups == 0,
            f"weight {self.weight.shape} with {self.groups} groups",
            "no empty dimension, and output channels divisible by groups",
        )
        self._need(
            self.bias is None or self.bias.shape == (outputs,),
            f"bias {None if self.bias is None else self.bias.shape}",
            f"({outputs},)",
        )

    @property
    def pads(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Rows padded before and after, columns padded before and after."""
        (p0, p1), (e0, e1) = self.padding[:2], self.padding[-2:]
        return (p0, e0), (p1, e1)

    def out_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        O, I, *kernel = self.weight.shape
        self._need_map(shape, I * self.groups)
        H, W = (
            (n + p + e - d * (k - 1) - 1) // s + 1
            for n, (p, e), d, k, s in zip(
                shape[1:], self.pads, self.dilation, kernel, self.stride, strict=True
            )
        )
        self._need(
            H > 0 and W > 0,
            f"an input of shape {shape}",
            f"at least the reach of a {kernel} kernel with dilation {self.dilation}",
        )
        return (O, H, W)

    def terms(self, x: Array) -> Iterator[Array]:
        O, I, P, Q = self.weight.shape
        G = self.groups
        size = self.out_shape(x.shape[1:])[1:]
        weight = self.weight.astype(x.dtype).reshape(G, O // G, I, P, Q, 1, 1)
        x = np.pad(x, ((0, 0), (0, 0), *self.pads))
        x = x.reshape(len(x), G, 1, I, *x.shape[2:])
        met = taps(x, size, (P, Q), self.stride, self.dilation)
        for c in range(I):
            for (p, q), tap in zip(np.ndindex(P, Q), met, strict=True):
                yield weight[:, :, c, p, q] * tap[:, :, :, c]

    def tap_sums(self, weight: Array, shape: Shape) -> Array:
        rows, columns = (
            np.stack([(reached == i).any(axis=0) for i in range(n)])
            for reached, n in zip(
                self.targets(shape), self.out_shape(shape)[1:], strict=True
            )
        )
        by_tap = weight.sum(axis=1)
        sums: Array = np.einsum("opq,ip,jq->oij", by_tap, rows, columns)
        return sums

    def targets(self, shape: Shape) -> tuple[Array, Array]:
        """Find the outputs that each input row and column reaches.

        Parameters
        ----------
        shape : tuple of int
            (C, H, W).

        Returns
        -------
        rows : ndarray of int64, shape (H, P)
            For each input row and kernel row the output row, or -1 if there is none.
        columns : ndarray of int64, shape (W, Q)
            The same for columns.
        """
        rows, columns = (
            _targets(n, out, k, s, p, d)
            for n, out, k, s, (p, _), d in zip(
                shape[1:],
                self.out_shape(shape)[1:],
                self.weight.shape[2:],
                self.stride,
                self.pads,
                self.dilation,
                strict=True,
            )
        )
        return rows, columns

    def fan_out(self, shape: Shape) -> Array:
        reached = [(targets >= 0).sum(axis=1) for targets in self.targets(shape)]
        fan_out = len(self.weight) // self.groups * np.multiply.outer(*reached)
        return np.broadcast_to(fan_out, shape).astype(np.int64)

    def macs(self, shape: Shape) -> int:
        _, H, W = self.out_shape(shape)
        return self.weight.size * H * W

    def _input_factor(self, theta_in: Array) -> Array:
        O, I, _, _ = self.weight.shape
        by_group = np.broadcast_to(theta_in, (I * self.groups,)).reshape(-1, I)
        return np.repeat(by_group, O // self.groups, axis=0)[:, :, None, None]


def _targets(n: int, out: int, k: int, s: int, p: int, d: int) -> Array:
    """Solve i s + q d - p = x for the output i, given the input x and the tap q."""
    distance = np.arange(n)[:, None] + p - np.arange(k) * d
    reached = (distance >= 0) & (distance % s == 0) & (distance // s < out)
    return np.where(reached, distance // s, -1)


class Linear(LinearMap):
    """Fully connected map, y[o] = sum over i of W[o, i] x[i], x flattened."""

    op = "linear"
    weight: Array = tensor("OI")
    bias: Array | None = tensor("O", default=None)

    def check(self) -> None:
        outputs = len(self.weight)
        self._need(min(self.weight.shape) > 0, self.weight.shape, "no empty dimension")
        self._need(
            self.bias is None or self.bias.shape == (outputs,),
            f"bias {None if self.bias is None else self.bias.shape}",
            f"({outputs},)",
        )

    def out_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        inputs = self.weight.shape[1]
        self._need(
            int(np.prod(shape)) == inputs,
            f"an input of shape {shape}",
            f"{inputs} elements",
        )
        return (len(self.weight),)

    def terms(self, x: Array) -> Iterator[Array]:
        weight = self.weight.astype(x.dtype)
        x = x.reshape(len(x), weight.shape[1])
        for i in range(weight.shape[1]):
            yield weight[:, i] * x[:, i, None]

    def tap_sums(self, weight: Array, shape: Shape) -> Array:  # noqa: ARG002 - all are inside
        sums: Array = weight.sum(axis=1)
        return sums

    def fan_out(self, shape: Shape) -> Array:
        return np.full(shape, self.out_shape(shape)[0], dtype=np.int64)

    def macs(self, shape: Shape) -> int:
        self.out_shape(shape)
        return self.weight.size

    def _input_factor(self, theta_in: Array) -> Array:
        inputs = self.weight.shape[1]
        return np.repeat(theta_in.reshape(-1), inputs // theta_in.size)


class Identity(LinearMap):
    """Shortcut with one weight a channel, y[c] = W[c] x[c].

    Spiking networks only: a shortcut of the trained network is an edge of its graph,
    and receives the weight theta_in / theta_out by normalisation. With `flatten` the
    input is flattened first, and every element is a channel.
    """

    op = "identity"
    weight: Array = tensor("C")
    bias: Array | None = tensor("C", default=None)
    flatten: bool = flag(default=False)

    def out_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        if self.flatten:
            shape = (int(np.prod(shape)),)
        self._need(
            shape[:1] == self.weight.shape,
            f"an input of shape {shape}",
            f"{len(self.weight)} channels",
        )
        return shape

    def terms(self, x: Array) -> Iterator[Array]:
        x = x.reshape(len(x), *self.out_shape(x.shape[1:]))
        weight = self.weight.astype(x.dtype)
        yield per_channel(weight, x.shape[1:], where=self.op) * x

    def tap_sums(self, weight: Array, shape: Shape) -> Array:
        shape = self.out_shape(shape)
        return np.broadcast_to(per_channel(weight, shape, where=self.op), shape)

    def fan_out(self, shape: Shape) -> Array:
        self.out_shape(shape)
        return np.ones(shape, dtype=np.int64)

    def macs(self, shape: Shape) -> int:
        return int(np.prod(self.out_shape(shape)))

    def _input_factor(self, theta_in: Array) -> Array:
        return np.repeat(theta_in.reshape(-1), len(self.weight) // theta_in.size)
