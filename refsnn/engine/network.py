"""Running a prepared network: spikes as bits in one arena, counts from the bits."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import cast
from weakref import ReferenceType, WeakKeyDictionary, ref

import numpy as np

from refsnn.arithmetic import Arithmetic
from refsnn.certificate import ranges
from refsnn.engine.blocks import block_of, patterns, sources_of, words_listed
from refsnn.engine.buffers import ROWS, buffers, records
from refsnn.engine.currents import Currents, image_current
from refsnn.engine.geometry import as_map
from refsnn.engine.layout import LANES, from_words, in_words, words_of
from refsnn.engine.plan import Part, Plan, prepare, why_ordinary
from refsnn.kernels import events
from refsnn.kernels.readouts import read_out, tally
from refsnn.kernels.shared import split
from refsnn.network import Population, SpikingNetwork
from refsnn.numerics import Array

WORTH = 60_000_000
"""Additions of a population, were all its inputs to spike, from which on threads share
its rows: below, handing pieces to threads takes longer than half of the work. Only time
depends on it."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A network whose populations are laid out for the event-driven kernels.

    Attributes
    ----------
    network : weak reference to SpikingNetwork
        The network, which is not kept alive by being prepared.
    arithmetic : Arithmetic
        The numbers of the run.
    steps : int
        Steps that it is prepared for, at most.
    plans : dict of str to Plan
        By population; those without a kernel are missing.
    ordinary : dict of str to str
        Why the others have none.
    currents : dict of str to Currents
        What the image causes, of populations that it feeds.
    fan_outs : dict of str to ndarray of int64, shape (H W words,), or None
        Operations that a spike of each word causes, by population; None where they
        differ among the channels of a pixel, or maxima choose among its spikes.
    records : dict of int to tuple of ndarray
        The kernel's records of each part, by its identity.
    """

    network: ReferenceType[SpikingNetwork]
    arithmetic: Arithmetic
    steps: int
    plans: dict[str, Plan]
    ordinary: dict[str, str]
    currents: dict[str, Currents]
    fan_outs: dict[str, Array | None]
    records: dict[int, tuple[Array, Array]]

    @property
    def snn(self) -> SpikingNetwork:
        """The network, for as long as somebody holds it."""
        return cast(SpikingNetwork, self.network())

    @property
    def needs_others(self) -> bool:
        """Whether the ordinary kernels have to compute or count something."""
        return bool(self.ordinary) or any(f is None for f in self.fan_outs.values())


_KNOWN: WeakKeyDictionary[SpikingNetwork, dict[tuple[str, int], Prepared]] = (
    WeakKeyDictionary()
)
KEPT = 2
"""Carriers and numbers of steps that a network is kept prepared for, the last ones."""

_LOCK = Lock()


def prepared(snn: SpikingNetwork, T: int, arithmetic: Arithmetic) -> Prepared:
    """Prepare a network; once for each carrier and number of steps.

    Parameters
    ----------
    snn : SpikingNetwork
        A network in canonical form.
    T : int
        Number of steps.
    arithmetic : Arithmetic
        Numbers of mode ``exact``.

    Returns
    -------
    Prepared
        The network, prepared.
    """
    steps = max(T, snn.stages.tau)
    key = (arithmetic.carrier, steps)
    with _LOCK:  # threads that share a network prepare it once
        known = _KNOWN.setdefault(snn, {})
        if key not in known:
            while len(known) >= KEPT:
                del known[next(iter(known))]
            known[key] = _prepare(snn, steps, arithmetic)
        return known[key]


def _prepare(snn: SpikingNetwork, steps: int, arithmetic: Arithmetic) -> Prepared:
    """Lay out every population that has a kernel."""
    reasons = {p.name: why_ordinary(snn, p) for p in snn.populations}
    plans = {
        p.name: prepare(snn, p, ranges(snn)[p.name], steps, arithmetic.carrier)
        for p in snn.populations
        if not reasons[p.name]
    }
    return Prepared(
        network=ref(snn),
        arithmetic=arithmetic,
        steps=steps,
        plans=plans,
        ordinary={name: why for name, why in reasons.items() if why},
        currents={
            name: image_current(snn, plan, arithmetic)
            for name, plan in plans.items()
            if plan.population.fed_by_image
        },
        fan_outs={p.name: _fan_out(snn, p) for p in snn.hidden},
        records={
            id(part): records(part) for plan in plans.values() for part in plan.parts
        },
    )


def _fan_out(snn: SpikingNetwork, p: Population) -> Array | None:
    """Return the fan-out of each word, if its pixel alone tells it."""
    by_pixel = snn.fan_out(p.name).reshape(p.shape[0], -1)
    chosen = any(q.maxima for _, q in snn.projections(p.name))
    same = (by_pixel == by_pixel[0]).all()
    return np.repeat(by_pixel[0], words_of(p.shape[0])) if same and not chosen else None


class Engine:
    """A prepared network on some images, for some steps.

    Parameters
    ----------
    prepared : Prepared
        The network.
    x : ndarray of float64, shape (B, C, H, W)
        Analog input.
    T : int
        Number of steps.
    gates : mapping of str to ndarray of bool, shape (B, *S)
        Neurons that are let out, by population; of others all are.
    keeping : bool
        Whether these are observing steps, behind which gated populations are asked
        which neurons they keep.
    pool : ThreadPoolExecutor, optional
        Threads that share the rows of each population.
    threads : int
        How many they are.
    """

    def __init__(
        self,
        prepared: Prepared,
        x: Array,
        T: int,
        gates: Mapping[str, Array],
        *,
        keeping: bool,
        pool: ThreadPoolExecutor | None = None,
        threads: int = 1,
    ) -> None:
        self.prepared, self.x, self.T, self.B = prepared, x, T, len(x)
        self.gates, self.keeping = gates, keeping
        self.pool, self.threads = pool, threads
        self.marked: dict[str, int] = {}
        self._size = 0
        self._places = {
            (p.name, sign): self._room(self.T * self.B * self._pixels(p))
            for p in prepared.snn.hidden
            for sign in self._signs(p)
        }
        self._kept = {
            name: self._room(self.B * self._pixels(plan.population))
            for name, plan in prepared.plans.items()
            if hasattr(plan.population.neuron, "keeps")
        }
        self._blocks = {
            name: block_of(plan, T) for name, plan in prepared.plans.items()
        }
        self._shared = self._room(
            self.B * words_listed(prepared.plans, self._blocks, T)
        )
        self.arena = np.zeros(self._size + 16 * LANES, dtype=np.uint16)

    def _room(self, words: int) -> int:
        begin = self._size
        self._size += words
        return begin

    @staticmethod
    def _pixels(p: Population) -> int:
        C, H, W = as_map(p.shape)
        return H * W * words_of(C)

    @staticmethod
    def _signs(p: Population) -> tuple[int, ...]:
        return (1, -1) if p.neuron and min(p.neuron.alphabet) < 0 else (1,)

    def _words(self, p: Population, begin: int, leading: tuple[int, ...]) -> Array:
        """Return a population's words in the arena, a view."""
        C, H, W = as_map(p.shape)
        shape = (*leading, H, W, words_of(C))
        return self.arena[begin : begin + int(np.prod(shape))].reshape(shape)

    def _to_words(self, p: Population, bits: Array, begin: int) -> None:
        """Write truth values, shape (..., *S), into the arena."""
        leading = bits.shape[: bits.ndim - len(p.shape)]
        packed = in_words(bits.reshape(*leading, *as_map(p.shape)))
        self._words(p, begin, leading)[...] = packed

    def _from_words(self, p: Population, begin: int, leading: tuple[int, ...]) -> Array:
        """Read truth values, shape (..., *S), from the arena."""
        bits = from_words(self._words(p, begin, leading), p.shape[0])
        return bits.reshape(*leading, *p.shape)

    def spikes(self, name: str) -> Array:
        """Return the spikes of a population.

        Parameters
        ----------
        name : str
            The population, computed before.

        Returns
        -------
        ndarray of int8, shape (T, B, *S)
            Its spikes, as they are let out.
        """
        p, leading = self.prepared.snn[name], (self.B, self.T)
        signs = self._signs(p)
        s = self._from_words(p, self._places[name, 1], leading).astype(np.int8)
        if len(signs) > 1:
            s -= self._from_words(p, self._places[name, -1], leading)
        return np.ascontiguousarray(s.swapaxes(0, 1))

    def put(self, name: str, s: Array) -> None:
        """Store the spikes of a population that was computed elsewhere.

        Parameters
        ----------
        name : str
            The population.
        s : ndarray of int8, shape (T, B, *S)
            Its spikes.
        """
        p = self.prepared.snn[name]
        for sign in self._signs(p):
            self._to_words(p, (s == sign).swapaxes(0, 1), self._places[name, sign])

    def masks(self) -> dict[str, Array]:
        """Say which neurons are kept behind observing steps.

        Returns
        -------
        dict of str to ndarray of bool, shape (B, *S)
            By population.
        """
        return {
            name: self._from_words(self.prepared.snn[name], begin, (self.B,))
            for name, begin in self._kept.items()
        }

    def fire(self, name: str) -> None:
        """Compute the spikes of a population, from those of its sources.

        Parameters
        ----------
        name : str
            A population with a plan.
        """
        plan = self.prepared.plans[name]
        p, marked = plan.population, 0
        fixed = None
        if name in self.prepared.currents:
            fixed = self.prepared.currents[name](self.prepared.snn, self.x)
        if name in self._kept and name in self.gates:
            self._to_words(p, self.gates[name], self._kept[name])
        block = self._blocks[name]
        places = self._split(plan, block)
        for part in plan.parts:
            job, fast, true = self._job(plan, part, fixed, block)
            values = (events.Values(**fast), events.Values(**true))
            marked += self._gather(part, job, *values, block, places)
        if plan.numbers.filtered:
            self.marked[name] = int(marked)

    def _split(self, plan: Plan, block: tuple[int, ...]) -> dict[tuple[str, int], int]:
        """Say where the spikes to be listed are; split by patterns, if need be."""
        if len(block) == 1:
            return self._places
        places, at = {}, self._shared
        for source, words in sources_of(plan).items():
            places[source] = at
            begin = self._places[source]
            split(block, self.arena, begin, at, self.B, self.T, words)
            at += self.B * patterns(self.T, block) * words
        return places

    def _gather(
        self,
        part: Part,
        job: events.Job,
        fast: events.Values,
        true: events.Values,
        block: tuple[int, ...],
        places: Mapping[tuple[str, int], int],
    ) -> int:
        """Compute the rows of a part; threads share them, if it is worth it."""
        rows = self.B * job.height
        row = job.rows * job.tiles * len(part.registers) * LANES * job.width * self.T

        def some(row: int, end: int) -> int:
            lists, taps, buffer, first = self._buffers(part, job, places)
            marked: int = events.gather(
                *(part.registers, block, self.arena, part.tables, job, lists, taps),
                *(fast, true, buffer, first, row, end),
            )
            return marked

        if self.pool is None or rows * row < WORTH:
            return some(0, rows)
        step = min(ROWS, -(-rows // self.threads))
        begins = range(0, rows, step)
        return sum(self.pool.map(some, begins, [min(b + step, rows) for b in begins]))

    def _job(
        self,
        plan: Plan,
        part: Part,
        fixed: tuple[Array, Array] | None,
        block: tuple[int, ...] = (0,),
    ) -> tuple[events.Job, dict[str, Array], dict[str, Array]]:
        """Fill in the record of a part, and the current of the image."""
        name, fields = plan.population.name, dict(part.job)
        fast, true = dict(part.fast), dict(part.true)
        _, H, W = plan.shape
        if fixed is not None:
            lane, lanes = fields["word"] * LANES, plan.words * LANES
            fast["constant"], true["constant"] = (
                values.reshape(-1)[lane:] for values in fixed
            )
            fields["constant_image"] = H * W * lanes
            fields["constant_row"] = W * lanes
            fields["constant_column"] = plan.fold * lanes
        kept = self._kept.get(name, -1)
        fields["steps"], fields["listed"] = self.T, patterns(self.T, block)
        fields["positive"] = self._places.get((name, 1), -1)
        fields["negative"] = self._places.get((name, -1), -1)
        fields["gate"] = kept if name in self.gates else -1
        fields["keep"] = kept if self.keeping else -1
        fields["worst"] *= self.T
        return events.Job(**fields), fast, true

    def _buffers(
        self, part: Part, job: events.Job, places: Mapping[tuple[str, int], int]
    ) -> tuple[Array, Array, Array, Array]:
        """Fill in where projections find spikes; make room for their lists."""
        kept = self.prepared.records[id(part)]
        return buffers(part, kept, (places, self._places), job)

    def count(self, name: str) -> tuple[Array, Array, Array]:
        """Count the spikes of a population and the operations that they cause.

        Parameters
        ----------
        name : str
            A population whose fan-outs are known.

        Returns
        -------
        positive, negative, synops : ndarray of int64, shape (T,)
            The counts.
        """
        p, fan_out = self.prepared.snn[name], self.prepared.fan_outs[name]
        counts = np.zeros((3, self.T), dtype=np.int64)
        steps = np.arange(self.B * self.T).reshape(self.B, self.T) * self._pixels(p)
        for sign in self._signs(p):
            begin = self._places[name, sign] + steps
            own = counts[0 if sign > 0 else 1]
            tally(self.arena, begin, fan_out, own, counts[2])
        return counts[0], counts[1], counts[2]

    def read_out(self) -> Array:
        """Return the readout at every step.

        Returns
        -------
        ndarray of float64, shape (T, B, classes)
            Logits.
        """
        plan = self.prepared.plans[self.prepared.snn.readout.name]
        (part,) = plan.parts
        job, fast, _ = self._job(plan, part, None)
        lists, taps, buffer, first = self._buffers(part, job, self._places)
        lanes = part.job["tiles"] * len(part.registers) * LANES
        logits = np.empty((self.B, self.T, lanes))
        read_out(
            *(part.registers, self.arena, part.tables, job, lists, taps),
            *(events.Values(**fast), buffer, first, logits),
        )
        return np.ascontiguousarray(logits[:, :, : plan.shape[0]].swapaxes(0, 1))
