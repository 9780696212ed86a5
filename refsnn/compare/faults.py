"""Known faults of spiking networks: what goes wrong when somebody rebuilds one."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from refsnn.layers import Conv2d, Identity, Linear
from refsnn.network import FINEST, INPUT, Population, Projection
from refsnn.neurons import IF, DualThresholdIF
from refsnn.numerics import Array
from refsnn.profile import PROFILES, Profile


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault of one population.

    Attributes
    ----------
    name : str
        What went wrong.
    change : callable
        From a population to the faulty one, or None if that changes nothing.
    input_scale : float
        What the current that the image causes is multiplied by in the faulty
        population's units.
    """

    name: str
    change: Callable[[Population], Population | None]
    input_scale: float = 1.0


def _threshold(factor: float) -> Callable[[Population], Population | None]:
    """Multiply the threshold; in canonical form everything else is divided."""

    def change(p: Population) -> Population | None:
        grid = None if p.grid is None else p.grid + (factor > 1)
        if p.neuron is None or (grid is not None and grid.max() > FINEST):
            return None
        scaled = dataclasses.replace(p, grid=None).in_units_of(np.array(factor))
        return dataclasses.replace(scaled, theta=p.theta, grid=grid)

    return change


def _start(v0: float) -> Callable[[Population], Population | None]:
    """Give every neuron another initial potential."""

    def change(p: Population) -> Population | None:
        if (p.v0 == v0).all():
            return None
        return dataclasses.replace(p, v0=np.array(v0))

    return change


def _weights(
    of: Callable[[Projection], Array | None],
) -> Callable[[Population], Population | None]:
    """Change the weights of the projections from other populations."""

    def change(p: Population) -> Population | None:
        projections, changed = [], False
        for q in p.projections:
            weight = None if q.source == INPUT else of(q)
            if weight is None or np.array_equal(weight, q.op.weight):
                projections.append(q)
                continue
            changed = True
            projections.append(q.with_weight(weight))
        if not changed:
            return None
        return dataclasses.replace(p, projections=tuple(projections))

    return change


def _transposed(q: Projection) -> Array | None:
    w = q.op.weight
    square = isinstance(q.op, Conv2d) and w.shape[-1] == w.shape[-2]
    return w.swapaxes(-1, -2).copy() if square else None


def _flipped(q: Projection) -> Array | None:
    return q.op.weight[..., ::-1, ::-1].copy() if isinstance(q.op, Conv2d) else None


def _swapped(q: Projection) -> Array | None:
    w = q.op.weight
    square = isinstance(q.op, Conv2d | Linear) and w.shape[0] == w.shape[1]
    return w.swapaxes(0, 1).copy() if square else None


def _unscaled(q: Projection) -> Array | None:
    return np.ones_like(q.op.weight) if isinstance(q.op, Identity) else None


def _unaveraged(q: Projection) -> Array | None:
    return q.op.weight * q.divisor if q.divisor > 1 else None


def _averaging(p: Population) -> Population | None:
    """Average what is added up in front of the synapses, whose weights divide it."""
    if all(q.divisor == 1 or q.source == INPUT for q in p.projections):
        return None
    projections = tuple(
        q if q.source == INPUT else q.with_weight(q.op.weight / q.divisor)
        for q in p.projections
    )
    most = max(q.divisor for q in p.projections if q.source != INPUT)
    finer = None if p.grid is None else p.grid + most.bit_length() - 1
    whole = all(q.divisor.bit_count() == 1 for q in p.projections)
    if finer is not None and (not whole or finer.max() > FINEST):
        if p.fed_by_image:  # its current holds the bias on that grid
            return None
        finer = None
    return dataclasses.replace(p, projections=projections, grid=finer)


def _bias(times: float) -> Callable[[Population], Population | None]:
    """Add the bias several times, or not at all.

    Where a population has a grid, the image's current holds it once; and with more or
    fewer of them that current is no multiple of the grid.
    """

    def change(p: Population) -> Population | None:
        if p.bias is None or not p.bias.any():
            return None
        if p.fed_by_image and p.grid is not None:
            return dataclasses.replace(p, bias=(times - 1) * p.bias, grid=None)
        return dataclasses.replace(p, bias=times * p.bias)

    return change


