"""Which known convention or fault makes the reference emit another's spikes.

An explanation is exact only if nothing differs any more: of a recording, when it is
undone; of the dynamics, when the reference is run again under it. If sums may round
under a candidate, and it leaves less than :data:`ROUNDED` of the differences, it is
named too, up to rounding.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from refsnn.arithmetic import certified
from refsnn.compare.faults import Fault, profiles
from refsnn.compare.first import Comparison, compare, distance
from refsnn.compare.trial import Scene, Told, Trial
from refsnn.compare.undo import UNDOINGS
from refsnn.errors import DomainError
from refsnn.margin import judge, need_network_of
from refsnn.network import INPUT, SpikingNetwork
from refsnn.neurons import IF, Neuron, initial_state, under, unroll
from refsnn.numerics import Array
from refsnn.profile import REFSNN
from refsnn.trace import Trace

ROUNDED = 1e-3
"""Share of the differences, below which rounding may have made what is left."""

WORTH = 0.5
"""Share of the differences: a candidate that leaves more is not offered as the best."""

EARLY = 4
"""First steps, in which a wrong current of the image shows."""

VERDICTS = ("exact", "rounding", "up to rounding", "unexplained")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fit:
    """A candidate that leaves nothing.

    Attributes
    ----------
    kind : str
        The convention or fault.
    name : str
        The same, and where.
    """

    kind: str
    name: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why spikes differ.

    Attributes
    ----------
    name : str
        The convention or fault; ``unexplained``, with the best candidate if one leaves
        at most :data:`WORTH` of the differences.
    remaining : int
        Differing spikes that are left under it; 0 if it is exact. Of rounding:
        neurons behind others that differ, which cannot be judged.
    tried : tuple of str
        Names of what was tried, in order.
    verdict : str
        One of :data:`VERDICTS`: ``exact``, nothing differs any more; ``rounding``, of
        the arithmetic alone, by the margin's bound; ``up to rounding``, of a candidate
        whose sums may round, and which leaves less than :data:`ROUNDED` of the
        differences; ``unexplained``.
    differing : int
        Differing spikes.
    why : str
        Why sums may round; what to check of what is unexplained.
    fits : tuple of Fit
        What leaves nothing, in order; the first one alone unless all were asked for.
    """

    name: str
    remaining: int
    tried: tuple[str, ...]
    verdict: str
    differing: int
    why: str = ""
    fits: tuple[Fit, ...] = ()

    @property
    def accepted(self) -> bool:
        """Whether nothing differs any more, or only by a proved rounding."""
        return self.verdict in {"exact", "rounding"}

    def __str__(self) -> str:
        """Say it in a line."""
        left = f"{self.remaining:,} of {self.differing:,}"
        if self.accepted:
            return f"explained by: {self.name}"
        if self.verdict == "up to rounding":
            return f"explained up to rounding: {self.name} ({left} left: {self.why})"
        said = f"{self.name}, which leaves {left}"
        if self.name == "unexplained":
            said = f"unexplained: every candidate leaves more than {WORTH:.0%} of "
            said += f"{self.differing:,}"
        if not self.differing:
            said = "unexplained: the shapes fit in no known order"
        return f"{said}; {self.why}" if self.why else said


