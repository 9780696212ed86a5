"""Faults of weights: batch norms left out, shortcuts not scaled, dead channels."""

from __future__ import annotations

import dataclasses

import numpy as np

from refsnn import compare
from refsnn.doctor.case import Case, Sign, worst
from refsnn.doctor.projections import TINY, distance, flat, masked, put
from refsnn.layers import BatchNorm
from refsnn.methods import METHODS, prepared
from refsnn.network import (
    INPUT,
    Network,
    Population,
    Projection,
    SpikingNetwork,
)
from refsnn.numerics import Array
from refsnn.restored import scales, uncalibrated

CLOSER = 0.5
"""A weight counts as unfolded if it is this near to that, relative to its distance from
the folded one and to its own size."""

SCALE_OFF = 0.01
"""Relative error of a shortcut's weight; calibration leaves shortcuts as they are."""

LOST = 1e-3
"""Share of a layer's activation below which a dead channel is no fault."""

KILLED = 4
"""One channel in so many is killed."""


def without_norms(ann: Network) -> Network:
    """Leave every batch norm out.

    Parameters
    ----------
    ann : Network
        A trained network.

    Returns
    -------
    Network
        As if its weights had none.
    """
    renamed = {n.name: n.inputs[0] for n in ann.nodes if isinstance(n.op, BatchNorm)}
    nodes = tuple(
        dataclasses.replace(n, inputs=tuple(renamed.get(i, i) for i in n.inputs))
        for n in ann.nodes
        if n.name not in renamed
    )
    return dataclasses.replace(ann, nodes=nodes)


def unfolded(snn: SpikingNetwork, ann: Network) -> dict[str, Population]:
    """Return the populations as they are without batch norms.

    Parameters
    ----------
    snn : SpikingNetwork
        The converted network.
    ann : Network
        The trained one.

    Returns
    -------
    dict of str to Population
        In canonical form, by the thresholds of `snn`, without shift.
    """
    return uncalibrated(prepared(snn, without_norms(ann)), scales(snn))


def norm_fault(snn: SpikingNetwork, ann: Network) -> compare.Fault:
    """Return the fault that somebody's network has no batch norm folded in.

    Parameters
    ----------
    snn : SpikingNetwork
        The converted network.
    ann : Network
        The trained one.

    Returns
    -------
    Fault
        For :func:`refsnn.compare.explain`; of populations that the image feeds only
        what others send them, for their current is given.
    """
    bare, folded = unfolded(snn, ann), uncalibrated(prepared(snn, ann), scales(snn))
    method = METHODS.get(snn.method)
    shift = 1 / (2 * snn.T) if method and method.shifts and snn.T else 0.0

    def change(p: Population) -> Population | None:
        model = bare[p.name]
        plain = [
            q.source != INPUT and not np.array_equal(m.op.weight, f.op.weight)
            for q, m, f in zip(
                p.projections,
                model.projections,
                folded[p.name].projections,
                strict=True,
            )
        ]
        if not any(plain):  # nothing was folded into them
            return None
        projections = tuple(
            q.with_weight(m.op.weight) if without else q
            for q, m, without in zip(
                p.projections, model.projections, plain, strict=True
            )
        )
        bias = p.bias
        if not p.fed_by_image:
            bias = (np.zeros(p.shape[0]) if model.bias is None else model.bias) + shift
        return dataclasses.replace(p, projections=projections, bias=bias)

    return compare.Fault(name="batch norm not folded", change=change)


def leave_norms_out(case: Case) -> Case | None:
    """Put weights in that no batch norm was folded into.

    Parameters
    ----------
    case : Case
        A case.

    Returns
    -------
    Case or None
        The broken one; None for a network without batch norms.
    """
    if not any(isinstance(node.op, BatchNorm) for node in case.ann.nodes):
        return None
    bare = unfolded(case.snn, case.ann)
    return case.changed(
        lambda p: put(case, p, bare[p.name], [True] * len(p.projections))
    )


