"""Running a prepared network: spikes as bits in one arena, counts from the bits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TypeVar, cast
from weakref import ReferenceType, WeakKeyDictionary, ref

import numpy as np

from refsnn.arithmetic import Arithmetic
from refsnn.engine.calls import Call
from refsnn.engine.currents import Currents, image_current
from refsnn.engine.geometry import as_map
from refsnn.engine.layout import LANES, from_words, in_words, words_of
from refsnn.engine.places import Places, lay_out, pixels
from refsnn.engine.plan import Plan, prepare, sharing
from refsnn.engine.served import ordinary
from refsnn.engine.starts import Starts
from refsnn.kernels import events
from refsnn.kernels.jobs import Values
from refsnn.kernels.offsets import move_starts
from refsnn.kernels.readouts import read_out, tally
from refsnn.kernels.shared import split
from refsnn.network import Population, SpikingNetwork
from refsnn.numerics import Array
from refsnn.ranges import ranges

WORTH = 60_000_000
"""Additions of a part of a population, were all its inputs to spike, from which on
threads share its rows: below, handing pieces to threads takes longer than half of the
work. Only time depends on it."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A network whose populations are laid out for the event-driven kernels.

    Attributes
    ----------
    network : weak reference to SpikingNetwork
        The network, which is not kept alive by being prepared.
    plans : dict of str to Plan
        By population; those without a kernel are missing.
    few : dict of str to Plan
        Populations that many spikes would leave in doubt, which are laid out for
        float64: once more, in integers, for few spikes.
    ordinary : dict of str to str
        Why the others have none.
    currents : dict of str to Currents
        What the image causes, of populations that it feeds.
    fan_outs : dict of str to ndarray of int64, shape (H W words,), or None
        Operations that a spike of each word causes, by population; None where they
        differ among the channels of a pixel, or maxima choose among its spikes.
    laid_out : dict of tuple to Places
        Runs of some numbers of images and steps, the last ones.
    """

    network: ReferenceType[SpikingNetwork]
    plans: dict[str, Plan]
    few: dict[str, Plan]
    ordinary: dict[str, str]
    currents: dict[str, Currents]
    fan_outs: dict[str, Array | None]
    laid_out: dict[tuple[int, int, frozenset[str], bool], Places]

    @property
    def snn(self) -> SpikingNetwork:
        """The network, for as long as somebody holds it."""
        return cast(SpikingNetwork, self.network())

    @property
    def needs_others(self) -> bool:
        """Whether the ordinary kernels have to compute or count something."""
        return bool(self.ordinary) or any(f is None for f in self.fan_outs.values())

    def places(self, B: int, T: int, gated: frozenset[str], keeping: bool) -> Places:
        """Lay out a run; once for each number of images and steps.

        Parameters
        ----------
        B, T : int
            Images and steps.
        gated : frozenset of str
            Populations of which not all neurons are let out.
        keeping : bool
            Whether these are observing steps.

        Returns
        -------
        Places
            Where everything is.
        """
        key = (B, T, gated, keeping)
        with _LOCK:
            if key not in self.laid_out:
                while len(self.laid_out) >= SHAPES:
                    del self.laid_out[next(iter(self.laid_out))]
                self.laid_out[key] = lay_out(
                    *(self.snn.hidden, self.plans, self.few, B, T),
                    images=self.currents,
                    gated=gated,
                    keeping=keeping,
                    rho=self.snn.stages.rho,
                )
            return self.laid_out[key]


_KNOWN: WeakKeyDictionary[SpikingNetwork, dict[tuple[str, int], Prepared]] = (
    WeakKeyDictionary()
)
KEPT = 2
"""Carriers and numbers of steps that a network is kept prepared for, the last ones."""

SHAPES = 8
"""Shapes of runs that are kept laid out, the last ones."""

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
    others = ordinary(snn)

    def laid_out(p: Population, fine: int | None = None) -> Plan:
        known = ranges(snn)[p.name]
        return prepare(snn, p, known, steps, arithmetic.carrier, fine)

    plans = {p.name: laid_out(p) for p in snn.populations if p.name not in others}
    return Prepared(
        network=ref(snn),
        plans=plans,
        few={
            name: sharing(laid_out(plan.population, 0), plan)
            for name, plan in plans.items()
            if plan.few
        },
        ordinary=others,
        currents={
            name: image_current(snn, plan, arithmetic)
            for name, plan in plans.items()
            if plan.population.fed_by_image
        },
        fan_outs={p.name: _fan_out(snn, p) for p in snn.hidden},
        laid_out={},
    )


def _fan_out(snn: SpikingNetwork, p: Population) -> Array | None:
    """Return the fan-out of each word, if its pixel alone tells it."""
    by_pixel = snn.fan_out(p.name).reshape(p.shape[0], -1)
    chosen = any(q.maxima for _, q in snn.projections(p.name))
    same = (by_pixel == by_pixel[0]).all()
    return np.repeat(by_pixel[0], words_of(p.shape[0])) if same and not chosen else None


Rows = TypeVar("Rows")

ByImage = Mapping[str, tuple[Array, Array]]
"""What differs from image to image, in lanes: in a plan's numbers, and in float64."""


