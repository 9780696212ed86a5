"""Faults of the simulation: reset, initial potential, normalisation of the image."""

from __future__ import annotations

import dataclasses

import numpy as np

from refsnn.calibrate import by_channel, watch_ann
from refsnn.doctor.case import BATCH, V0_LOOSE, Case, Sign, worst
from refsnn.layers import BatchNorm, LinearMap
from refsnn.methods import METHODS, Context, Method, settings_in
from refsnn.network import Population
from refsnn.neurons import State
from refsnn.numerics import Array
from refsnn.run import run_snn

LOOKED_AT = 20
"""Images whose charge is followed; only the number depends on it."""

V0_OFF = 1e-6
"""Distance from the method's initial potential, in theta."""

STATISTICS_OFF = 0.5
"""Distance of an image's first layer from its batch norm, in standard deviations."""

ENOUGH = 50
"""Images from which on it is judged: single ones lie further off."""


def reset_hard(case: Case) -> Case:
    """Reset to zero.

    Parameters
    ----------
    case : Case
        A case.

    Returns
    -------
    Case
        The broken one.
    """
    profile = dataclasses.replace(case.snn.profile, reset="to-zero")
    return case.changed(lambda p: p, profile=profile)


def hard_reset(case: Case) -> Sign | None:
    """Look for a reset to zero, which throws charge away.

    Parameters
    ----------
    case : Case
        A case.

    Returns
    -------
    Sign or None
        Charge lost a spike, in theta: (sum of x + v(0) - v(T) - N) / N.
    """
    if case.snn.profile.reset == "subtract":
        return None
    charge: dict[str, float] = {}
    kept: dict[str, float] = {}
    spikes: dict[str, int] = {}

    def watch(
        population: Population,
        start: int,
        x: Array,
        s: Array,  # noqa: ARG001 - an observer is told everything
        state: State,
    ) -> None:
        p = population
        begin = np.broadcast_to(p.over("v0"), x.shape[1:]).sum()
        charge[p.name] = float((charge[p.name] if start else begin) + x.sum())
        kept[p.name] = float(state.v.sum())
        spikes[p.name] = int(state.N.sum())

    images = case.data.images[:LOOKED_AT]
    run_snn(case.snn, case.snn.preprocess(images), case.T, observe=watch)
    numbers = {
        name: (charge[name] - kept[name]) / max(count, 1) - 1
        for name, count in spikes.items()
    }
    return worst(numbers, "charge lost a spike, in theta")


def reset_by_subtraction(case: Case) -> Case:
    """Reset by subtraction.

    Parameters
    ----------
    case : Case
        A case.

    Returns
    -------
    Case
        The repaired one.
    """
    profile = dataclasses.replace(case.snn.profile, reset="subtract")
    return case.changed(lambda p: p, profile=profile)


def _start(case: Case, p: Population) -> tuple[Array, float] | None:
    """Return the initial potential that a population should have, and how exactly.

    None where the method sets it neuron by neuron. Of an unknown method v(0) and the
    shift of T steps should make 1/2.
    """
    method = METHODS.get(case.snn.method)
    if method is None:
        return np.asarray(0.5 - case.T * case.shift_of(p)), V0_LOOSE
    if method.starts:
        return None
    return start_of(case, method), V0_OFF


def start_of(case: Case, method: Method) -> Array:
    """Return the initial potential that a method gives every neuron at first.

    Parameters
    ----------
    case : Case
        A case.
    method : Method
        The method that converted its network.

    Returns
    -------
    ndarray, shape (), in units of theta
        v(0) before anything is calibrated.
    """
    context = Context(
        options=settings_in(case.snn),
        images=np.empty(0),
        T=case.snn.T,
        impl="kernel",
        progress=None,
    )
    return method.neuron(context)(np.array(1.0))[1]


def start_wrong(case: Case) -> Case | None:
    """Let every neuron start half a threshold lower.

    Parameters
    ----------
    case : Case
        A case.

    Returns
    -------
    Case or None
        The broken one; None where the method sets v(0) neuron by neuron, so that
        nothing says what it should be.
    """
    if _start(case, case.snn.hidden[0]) is None:
        return None
    return case.changed(
        lambda p: dataclasses.replace(p, v0=p.v0 - 0.5) if p.neuron else p
    )


