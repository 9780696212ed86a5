"""Faults of degree: thresholds too small, too few steps."""

from __future__ import annotations

import dataclasses

import numpy as np

from refsnn.activations import Clipped
from refsnn.calibration import mmse_thresholds
from refsnn.doctor.case import Case, Sign, worst
from refsnn.doctor.dynamics import start_of
from refsnn.doctor.projections import put
from refsnn.methods import METHODS
from refsnn.network import Population
from refsnn.neurons import State
from refsnn.numerics import Array
from refsnn.run import run_snn

CLIPPED = 0.02
"""Share of a layer's activation above the threshold from which it is looked into."""

SMALLER = 0.25
"""What thresholds are multiplied by."""

LONGER = 4
"""Times T that is tried."""

LOOKED_AT = 50
"""Images that choose thresholds, or the layer; only those depend on it."""


def shrink_thresholds(case: Case) -> Case:
    """Take a quarter of every threshold.

    Parameters
    ----------
    case : Case
        A case.

    Returns
    -------
    Case
        The broken one.
    """
    return case.rescaled({p.name: np.array(SMALLER) for p in case.snn.hidden})


def _clipped(case: Case) -> dict[str, float]:
    """Return the share of every layer's activation that its thresholds cut off."""
    above = case.sums(
        lambda name, a: np.where(
            case.snn[name].over("scale") > 0,
            np.maximum(a - case.snn[name].over("scale"), 0),
            0,
        )
    )
    return {
        name: float(cut.sum() / max(case.activity[name].sum(), 1e-300))
        for name, cut in above.items()
    }


def small_thresholds(case: Case) -> Sign | None:
    """Look for thresholds below the activations.

    Parameters
    ----------
    case : Case
        A case.

    Returns
    -------
    Sign or None
        The share of the layer's activation that is clipped.
    """
    shares = {name: s for name, s in _clipped(case).items() if s > CLIPPED}
    return worst(shares, "share of the layer's activation above its threshold")


def raise_thresholds(case: Case) -> Case:
    """Raise thresholds to the trained clip, or to those of the smallest error.

    Parameters
    ----------
    case : Case
        A case.

    Returns
    -------
    Case
        The repaired one.
    """
    images = case.data.images[:LOOKED_AT]
    found = mmse_thresholds(case.ready, images, case.T)
    factors = {}
    for p in case.snn.hidden:
        op = case.ready[p.name].op
        due = np.asarray(op.lam if isinstance(op, Clipped) else found[p.name])
        alive = (p.scale > 0) & (due > p.scale)
        factors[p.name] = np.where(alive, due / np.where(alive, p.scale, 1.0), 1.0)
    return case.rescaled(factors)


def stop_early(case: Case) -> Case:
    """Run a single step.

    Parameters
    ----------
    case : Case
        A case.

    Returns
    -------
    Case
        The broken one.
    """
    return case.at_steps(1)


def distances(case: Case) -> dict[str, float]:
    """Compare rates with activations, and mean currents of the readout with logits.

    Parameters
    ----------
    case : Case
        A case.

    Returns
    -------
    dict of float
        Sum of |a - theta N / T| over the sum of |a|, by population, over a few images.
    """
    images = case.data.images[:LOOKED_AT]
    rates: dict[str, Array] = {}

    def watch(
        population: Population,
        start: int,  # noqa: ARG001 - an observer is told everything
        x: Array,  # noqa: ARG001 - the same
        s: Array,  # noqa: ARG001 - the same
        state: State,
    ) -> None:
        rates[population.name] = state.N / case.T

    run = run_snn(case.snn, case.snn.preprocess(images), case.T, observe=watch)
    for name, mask in run.masks.items():  # what is not let out counts for nobody
        rates[name] = rates[name] * mask
    rates[case.snn.readout.name] = run.logits[-1] / case.T
    small = Case(ann=case.ann, snn=case.snn, data=case.data.head(LOOKED_AT), T=case.T)
    gaps = small.sums(
        lambda name, a: np.abs(a - rates[name] * case.snn[name].over("scale")),
        readout=True,
    )
    sizes = small.sums(lambda name, a: np.abs(a), readout=True)  # noqa: ARG005 - of all
    return {
        name: float(gap.sum() / max(sizes[name].sum(), 1e-300))
        for name, gap in gaps.items()
    }


def few_steps(case: Case) -> Sign | None:
    """Return the number of steps, and the layer that is farthest from its activations.

    Parameters
    ----------
    case : Case
        A case.

    Returns
    -------
    Sign or None
        T itself; whether it is too small is for more steps to show.
    """
    gaps = distances(case)
    found = worst({p.name: gaps[p.name] for p in case.snn.hidden}, "number of steps")
    return found and Sign(float(case.T), found.layer, found.measures)


def departs_first(case: Case) -> str:
    """Return the layer where the network leaves the trained one.

    Parameters
    ----------
    case : Case
        A case.

    Returns
    -------
    str
        The population, or the readout, whose distance from its activations is most
        above that of the farthest population it reads.
    """
    gaps = distances(case)
    growth = {
        p.name: gaps[p.name] - max(gaps.get(q.source, 0.0) for q in p.projections)
        for p in case.snn.populations
    }
    return max(growth, key=lambda name: growth[name])


def take_more_steps(case: Case) -> Case:
    """Run four times as long.

    Parameters
    ----------
    case : Case
        A case.

    Returns
    -------
    Case
        The repaired one.
    """
    return case.at_steps(LONGER * case.T)


def uncalibrated_at(case: Case, T: int) -> Case:
    """Run another number of steps, without what was calibrated for the first.

    Parameters
    ----------
    case : Case
        A case.
    T : int
        Number of steps.

    Returns
    -------
    Case
        The case for that many steps; where the method calibrates, with the trained
        network's biases and the method's first v(0). Weights stay.
    """
    longer, method = case.at_steps(T), METHODS.get(case.snn.method)
    if method is None or not method.calibrated:
        return longer
    v0 = start_of(case, method)

    def change(p: Population) -> Population:
        begun = dataclasses.replace(p, v0=v0) if p.neuron else p
        none = [False] * len(p.projections)
        return put(longer, begun, case.expected[p.name], none)

    return longer.changed(change)
