"""Running a trained network once, and a spiking network for T steps.

Everything is computed in the mode `ordered`: float64, every sum in the order that
:mod:`refsnn.layers` states. Results do not depend on the implementation, on the
schedule, or on which images share a batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import Protocol, cast

import numpy as np

from refsnn import neurons
from refsnn.errors import DomainError, OptionError
from refsnn.layers import Input, LinearMap
from refsnn.network import INPUT, Model, Network, Population, Projection, SpikingNetwork
from refsnn.neurons import Neuron, State
from refsnn.numerics import Array, require_finite

IMPLS = ("kernel", "definition")
SCHEDULES = ("layer", "step")

CURRENTS = 2**25
"""Bytes of currents held at once; spikes are kept as single bytes for all steps. Only
memory and time depend on it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Impl:
    """An implementation of the two operations that cost time.

    Attributes
    ----------
    accumulate : callable
        Adds the terms of a linear map to sums already begun.
    unroll : callable
        Advances a population of neurons.
    """

    accumulate: Callable[[LinearMap, Array, Array], Array]
    unroll: Callable[[Neuron, Array, State, Array], tuple[Array, State]]


def implementation(name: str) -> Impl:
    """Return an implementation by its name.

    Parameters
    ----------
    name : str
        ``kernel`` (compiled) or ``definition`` (NumPy); both give the same bits.

    Returns
    -------
    Impl
        The implementation.

    Raises
    ------
    OptionError
        If there is none of that name.
    """
    if name == "definition":
        return Impl(
            accumulate=lambda op, acc, x: op.accumulate(acc, x), unroll=neurons.unroll
        )
    if name == "kernel":
        from refsnn import kernels  # noqa: PLC0415 - loads Numba, only where it is used

        return Impl(accumulate=kernels.accumulate, unroll=kernels.unroll)
    raise OptionError(where="impl", got=name, expected=" or ".join(IMPLS))


@np.errstate(
    over="ignore", invalid="ignore"
)  # reported by require_finite, with a place
def run_ann(
    ann: Network,
    x: Array,
    *,
    impl: str = "kernel",
    observe: Callable[[str, Array], None] | None = None,
) -> Array:
    """Evaluate a trained network.

    Parameters
    ----------
    ann : Network
        The network.
    x : ndarray, shape (B, C, H, W)
        Analog input, as :meth:`refsnn.network.Model.preprocess` returns it.
    impl : str
        ``kernel`` or ``definition``.
    observe : callable, optional
        Called with the name and the output, shape (B, *S), of every node in order.

    Returns
    -------
    ndarray of float64, shape (B, classes)
        Logits.

    Raises
    ------
    NumericalError
        At the first node whose output is not finite.
    """
    need_network(ann, Network)
    ann.need_input(x)
    chosen = implementation(impl)
    values: dict[str, Array] = {}
    last = {source: node.name for node in ann.nodes for source in node.inputs}
    for node in ann.nodes:
        inputs = [values[name] for name in node.inputs]
        if isinstance(node.op, Input):
            value = x.astype(np.float64)
        elif isinstance(node.op, LinearMap):
            start = np.zeros((len(x), *ann.shapes[node.name]))
            value = node.op.add_bias(chosen.accumulate(node.op, start, *inputs))
        else:
            value = node.op(*inputs)
        where = f"network {ann.name}, node {node.name}"
        require_finite(value, where=where, axes="(sample, *shape)")
        values[node.name] = value
        if observe:
            observe(node.name, value)
        for source in set(node.inputs):
            if last[source] == node.name:
                del values[source]
    return values[ann.nodes[-1].name]