def explain(
    golden: Trace,
    other: Mapping[str, Array],
    snn: SpikingNetwork | None = None,
    *,
    more: Sequence[Fault] = (),
    again: bool = True,
    every: bool = False,
    progress: Told | None = None,
) -> Explanation | None:
    """Look for what turns the reference's spikes into another's.

    Tried in this order: undoings of the recording (:mod:`refsnn.compare.undo`); other
    conventions (:mod:`refsnn.profile`), then faults of single populations
    (:mod:`refsnn.compare.faults`), each by running the reference under it; rounding,
    where the network has no certificate of 24 bits (:mod:`refsnn.margin`); two
    conventions or faults at once (:mod:`refsnn.compare.trial`).

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
    every : bool
        Whether to go on behind the first explanation, for all that are exact.
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
    fits, best = _undone(golden, other, tried, found, every=every)
    if found.misshapen and not fits and best[0] < math.inf:
        return _laid_out(best, tried)
    if snn is None or found.misshapen or (fits and not every):
        why = _of_shapes(golden, found)
        return _exact(fits, tried, found) or _unexplained(
            best, tried, found.differing, why
        )
    need_network_of(golden, snn)
    scene = _scene(golden, other, snn)
    trial = Trial(scene, tried, progress or _quiet, every=every)
    trial.first_round(more, again=again)
    fits += [Fit(kind=one.kind, name=one.name) for one in trial.accepted]
    if not fits:
        tried.append("rounding")
        unjudged = _is_rounding(scene)
        if unjudged is not None:
            return Explanation(
                name="rounding",
                remaining=unjudged,
                tried=tuple(tried),
                verdict="rounding",
                differing=found.differing,
            )
        nearly = _nearly(trial, found)
        trial.second_round(more)
        fits += [Fit(kind=one.kind, name=one.name) for one in trial.accepted]
        if not fits:
            named = nearly or _best(trial, best, found)
            return dataclasses.replace(named, tried=tuple(tried))
    return _exact(fits, tried, found)


def _undone(
    golden: Trace,
    other: Mapping[str, Array],
    tried: list[str],
    found: Comparison,
    *,
    every: bool,
) -> tuple[list[Fit], tuple[float, str]]:
    """Undo recordings: what leaves nothing, and what leaves least."""
    fits = []
    as_it_is = math.inf if found.misshapen else found.differing
    best: tuple[float, str] = (as_it_is, "the reference as it is")
    for kind, undo in UNDOINGS.items():
        tried.append(kind)
        undone = undo(golden, other)
        if undone is None:
            continue
        if undone.remaining == 0:
            fits.append(Fit(kind=kind, name=undone.name))
            if not every:
                break
        elif undone.complete:
            best = min(best, (undone.remaining, undone.name))
    return fits, best


def _laid_out(best: tuple[float, str], tried: Sequence[str]) -> Explanation:
    """Say how shapes fit, where spikes differ behind that."""
    return Explanation(
        name=f"unexplained: best is {best[1]}",
        remaining=int(best[0]),
        tried=tuple(tried),
        verdict="unexplained",
        differing=int(best[0]),
        why="so the shapes fit: save spikes as (T, B, *S), which other candidates are "
        "tried on, and compare again",
    )


def _exact(
    fits: Sequence[Fit], tried: Sequence[str], found: Comparison
) -> Explanation | None:
    """Name the first of what leaves nothing, if something does."""
    if not fits:
        return None
    return Explanation(
        name=fits[0].name,
        remaining=0,
        tried=tuple(tried),
        verdict="exact",
        differing=found.differing,
        fits=tuple(fits),
    )


def _nearly(trial: Trial, found: Comparison) -> Explanation | None:
    """Name the first candidate that leaves as little as rounding may, if sums round."""
    few = [one for one in trial.nearest() if one[0] < ROUNDED * found.differing]
    for left, _, changed in sorted(few, key=lambda one: one[1]):
        why = trial.scene.why_inexact(changed)
        if why:
            return Explanation(
                name=changed.name,
                remaining=left,
                tried=tuple(trial.tried),
                verdict="up to rounding",
                differing=found.differing,
                why=why,
            )
    return None


def _best(trial: Trial, best: tuple[float, str], found: Comparison) -> Explanation:
    """Name what leaves least."""
    for left, _, changed in trial.nearest()[:1]:
        best = min(best, (left, changed.name), key=lambda one: one[0])
    why = _advice(trial.scene, found)
    return _unexplained(best, trial.tried, found.differing, why)


def _unexplained(
    best: tuple[float, str], tried: Sequence[str], differing: int, why: str = ""
) -> Explanation:
    """Offer the best candidate, if it is worth it."""
    worth = best[0] <= WORTH * differing and differing > 0
    return Explanation(
        name=f"unexplained: best is {best[1]}" if worth else "unexplained",
        remaining=int(best[0]) if worth else differing,
        tried=tuple(tried),
        verdict="unexplained",
        differing=differing,
        why=why,
    )


def _of_shapes(golden: Trace, found: Comparison) -> str:
    """Say what to do if all shapes are those of another number of samples."""
    have = {shape[1] for shape in found.misshapen.values() if len(shape) > 1}
    alike = all(
        (*shape[:1], *shape[2:])
        == (golden.T, *golden.populations[name].spikes.shape[2:])
        for name, shape in found.misshapen.items()
    )
    if len(have) != 1 or not alike:
        return ""
    n, of = have.pop(), len(golden.samples)
    return f"{n} samples in place of {of}: record as many (trace --samples {n})"


def _advice(scene: Scene, found: Comparison) -> str:
    """Say what to check where the first difference is."""
    snn, first = scene.snn, found.first
    if first is None:
        return ""
    if scene.golden.fixed is not None and distance(scene.golden, snn, first) == 0:
        return (
            "the potential equals the threshold where spikes first differ, and refsnn "
            "fires: check what yours does (conventions are not tried in mode fixed)"
        )
    if first.step > EARLY or not snn[first.layer].fed_by_image:
        sources = [s for s in snn[first.layer].sources if s != INPUT]
        if any(source not in scene.other for source in sources):
            return ""
        return (
            f"{first.layer} differs first, where all spikes that it sees are right: "
            "check its weights (are they rounded?), bias, threshold and v(0)"
        )
    rounded = snn[first.layer].grid is not None
    held = "already holds the bias" if rounded else "does not hold the bias"
    return (
        f"the current of {first.layer} comes from the image, which a trace does not "
        "hold: check its normalisation, the order of its channels and the kernel, and "
        f"that the trace's input_current, which {held}, is added at every step"
    )


def _quiet(done: int, total: int) -> None:
    """Tell nobody."""


def _scene(golden: Trace, other: Mapping[str, Array], snn: SpikingNetwork) -> Scene:
    currents = {
        name: recorded.input_current
        for name, recorded in golden.populations.items()
        if recorded.input_current is not None
    }
    ordered = {name: other[name] for name in golden.populations if name in other}
    return Scene(snn=snn, currents=currents, other=ordered, golden=golden)


def _is_rounding(scene: Scene) -> int | None:
    """Count the neurons that rounding cannot be asked of; None if it is no rounding.

    It is none in a network certified for binary32, by proof or, if by a run, where the
    recording's own run was checked. Otherwise each neuron is judged at its first
    difference, if none of its inputs differed before. That says something of the others
    only if all inputs were recorded.
    """
    if scene.golden.fixed is not None:
        return None
    judged = [p.neuron for p in scene.snn.hidden]
    if scene.snn.profile != REFSNN or not all(_is_judged(n) for n in judged):
        return None
    certificate, seen = certified(scene.snn, "float32", scene.golden.T)
    if certificate.holds and (not seen or scene.golden.carrier == "float32"):
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

    Returns
    -------
    Explanation or None
        None if the neurons follow refsnn's conventions.
    """
    model = neuron or IF()
    state = initial_state(np.asarray(v0), x.shape[1:])
    tried: list[str] = []
    differing, best = spikes.size, (spikes.size, "the reference as it is")
    for name, profile in [("", REFSNN), *profiles(REFSNN)]:
        try:
            got, _ = unroll(under(model, profile), x, state, np.asarray(theta))
        except DomainError:  # not defined, or more spikes than a byte holds
            continue
        remaining = int(np.count_nonzero(got != spikes))
        if name:
            tried.append(name)
        if not name:
            differing = remaining
        if remaining == 0:
            found = Explanation(
                name=name,
                remaining=0,
                tried=tuple(tried),
                verdict="exact",
                differing=differing,
                fits=(Fit(kind=name, name=name),),
            )
            return found if name else None
        best = min(best, (remaining, name))
    return _unexplained(best, tried, differing)
