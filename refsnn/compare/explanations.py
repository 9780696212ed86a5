"""Which known convention or fault makes the reference emit another's spikes.

An explanation is accepted only if nothing differs any more: of a recording, when it is
undone; of the dynamics, when the reference is run again under it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import numpy as np

from refsnn.arithmetic import Arithmetic
from refsnn.compare.faults import FAULTS, Fault, profiles
from refsnn.compare.first import compare
from refsnn.compare.undo import UNDOINGS
from refsnn.errors import DomainError
from refsnn.margin import judge, need_network_of
from refsnn.network import INPUT, SpikingNetwork
from refsnn.neurons import IF, Neuron, initial_state, under, unroll
from refsnn.numerics import Array
from refsnn.profile import REFSNN, Profile
from refsnn.recording import spikes_of
from refsnn.run import Simulation, implementation
from refsnn.trace import Trace

SAMPLES = 4
"""Samples that candidates are tried on before the best is run on all."""

FEW_BITS = 24
"""Bits of binary32: below them no rounding, in any order, explains a difference."""

MOST_TRIALS = len(UNDOINGS) + len(list(profiles(REFSNN))) + len(FAULTS) + 3
"""About how many candidates there are."""

Told = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why spikes differ.

    Attributes
    ----------
    name : str
        The convention or fault, or ``unexplained: `` and the best candidate.
    remaining : int
        Differing spikes that are left under it; 0 if it is accepted. Of rounding:
        neurons behind others that differ, which cannot be judged.
    tried : tuple of str
        Names of what was tried, in order.
    """

    name: str
    remaining: int
    tried: tuple[str, ...]

    @property
    def accepted(self) -> bool:
        """Whether nothing differs any more."""
        return not self.name.startswith("unexplained")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Scene:
    """What candidates are tried on: samples, currents, recorded spikes."""

    snn: SpikingNetwork
    currents: dict[str, Array]
    other: dict[str, Array]
    golden: Trace

    def of(self, samples: Array) -> _Scene:
        """Return the scene with some of the samples."""
        return _Scene(
            snn=self.snn,
            currents={name: x[samples] for name, x in self.currents.items()},
            other={name: s[:, samples] for name, s in self.other.items()},
            golden=self.golden.of(samples),
        )

    def sources(self, name: str) -> set[str]:
        """Name the populations that a population draws on."""
        return {q.source for q in self.snn[name].projections} - {INPUT}

    def responding(self) -> list[str]:
        """Name the populations whose own inputs were recorded."""
        return [name for name in self.other if self.sources(name) <= self.other.keys()]

    def response(self, name: str, changed: _Changed) -> int:
        """Count where a population differs, given the recorded spikes as its input."""
        masks = self.golden.masks
        scaled = changed.currents(self.currents)
        ordered, kernel = Arithmetic(mode="ordered"), implementation("kernel")
        T = self.golden.T
        simulation = Simulation(changed.snn, scaled, T, ordered, kernel, None, masks)
        spikes = {source: self.other[source] for source in self.sources(name)}
        got = simulation.fire(name, T, spikes)
        return int(np.count_nonzero(got != self.other[name]))

    def remaining(self, changed: _Changed) -> Array:
        """Count each sample's differences from a run of the changed network."""
        T = self.golden.T
        snn = changed.snn if changed.rounds == 1 else _of_any_T(changed.snn)
        x = changed.currents(self.currents)
        masks = self.golden.masks if changed.masked else {}
        got, _ = spikes_of(snn, x, changed.rounds * T, mode="ordered", masks=masks)
        left = np.zeros(len(self.golden.samples), dtype=np.int64)
        for name, s in self.other.items():
            left += (got[name][-T:] != s).sum(axis=(0, *range(2, s.ndim)))
        return left


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Changed:
    """A network under a candidate."""

    name: str
    snn: SpikingNetwork
    scales: Mapping[str, float] = dataclasses.field(default_factory=dict)
    rounds: int = 1
    masked: bool = True

    def currents(self, plain: Mapping[str, Array]) -> dict[str, Array]:
        """Return the image's currents in the changed network's units."""
        return {name: x * self.scales.get(name, 1.0) for name, x in plain.items()}


