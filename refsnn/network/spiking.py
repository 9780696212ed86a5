"""The spiking network: populations joined by linear projections."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from refsnn.accumulators import ACCUMULATORS
from refsnn.errors import (
    DomainError,
    GraphError,
    OptionError,
    RefsnnError,
    ShapeError,
)
from refsnn.network.graph import check_names, check_order, check_used, columns
from refsnn.network.model import Model
from refsnn.network.population import Population
from refsnn.network.projection import INPUT, Projection
from refsnn.network.stages import Stages
from refsnn.neurons import Neuron
from refsnn.numerics import Array, Shape
from refsnn.profile import REFSNN, Profile
from refsnn.records import Ints, as_array, frozen, json_values, plain_text

MODES = ("ordered", "exact")
"""Arithmetic modes that a network can be stored with."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SpikingNetwork(Model):
    """A spiking network: populations in topological order, the last one the readout.

    Parameters
    ----------
    populations : tuple of Population
        Names, sources and shapes must fit.
    canonical : bool
        Whether every threshold is 1 and every projection acts on unit spikes and sums
        over its pooling windows. Otherwise projections act on theta times spikes and
        average over their windows; such a network is converted further, not run.
    method : str
        Name of the conversion method.
    options : mapping
        The method's options, all of them.
    T : int or None
        The number of steps it was converted for, if the method depends on it.
    stages : Stages
        Steps before the T steps that count.
    ann_sha256 : str
        Content hash of the trained network.
    samples : ndarray of int64, or None
        Indices of the training images the conversion looked at.
    profile : Profile
        The conventions.
    mode : str
        ``exact`` if it was rounded to certified grids, ``ordered`` otherwise.
    certificate : mapping or None
        What the grids were fitted to, if the network was rounded: see
        :func:`refsnn.snap.snap`.
    """

    populations: tuple[Population, ...]
    canonical: bool
    method: str = ""
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    T: int | None = None
    stages: Stages = dataclasses.field(default_factory=Stages)
    ann_sha256: str = ""
    samples: Array | None = None
    profile: Profile = REFSNN
    mode: str = "ordered"
    certificate: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        self._check_header()
        self._check_conversion()
        where = f"spiking network {self.name}"
        check_names(where, [p.name for p in self.populations])
        edges = {
            p.name: tuple(projection.source for projection in p.projections)
            for p in self.populations
        }
        check_order(where, edges, known=(INPUT,))
        check_used(where, edges, output=self.readout.name)
        for population in self.populations:
            self._check_population(population)
        if self.readout.shape != (self.classes,):
            raise ShapeError(
                where=f"{where}, readout {self.readout.name}",
                got=f"shape {self.readout.shape}",
                expected=f"({self.classes},), one logit for each class",
            )

    def _check_conversion(self) -> None:
        """Normalise what says how the network was made, or refuse it."""
        where = f"spiking network {self.name}"
        object.__setattr__(self, "populations", tuple(self.populations))
        plain_text(self.method, f"{where}, method")
        options = json_values(self.options, f"{where}, options")
        object.__setattr__(self, "options", options)
        if self.certificate is not None:
            self._check_certificate(f"{where}, certificate")
        if self.T is not None:
            T = Ints(length=None, least=1).normalise(self.T, f"{where}, T")
            object.__setattr__(self, "T", T)
        if self.samples is not None:
            samples = as_array(self.samples, f"{where}, samples")
            if samples.ndim != 1 or not samples.size or samples.dtype.kind not in "iu":
                raise DomainError(
                    where=f"{where}, samples",
                    got=f"type {samples.dtype}, shape {samples.shape}",
                    expected="a list of image numbers",
                )
            object.__setattr__(self, "samples", frozen(samples.astype(np.int64)))
        if not re.fullmatch("(?:[0-9a-f]{64})?", self.ann_sha256):
            raise DomainError(
                where=f"{where}, ann_sha256",
                got=self.ann_sha256,
                expected="64 hexadecimal digits",
            )
        if self.mode not in MODES or not isinstance(self.profile, Profile):
            raise OptionError(
                where=where,
                got=f"mode {self.mode!r}, profile {self.profile!r}",
                expected=f"mode {' or '.join(MODES)}, and a Profile",
            )
        if self.mode == "exact" and any(p.grid is None for p in self.populations):
            got, expected = "mode exact", "a grid for every population"
            raise DomainError(where=where, got=got, expected=expected)

    def _check_certificate(self, where: str) -> None:
        certificate = json_values(self.certificate or {}, where)
        seen = certificate.get("recursion", {})
        keys = {"accumulator", "T", "static", "bits"}
        keys |= {"recursion", "images"} if "recursion" in certificate else set()
        names = {p.name for p in self.hidden} if "recursion" in certificate else set()
        good = (
            set(certificate) == keys
            and certificate["accumulator"] in ACCUMULATORS
            and _is_count(certificate["T"])
            and type(certificate["static"]) is bool
            and (certificate["bits"] is None or _is_count(certificate["bits"]))
            and isinstance(seen, dict)
            and set(seen) == names
            and all(_is_count(bits) and bits < 2**10 for bits in seen.values())
            and _is_count(certificate.get("images", 1))
        )
        if not good:
            expected = f"sound values of {', '.join(sorted(keys))}"
            raise DomainError(where=where, got=certificate, expected=expected)
        object.__setattr__(self, "certificate", certificate)

    def _check_population(self, population: Population) -> None:
        where = f"spiking network {self.name}, population {population.name}"
        if (population.neuron is None) != (population is self.readout):
            raise GraphError(
                where=where,
                got="neurons" if population.neuron else "no neurons",
                expected="neurons in every population but the last, the readout",
            )
        if population.neuron:
            population.neuron.over(population.shape)
        if not population.projections:
            raise GraphError(where=where, got="no projections", expected="at least one")
        if self.canonical and not (population.theta == 1).all():
            raise DomainError(
                where=where,
                got=f"theta {population.theta.tolist()}",
                expected="1, since the network is in canonical form",
            )
        for projection in population.projections:
            source = self.shape_of(projection.source)
            try:
                got = projection.op.out_shape(projection.pooled_shape(source))
            except RefsnnError as error:
                raise ShapeError(
                    where=f"{where}, projection from {projection.source}",
                    got=error.got,
                    expected=error.expected,
                ) from None
            biased = projection.op.bias is not None
            if got != population.shape or biased:
                raise ShapeError(
                    where=f"{where}, projection from {projection.source}",
                    got=f"outputs of shape {got}, bias {biased}",
                    expected=f"outputs of shape {population.shape} and no bias",
                )

    def need_canonical(self) -> None:
        """Refuse a network that is not in canonical form.

        Raises
        ------
        OptionError
            If it is not.
        """
        if not self.canonical:
            raise OptionError(
                where=f"spiking network {self.name}",
                got="a network that is not in canonical form",
                expected="thresholds of 1 (apply passes.canonical_form)",
            )

    def need_steps(self, T: int) -> None:
        """Refuse other numbers of steps than a method that depends on it was told.

        Parameters
        ----------
        T : int
            Number of steps.

        Raises
        ------
        OptionError
            If it was converted for another.
        """
        if self.T not in (None, T):
            raise OptionError(
                where=f"spiking network {self.name}",
                got=f"T = {T}",
                expected=f"T = {self.T}, which method {self.method} converted it for",
            )

    def need_own_conventions(self) -> None:
        """Refuse a network of other conventions, for what is proved of refsnn's own.

        Raises
        ------
        OptionError
            If its profile is another.
        """
        if self.profile != REFSNN:
            raise OptionError(
                where=f"spiking network {self.name}",
                got=f"the conventions {self.profile}",
                expected="those of refsnn; others can be run, traced and compared",
            )

    @property
    def readout(self) -> Population:
        """The last population, which has no neurons."""
        return self.populations[-1]

    @property
    def hidden(self) -> tuple[Population, ...]:
        """The populations of neurons, in order."""
        return self.populations[:-1]

    def __getitem__(self, name: str) -> Population:
        """Return a population by its name."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Population]:
        return {population.name: population for population in self.populations}

    def shape_of(self, source: str) -> Shape:
        """Return the shape of a source.

        Parameters
        ----------
        source : str
            A population's name or ``INPUT``.

        Returns
        -------
        tuple of int
            S.
        """
        return self.input_shape if source == INPUT else self[source].shape

    def fan_out(self, source: str) -> Array:
        """Count the synapses that every spike of an element reaches, borders exact.

        Parameters
        ----------
        source : str
            A population's name or ``INPUT``.

        Returns
        -------
        ndarray of int64, shape S
            Sum over all projections out of it, the readout's included, but for those
            behind max pooling, where it depends on the other spikes.
        """
        shape = self.shape_of(source)
        total = np.zeros(shape, dtype=np.int64)
        for _, projection in self.projections(source):
            if not projection.maxima:
                total = total + projection.fan_out(shape)
        return total

    def projections(self, source: str) -> Iterator[tuple[Population, Projection]]:
        """Walk the projections out of a source.

        Parameters
        ----------
        source : str
            A population's name or ``INPUT``.

        Yields
        ------
        population : Population
            The target.
        projection : Projection
            The synapses.
        """
        for population in self.populations:
            for projection in population.projections:
                if projection.source == source:
                    yield population, projection

    def finest_grid(self) -> int:
        """Return the finest grid of the neurons.

        Returns
        -------
        int
            Bits behind the point; 0 if nothing was rounded.
        """
        grids = [int(p.grid.max()) for p in self.hidden if p.grid is not None]
        return max(grids, default=0)

    def first_layer_macs(self) -> int:
        """Count the multiply-accumulates of the constant current, padding included.

        Returns
        -------
        int
            For one image, once.
        """
        return sum(
            projection.op.macs(projection.pooled_shape(self.input_shape))
            for _, projection in self.projections(INPUT)
        )

    def describe(self) -> str:
        """Return a table of the populations in order of evaluation.

        Returns
        -------
        str
            One line a population: name, neuron with its parameters, shape, neurons,
            threshold before normalisation, v(0), sources, synapses out.
        """
        head = "population neuron shape neurons scale v(0) sources synapses-out"
        rows: list[Sequence[object]] = [head.split()]
        for p in self.populations:
            sources = ", ".join(
                f"{q.source} ({', '.join(layer.op for layer in (*q.pool, q.op))})"
                for q in p.projections
            )
            neuron = _told(p.neuron) if p.neuron else "readout"
            onward = [q.fan_out(p.shape) for _, q in self.projections(p.name)]
            out = sum(int(fan_out.sum()) for fan_out in onward) if p.neuron else ""
            rows.append(
                (
                    p.name,
                    neuron,
                    p.shape,
                    p.neurons or "",
                    _span(p.scale),
                    _span(p.v0),
                    sources,
                    out,
                )
            )
        total = sum(p.neurons for p in self.populations)
        rows.append(("total", "", "", total, "", "", "", ""))
        return columns(rows)


def _told(neuron: Neuron) -> str:
    """Name a neuron model with its parameters."""
    parts = []
    for field in dataclasses.fields(neuron):
        value = getattr(neuron, field.name)
        text = _span(value) if isinstance(value, np.ndarray) else value
        parts.append(f"{field.name}={text}")
    return f"{neuron.op}({', '.join(parts)})" if parts else neuron.op


def _span(values: Array) -> str:
    low, high = f"{float(values.min()):.4g}", f"{float(values.max()):.4g}"
    return low if low == high else f"{low}..{high}"


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0
