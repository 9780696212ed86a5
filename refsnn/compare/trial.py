"""Trying candidates: running the reference under them, and counting what is left.

Two rounds. In the first, one thing is changed: the conventions, the masks, the reset
between runs, or a fault of some populations. In the second, single conventions and
faults are put on top of those in :data:`ALWAYS` and of the :data:`NEAREST` candidates
that came nearest. There is no third, so at most :data:`MOST_TRIALS` candidates are run
of the built-in ones, nearly all on few samples.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from refsnn.arithmetic import certified, resolve
from refsnn.compare.candidates import Changed, faulted, under
from refsnn.compare.faults import FAULTS, Fault, profiles, single_profiles
from refsnn.compare.first import compare
from refsnn.compare.undo import UNDOINGS
from refsnn.errors import AccumulatorError, DomainError, OptionError
from refsnn.network import SpikingNetwork
from refsnn.numerics import Array
from refsnn.profile import REFSNN, Profile
from refsnn.ranges import ranges
from refsnn.recording import spikes_of
from refsnn.run import Simulation, implementation
from refsnn.trace import Trace

SAMPLES = 4
"""Samples that candidates are tried on before the best is run on all."""

ALWAYS = ("reset=to-zero", "tie=>", "layer_delay=1")
"""Conventions that faults are tried under, however much these leave alone."""

NEAREST = 3
"""Candidates of the first round that the second builds on, and that are run on all."""

MOST_TRIALS = (
    len(UNDOINGS)
    + len(list(profiles(REFSNN)))
    + len(FAULTS)
    + 4
    + (len(ALWAYS) + NEAREST) * (len(FAULTS) + 1 + len(list(single_profiles(REFSNN))))
)
"""At most so many built-in candidates are there, in both rounds."""

UNDEFINED = (DomainError, AccumulatorError, OptionError)
"""What a candidate raises that cannot run: more spikes in a step than a byte holds; in
mode ``fixed`` a parameter or a potential that format or accumulator do not hold."""

Told = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scene:
    """What candidates are tried on.

    Attributes
    ----------
    snn : SpikingNetwork
        The network.
    currents : dict of str to ndarray, shape (B, *S), potential
        Currents that the image causes, by population.
    other : dict of str to ndarray of int8, shape (T, B, *S)
        The other simulator's spikes, by population, in graph order.
    golden : Trace
        The reference's.
    """

    snn: SpikingNetwork
    currents: dict[str, Array]
    other: dict[str, Array]
    golden: Trace

    def of(self, samples: Array) -> Scene:
        """Return the scene with some of the samples.

        Parameters
        ----------
        samples : ndarray of int, shape (n,)
            Their indices.

        Returns
        -------
        Scene
            The scene.
        """
        return Scene(
            snn=self.snn,
            currents={name: x[samples] for name, x in self.currents.items()},
            other={name: s[:, samples] for name, s in self.other.items()},
            golden=self.golden.of(samples),
        )

    def responding(self) -> list[str]:
        """Name the populations whose own inputs were recorded.

        Returns
        -------
        list of str
            Their names.
        """
        return [
            name for name in self.other if self.snn[name].sources <= self.other.keys()
        ]

    def response(self, name: str, changed: Changed) -> int:
        """Count where a population differs, given the recorded spikes as its input.

        Parameters
        ----------
        name : str
            The population.
        changed : Changed
            The candidate.

        Returns
        -------
        int
            Differing spikes.
        """
        masks = self.golden.masks
        scaled = changed.currents(self.currents)
        T, kernel = self.golden.T, implementation("kernel")
        numbers = resolve(changed.snn, T, **self.golden.numbers)
        simulation = Simulation(changed.snn, scaled, T, numbers, kernel, None, masks)
        spikes = {source: self.other[source] for source in self.snn[name].sources}
        got = simulation.fire(name, T, spikes)
        return int(np.count_nonzero(got != self.other[name]))

    def remaining(self, changed: Changed) -> Array:
        """Count each sample's differences from a run of the changed network.

        Parameters
        ----------
        changed : Changed
            The candidate.

        Returns
        -------
        ndarray of int64, shape (B,)
            Differing spikes.
        """
        T = self.golden.T
        snn = changed.snn if changed.rounds == 1 else _of_any_T(changed.snn)
        x = changed.currents(self.currents)
        masks = self.golden.masks if changed.masked else {}
        how = {"masks": masks, **self.golden.numbers}
        got, _ = spikes_of(snn, x, changed.rounds * T, **how)
        left = np.zeros(len(self.golden.samples), dtype=np.int64)
        for name, s in self.other.items():
            left += (got[name][-T:] != s).sum(axis=(0, *range(2, s.ndim)))
        return left

    def why_inexact(self, changed: Changed) -> str:
        """Say why binary32 sums may round under a candidate.

        Parameters
        ----------
        changed : Changed
            The candidate.

        Returns
        -------
        str
            Why; empty if the network is certified for binary32 and the candidate
            leaves every potential on its grid, and in mode ``fixed``.
        """
        if self.golden.fixed:
            return ""
        if changed.snn.profile.decay != 1:
            return "sums are not exact under a leak"
        if self.snn.profile != REFSNN:
            return "nothing is proved of the network's conventions"
        if not certified(self.snn, "float32", self.golden.T)[0].holds:
            return "the network is not certified for float32"
        known = ranges(dataclasses.replace(changed.snn, profile=REFSNN))
        faults = [
            f"in {p.name} {f}" for p in changed.snn.hidden for f in known[p.name].faults
        ]
        return faults[0] if faults else ""


def _of_any_T(snn: SpikingNetwork) -> SpikingNetwork:
    return dataclasses.replace(snn, T=None)


class Trial:
    """Trying candidates on a few samples, and what fits there on all.

    Parameters
    ----------
    scene : Scene
        What they are tried on.
    tried : list of str
        Names of what was tried; added to.
    told : callable
        Told how many candidates of how many were tried.
    every : bool
        Whether to go on behind the first that is accepted.

    Attributes
    ----------
    accepted : list of Changed
        Candidates that leave nothing.
    whole : list of tuple
        What candidates leave on all samples, in the order they were tried, each with
        its number.
    """

    def __init__(
        self, scene: Scene, tried: list[str], told: Told, *, every: bool = False
    ) -> None:
        self.scene, self.tried, self.told, self.every = scene, tried, told, every
        self.plain = Changed(snn=scene.snn)
        self.accepted: list[Changed] = []
        self.close: list[tuple[int, int, Changed]] = []
        self.whole: list[tuple[int, int, Changed]] = []
        self.samples = _worst_samples(scene)
        self.few = scene.of(self.samples)

    def first_round(self, more: Sequence[Fault], *, again: bool) -> None:
        """Change one thing.

        Parameters
        ----------
        more : sequence of Fault
            Faults to try behind the built-in ones.
        again : bool
            Whether the state may not have been reset.
        """
        candidates = itertools.chain(
            self._conventions(self.plain, profiles),
            self._handling(again=again),
            self._faults(self.plain, (*FAULTS, *more)),
            self._combined((*FAULTS, *more)),
        )
        self._search(candidates)

    def second_round(self, more: Sequence[Fault]) -> None:
        """Change one thing more.

        Parameters
        ----------
        more : sequence of Fault
            Faults to try behind the built-in ones.
        """
        for base in self._bases():
            self._search(
                itertools.chain(
                    self._faults(base, (*FAULTS, *more)),
                    self._conventions(base, single_profiles),
                )
            )
            if self.accepted:
                break

    def nearest(self) -> list[tuple[int, int, Changed]]:
        """Run the candidates that came nearest on all samples.

        Returns
        -------
        list of tuple
            What is left, the candidate's number and the candidate, least first.
        """
        known = {number for _, number, _ in self.whole}
        for _, number, changed in self._closest()[:NEAREST]:
            if number in known:
                continue
            with contextlib.suppress(*UNDEFINED):
                self._on_all(number, changed)
        return sorted(self.whole, key=lambda found: found[:2])

    def _search(self, candidates: Iterable[Changed]) -> None:
        """Try candidates, up to the first that is accepted unless all are asked for."""
        for changed in candidates:
            if changed.name not in self.tried and self._accept(changed):
                self.accepted.append(changed)
                if not self.every:
                    break

    def _conventions(
        self,
        base: Changed,
        walk: Callable[[Profile], Iterator[tuple[str, Profile]]],
    ) -> Iterator[Changed]:
        """Put the network under other conventions, each once.

        None in mode ``fixed``, which is defined for refsnn's own alone.
        """
        if self.scene.golden.fixed:
            return
        known: set[Profile] = set()
        if base.name and not base.scales and base.masked and base.rounds == 1:
            known = {profile for _, profile in profiles(self.scene.snn.profile)}
        for name, profile in walk(base.snn.profile):
            changed = under(base, name, profile)
            if changed is not None and profile not in known:
                yield changed

    def _handling(self, *, again: bool) -> Iterator[Changed]:
        """Ignore masks; keep the state."""
        names = ["mask ignored"] if self.scene.golden.masks else []
        for name in names:
            yield self.plain.but(name, name, masked=False)
        if again:
            yield self.plain.but("state-not-reset", "state-not-reset", rounds=2)

    def _faults(self, base: Changed, faults: Sequence[Fault]) -> Iterator[Changed]:
        """Put each fault into the populations that answer wrongly."""
        differing = compare(self.scene.golden, self.scene.other).populations
        layers = [name for name, steps in differing.items() if steps.any()]
        suspects = self._faulty(base) or layers[:1]
        for fault in faults:
            changed = faulted(base, dict.fromkeys(suspects, fault))
            if changed is not None:
                yield changed

    def _combined(self, faults: Sequence[Fault]) -> Iterator[Changed]:
        """Put into each wrong population the fault that sets it right."""
        faulty = self._faulty(self.plain)
        fitting: dict[str, Fault] = {}
        for name, fault in itertools.product(faulty, faults):
            if name not in fitting:
                one = faulted(self.plain, {name: fault})
                if one is not None and self._fits(name, one):
                    fitting[name] = fault
        different = len({fault.name for fault in fitting.values()}) > 1
        changed = faulted(self.plain, fitting) if different else None
        if changed is not None and len(fitting) == len(faulty):
            yield changed

    def _faulty(self, base: Changed) -> list[str]:
        """Name the populations that answer the recorded spikes wrongly."""
        return [name for name in self.few.responding() if not self._fits(name, base)]

    def _fits(self, name: str, changed: Changed) -> bool:
        """Say whether a population answers the recorded spikes as it should."""
        try:
            return self.few.response(name, changed) == 0
        except UNDEFINED:
            return False

    def _bases(self) -> list[Changed]:
        """Choose what the second round builds on, the nearest first."""
        apart: dict[int, tuple[int, int, Changed]] = {}
        for found in self._closest():
            apart.setdefault(found[0], found)
        chosen = [*apart.values()][:NEAREST]
        numbers = {number for _, number, _ in chosen}
        chosen += [
            found
            for found in self.close
            if found[2].name in ALWAYS and found[1] not in numbers
        ]
        return [changed for *_, changed in sorted(chosen, key=lambda f: f[:2])]

    def _closest(self) -> list[tuple[int, int, Changed]]:
        return sorted(self.close, key=lambda found: found[:2])

    def _accept(self, changed: Changed) -> bool:
        """Run a candidate on a few samples, and on all if nothing is left of them."""
        number = len(self.tried)
        self.tried.append(changed.name)
        self.told(number + 1, MOST_TRIALS)
        try:
            left = int(self.few.remaining(changed).sum())
            if left:
                self.close.append((left, number, changed))
                return False
            total = self._on_all(number, changed)
        except UNDEFINED:
            return False
        return total == 0

    def _on_all(self, number: int, changed: Changed) -> int:
        """Run a candidate on all samples; tell the next ones from it by its worst."""
        remaining = self.scene.remaining(changed)
        total = int(remaining.sum())
        self.whole.append((total, number, changed))
        if total:
            self.samples = np.union1d(self.samples, [np.argmax(remaining)])
            self.few = self.scene.of(self.samples)
        return total


def _worst_samples(scene: Scene) -> Array:
    """Choose the first sample that differs, and those that differ most."""
    size = len(scene.golden.samples)
    differing = np.zeros(size, dtype=np.int64)
    for name, s in scene.other.items():
        d = scene.golden.populations[name].spikes != s
        differing += d.sum(axis=(0, *range(2, d.ndim)))
    first = int(np.argmax(differing > 0))
    most = [int(i) for i in np.argsort(-differing, kind="stable") if i != first]
    return np.sort([first, *most[: SAMPLES - 1]])
