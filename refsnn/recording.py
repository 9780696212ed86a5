"""Recording traces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from refsnn.arithmetic import Arithmetic, resolve, rounded_for
from refsnn.environment import versions
from refsnn.io import content_sha256
from refsnn.network import INPUT, Population, SpikingNetwork
from refsnn.neurons import Neuron, State, initial_state, under
from refsnn.numerics import Array, per_channel
from refsnn.profile import Profile
from refsnn.run import SpikingRun, image_currents, run_snn
from refsnn.trace import Recorded, Trace, images_sha256


def spikes_of(
    snn: SpikingNetwork, x: Array | Mapping[str, Array], T: int, **how: Any
) -> tuple[dict[str, Array], SpikingRun]:
    """Run a network and keep every spike.

    Parameters
    ----------
    snn : SpikingNetwork
        A network in canonical form.
    x : ndarray, shape (B, C, H, W), or mapping of str to ndarray
        Analog input, or the currents that it causes.
    T : int
        Number of steps.
    **how
        As in :func:`refsnn.run.run_snn`.

    Returns
    -------
    spikes : dict of str to ndarray of int8, shape (T, B, *S)
        By population, in graph order.
    run : SpikingRun
        The run.
    """
    parts: dict[str, list[Array]] = {p.name: [] for p in snn.hidden}

    def watch(
        population: Population,
        start: int,  # noqa: ARG001 - an observer is told everything
        x: Array,  # noqa: ARG001
        s: Array,
        state: State,  # noqa: ARG001
    ) -> None:
        parts[population.name].append(s)

    run = run_snn(snn, x, T, observe=watch, **how)
    return {
        name: run.emitted(name, np.concatenate(pieces))
        for name, pieces in parts.items()
    }, run


def _on_its_carrier(snn: SpikingNetwork, numbers: dict[str, Any]) -> dict[str, Any]:
    """Take the carrier that a network was rounded for, if mode exact leaves it open."""
    told = {name for name, value in numbers.items() if value}
    if numbers.get("mode") in {None, "exact"} and not told - {"mode"}:
        return {**numbers, "carrier": rounded_for(snn)}
    return numbers


def record(
    snn: SpikingNetwork,
    images: Array,
    T: int,
    *,
    samples: Array | None = None,
    membranes: bool = False,
    currents: bool = False,
    impl: str = "kernel",
    **numbers: Any,
) -> Trace:
    """Run a network and record every spike.

    Parameters
    ----------
    snn : SpikingNetwork
        A network in canonical form.
    images : ndarray of uint8, shape (B, C, H, W)
        Images.
    T : int
        Number of steps.
    samples : ndarray of int, shape (B,), optional
        Numbers of the images in their split; 0, 1, ... by default.
    membranes : bool
        Whether to record potentials.
    currents : bool
        Whether to record currents.
    impl : str
        As in :func:`refsnn.run.run_snn`.
    **numbers
        As in :func:`refsnn.arithmetic.resolve`: mode, carrier, fixed-point format. By
        default a network that was rounded for an accumulator is traced on it, so that
        the trace is exact in it or is refused.

    Returns
    -------
    Trace
        The trace. All of it is held in memory: a byte a neuron, step and image, and 8
        each for potentials and currents.
    """
    parts: dict[str, list[tuple[Array, Array, State]]] = {
        p.name: [] for p in snn.hidden
    }

    def watch(
        population: Population,
        start: int,  # noqa: ARG001 - an observer is told everything
        x: Array,
        s: Array,
        state: State,
    ) -> None:
        kept = x.copy() if currents or membranes else x[:0]
        parts[population.name].append((kept, s.copy(), state))

    x = snn.preprocess(images)
    numbers = _on_its_carrier(snn, numbers)
    arithmetic = resolve(snn, T, **numbers)
    # currents and spikes do not say what became of a potential that overflowed
    schedule = "step" if membranes and arithmetic.fixed else "layer"
    how: dict[str, Any] = {"impl": impl, **numbers}
    run = run_snn(snn, x, T, schedule=schedule, observe=watch, **how)
    fed = image_currents(snn, x, **how)
    return Trace(
        network=snn.name,
        network_sha256=content_sha256(snn),
        input_sha256=images_sha256(images),
        samples=np.arange(len(images)) if samples is None else samples.astype(np.int64),
        profile=snn.profile,
        mode=arithmetic.mode,
        carrier=arithmetic.carrier,
        bits=arithmetic.bits,
        fixed=arithmetic.fixed,
        populations={
            p.name: _recorded(p, snn, arithmetic, parts, run, fed, membranes, currents)
            for p in snn.hidden
        },
        readout=run.logits,
        versions=versions(),
    )


def _recorded(
    p: Population,
    snn: SpikingNetwork,
    arithmetic: Arithmetic,
    parts: dict[str, list[tuple[Array, Array, State]]],
    run: SpikingRun,
    fed: dict[str, Array],
    membranes: bool,
    currents: bool,
) -> Recorded:
    """Join the pieces of a population's run."""
    x, s = (np.concatenate([part[i] for part in parts[p.name]]) for i in (0, 1))
    v = None
    ready = arithmetic.prepared(p)
    unit = per_channel(arithmetic.unit(p), p.shape, where="unit")
    started = (ready.over("v0") * unit).reshape(ready.v0.shape)
    v0 = run.v0.get(p.name, started)
    if membranes and arithmetic.fixed:
        v = np.stack([state.v for *_, state in parts[p.name]])
    elif membranes:
        start = run.v0.get(p.name, np.broadcast_to(p.over("v0"), s.shape[1:]))
        v = _membranes(p, snn.profile, x, start)
    constant = all(q.source == INPUT for q in p.projections)
    return Recorded(
        spikes=run.emitted(p.name, s),
        theta=p.theta,
        v0=v0,
        mask=run.masks.get(p.name),
        v=v,
        current=(x[:1] if constant else x) if currents else None,
        input_current=fed.get(p.name),
    )


def _membranes(p: Population, profile: Profile, x: Array, v0: Array) -> Array:
    """Repeat the potentials behind every step, shape (T, B, *S)."""
    neuron = under(cast(Neuron, p.neuron), profile).over(p.shape)
    state, theta = initial_state(v0, x.shape[1:]), p.over("theta")
    v = np.empty(x.shape)
    for t, current in enumerate(x):
        _, state = neuron.step(current, state, theta)
        v[t] = state.v
    return v