def explain(
    golden: Trace,
    other: Mapping[str, Array],
    snn: SpikingNetwork | None = None,
    *,
    more: Sequence[Fault] = (),
    again: bool = True,
    progress: Told | None = None,
) -> Explanation | None:
    """Look for what turns the reference's spikes into another's.

    Tried in this order: undoings of the recording (:mod:`refsnn.compare.undo`); other
    conventions (:mod:`refsnn.profile`), then faults of single populations
    (:mod:`refsnn.compare.faults`), each by running the reference under it; rounding,
    where the network has no certificate of 24 bits (:mod:`refsnn.margin`).

    Parameters
    ----------
    golden : Trace
        The reference's trace.
    other : mapping of str to ndarray of int8, shape (T, B, *S)
        The other simulator's spikes, by population.
    snn : SpikingNetwork, optional
        The network of the trace. Without it only the recording is looked at.
    more : sequence of Fault
        Faults to try behind :data:`refsnn.compare.FAULTS`.
    again : bool
        Whether the other simulator may have run before, so that its state may not have
        been reset.
    progress : callable, optional
        Told how many candidates of how many were tried.

    Returns
    -------
    Explanation or None
        None if nothing differs.
    """
    found = compare(golden, other)
    if found.first is None and not found.misshapen:
        return None
    tried: list[str] = []
    best = (found.differing, "the reference as it is")
    for name, undo in UNDOINGS.items():
        tried.append(name)
        undone = undo(golden, other)
        if undone is None:
            continue
        if undone.remaining == 0:
            return Explanation(name=undone.name, remaining=0, tried=tuple(tried))
        if undone.complete:
            best = min(best, (undone.remaining, undone.name))
    if snn is not None and not found.misshapen:
        need_network_of(golden, snn)
        scene = _scene(golden, other, snn)
        trial = _Trial(scene, best, tried, progress or _quiet)
        accepted = trial.conventions(again=again) or trial.faults(more)
        if accepted:
            return Explanation(name=accepted, remaining=0, tried=tuple(tried))
        tried.append("rounding")
        unjudged = _is_rounding(scene)
        if unjudged is not None:
            return Explanation(name="rounding", remaining=unjudged, tried=tuple(tried))
        best = trial.nearest()
    return Explanation(
        name=f"unexplained: best is {best[1]}", remaining=best[0], tried=tuple(tried)
    )


class _Trial:
    """Trying candidates on a few samples, and what fits there on all."""

    def __init__(
        self, scene: _Scene, best: tuple[int, str], tried: list[str], told: Told
    ) -> None:
        self.scene, self.best, self.tried, self.told = scene, best, tried, told
        self.close: list[tuple[int, _Changed]] = []
        self.samples = _worst_samples(scene)
        self.few = scene.of(self.samples)
        plain = _Changed(name="", snn=scene.snn)
        responding = self.few.responding()
        self.faulty = [n for n in responding if self.few.response(n, plain)]

    def conventions(self, *, again: bool) -> str:
        """Try other conventions; return the name of the one that is accepted."""
        for name, profile in profiles(self.scene.snn.profile):
            changed = _under(self.scene.snn, name, profile)
            if changed is not None and self._accept(changed):
                return name
        if self.scene.golden.masks:
            unmasked = _Changed(name="mask ignored", snn=self.scene.snn, masked=False)
            if self._accept(unmasked):
                return unmasked.name
        if not again:
            return ""
        carried = _Changed(name="state-not-reset", snn=self.scene.snn, rounds=2)
        return carried.name if self._accept(carried) else ""

    def faults(self, more: Sequence[Fault]) -> str:
        """Try faults of single populations; return the name of what is accepted."""
        differing = compare(self.scene.golden, self.scene.other).populations
        layers = [name for name, steps in differing.items() if steps.any()]
        suspects = self.faulty or layers[:1]
        fitting: dict[str, Fault] = {}
        for fault in (*FAULTS, *more):
            every = _faulted(self.scene.snn, dict.fromkeys(suspects, fault))
            if every is not None and self._accept(every):
                return every.name
            for name in self.faulty:
                one = _faulted(self.scene.snn, {name: fault})
                fits = one is not None and self.few.response(name, one) == 0
                if fits and name not in fitting:
                    fitting[name] = fault
        if len(fitting) == len(self.faulty) > 1:
            combined = _faulted(self.scene.snn, fitting)
            if combined is not None and self._accept(combined):
                return combined.name
        return ""

    def _accept(self, changed: _Changed) -> bool:
        """Run a candidate on a few samples, and on all if nothing is left of them."""
        self.tried.append(changed.name)
        self.told(len(self.tried), MOST_TRIALS)
        try:
            left = int(self.few.remaining(changed).sum())
            if left:
                self.close.append((left, changed))
                return False
            remaining = self.scene.remaining(changed)
        except DomainError:  # more spikes in a step than a byte holds
            return False
        total = int(remaining.sum())
        if total < self.best[0]:
            self.best = (total, changed.name)
        if total:  # tell the next ones from this one
            worst = np.argmax(remaining)
            self.samples = np.union1d(self.samples, [worst])
            self.few = self.scene.of(self.samples)
        return total == 0

    def nearest(self) -> tuple[int, str]:
        """Return the best candidate, and what it leaves on all samples."""
        for _, changed in sorted(self.close, key=lambda pair: pair[0])[:1]:
            left = int(self.scene.remaining(changed).sum())
            if left < self.best[0]:
                self.best = (left, changed.name)
        return self.best


def _quiet(done: int, total: int) -> None:
    """Tell nobody."""