class Observer(Protocol):
    """What can watch a spiking run."""

    def __call__(
        self, population: Population, start: int, x: Array, s: Array, state: State
    ) -> None:
        """Take note of some steps of a population.

        Parameters
        ----------
        population : Population
            The population.
        start : int
            Number of steps before these.
        x : ndarray, shape (T', B, *S), potential
            Currents, bias included.
        s : ndarray of int8, shape (T', B, *S)
            Spikes.
        state : State
            State after the last of these steps.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpikingRun:
    """What a spiking network did in T steps.

    Attributes
    ----------
    logits : ndarray of float64, shape (T, B, classes)
        Readout at every t: W' counts(t) + t b.
    spikes, negative : dict of str to ndarray of int64, shape (T,)
        Spikes +1 and -1 of each population at every step, summed over the batch.
    synops : dict of str to ndarray of int64, shape (T,)
        Synaptic operations that these spikes cause, borders exact.
    """

    logits: Array
    spikes: dict[str, Array]
    negative: dict[str, Array]
    synops: dict[str, Array]


@np.errstate(
    over="ignore", invalid="ignore"
)  # reported by require_finite, with a place
def run_snn(
    snn: SpikingNetwork,
    x: Array,
    T: int,
    *,
    impl: str = "kernel",
    schedule: str = "layer",
    observe: Observer | None = None,
) -> SpikingRun:
    """Simulate a canonical spiking network on a constant analog input.

    Parameters
    ----------
    snn : SpikingNetwork
        The network.
    x : ndarray, shape (B, C, H, W)
        Analog input, as :meth:`refsnn.network.Model.preprocess` returns it; presented
        unchanged at every step.
    T : int
        Number of steps.
    impl : str
        ``kernel`` or ``definition``.
    schedule : str
        ``layer``: all steps of a population before the next one; ``step``: all
        populations in every step. The results are equal.
    observe : callable, optional
        An :class:`Observer`, called for every population of neurons.

    Returns
    -------
    SpikingRun
        Logits and counts.

    Raises
    ------
    NumericalError
        At the first population whose current is not finite.
    """
    need_network(snn, SpikingNetwork)
    snn.need_input(x)
    snn.need_canonical()
    need_steps(T)
    if snn.T not in (None, T):
        raise OptionError(
            where=f"spiking network {snn.name}",
            got=f"T = {T}",
            expected=f"T = {snn.T}, which method {snn.method} converted it for",
        )
    if schedule not in SCHEDULES:
        raise OptionError(
            where="schedule", got=schedule, expected=" or ".join(SCHEDULES)
        )
    simulation = _Simulation(snn, x, T, implementation(impl), observe)
    length = T if schedule == "layer" else 1
    for start in range(0, T, length):
        simulation.advance(start, length)
    return simulation.result


def need_network(network: object, kind: type[Model]) -> None:
    """Refuse anything but a network of one kind.

    Parameters
    ----------
    network : object
        What was given.
    kind : type
        Network or SpikingNetwork.

    Raises
    ------
    OptionError
        If it is something else.
    """
    if not isinstance(network, kind):
        raise OptionError(
            where="run",
            got=f"a {type(network).__name__}",
            expected=f"a {kind.__name__}",
            do="run_ann runs a Network; convert() makes a SpikingNetwork of it.",
        )


def need_steps(T: int) -> None:
    """Refuse what is not a number of steps.

    Parameters
    ----------
    T : int
        The number of steps.

    Raises
    ------
    DomainError
        If it is not an integer of at least one.
    """
    if not isinstance(T, (int, np.integer)) or isinstance(T, bool) or T < 1:
        raise DomainError(where="T", got=repr(T), expected="at least 1 time step")


class _Simulation:
    """A network's state while it runs; `advance` takes it some steps on."""

    def __init__(
        self,
        snn: SpikingNetwork,
        x: Array,
        T: int,
        impl: Impl,
        observe: Observer | None,
    ) -> None:
        self.snn, self.x, self.impl, self.observe = (
            snn,
            x.astype(np.float64),
            impl,
            observe,
        )
        self.states: dict[str, State] = {}
        self.constants = {p.name: self._constant(p) for p in snn.hidden}
        self.counts: dict[int, Array] = {}
        self.fan_out = {p.name: snn.fan_out(p.name) for p in snn.hidden}
        self.selecting = {
            p.name: [q for _, q in snn.projections(p.name) if q.maxima]
            for p in snn.hidden
        }
        self.last = {q.source: p.name for p in snn.populations for q in p.projections}

        def zeros() -> dict[str, Array]:
            return {p.name: np.zeros(T, dtype=np.int64) for p in snn.hidden}

        self.result = SpikingRun(
            logits=np.empty((T, len(x), snn.classes)),
            spikes=zeros(),
            negative=zeros(),
            synops=zeros(),
        )

    def advance(self, start: int, length: int) -> None:
        """Take every population from `start` steps to `start + length`."""
        spikes: dict[str, Array] = {}
        for p in self.snn.hidden:
            spikes[p.name] = self._fire_in_pieces(p, start, length, spikes)
            for source in {q.source for q in p.projections} - {INPUT}:
                if self.last[source] == p.name:
                    del spikes[source]
        largest = max(np.prod(self.snn.shape_of(source)) for source in self.last)
        for steps in self._pieces(length, int(largest)):
            sources = {name: s[steps] for name, s in spikes.items()}
            self._read_out(start + steps.start, steps.stop - steps.start, sources)

    def _pieces(self, length: int, size: int) -> Iterator[slice]:
        """Split steps so that float64 arrays of `size` a sample fit into CURRENTS."""
        piece = max(1, CURRENTS // (8 * len(self.x) * size))
        for first in range(0, length, piece):
            yield slice(first, min(first + piece, length))

    def _constant(self, p: Population) -> tuple[Array, tuple[Projection, ...]]:
        """Add the terms of the leading projections from the image, once.

        Returns the sums begun, shape (B, *S), and the projections still to be added.
        """
        leading = tuple(takewhile(lambda q: q.source == INPUT, p.projections))
        acc = np.zeros((len(self.x), *p.shape))
        for q in leading:
            acc = self.impl.accumulate(q.op, acc, q.pooled(self.x))
        return acc, p.projections[len(leading) :]

    def _fire_in_pieces(
        self, p: Population, start: int, length: int, spikes: dict[str, Array]
    ) -> Array:
        """Take one population some steps on, so many at once as CURRENTS allows."""
        fired = []
        for steps in self._pieces(length, p.neurons):
            sources = {name: s[steps] for name, s in spikes.items()}
            count = steps.stop - steps.start
            fired.append(self._fire(p, start + steps.start, count, sources))
        return fired[0] if len(fired) == 1 else np.concatenate(fired)

    def _fire(
        self, p: Population, start: int, length: int, spikes: dict[str, Array]
    ) -> Array:
        """Charge and fire one population for a piece of the steps; count."""
        neuron = cast(Neuron, p.neuron)  # hidden populations have one
        x = self._current(p, length, spikes)
        require_finite(
            x,
            where=f"spiking network {self.snn.name}, current of population {p.name}",
            axes=f"(step after {start}, sample, *shape)",
        )
        x = np.broadcast_to(x, (length, *x.shape[1:]))
        state = self.states.get(p.name) or neurons.initial_state(
            p.over("v0"), x.shape[1:]
        )
        s, state = self.impl.unroll(neuron.over(p.shape), x, state, p.over("theta"))
        require_finite(
            state.v,
            where=f"spiking network {self.snn.name}, potential of population {p.name}",
            axes="(sample, *shape)",
        )
        self.states[p.name] = state
        self._count(p, start, s)
        if self.observe:
            self.observe(p, start, x, s, state)
        return s

    def _current(self, p: Population, length: int, spikes: dict[str, Array]) -> Array:
        """Sum the terms of some steps, shape (T', B, *S); T' = 1 if it is constant."""
        acc, projections = self.constants[p.name]
        steps = length if projections else 1
        acc = np.broadcast_to(acc, (steps, *acc.shape)).reshape(-1, *p.shape)
        for q in projections:
            source = self._source(q, length, spikes)
            acc = self.impl.accumulate(q.op, acc, q.pooled(merge(source)))
        if p.bias is not None:
            acc = acc + p.over("bias")
        return acc.reshape(steps, -1, *p.shape)

    def _source(self, q: Projection, length: int, spikes: dict[str, Array]) -> Array:
        """Return what a projection's source emits, shape (T', B, *S)."""
        if q.source == INPUT:
            return np.broadcast_to(self.x, (length, *self.x.shape))
        return spikes[q.source]

    def _read_out(self, start: int, length: int, spikes: dict[str, Array]) -> None:
        """Evaluate logits(t) = W' counts(t) + t b for some steps."""
        p = self.snn.readout
        acc = np.zeros((length * len(self.x), *p.shape))
        t = np.arange(start + 1, start + length + 1, dtype=np.float64)
        for index, q in enumerate(p.projections):
            pooled = q.pooled(merge(self._source(q, length, spikes)))
            pooled = pooled.reshape(length, -1, *pooled.shape[1:])
            if q.source == INPUT:
                counts = t.reshape(-1, *[1] * (pooled.ndim - 1)) * pooled
            else:
                counts = pooled.cumsum(axis=0, dtype=np.int64) + self.counts.get(
                    index, 0
                )
                self.counts[index] = counts[-1].copy()
            acc = self.impl.accumulate(q.op, acc, merge(counts))
        logits = acc.reshape(length, -1, *p.shape)
        if p.bias is not None:
            logits = logits + t[:, None, None] * p.over("bias")
        require_finite(
            logits,
            where=f"spiking network {self.snn.name}, readout {p.name}",
            axes=f"(step after {start}, sample, class)",
        )
        self.result.logits[start : start + length] = logits

    def _count(self, p: Population, start: int, s: Array) -> None:
        """Count spikes and the synaptic operations that they cause."""
        alphabet = cast(Neuron, p.neuron).alphabet
        least, most = int(s.min()), int(s.max())
        if least < min(alphabet) or most > max(alphabet):
            raise DomainError(
                where=f"spiking network {self.snn.name}, population {p.name}",
                got=f"spikes from {least} to {most}",
                expected=f"values of the neuron's alphabet {alphabet}",
            )
        steps = slice(start, start + len(s))
        positive = np.count_nonzero(s > 0, axis=1)
        both = positive
        self.result.spikes[p.name][steps] = positive.reshape(len(s), -1).sum(axis=1)
        if min(alphabet) < 0:
            negative = np.count_nonzero(s < 0, axis=1)
            both = positive + negative
            self.result.negative[p.name][steps] = negative.reshape(len(s), -1).sum(
                axis=1
            )
        synops = np.tensordot(both, self.fan_out[p.name], axes=len(p.shape))
        for q in self.selecting[p.name]:
            passed = q.selected(merge(s))
            passed = np.count_nonzero(
                passed.reshape(*s.shape[:2], *passed.shape[1:]), axis=1
            )
            synops = synops + np.tensordot(
                passed, q.fan_out(p.shape), axes=passed.ndim - 1
            )
        self.result.synops[p.name][steps] = synops


def merge(x: Array) -> Array:
    """Join the axes of steps and samples, (T, B, *S) to (T B, *S).

    Parameters
    ----------
    x : ndarray, shape (T, B, *S)
        Any array.

    Returns
    -------
    ndarray, shape (T B, *S)
        The same elements.
    """
    return x.reshape(-1, *x.shape[2:])
