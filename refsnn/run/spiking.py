"""Simulating a spiking network for T steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from refsnn.arithmetic import Arithmetic, image_terms, resolve
from refsnn.errors import DomainError, OptionError, ShapeError
from refsnn.fixed import Fixed
from refsnn.network import SpikingNetwork
from refsnn.numerics import Array, per_channel
from refsnn.run.events import run_events
from refsnn.run.implementation import Impl, dense, implementation
from refsnn.run.result import Observer, SpikingRun
from refsnn.run.simulation import Simulation
from refsnn.run.trained import need_network

SCHEDULES = ("layer", "step")
"""Orders of layers and steps."""


@np.errstate(
    over="ignore", invalid="ignore"
)  # reported by require_finite, with a place
def run_snn(
    snn: SpikingNetwork,
    x: Array | Mapping[str, Array],
    T: int,
    *,
    mode: str | None = None,
    carrier: str | None = None,
    fixed: Fixed | None = None,
    impl: str = "kernel",
    schedule: str = "layer",
    engine: str = "auto",
    threads: int = 1,
    observe: Observer | None = None,
    masks: Mapping[str, Array] | None = None,
) -> SpikingRun:
    """Simulate a canonical spiking network on a constant analog input.

    Parameters
    ----------
    snn : SpikingNetwork
        The network.
    x : ndarray, shape (B, C, H, W), or mapping of str to ndarray, shape (B, *S)
        Analog input, as :meth:`refsnn.network.Model.preprocess` returns it, or the
        currents that it causes by population, as :func:`image_currents` returns them;
        presented unchanged at every step. Without a grid currents are added first.
    T : int
        Number of steps.
    mode, carrier, fixed : optional
        The numbers it is simulated in, as in :func:`refsnn.arithmetic.resolve`.
    impl : str
        ``kernel`` or ``definition``.
    schedule : str
        ``layer``: all steps of a population before the next one; ``step``: all
        populations in every step. The results are equal.
    engine : str
        ``event`` for the event-driven kernels, ``dense`` for matrix products,
        ``ordinary`` for the kernels that add term by term, ``auto`` for the faster ones
        that can serve, see :func:`engine_of`. Results are equal.
    threads : int
        Number of threads of the event-driven kernels.
    observe : callable, optional
        An :class:`Observer`, called for every population of neurons.
    masks : mapping of str to ndarray of bool, shape (B, *S), optional
        Neurons that are let out, by population, instead of observing steps of SRP.

    Returns
    -------
    SpikingRun
        Logits and counts.

    Raises
    ------
    NumericalError
        At the first population whose current is not finite.
    AccumulatorError
        At the first potential that leaves a fixed-point accumulator, or a carrier whose
        certificate rests on another run.
    OptionError
        If the network has no certificate for the numbers that were asked for, or no
        population of a mask's name.
    ShapeError
        If a mask has another shape or type.
    """
    need_network(snn, SpikingNetwork)
    if isinstance(x, Mapping):
        _need_currents(snn, x)
    else:
        snn.need_input(x)
    snn.need_canonical()
    need_steps(T)
    if not isinstance(threads, (int, np.integer)) or threads < 1:
        expected = "an integer of at least 1"
        raise OptionError(where="threads", got=repr(threads), expected=expected)
    T, threads = int(T), int(threads)  # narrow integers would wrap
    snn.need_steps(T)
    if schedule not in SCHEDULES:
        raise OptionError(
            where="schedule", got=schedule, expected=" or ".join(SCHEDULES)
        )
    _need_stages(snn, T, schedule)
    if masks is not None:
        _need_masks(snn, x, masks)
    arithmetic = resolve(snn, T, mode=mode, carrier=carrier, fixed=fixed)
    observed = observe is not None or masks is not None or isinstance(x, Mapping)
    how = (impl, schedule, engine, observed)
    serving = engine_of(snn, arithmetic, *how)
    chosen = dense() if serving == "dense" else implementation(impl)
    if serving == "event" and isinstance(x, np.ndarray):
        return _with_events(snn, x, T, arithmetic, chosen, threads)
    observing = None
    if snn.stages.tau and masks is None:
        first = Simulation(snn, x, snn.stages.tau, arithmetic, chosen, None)
        _simulate(first, snn.stages.tau, schedule)
        masks, observing = first.masks(), first.result
    simulation = Simulation(snn, x, T, arithmetic, chosen, observe, masks)
    _simulate(simulation, T, schedule)
    return dataclasses.replace(simulation.result, observing=observing)


def _need_currents(snn: SpikingNetwork, currents: Mapping[str, Array]) -> None:
    """Refuse what are not the currents of all populations that the image feeds."""
    fed = [p for p in snn.populations if p.fed_by_image]
    where = f"spiking network {snn.name}, currents"
    if {p.name for p in fed} != set(currents) or snn.readout.fed_by_image:
        raise OptionError(
            where=where,
            got=f"those of {', '.join(currents)}",
            expected=f"those of {', '.join(p.name for p in fed)}, none the readout",
        )
    sizes = {len(current) for current in currents.values()}
    for p in fed:
        shape = currents[p.name].shape
        if shape[1:] != p.shape or len(sizes) > 1 or 0 in sizes:
            expected = f"(B, {', '.join(map(str, p.shape))}), B > 0 for all"
            raise ShapeError(where=f"{where} of {p.name}", got=shape, expected=expected)


def _need_masks(
    snn: SpikingNetwork, x: Array | Mapping[str, Array], masks: Mapping[str, Array]
) -> None:
    """Refuse masks of other populations than the network has, or of other shapes."""
    where = f"spiking network {snn.name}, masks"
    known = {p.name: p.shape for p in snn.hidden}
    B = len(next(iter(x.values())) if isinstance(x, Mapping) else x)
    for name, mask in masks.items():
        if name not in known:
            raise OptionError(
                where=where, got=name, expected=f"some of {', '.join(known)}"
            )
        held = np.asarray(mask)
        if held.shape != (B, *known[name]) or held.dtype != np.bool_:
            raise ShapeError(
                where=f"{where} of {name}",
                got=f"shape {held.shape}, type {held.dtype}",
                expected=f"{(B, *known[name])}: images, and its neurons; type bool",
            )


ENGINES = ("auto", "event", "dense", "ordinary")
"""Kernels by name."""


EXPECTED = {
    "event": "an unobserved run in mode exact, layer by layer, in compiled kernels",
    "dense": "a run in mode exact, in compiled kernels",
}
"""What engines that cannot serve every run need."""


def engine_of(
    snn: SpikingNetwork,
    arithmetic: Arithmetic,
    impl: str = "kernel",
    schedule: str = "layer",
    engine: str = "auto",
    observed: bool = False,
) -> str:
    """Choose the kernels of a run.

    The event-driven kernels can serve a run in mode ``exact`` whose potentials need no
    check, layer by layer, that nobody observes; matrix products any run in mode
    ``exact``. ``auto`` never takes those: they cost the same however few spikes there
    are, and as much as the event-driven kernels only where nearly every neuron spikes
    at every step.

    Parameters
    ----------
    snn : SpikingNetwork
        The network.
    arithmetic : Arithmetic
        The numbers.
    impl, schedule, engine : str
        As in :func:`run_snn`.
    observed : bool
        Whether the run is observed.

    Returns
    -------
    str
        ``event``, ``dense`` or ``ordinary``.

    Raises
    ------
    OptionError
        If there is no engine of that name, or the one asked for cannot serve.
    """
    if engine not in ENGINES:
        raise OptionError(where="engine", got=engine, expected=" or ".join(ENGINES))
    always = {
        f"mode {arithmetic.mode}": arithmetic.mode != "exact",
        f"impl {impl}": impl != "kernel",
    }
    reasons = (
        always
        if engine == "dense"
        else {
            **always,
            "potentials that are checked in the run": arithmetic.checked,
            f"schedule {schedule}": schedule != "layer",
            "an observer": observed,
        }
    )
    found = [reason for reason, holds in reasons.items() if holds]
    if engine in EXPECTED and found:
        raise OptionError(
            where=f"spiking network {snn.name}, engine {engine}",
            got=", ".join(found),
            expected=EXPECTED[engine],
            do="Leave the engine to auto.",
        )
    if engine == "auto":
        return "ordinary" if found else "event"
    return engine


def _with_events(
    snn: SpikingNetwork,
    x: Array,
    T: int,
    arithmetic: Arithmetic,
    chosen: Impl,
    threads: int,
) -> SpikingRun:
    """Run on the event-driven kernels, the observing steps first."""
    masks: dict[str, Array] = {}
    observing, how = None, (arithmetic, chosen)
    if snn.stages.tau:
        tau = snn.stages.tau
        observing, masks = run_events(
            snn, x, tau, *how, {}, keeping=True, threads=threads
        )
    run, _ = run_events(snn, x, T, *how, masks, keeping=False, threads=threads)
    return dataclasses.replace(run, observing=observing)


def _simulate(simulation: Simulation, T: int, schedule: str) -> None:
    """Take a simulation through all its steps."""
    length = T if schedule == "layer" else 1
    for start in range(0, T, length):
        simulation.advance(start, length)


def _need_stages(snn: SpikingNetwork, T: int, schedule: str) -> None:
    """Refuse a run that has no room for the offset steps of COS."""
    rho = snn.stages.rho
    where = f"spiking network {snn.name}, {rho} offset steps"
    if rho:
        snn.need_own_conventions()
    if rho > T:
        raise OptionError(where=where, got=f"T = {T}", expected=f"at least {rho}")
    if rho and schedule == "step":
        expected = "the schedule layer: a population waits for its sources' first steps"
        raise OptionError(where=where, got="the schedule step", expected=expected)


def image_currents(
    snn: SpikingNetwork, x: Array, *, impl: str = "kernel", **numbers: Any
) -> dict[str, Array]:
    """Return the currents that the image causes, the same at every step.

    Parameters
    ----------
    snn : SpikingNetwork
        A network in canonical form.
    x : ndarray, shape (B, C, H, W)
        Analog input.
    impl : str
        ``kernel`` or ``definition``.
    **numbers
        As in :func:`refsnn.arithmetic.resolve`.

    Returns
    -------
    dict of str to ndarray of float64, shape (B, *S), potential
        For each population that the image feeds; with the bias, and rounded, if the
        population has a grid or the mode is ``fixed``.
    """
    need_network(snn, SpikingNetwork)
    snn.need_input(x)
    snn.need_canonical()
    chosen, arithmetic = implementation(impl), resolve(snn, 1, **numbers)
    simulation = Simulation(snn, x, 1, arithmetic, chosen, None)
    currents = {}
    for p in snn.hidden:
        if arithmetic.rounds_currents_of(p):
            unit = per_channel(arithmetic.unit(p), p.shape, where="unit")
            currents[p.name] = simulation.constants[p.name][0] * unit
        elif p.fed_by_image:  # its image terms stand wherever the graph has them
            acc = np.zeros((len(x), *p.shape))
            currents[p.name] = image_terms(
                p.projections, acc, simulation.x, chosen.accumulate
            )
    return currents


def need_steps(T: int) -> None:
    """Refuse what is not a number of steps.

    Parameters
    ----------
    T : int
        The number of steps.

    Raises
    ------
    DomainError
        If it is not an integer of at least one.
    """
    if not isinstance(T, (int, np.integer)) or isinstance(T, bool) or T < 1:
        expected = "an integer, at least 1 time step"
        raise DomainError(where="T", got=repr(T), expected=expected)
