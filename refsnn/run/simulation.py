"""The state of a spiking network while it runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile
from typing import cast

import numpy as np

from refsnn import neurons
from refsnn.arithmetic import Arithmetic, image_terms
from refsnn.errors import DomainError
from refsnn.fixed import Fixed
from refsnn.network import FINEST, INPUT, Population, Projection, SpikingNetwork
from refsnn.neurons import GatedIF, Neuron, State
from refsnn.numerics import Array, bind, per_channel, require_finite
from refsnn.run.implementation import Impl
from refsnn.run.result import Observer, SpikingRun

CURRENTS = 2**25
"""Bytes of currents held at once; spikes are kept as single bytes for all steps. Only
memory and time depend on it."""


class Simulation:
    """A network's state while it runs.

    Parameters
    ----------
    snn : SpikingNetwork
        The network.
    x : ndarray, shape (B, C, H, W), or mapping of str to ndarray, shape (B, *S)
        Analog input, or the currents it causes, as :func:`image_currents` returns them.
    T : int
        Number of steps in all.
    arithmetic : Arithmetic
        The numbers.
    impl : Impl
        Kernels or definitions.
    observe : Observer or None
        Who watches.
    masks : mapping of str to ndarray of bool, shape (B, *S)
        Neurons that are let out, by population; of others all are.
    """

    def __init__(
        self,
        snn: SpikingNetwork,
        x: Array | Mapping[str, Array],
        T: int,
        arithmetic: Arithmetic,
        impl: Impl,
        observe: Observer | None,
        masks: Mapping[str, Array] | None = None,
    ) -> None:
        self.snn, self.impl, self.observe = snn, impl, observe
        self.currents: Mapping[str, Array] = x if isinstance(x, Mapping) else {}
        self.x = np.zeros(0) if isinstance(x, Mapping) else x.astype(np.float64)
        self.batch = len(next(iter(self.currents.values()), self.x))
        self.arithmetic = arithmetic
        self.reading = arithmetic.of_readout
        self.states: dict[str, State] = {}
        self.ready = {p.name: arithmetic.prepared(p) for p in snn.hidden}
        self.ready[snn.readout.name] = self.reading.prepared(snn.readout)
        self.constants = {p.name: self._constant(p) for p in snn.hidden}
        self.counts: dict[int, Array] = {}
        self.fan_out = {p.name: snn.fan_out(p.name) for p in snn.hidden}
        self.selecting = {
            p.name: [q for _, q in snn.projections(p.name) if q.maxima]
            for p in snn.hidden
        }
        self.arriving: dict[str, Array] = {}
        self.last = {q.source: p.name for p in snn.populations for q in p.projections}

        def zeros() -> dict[str, Array]:
            return {p.name: np.zeros(T, dtype=np.int64) for p in snn.hidden}

        self.result = SpikingRun(
            logits=np.empty((T, self.batch, snn.classes)),
            spikes=zeros(),
            negative=zeros(),
            synops=zeros(),
            masks=dict(masks or {}),
        )

    def advance(self, start: int, length: int) -> None:
        """Take every population some steps on.

        Parameters
        ----------
        start : int
            Number of steps before these.
        length : int
            Number of these steps.
        """
        spikes: dict[str, Array] = {}
        for p in self.snn.hidden:
            fired = self._fire_in_pieces(p, start, length, spikes)
            spikes[p.name] = self._delivered(p.name, fired)
            for source in p.sources:
                if self.last[source] == p.name:
                    del spikes[source]
        largest = max(np.prod(self.snn.shape_of(source)) for source in self.last)
        for steps in self._pieces(length, int(largest)):
            sources = {name: s[steps] for name, s in spikes.items()}
            self._read_out(start + steps.start, steps.stop - steps.start, sources)

    def _delivered(self, name: str, s: Array) -> Array:
        """Return the spikes that arrive in these steps, shape (T', B, *S)."""
        if not self.snn.profile.layer_delay:
            return s
        under_way = self.arriving.get(name, np.zeros_like(s[:1]))
        self.arriving[name] = s[-1:]
        return np.concatenate([under_way, s[:-1]])

    def fire(self, name: str, length: int, spikes: dict[str, Array]) -> Array:
        """Take one population its first steps, on given spikes of its sources.

        Parameters
        ----------
        name : str
            The population.
        length : int
            Number of steps.
        spikes : dict of str to ndarray of int8, shape (length, B, *S)
            Spikes of the populations it draws on.

        Returns
        -------
        ndarray of int8, shape (length, B, *S)
            Its spikes.
        """
        arriving = {source: self._delivered(source, s) for source, s in spikes.items()}
        return self._fire_in_pieces(self.snn[name], 0, length, arriving)

    def masks(self) -> dict[str, Array]:
        """Say which neurons of gated populations are let out from now on.

        Returns
        -------
        dict of str to ndarray of bool, shape (B, *S)
            By population, of those that were computed here.
        """
        return {
            name: ready.neuron.over(ready.shape).keeps(self.states[name].v)
            for name, ready in self.ready.items()
            if isinstance(ready.neuron, GatedIF) and name in self.states
        }

    def _pieces(self, length: int, size: int) -> Iterator[slice]:
        """Split steps so that float64 arrays of `size` a sample fit into CURRENTS."""
        piece = max(1, CURRENTS // (8 * self.batch * size))
        for first in range(0, length, piece):
            yield slice(first, min(first + piece, length))

    def _constant(self, p: Population) -> tuple[Array, tuple[Projection, ...]]:
        """Add the terms of the projections from the image, once.

        Returns the sums begun, shape (B, *S), in the carrier, and the projections still
        to be added: without a grid those behind the first that is not from the image.
        """
        ready = self.ready[p.name]
        if self.arithmetic.rounds_currents_of(p):
            return self._image_current(p, self.arithmetic), ready.projections
        if p.name in self.currents:
            inner = tuple(q for q in ready.projections if q.source != INPUT)
            return self.currents[p.name].astype(self.arithmetic.dtype), inner
        leading = tuple(takewhile(lambda q: q.source == INPUT, ready.projections))
        acc = np.zeros((self.batch, *p.shape), dtype=self.arithmetic.dtype)
        acc = image_terms(leading, acc, self.x, self.impl.accumulate)
        return acc, ready.projections[len(leading) :]

    def _image_current(self, p: Population, arithmetic: Arithmetic) -> Array:
        """Return the image's current, bias included, given or summed."""
        if p.name in self.currents:
            return arithmetic.current(self.snn, p, self.currents[p.name])
        return arithmetic.image_current(self.snn, p, self.x, self.impl.accumulate)

    def _fire_in_pieces(
        self, p: Population, start: int, length: int, spikes: dict[str, Array]
    ) -> Array:
        """Take one population some steps on, so many at once as CURRENTS allows."""
        if self.snn.stages.rho and start == 0:
            self._move_start(p, spikes)
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
        where = f"spiking network {self.snn.name}"
        ready = self.ready[p.name]
        neuron = self._neuron(p)
        x = self._current(p, length, spikes)
        axes = f"(step after {start}, sample, *shape)"
        require_finite(x, where=f"{where}, current of population {p.name}", axes=axes)
        x = np.broadcast_to(x, (length, *x.shape[1:]))
        state = self.states.get(p.name) or neurons.initial_state(
            bind(ready.over("v0"), x), x.shape[1:]
        )
        theta = bind(ready.over("theta"), x)
        if self.arithmetic.fixed:
            s, after = self._unroll_fixed(p, neuron, start, x, state, theta, spikes)
        else:
            s, after = self.impl.unroll(neuron, x, state, theta)
        where = f"{where}, potential of population {p.name}"
        require_finite(after.v, where=where, axes="(sample, *shape)")
        self.arithmetic.require_room(p, start, x, s, state.v, theta, where)
        self.states[p.name] = after
        emitted = self.result.emitted(p.name, s)
        self._count(p, neuron, start, emitted)
        if self.observe:
            self.observe(p, start, *self._in_potentials(p, x, s, after))
        return emitted

    def _neuron(self, p: Population) -> Neuron:
        """Return a population's neuron, its parameters shaped, under the profile."""
        neuron = cast(Neuron, self.ready[p.name].neuron)  # hidden ones have one
        return neurons.under(neuron, self.snn.profile).over(p.shape)

    def _move_start(self, p: Population, spikes: dict[str, Array]) -> None:
        """Move the initial potentials of a population as COS does."""
        stages, ready = self.snn.stages, self.ready[p.name]
        first = {name: s[: stages.rho] for name, s in spikes.items()}
        x = self._current(p, stages.rho, first)
        x = np.broadcast_to(x, (stages.rho, *x.shape[1:]))
        theta = bind(ready.over("theta"), x)
        neuron = self._neuron(p)
        v0 = np.broadcast_to(bind(ready.over("v0"), x), x.shape[1:])
        for _ in range(stages.rounds):
            v0 = neurons.offset(neuron, x, v0, theta, self._margins(p, x))
        self.states[p.name] = State(v0, np.zeros(v0.shape, dtype=np.int64))
        unit = per_channel(self.arithmetic.unit(p), p.shape, where="unit")
        self.result.v0[p.name] = v0 * unit

    def _margins(self, p: Population, x: Array) -> neurons.Margins:
        """Return where COS puts potentials, rounded away from theta to the grid."""
        unit = per_channel(self.arithmetic.unit(p), p.shape, where="unit")
        q = np.full(p.shape[:1], FINEST) if p.grid is None else p.grid
        below, above = neurons.margins(per_channel(q, p.shape, where="grid"))
        return neurons.Margins(bind(below / unit, x), bind(above / unit, x))

    def _in_potentials(
        self, p: Population, x: Array, s: Array, state: State
    ) -> tuple[Array, Array, State]:
        """Express what an observer sees in units of theta, whatever the carrier."""
        if self.arithmetic.dtype is np.float64:
            return x, s, state
        unit = per_channel(self.arithmetic.unit(p), p.shape, where="unit")
        return x * unit, s, State(state.v * unit, state.N)

    def _unroll_fixed(
        self,
        p: Population,
        neuron: Neuron,
        start: int,
        x: Array,
        state: State,
        theta: Array,
        spikes: dict[str, Array],
    ) -> tuple[Array, State]:
        """Advance a population by T' steps under a fixed-point overflow rule."""
        fixed = cast(Fixed, self.arithmetic.fixed)
        s = np.empty(x.shape, dtype=np.int8)
        for t in range(len(x)):
            terms: Iterable[Array] = [x[t]]
            if fixed.overflow == "saturate-each":
                terms = self._terms(p, {name: a[t] for name, a in spikes.items()})
            where = (
                f"spiking network {self.snn.name}, population {p.name}, "
                f"step {start + t + 1}"
            )
            u = fixed.charged(state.v, terms, where)
            s[t], state = neuron.discharge(u, state.N, theta)
        return s, state

    def _terms(self, p: Population, spikes: dict[str, Array]) -> Iterator[Array]:
        """Walk the terms of one step in order, the image's current as the first."""
        acc, projections = self.constants[p.name]
        yield acc
        for q in projections:
            yield from q.op.terms(q.pooled(spikes[q.source]).astype(acc.dtype))
        bias = self.ready[p.name].bias
        if bias is not None:
            shape = self.ready[p.name].over("bias")
            yield np.broadcast_to(bind(shape, acc), acc.shape)

    def _current(self, p: Population, length: int, spikes: dict[str, Array]) -> Array:
        """Sum the terms of some steps, shape (T', B, *S); T' = 1 if it is constant."""
        acc, projections = self.constants[p.name]
        steps = length if projections else 1
        acc = np.broadcast_to(acc, (steps, *acc.shape)).reshape(-1, *p.shape)
        for q in projections:
            source = self._source(q, length, spikes)
            acc = self.impl.accumulate(q.op, acc, q.pooled(merge(source)))
        ready = self.ready[p.name]
        if ready.bias is not None:
            acc = acc + bind(ready.over("bias"), acc)
        return acc.reshape(steps, -1, *p.shape)

    def _source(self, q: Projection, length: int, spikes: dict[str, Array]) -> Array:
        """Return what a projection's source emits, shape (T', B, *S)."""
        if q.source == INPUT:
            return np.broadcast_to(self.x, (length, *self.x.shape))
        return spikes[q.source]

    def _read_out(self, start: int, length: int, spikes: dict[str, Array]) -> None:
        """Evaluate logits(t) = W' counts(t) + t b for some steps."""
        p, ready = self.snn.readout, self.ready[self.snn.readout.name]
        dtype = self.reading.dtype
        acc = np.zeros((length * self.batch, *p.shape), dtype=dtype)
        t = np.arange(start + 1, start + length + 1).astype(dtype)
        if self.reading.rounds_currents_of(p):
            current = self._image_current(p, self.reading)
            acc = merge(t[:, None, None] * current)
        for index, q in enumerate(ready.projections):
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
        if ready.bias is not None:
            logits = logits + t[:, None, None] * bind(ready.over("bias"), logits)
        logits = logits * self.reading.unit(p)
        require_finite(
            logits,
            where=f"spiking network {self.snn.name}, readout {p.name}",
            axes=f"(step after {start}, sample, class)",
        )
        self.result.logits[start : start + length] = logits

    def _count(self, p: Population, neuron: Neuron, start: int, s: Array) -> None:
        """Count spikes and the synaptic operations that they cause."""
        alphabet = neuron.alphabet
        least, most = int(s.min()), int(s.max())
        if least < min(alphabet) or most > max(alphabet):
            raise DomainError(
                where=f"spiking network {self.snn.name}, population {p.name}",
                got=f"spikes from {least} to {most}",
                expected=f"values of the neuron's alphabet {alphabet}",
            )
        steps = slice(start, start + len(s))
        single = max(alphabet) == 1  # else a neuron may emit several in a step
        positive = (
            np.count_nonzero(s > 0, axis=1)
            if single
            else np.maximum(s, 0).sum(axis=1, dtype=np.int64)
        )
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