def _scene(golden: Trace, other: Mapping[str, Array], snn: SpikingNetwork) -> _Scene:
    currents = {
        name: recorded.input_current
        for name, recorded in golden.populations.items()
        if recorded.input_current is not None
    }
    ordered = {name: other[name] for name in golden.populations if name in other}
    return _Scene(snn=snn, currents=currents, other=ordered, golden=golden)


def _under(snn: SpikingNetwork, name: str, profile: Profile) -> _Changed | None:
    """Put a network under other conventions; None where they are not defined."""
    if snn.stages.rho:
        return None
    try:
        for p in snn.hidden:
            under(cast(Neuron, p.neuron), profile)
    except DomainError:
        return None
    return _Changed(name=name, snn=dataclasses.replace(snn, profile=profile))


def _faulted(snn: SpikingNetwork, faults: Mapping[str, Fault]) -> _Changed | None:
    """Put faults into populations; None if one changes nothing there."""
    populations, scales = [], {}
    for p in snn.populations:
        fault = faults.get(p.name)
        broken = fault.change(p) if fault else p
        if broken is None:
            return None
        populations.append(broken)
        if fault:
            scales[p.name] = fault.input_scale
    by_fault: dict[str, list[str]] = {}
    for population, fault in faults.items():
        by_fault.setdefault(fault.name, []).append(population)
    name = "; ".join(f"{f} in {', '.join(where)}" for f, where in by_fault.items())
    changed = dataclasses.replace(snn, populations=tuple(populations))
    return _Changed(name=name, snn=changed, scales=scales)


def _of_any_T(snn: SpikingNetwork) -> SpikingNetwork:
    return dataclasses.replace(snn, T=None)


def _worst_samples(scene: _Scene) -> Array:
    """Choose the first sample that differs, and those that differ most."""
    size = len(scene.golden.samples)
    differing = np.zeros(size, dtype=np.int64)
    for name, s in scene.other.items():
        d = scene.golden.populations[name].spikes != s
        differing += d.sum(axis=(0, *range(2, d.ndim)))
    first = int(np.argmax(differing > 0))
    most = [int(i) for i in np.argsort(-differing, kind="stable") if i != first]
    return np.sort([first, *most[: SAMPLES - 1]])


def _is_rounding(scene: _Scene) -> int | None:
    """Count the neurons that rounding cannot be asked of; None if it is no rounding.

    Each neuron is judged at its first difference, if none of its inputs differed
    before. That says something of the others only if all inputs were recorded.
    """
    few = scene.golden.bits is not None and scene.golden.bits <= FEW_BITS
    judged = [p.neuron for p in scene.snn.hidden]
    if few or scene.snn.profile != REFSNN or not all(_is_judged(n) for n in judged):
        return None
    verdicts = judge(scene.snn, scene.golden, scene.other).values()
    unjudged = sum(v.unjudged for v in verdicts)
    whole = len(scene.other) == len(scene.snn.hidden)
    fits = not any(v.errors for v in verdicts) and any(v.rounding for v in verdicts)
    return unjudged if fits and (whole or not unjudged) else None


def _is_judged(neuron: Neuron | None) -> bool:
    return neuron is not None and neuron.fires_at_theta


def explain_neurons(
    x: Array,
    spikes: Array,
    *,
    neuron: Neuron | None = None,
    theta: Array | float = 1.0,
    v0: Array | float = 0.0,
    own: Profile = REFSNN,
) -> Explanation | None:
    """Look for the conventions under which neurons emit given spikes.

    Parameters
    ----------
    x : ndarray, shape (T, B, *S), potential
        Their currents.
    spikes : ndarray of int8, shape (T, B, *S)
        What another simulator's neurons emitted.
    neuron : Neuron, optional
        The model; IF by default.
    theta, v0 : ndarray or float, potential
        Threshold and initial potential, broadcastable over (B, *S).
    own : Profile
        The conventions that were expected.

    Returns
    -------
    Explanation or None
        None if the neurons follow the expected conventions.
    """
    model = neuron or IF()
    state = initial_state(np.asarray(v0), x.shape[1:])
    tried: list[str] = []
    best: tuple[int, str] | None = None
    for name, profile in [("", own), *profiles(own)]:
        try:
            got, _ = unroll(under(model, profile), x, state, np.asarray(theta))
        except DomainError:  # not defined, or more spikes than a byte holds
            continue
        remaining = int(np.count_nonzero(got != spikes))
        if name:
            tried.append(name)
        if remaining == 0:
            found = Explanation(name=name, remaining=0, tried=tuple(tried))
            return found if name else None
        candidate = (remaining, name or "the reference as it is")
        best = min(best, candidate) if best else candidate
    left, name = best or (spikes.size, "none")
    return Explanation(
        name=f"unexplained: best is {name}", remaining=left, tried=tuple(tried)
    )
