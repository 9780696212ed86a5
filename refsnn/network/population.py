"""Populations of neurons."""

from __future__ import annotations

import dataclasses

import numpy as np

from refsnn.errors import DomainError, ShapeError
from refsnn.network.projection import INPUT, Projection
from refsnn.neurons import Neuron
from refsnn.numerics import Array, Shape, per_channel
from refsnn.records import as_array, frozen

FINEST = 126
"""Most bits behind the point: finer multiples are no normal float32 numbers."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Population:
    """Neurons of one model, or the readout.

    Parameters
    ----------
    name : str
        Name of the activation that it replaces; of the output node for the readout.
    shape : tuple of int
        S: (C, H, W) or (N,).
    neuron : Neuron or None
        The model; None marks the readout, whose currents are summed over the steps.
    projections : tuple of Projection
        Incoming synapses, in graph order.
    bias : ndarray, shape (C,), (S) or (), potential, or None
        Added to the current at every step, after all synaptic terms.
    theta : ndarray, shape () or (C,), potential
        Threshold; 1 in canonical form.
    v0 : ndarray, shape (), (C,) or S, potential
        Initial potential.
    scale : ndarray, shape () or (C,), activation
        The threshold before normalisation: a spike is worth `scale` of the trained
        network's activation. 0 marks a dead channel.
    grid : ndarray of int64, shape (C,), or None
        Bits behind the point of each channel: its weights, bias, v(0) and thresholds
        are multiples of 2^-grid, and a current that the image causes is rounded to
        one, bias included. None: nothing was rounded.
    """

    name: str
    shape: Shape
    neuron: Neuron | None
    projections: tuple[Projection, ...]
    bias: Array | None = None
    theta: Array = dataclasses.field(default_factory=lambda: np.array(1.0))
    v0: Array = dataclasses.field(default_factory=lambda: np.array(0.0))
    scale: Array = dataclasses.field(default_factory=lambda: np.array(1.0))
    grid: Array | None = None

    def __post_init__(self) -> None:
        for field in ("bias", "theta", "v0", "scale"):
            value = getattr(self, field)
            if value is None:
                continue
            where = f"population {self.name}, {field}"
            array = np.asarray(value, dtype=np.float64)
            if not np.isfinite(array).all():
                raise DomainError(
                    where=where, got="NaN or infinity", expected="numbers"
                )
            per_channel(array, self.shape, where=where)
            object.__setattr__(self, field, frozen(array))
        if self.grid is not None:
            self._check_grid()
        if not (self.theta > 0).all():
            raise DomainError(
                where=f"population {self.name}",
                got=f"a smallest threshold of {self.theta.min()}",
                expected="theta > 0",
            )

    def _check_grid(self) -> None:
        where = f"population {self.name}, grid"
        grid = as_array(self.grid, where)
        if grid.dtype.kind not in "iu" or grid.shape != self.shape[:1]:
            raise ShapeError(
                where=where,
                got=f"type {grid.dtype}, shape {grid.shape}",
                expected=f"integers, {self.shape[:1]}",
            )
        if not ((grid >= 0) & (grid <= FINEST)).all():
            got = f"{grid.min()} to {grid.max()} bits behind the point"
            raise DomainError(where=where, got=got, expected=f"0 to {FINEST}")
        object.__setattr__(self, "grid", frozen(grid.astype(np.int64)))

    @property
    def fed_by_image(self) -> bool:
        """Whether a projection comes from the image."""
        return any(q.source == INPUT for q in self.projections)

    @property
    def sources(self) -> set[str]:
        """Names of the populations that it draws on."""
        return {q.source for q in self.projections} - {INPUT}

    @property
    def signs(self) -> tuple[int, ...]:
        """Signs of its spikes: 1, or 1 and -1."""
        return (1, -1) if self.neuron and min(self.neuron.alphabet) < 0 else (1,)

    def in_units_of(self, unit: Array) -> Population:
        """Divide every potential by a unit: weights, bias, v(0), thresholds.

        Parameters
        ----------
        unit : ndarray, shape () or (C,), potential
            The unit.

        Returns
        -------
        Population
            The same neurons in that unit, computed in float64.
        """
        one = np.array(1.0)
        projections = tuple(
            dataclasses.replace(q, op=q.op.normalised(one, 1, unit))
            for q in self.projections
        )
        shaped = per_channel(unit, self.shape, where=f"population {self.name}, unit")

        def divided(field: str) -> Array:
            value = np.asarray(self.over(field) / shaped)
            channels = self.shape[:1]
            return value.reshape(channels) if value.size == channels[0] else value

        return dataclasses.replace(
            self,
            neuron=self.neuron and self.neuron.in_units_of(unit),
            projections=projections,
            bias=None if self.bias is None else divided("bias"),
            theta=divided("theta"),
            v0=divided("v0"),
        )

    @property
    def neurons(self) -> int:
        """Number of neurons; 0 for the readout."""
        return int(np.prod(self.shape)) if self.neuron else 0

    def over(self, field: str) -> Array:
        """Shape `theta`, `v0`, `bias` or `scale` to broadcast over (..., *S).

        Parameters
        ----------
        field : str
            Name of the parameter.

        Returns
        -------
        ndarray
            The parameter.
        """
        where = f"population {self.name}, {field}"
        return per_channel(getattr(self, field), self.shape, where=where)