def wrong_start(case: Case) -> Sign | None:
    """Look for initial potentials other than the method's.

    Parameters
    ----------
    case : Case
        A case.

    Returns
    -------
    Sign or None
        Mean distance, in theta.
    """
    numbers = {}
    for p in case.snn.hidden:
        due = _start(case, p)
        if due is not None:
            off = float(np.abs(p.v0 - due[0]).mean())
            if off > due[1]:
                numbers[p.name] = off
    return worst(numbers, "mean distance of v(0) from the method's, in theta")


def start_right(case: Case) -> Case:
    """Let every neuron start as the method says.

    Parameters
    ----------
    case : Case
        A case.

    Returns
    -------
    Case
        The repaired one.
    """

    def change(p: Population) -> Population:
        due = _start(case, p) if p.neuron else None
        return p if due is None else dataclasses.replace(p, v0=due[0])

    return case.changed(change)


def forget_normalisation(case: Case) -> Case:
    """Feed pixels of 0 to 1.

    Parameters
    ----------
    case : Case
        A case.

    Returns
    -------
    Case
        The broken one: mean 0, standard deviation 1; if that is right, 1/2 and 1/4.
    """
    mean, std = np.zeros_like(case.snn.mean), np.ones_like(case.snn.std)
    if (case.ann.mean == mean).all() and (case.ann.std == std).all():
        mean, std = mean + 0.5, std / 4
    return case.changed(lambda p: p, mean=mean, std=std)


def wrong_normalisation(case: Case) -> Sign | None:
    """Look for a normalisation other than the trained network's.

    Parameters
    ----------
    case : Case
        A case.

    Returns
    -------
    Sign or None
        How far the first layer's inputs lie from the statistics that its batch norm
        stores, mean or spread, in standard deviations; without a batch norm the largest
        change of an input, in the trained network's.
    """
    first = case.snn.hidden[0].name
    same = np.allclose(case.snn.mean, case.ann.mean, rtol=1e-6, atol=1e-9) and (
        np.allclose(case.snn.std, case.ann.std, rtol=1e-6)
    )
    off = _from_statistics(case)
    if same:
        enough = len(case.data.images) >= ENOUGH
        unfit = off is not None and enough and off > STATISTICS_OFF
        about = "distance from the batch norm's statistics, in deviations (ANN too)"
        return Sign(off or 0.0, first, about) if unfit else None
    if off is not None:
        return Sign(off, first, "distance from the batch norm's statistics, deviations")
    ends = [
        np.abs((v - m.mean) / m.std - (v - case.ann.mean) / case.ann.std).max()
        for m in (case.snn,)
        for v in (0.0, 1.0)
    ]
    return Sign(float(max(ends)), first, "largest change of an input, in deviations")


def _from_statistics(case: Case) -> float | None:
    """Compare the first batch norm's statistics with those on the images."""
    ann = dataclasses.replace(case.ann, mean=case.snn.mean, std=case.snn.std)
    source = ann.nodes[0].name
    norms = [
        node
        for node in ann.nodes
        if isinstance(node.op, BatchNorm)
        and isinstance(ann[node.inputs[0]].op, LinearMap)
        and ann[node.inputs[0]].inputs == (source,)
    ]
    if not norms:
        return None
    norm = norms[0]
    seen = []

    def observe(name: str, value: Array) -> None:
        if name == norm.inputs[0]:
            seen.append(by_channel(value))

    watch_ann(ann, case.data.images[: 4 * BATCH], observe, batch=BATCH)
    op = norm.op
    assert isinstance(op, BatchNorm)  # noqa: S101 - chosen above
    values, deviation = np.concatenate(seen, axis=1), np.sqrt(op.var + op.eps)
    gap = np.abs(values.mean(axis=1) - op.mean) / deviation
    spread = np.abs(values.std(axis=1) / deviation - 1)
    return float(max(gap.mean(), spread.mean()))


def normalise(case: Case) -> Case:
    """Normalise images as the trained network does.

    Parameters
    ----------
    case : Case
        A case.

    Returns
    -------
    Case
        The repaired one.
    """
    return case.changed(lambda p: p, mean=case.ann.mean, std=case.ann.std)