def left_out(case: Case) -> dict[str, list[bool]]:
    """Say of every projection whether its weight is the unfolded one.

    Parameters
    ----------
    case : Case
        A case.

    Returns
    -------
    dict of list of bool
        By population, for each of its projections.
    """
    bare = unfolded(case.snn, case.ann)
    answer = {}
    for p in case.snn.populations:
        folded = case.expected[p.name].projections
        plain = bare[p.name].projections
        rows = []
        for q, f, u in zip(p.projections, folded, plain, strict=True):
            far, near = distance(q, f), distance(q, u)
            rows.append(distance(u, f) > SCALE_OFF and near < CLOSER * min(far, 1))
        answer[p.name] = rows
    return answer


def norms_left_out(case: Case) -> Sign | None:
    """Look for weights that no batch norm was folded into.

    Parameters
    ----------
    case : Case
        A case.

    Returns
    -------
    Sign or None
        Their distance from the folded weights.
    """
    if not any(isinstance(node.op, BatchNorm) for node in case.ann.nodes):
        return None
    numbers = {
        name: max(
            distance(q, f)
            for q, f, bad in zip(
                case.snn[name].projections,
                case.expected[name].projections,
                rows,
                strict=True,
            )
            if bad
        )
        for name, rows in left_out(case).items()
        if any(rows)
    }
    return worst(numbers, "relative distance of the weights from the folded ones")


def fold_norms(case: Case) -> Case:
    """Put the folded weights and biases in.

    Parameters
    ----------
    case : Case
        A case.

    Returns
    -------
    Case
        The repaired one.
    """
    left = left_out(case)

    def change(p: Population) -> Population:
        rows = left[p.name]
        return put(case, p, case.expected[p.name], rows) if any(rows) else p

    return case.changed(change)


def unscale_shortcuts(case: Case) -> Case | None:
    """Give every identity shortcut the weight 1.

    Parameters
    ----------
    case : Case
        A case.

    Returns
    -------
    Case or None
        The broken one; None if there is none of another weight.
    """

    def change(p: Population) -> Population:
        projections = tuple(
            q.with_weight(np.ones_like(q.op.weight)) if q.op.op == "identity" else q
            for q in p.projections
        )
        return dataclasses.replace(p, projections=projections)

    broken = case.changed(change)
    return broken if shortcuts_unscaled(broken) else None


def _shortcuts(case: Case, p: Population) -> list[tuple[Array, Array]]:
    """Return the weights of a population's shortcuts, and those they should have.

    Weights of 0 are those of dead channels, which are another fault.
    """
    models = uncalibrated(case.ready, _awake(case))[p.name].projections
    return [
        (q.op.weight, np.where(q.op.weight == 0, 0.0, m.op.weight))
        for q, m in zip(p.projections, models, strict=True)
        if q.op.op == "identity"
    ]


def _scale_error(case: Case, p: Population) -> float:
    """Return the largest relative error of a population's shortcuts."""
    return max(
        (
            float((np.abs(got - due) / np.where(due == 0, 1, np.abs(due))).max())
            for got, due in _shortcuts(case, p)
        ),
        default=0.0,
    )


def shortcuts_unscaled(case: Case) -> Sign | None:
    """Look for identity shortcuts whose weight is not theta_in / theta_out.

    Parameters
    ----------
    case : Case
        A case.

    Returns
    -------
    Sign or None
        The relative error of the weight.
    """
    errors = {p.name: _scale_error(case, p) for p in case.snn.hidden}
    numbers = {name: error for name, error in errors.items() if error > SCALE_OFF}
    return worst(numbers, "relative error of a shortcut's weight")


def scale_shortcuts(case: Case) -> Case:
    """Give every identity shortcut its weight theta_in / theta_out.

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
        due = iter(_shortcuts(case, p))
        projections = tuple(
            q.with_weight(next(due)[1]) if q.op.op == "identity" else q
            for q in p.projections
        )
        return dataclasses.replace(p, projections=projections)

    return case.changed(change)


def kill_channels(case: Case) -> Case | None:
    """Kill the most active quarter of the channels of the layer in the middle.

    Parameters
    ----------
    case : Case
        A case.

    Returns
    -------
    Case
        The broken one: those have the scale 0 and outgoing weights 0.
    """
    p = case.snn.hidden[len(case.snn.hidden) // 2]
    total = case.activity[p.name]
    count = max(1, len(total) // KILLED)
    killed = np.zeros(len(total), dtype=bool)
    killed[np.argsort(-total, kind="stable")[:count]] = True
    scale = np.where(killed, 0.0, np.broadcast_to(p.scale, killed.shape))

    def change(t: Population) -> Population:
        projections = tuple(
            q.with_weight(masked(q, ~killed)) if q.source == p.name else q
            for q in t.projections
        )
        t = dataclasses.replace(t, projections=projections)
        return dataclasses.replace(t, scale=scale) if t.name == p.name else t

    return case.changed(change)


def _awake(case: Case) -> dict[str, Array]:
    """Return thresholds with those of dead channels as the layer's others."""
    answer = {}
    for p in case.snn.hidden:
        alive = p.scale > 0
        other = float(p.scale.max())
        answer[p.name] = np.where(alive, p.scale, other if other > 0 else 1.0)
    return answer


