"""Synaptic projections: pooling, then one linear map."""

from __future__ import annotations

import dataclasses
from itertools import takewhile
from typing import cast

import numpy as np

from refsnn.errors import GraphError
from refsnn.layers import Conv2d, Identity, Linear, LinearMap, MaxPool, SumPool
from refsnn.numerics import Array, Shape

PROJECTIONS: dict[str, type[LinearMap]] = {
    cls.op: cls for cls in (Conv2d, Linear, Identity)
}
"""Linear maps of the spiking network by the name they have in files."""

INPUT = "@input"
"""What projections out of the image name as their source; no node can be called so."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Projection:
    """Synapses from a source to a population.

    Parameters
    ----------
    source : str
        A population's name, or ``INPUT`` for the image.
    op : LinearMap
        The map, without bias.
    pool : tuple of MaxPool and SumPool
        Pooling in front of the map, applied in order: maxima of spikes, then sums.
    """

    source: str
    op: LinearMap
    pool: tuple[MaxPool | SumPool, ...] = ()

    def __post_init__(self) -> None:
        known = type(self.op) in PROJECTIONS.values()
        sums = self.pool[len(self.maxima) :]
        if not known or not all(type(pool) is SumPool for pool in sums):
            raise GraphError(
                where=f"projection from {self.source}",
                got=f"op {self.op!r}, pool {self.pool!r}",
                expected=f"one of {', '.join(PROJECTIONS)} behind maxima, then sums, "
                "over windows",
            )

    @property
    def maxima(self) -> tuple[MaxPool, ...]:
        """The leading maxima of the pooling."""
        return tuple(takewhile(lambda pool: type(pool) is MaxPool, self.pool))  # type: ignore[arg-type]  # all of them are

    @property
    def divisor(self) -> int:
        """Number of elements added up in one pooled element."""
        sums = self.pool[len(self.maxima) :]
        return int(np.prod([pool.window for pool in sums], dtype=np.int64))

    def with_weight(self, weight: Array) -> Projection:
        """Return the same synapses with another weight.

        Parameters
        ----------
        weight : ndarray
            The weight.

        Returns
        -------
        Projection
            The new one.
        """
        op = dataclasses.replace(self.op, weight=weight)
        return dataclasses.replace(self, op=op)

    def pooled_shape(self, shape: Shape) -> Shape:
        """Return the shape of the map's input.

        Parameters
        ----------
        shape : tuple of int
            S of the source.

        Returns
        -------
        tuple of int
            S behind the pooling.
        """
        for pool in self.pool:
            shape = pool.out_shape(shape)
        return shape

    def pooled(self, x: Array) -> Array:
        """Pool the source's output.

        Parameters
        ----------
        x : ndarray, shape (M, *S)
            Spikes, or the analog image.

        Returns
        -------
        ndarray, shape (M, *S')
            The map's input.
        """
        for pool in self.pool:
            x = pool(x)
        return x

    def selected(self, x: Array) -> Array:
        """Return the spikes that pass the maxima; all if there are none.

        Parameters
        ----------
        x : ndarray, shape (M, *S)
            Spikes of the source.

        Returns
        -------
        ndarray, shape (M, *S')
            Those that the synapses see, before sums over windows.
        """
        for pool in self.maxima:
            x = pool(x)
        return x

    def fan_out(self, shape: Shape) -> Array:
        """Count the neurons that each element reaches, borders exact.

        Parameters
        ----------
        shape : tuple of int
            S of the source.

        Returns
        -------
        ndarray of int64, shape S
            Synaptic operations that one spike causes; behind maxima one that passes
            them, with the shape of :meth:`selected`. Through sums a spike is delivered
            once for every window that holds it.
        """
        for maximum in self.maxima:
            shape = maximum.out_shape(shape)
        sums = cast(tuple[SumPool, ...], self.pool[len(self.maxima) :])
        shapes = [shape]
        for pool in sums:
            shapes.append(pool.out_shape(shapes[-1]))
        fan_out = self.op.fan_out(shapes[-1])
        for pool, before in zip(reversed(sums), reversed(shapes[:-1]), strict=True):
            fan_out = pool.fan_out(fan_out, before)
        return fan_out
