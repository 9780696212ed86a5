"""Runs that were made, as the integers that were counted and nothing else.

What is judged, claimed, drawn and compared is computed from these alone, so that
recorded results give the same tables as a run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from refsnn.accounting import ENERGY_TABLES, energies
from refsnn.methods import METHODS
from refsnn.numerics import Array
from refsnn.reproduce.declared import Reproduction, Run

LATER = ("counts", "errors", "propagation")
"""What results recorded by earlier versions may lack of a run."""


def identity(run: Mapping[str, Any]) -> tuple[Any, ...]:
    """Say which run it is.

    Parameters
    ----------
    run : mapping
        A run of a result.

    Returns
    -------
    tuple
        Network, method, options, T.
    """
    return tuple(run[key] for key in ("network", "method", "set", "T"))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Done:
    """A run that was made.

    Attributes
    ----------
    run : Run
        The declaration.
    T : int
        Number of steps of the conversion.
    images : int
        Number of images.
    of : int
        How many there are, those that are left out apart.
    found : mapping
        The integers: ``ann_correct``, ``correct``, ``populations``, ``observing``.
    """

    run: Run
    T: int
    images: int
    of: int
    found: Mapping[str, Any]

    @property
    def steps(self) -> tuple[int, ...]:
        """The wanted T that this conversion answers."""
        return self.run.steps if self.run.conversions != self.run.steps else (self.T,)

    @property
    def answered(self) -> tuple[int, ...]:
        """Every t whose counts are results: T alone, if the method depends on T."""
        if METHODS[self.run.method].depends_on_T:
            return (self.T,)
        return tuple(range(1, self.T + 1))

    @property
    def counts(self) -> Mapping[str, Any] | None:
        """Counts of the networks for one image; None if they were not recorded."""
        return self.found.get("counts")

    @property
    def errors(self) -> Sequence[Mapping[str, Any]]:
        """Error terms: ``T``, ``target``, ``images``, ``grid``, ``populations``."""
        found: Sequence[Mapping[str, Any]] = self.found.get("errors", ())
        return found

    @property
    def propagation(self) -> Sequence[Mapping[str, Any]]:
        """Errors followed to the loss, sums over ``images``."""
        found: Sequence[Mapping[str, Any]] = self.found.get("propagation", ())
        return found

    def correct(self, T: int | None = None) -> int:
        """Return how many predictions are right.

        Parameters
        ----------
        T : int, optional
            Number of steps; the trained network's without it.

        Returns
        -------
        int
            Of the images.
        """
        found = self.found
        return int(found["ann_correct"] if T is None else found["correct"][T - 1])

    def each_step(self, what: str, *, observing: bool = False) -> Array:
        """Add counts up over the populations.

        Parameters
        ----------
        what : str
            ``spikes``, ``negative`` or ``synops``.
        observing : bool
            Whether of the observing steps.

        Returns
        -------
        ndarray of int64, shape (T,) or (tau,)
            At every step.
        """
        if observing:
            counts = list(self.found["observing"].get(what, {}).values())
        else:
            counts = [p[what] for p in self.found["populations"].values()]
        if not counts:  # nothing observed
            return np.zeros(0, dtype=np.int64)
        summed: Array = np.array(counts, dtype=np.int64).sum(axis=0)
        return summed

    def energy(self) -> dict[str, dict[str, Any]]:
        """Return the energies under every table, and SNN over ANN at every t.

        Returns
        -------
        dict
            By table: ``ann_pJ``, ``snn_pJ`` and, with the first layer computed at every
            step, ``snn_each_pJ``; where the table knows a trained network ``ratio`` and
            ``crosses_at``, the first answered t at which it is 1 or more (None: at
            none). Nothing if the networks' counts were not recorded.
        """
        if self.counts is None:
            return {}
        observed = self.each_step("synops", observing=True)
        first = self.images * self.counts["first_layer_macs"]
        tables = energies(
            self.each_step("synops"),
            observed=observed,
            neurons=self.images * sum(self.counts["neurons"].values()),
            first_layer_macs=first,
            ann_macs=self.images * self.counts["ann_macs"],
        )
        for name, table in tables.items():
            once = ENERGY_TABLES[name].first_mac * first
            table["snn_each_pJ"] = [
                pJ + (len(observed) + more) * once
                for more, pJ in enumerate(table["snn_pJ"])
            ]
        for table in tables.values():
            if table["ann_pJ"] is not None:  # not a table of spikes alone
                ratios = [pJ / table["ann_pJ"] for pJ in table["snn_pJ"]]
                over = [t for t in self.answered if ratios[t - 1] >= 1]
                table["ratio"] = [round(ratio, 6) for ratio in ratios]
                table["crosses_at"] = over[0] if over else None
        return tables

    def energy_by_layer(self) -> dict[str, dict[str, float]]:
        """Split the energies of all steps among the populations.

        Returns
        -------
        dict of str to dict of str to float
            pJ by population and table, of the operations that its spikes cause and the
            updates of its neurons; those of the analog first layer, computed once, by
            the name ``""``. They add up to the last ``snn_pJ`` of :meth:`energy`, but
            for rounding. Nothing if the networks' counts were not recorded.
        """
        if self.counts is None:
            return {}
        seen = self.found["observing"].get("synops", {})
        none, split = np.zeros(self.T, dtype=np.int64), {}
        parts = {
            name: (p["synops"], self.counts["neurons"][name], seen.get(name, ()), 0)
            for name, p in self.found["populations"].items()
        }
        parts[""] = (none, 0, (), self.counts["first_layer_macs"])
        for name, (synops, neurons, observed, macs) in parts.items():
            tables = energies(
                np.array(synops, dtype=np.int64),
                observed=np.array(observed, dtype=np.int64),
                neurons=self.images * neurons,
                first_layer_macs=self.images * macs,
                ann_macs=None,
            )
            split[name] = {key: table["snn_pJ"][-1] for key, table in tables.items()}
        return split


def done_of(
    declaration: Reproduction, result: Mapping[str, Any], of: int | None = None
) -> list[Done]:
    """Find the runs of a declaration in a result or in recorded integers.

    Parameters
    ----------
    declaration : Reproduction
        The declaration.
    result : mapping
        ``data`` and ``runs``.
    of : int, optional
        How many images there are; as many as were run by default.

    Returns
    -------
    list of Done
        In the declaration's order; runs that are not found are left out.
    """
    done = []
    for run in declaration.runs:
        for T in run.conversions:
            wanted = run.identity(T)
            found = [r for r in result.get("runs", []) if identity(r) == wanted]
            if found:
                images = result["data"]["images"]
                done.append(
                    Done(run=run, T=T, images=images, of=of or images, found=found[0])
                )
    return done