def _no_shortcut(p: Population) -> Population | None:
    """Leave out what skips a layer: a sum's identity or 1x1 convolution."""
    inner = [q for q in p.projections if q.source != INPUT]
    kept = tuple(q for q in p.projections if q.source == INPUT or not _skips(q))
    if len(inner) < 2 or len(kept) in (0, len(p.projections)):
        return None
    return dataclasses.replace(p, projections=kept)


def _skips(q: Projection) -> bool:
    pointwise = isinstance(q.op, Conv2d) and q.op.weight.shape[2:] == (1, 1)
    return isinstance(q.op, Identity) or pointwise


def _never_negative(p: Population) -> Population | None:
    dual = isinstance(p.neuron, DualThresholdIF)
    return dataclasses.replace(p, neuron=IF()) if dual else None


def _unguarded(p: Population) -> Population | None:
    if not isinstance(p.neuron, DualThresholdIF) or not p.neuron.guard:
        return None
    return dataclasses.replace(p, neuron=dataclasses.replace(p.neuron, guard=False))


FAULTS: tuple[Fault, ...] = (
    Fault(name="threshold x2", change=_threshold(2.0), input_scale=0.5),
    Fault(name="threshold x1/2", change=_threshold(0.5), input_scale=2.0),
    Fault(name="v(0) = 0", change=_start(0.0)),
    Fault(name="v(0) = theta/2", change=_start(0.5)),
    Fault(name="kernel transposed", change=_weights(_transposed)),
    Fault(name="kernel flipped", change=_weights(_flipped)),
    Fault(name="weight transposed", change=_weights(_swapped)),
    Fault(name="bias missing", change=_bias(0.0)),
    Fault(name="bias added twice", change=_bias(2.0)),
    Fault(name="shortcut missing", change=_no_shortcut),
    Fault(name="shortcut scale missing", change=_weights(_unscaled)),
    Fault(name="pooling sums instead of averaging", change=_weights(_unaveraged)),
    Fault(name="pooling averages instead of adding", change=_averaging),
    Fault(name="no negative spikes", change=_never_negative),
    Fault(name="guard missing", change=_unguarded),
)
"""Faults of a population that candidates are made of, the likeliest first."""


CHOICES: dict[str, tuple[Any, ...]] = {
    "reset": ("to-zero", "subtract"),
    "tie": (">", ">="),
    "spikes_per_step": ("many", "one"),
    "lower_clamp": (0.0, -1.0, None),
    "layer_delay": (1, 0),
}
"""Conventions that are tried alone and together."""

LEAKS: dict[str, tuple[Any, ...]] = {
    "decay": (0.5, 0.9, 0.95, 0.99),
    "reset_delay": (1, 0),
    "excess": ("waits", "fires"),
}
"""Conventions that are tried alone."""


def single_profiles(own: Profile) -> Iterator[tuple[str, Profile]]:
    """Walk other conventions that differ in one field.

    Parameters
    ----------
    own : Profile
        The network's conventions.

    Yields
    ------
    name : str
        What differs.
    profile : Profile
        The conventions.
    """
    for field, values in {**CHOICES, **LEAKS}.items():
        for value in values:
            if value != getattr(own, field):
                yield f"{field}={value}", dataclasses.replace(own, **{field: value})


def profiles(own: Profile) -> Iterator[tuple[str, Profile]]:
    """Walk other conventions, those that differ in one field first.

    Parameters
    ----------
    own : Profile
        The network's conventions.

    Yields
    ------
    name : str
        What differs.
    profile : Profile
        The conventions.
    """
    known = {own}
    for name, profile in single_profiles(own):
        known.add(profile)
        yield name, profile
    for name, peer in PROFILES.items():
        if peer.profile not in known:
            known.add(peer.profile)
            yield f"profile {name} ({peer.profile})", peer.profile
    pairs = [
        [(field, value) for value in values if value != getattr(own, field)]
        for field, values in CHOICES.items()
    ]
    for size in range(2, len(pairs) + 1):
        for fields in itertools.combinations(pairs, size):
            for values in itertools.product(*fields):
                profile = dataclasses.replace(own, **dict(values))
                if profile not in known:
                    known.add(profile)
                    yield ", ".join(f"{f}={v}" for f, v in values), profile
