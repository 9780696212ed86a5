"""The fault of other weights than the trained network's."""

from __future__ import annotations

import dataclasses

import numpy as np

from refsnn.doctor.case import Case, Sign, worst
from refsnn.doctor.projections import distance, masked, put
from refsnn.doctor.wiring import dead, left_out
from refsnn.methods import METHODS
from refsnn.network import INPUT, Population, Projection
from refsnn.numerics import Array

OFF = 0.01
"""Relative distance of weights, and of biases, that rounding does not reach."""

SMALL_BIAS = 0.1
"""Root mean square of a population's biases, in theta, below which distances are
relative to this: a bias of 0 has no relative distance."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Astray:
    """What is other than it should be in a population, and the largest distance."""

    where: list[bool]
    bias: bool
    number: float


def flip_kernels(case: Case) -> Case | None:
    """Flip the kernels of the layer in the middle; permute rows that are no kernels.

    Parameters
    ----------
    case : Case
        A case.

    Returns
    -------
    Case or None
        The broken one; None where the method trains weights, so that nothing says what
        they should be, or where flipping changes nothing.
    """
    layers = [
        p.name
        for p in case.snn.hidden
        if any(q.op.op != "identity" for q in p.projections)
    ]
    middle = layers[len(layers) // 2]

    def change(p: Population) -> Population:
        projections = tuple(
            q.with_weight(_flipped(q.op.weight)) if q.op.op != "identity" else q
            for q in p.projections
        )
        return dataclasses.replace(
            p, projections=projections if p.name == middle else p.projections
        )

    broken = case.changed(change)
    return broken if other_weights(broken) else None


def _flipped(weight: Array) -> Array:
    """Turn kernels by 180 degrees; of a linear or 1x1 layer, move rows up by one."""
    if weight.ndim == 4 and weight.shape[2:] != (1, 1):
        return weight[:, :, ::-1, ::-1]
    return np.roll(weight, 1, axis=0)


def other_weights(case: Case) -> Sign | None:
    """Look for weights and biases other than the trained network's.

    In units of the network's own thresholds. Identity shortcuts, dead channels and
    weights without their batch norms are faults of their own; weights that the method
    trains and biases that it calibrates are none.

    Parameters
    ----------
    case : Case
        A case.

    Returns
    -------
    Sign or None
        The largest relative distance of a layer's weights or biases.
    """
    numbers = {name: astray.number for name, astray in _astray(case).items()}
    return worst(numbers, "relative distance from the trained network's")


def trained_weights(case: Case) -> Case:
    """Put the trained network's weights and biases in, where others are.

    Parameters
    ----------
    case : Case
        A case.

    Returns
    -------
    Case
        The repaired one.
    """
    found, alive = _astray(case), _alive(case)

    def change(p: Population) -> Population:
        if p.name not in found:
            return p
        model = case.expected[p.name]
        projections = []
        for q, m in zip(p.projections, model.projections, strict=True):
            ours = _living(q.with_weight(np.ones_like(q.op.weight)), p.name, alive)
            weight = np.where(ours != 0, m.op.weight, q.op.weight)
            projections.append(m.with_weight(weight))
        model = dataclasses.replace(model, projections=tuple(projections))
        astray = found[p.name]
        return put(case, p, model, astray.where, bias=astray.bias)

    return case.changed(change)


def _astray(case: Case) -> dict[str, _Astray]:
    """Return the populations whose weights or biases are too far off."""
    bare, alive = left_out(case), _alive(case)
    method = METHODS.get(case.snn.method)
    trains = method is not None and method.trains
    moves = method is not None and method.calibrated and not method.starts
    found = {}
    for p in case.snn.populations:
        model, unfolded = case.expected[p.name], bare[p.name]
        gaps = [
            0.0
            if trains or plain or q.op.op == "identity"
            else distance(*(_lone(x, p.name, alive) for x in (q, m)))
            for q, m, plain in zip(
                p.projections, model.projections, unfolded, strict=True
            )
        ]
        gap = 0.0 if moves or any(unfolded) else _bias_gap(case, p, alive[p.name])
        number = max(*gaps, gap)
        if number > OFF:
            where = [g > OFF for g in gaps]
            found[p.name] = _Astray(where=where, bias=gap > OFF, number=number)
    return found


def _bias_gap(case: Case, p: Population, rows: Array) -> float:
    """Return how far biases are off, root mean squares over living neurons."""
    model, shaped = case.expected[p.name], rows.reshape(-1, *[1] * (len(p.shape) - 1))
    off = np.where(shaped, case.more_bias(p) - case.shift_of(p), 0.0)
    own = np.zeros(()) if model.bias is None else model.over("bias")
    size = np.sqrt(np.mean(np.square(np.where(shaped, own, 0.0))))
    return float(np.sqrt(np.mean(np.square(off))) / max(size, SMALL_BIAS))


def _alive(case: Case) -> dict[str, Array]:
    """Say which channels of every source have thresholds, and reach something."""
    asleep = dead(case)
    alive = {INPUT: np.ones(case.snn.input_shape[:1], dtype=bool)}
    for p in case.snn.populations:
        awake = np.broadcast_to(p.scale > 0, p.shape[:1])
        alive[p.name] = awake & ~asleep.get(p.name, np.zeros((), dtype=bool))
    return alive


def _living(q: Projection, target: str, alive: dict[str, Array]) -> Array:
    """Return a weight, 0 in the rows and columns of dead channels."""
    weight = masked(q, alive[q.source])
    return weight * alive[target].reshape(-1, *[1] * (weight.ndim - 1))


def _lone(q: Projection, target: str, alive: dict[str, Array]) -> Projection:
    """Return a projection without the weights of dead channels."""
    return q.with_weight(_living(q, target, alive))