def _given(call: Call, by_image: ByImage) -> tuple[Values, Values]:
    """Return a part's values with those of some images."""
    if not by_image:
        return call.fast, call.true
    own, values = slice(call.job.word * LANES, None), (call.fast, call.true)
    fast, true = (
        some._replace(**{n: both[k].reshape(-1)[own] for n, both in by_image.items()})
        for k, some in enumerate(values)
    )
    return fast, true


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
        Threads that share the rows of each population with the calling one.
    threads : int
        How many they are together.
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
        self.v0: dict[str, Array] = {}
        self.places = prepared.places(self.B, T, frozenset(gates), keeping)
        self.arena = np.zeros(self.places.size, dtype=np.uint16)

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
        places = self.places.spikes
        s = self._from_words(p, places[name, 1], leading).astype(np.int8)
        if len(p.signs) > 1:
            s -= self._from_words(p, places[name, -1], leading)
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
        for sign in p.signs:
            begin = self.places.spikes[name, sign]
            self._to_words(p, (s == sign).swapaxes(0, 1), begin)
        self._begin(p)

    def _begin(self, p: Population) -> None:
        """Copy the steps that are observed of a population to where they are read."""
        rho = self.prepared.snn.stages.rho
        for sign in p.signs if rho else ():
            places = self.places.spikes[p.name, sign], self.places.begun[p.name, sign]
            spikes = self._words(p, places[0], (self.B, self.T))
            self._words(p, places[1], (self.B, rho))[...] = spikes[:, :rho]

    def masks(self) -> dict[str, Array]:
        """Say which neurons are kept behind observing steps.

        Returns
        -------
        dict of str to ndarray of bool, shape (B, *S)
            By population.
        """
        return {
            name: self._from_words(self.prepared.snn[name], begin, (self.B,))
            for name, begin in self.places.kept.items()
        }

    def fire(self, name: str) -> None:
        """Compute the spikes of a population, from those of its sources.

        Parameters
        ----------
        name : str
            A population with a plan.
        """
        block, (plan, calls) = self.places.blocks[name], self._chosen(name)
        fixed = None
        if name in self.prepared.currents:
            fixed = self.prepared.currents[name](self.prepared.snn, self.x)
        if name in self.places.kept and name in self.gates:
            p, gate = plan.population, self.gates[name]
            self._to_words(p, gate, self.places.kept[name])
        by_image = {} if fixed is None else {"constant": fixed}
        if plan.moves:
            by_image["start"] = self._moved(plan, by_image)
        for begin, at, words in self.places.splits[name]:
            split(block, self.arena, begin, at, self.B, self.T, words)
        marked = sum(self._gather(call, block, by_image) for call in calls)
        if plan.numbers.filtered or name in self.prepared.few:
            self.marked[name] = marked  # float64 leaves none in doubt
        self._begin(plan.population)

    def _chosen(self, name: str) -> tuple[Plan, tuple[Call, ...]]:
        """Choose float64 or integers by the spikes that a population sees."""
        few = self.prepared.few.get(name)
        if few:
            seen = sum(n * self._rate(source) for source, n in few.terms)
            terms = 1 + self.T * (few.always + seen)
            if terms <= few.numbers.terms:
                return few, self.places.few[name]
        return self.prepared.plans[name], self.places.calls[name]

    def _rate(self, name: str) -> float:
        """Return the spikes of a neuron and a step, on average."""
        p = self.prepared.snn[name]
        size = self.B * self.T * pixels(p)
        begins = [self.places.spikes[name, sign] for sign in p.signs]
        words = [self.arena[begin : begin + size] for begin in begins]
        spikes = sum(int(np.bitwise_count(some).sum()) for some in words)
        return spikes / (self.B * self.T * p.neurons)

    def _moved(
        self, plan: Plan, by_image: Mapping[str, tuple[Array, Array]]
    ) -> tuple[Array, Array]:
        """Move initial potentials by observing steps, as COS does."""
        p, starts = plan.population, Starts(plan, self.B)
        for _ in range(self.prepared.snn.stages.rounds):
            moved = starts.true.copy()
            seen = {**by_image, "start": (starts.fast, starts.true)}
            for call in self.places.observing[p.name]:
                self._observe(call, seen, moved)
            starts.move(moved)
        self.v0[p.name] = starts.potentials()
        return starts.fast, starts.true

    def _observe(self, call: Call, by_image: ByImage, moved: Array) -> None:
        """Take a part through the observing steps; threads share its rows."""
        job, fast, true = call.job, *_given(call, by_image)
        own = moved.reshape(-1)[job.word * LANES :]

        def some(begin: int, end: int) -> None:
            move_starts(
                *(call.registers, call.window, self.arena, call.tables, job),
                *(call.lists, call.taps, fast, true, *call.room(), own, begin, end),
            )

        self._shared(call, some)

    def _gather(self, call: Call, block: tuple[int, ...], by_image: ByImage) -> int:
        """Compute the rows of a part; return how many neurons were marked."""
        fast, true = _given(call, by_image)

        def some(begin: int, end: int) -> int:
            marked: int = events.gather(
                *(call.registers, call.window, block, self.arena, call.tables),
                *(call.job, call.lists, call.taps, fast, true),
                *(*call.room(), begin, end),
            )
            return marked

        return sum(self._shared(call, some))

    def _shared(self, call: Call, some: Callable[[int, int], Rows]) -> list[Rows]:
        """Do the rows of a part; threads share them, if it is worth it."""
        job = call.job
        rows = self.B * job.height
        if self.pool is None or rows * call.additions * job.steps < WORTH:
            return [some(0, rows)]
        share = -(-rows // self.threads)
        spans = [(k, min(k + share, rows)) for k in range(share, rows, share)]
        begun = [(span, self.pool.submit(some, *span)) for span in spans]
        try:
            done = [some(0, share)]
            for span, one in begun:  # helpers that are busy elsewhere: not waited for
                done.append(some(*span) if one.cancel() else one.result())
        finally:
            for _, one in begun:
                one.cancel()
        return done

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
        steps = np.arange(self.B * self.T).reshape(self.B, self.T) * pixels(p)
        for sign in p.signs:
            begin = self.places.spikes[name, sign] + steps
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
        (call,) = self.places.calls[plan.population.name]
        lanes = call.job.tiles * len(call.registers) * LANES
        logits = np.empty((self.B, self.T, lanes))
        read_out(
            *(call.registers, self.arena, call.tables, call.job),
            *(call.lists, call.taps, call.fast, *call.room(), logits),
        )
        return np.ascontiguousarray(logits[:, :, : plan.shape[0]].swapaxes(0, 1))