def dead(case: Case) -> dict[str, Array]:
    """Say which channels' spikes reach nothing, though they are active and wired.

    Parameters
    ----------
    case : Case
        A case.

    Returns
    -------
    dict of ndarray of bool, shape (C,)
        By population.
    """
    wired = uncalibrated(case.ready, _awake(case))
    answer = {}
    for p in case.snn.hidden:
        channels = p.shape[0]
        reached, due = np.zeros(channels, dtype=bool), np.zeros(channels, dtype=bool)
        for t in case.snn.populations:
            models = wired[t.name].projections
            for q, model in zip(t.projections, models, strict=True):
                if q.source == p.name:
                    reached |= _columns(q, channels)
                    due |= _columns(model, channels)
        share = case.activity[p.name] / max(case.activity[p.name].sum(), TINY)
        answer[p.name] = due & ~reached & (share > LOST)
    return answer


def _columns(q: Projection, channels: int) -> Array:
    """Say which channels of the source have weights other than 0."""
    numbers, one = np.arange(1.0, channels + 1), np.array(1.0)
    plain, numbered = (
        np.asarray(q.op.normalised(theta, 1, one).weight)
        for theta in (np.ones(channels), numbers)
    )
    there = plain != 0
    return np.isin(numbers, np.rint(numbered[there] / plain[there]))


def dead_channels(case: Case) -> Sign | None:
    """Look for channels that are active in the trained network and reach nothing.

    Parameters
    ----------
    case : Case
        A case.

    Returns
    -------
    Sign or None
        Their share of the layer's activation.
    """
    numbers = {}
    for name, channels in dead(case).items():
        if channels.any():
            activity = case.activity[name]
            numbers[name] = float(activity[channels].sum() / activity.sum())
    return worst(numbers, "share of the layer's activation in dead channels")


def wake_channels(case: Case) -> Case:
    """Wire dead channels again, with the threshold of the layer's others.

    Parameters
    ----------
    case : Case
        A case.

    Returns
    -------
    Case
        The repaired one.
    """
    asleep, awake = dead(case), _awake(case)
    awake = {
        name: np.where(asleep[name], scale, case.snn[name].scale)
        if asleep[name].any()
        else case.snn[name].scale
        for name, scale in awake.items()
    }
    wired = uncalibrated(case.ready, awake)

    def change(p: Population) -> Population:
        models = wired[p.name].projections
        rows = asleep.get(p.name, np.zeros(p.shape[:1], dtype=bool))
        projections = []
        for q, m in zip(p.projections, models, strict=True):
            weight = q.op.weight
            columns = asleep.get(q.source)
            if columns is not None and columns.any():
                weight = weight + masked(m, columns)
            shaped = rows.reshape(-1, *[1] * (weight.ndim - 1))
            projections.append(q.with_weight(np.where(shaped, m.op.weight, weight)))
        bias = None if p.bias is None else p.over("bias")
        if bias is not None and rows.any():
            model = wired[p.name].bias
            fresh = 0.0 if model is None else wired[p.name].over("bias")
            shaped = rows.reshape(-1, *[1] * (len(p.shape) - 1))
            bias = flat(np.where(shaped, fresh + case.shift_of(p), bias), p)
            p = dataclasses.replace(p, bias=bias)
        scale = awake.get(p.name, p.scale)
        return dataclasses.replace(p, projections=tuple(projections), scale=scale)

    return case.changed(change)
