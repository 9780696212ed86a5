"""Running a network on its event-driven kernels, and on the ordinary ones beside them.

Mode ``exact`` only: every sum is exact, so nothing that is chosen here can change a
bit. Observers need currents and potentials, which these kernels never store; such runs
take the ordinary kernels.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from refsnn.arithmetic import Arithmetic
from refsnn.network import Population, SpikingNetwork
from refsnn.numerics import Array
from refsnn.run.implementation import Impl
from refsnn.run.result import SpikingRun
from refsnn.run.simulation import Simulation
from refsnn.run.threads import helpers, shared

if TYPE_CHECKING:  # it loads Numba
    from refsnn.engine.network import Engine

SLICE = 128
"""Images times steps that are held at once, at most; one image at least."""


def run_events(
    snn: SpikingNetwork,
    x: Array,
    T: int,
    arithmetic: Arithmetic,
    impl: Impl,
    masks: Mapping[str, Array],
    *,
    keeping: bool,
    threads: int = 1,
) -> tuple[SpikingRun, dict[str, Array]]:
    """Simulate a network for some steps, slice by slice of the batch.

    A thread takes a slice through the whole network. Where there are fewer images than
    threads, the threads share the rows of each population instead.

    Parameters
    ----------
    snn : SpikingNetwork
        A network in canonical form.
    x : ndarray, shape (B, C, H, W)
        Analog input.
    T : int
        Number of steps.
    arithmetic : Arithmetic
        Numbers of mode ``exact``.
    impl : Impl
        What runs populations without an event-driven kernel.
    masks : mapping of str to ndarray of bool, shape (B, *S)
        Neurons that are let out, by population; of others all are.
    keeping : bool
        Whether these are observing steps.
    threads : int
        Number of threads.

    Returns
    -------
    run : SpikingRun
        Logits and counts.
    masks : dict of str to ndarray of bool, shape (B, *S)
        Neurons to be let out from now on, behind observing steps.
    """
    size = max(1, min(SLICE // T, -(-len(x) // threads)))
    numbers = (arithmetic, impl)
    how: dict[str, Any] = {"keeping": keeping, "threads": threads}

    def run(first: int, pool: ThreadPoolExecutor | None) -> Any:
        some = slice(first, first + size)
        parts = {name: mask[some] for name, mask in masks.items()}
        return _run(snn, x[some], T, *numbers, parts, pool, **how)

    firsts = range(0, len(x), size)
    if len(x) >= threads:
        done = shared(lambda first: run(first, None), firsts, threads)
    else:  # beside this thread
        done = [run(first, helpers(threads)) for first in firsts]
    runs, kept = zip(*done, strict=True)
    joined = {name: np.concatenate([k[name] for k in kept]) for name in kept[0]}
    return _joined(list(runs), masks), joined


def _run(
    snn: SpikingNetwork,
    x: Array,
    T: int,
    arithmetic: Arithmetic,
    impl: Impl,
    masks: Mapping[str, Array],
    pool: ThreadPoolExecutor | None,
    **how: Any,
) -> tuple[SpikingRun, dict[str, Array]]:
    """Simulate a network on one slice of the batch."""
    from refsnn.engine.network import Engine, prepared  # noqa: PLC0415 - loads Numba

    known = prepared(snn, T, arithmetic)
    engine = Engine(known, x.astype(np.float64), T, masks, pool=pool, **how)
    beside = None
    if known.needs_others:
        beside = _Beside(snn, x, T, arithmetic, impl, None, masks)
    for p in snn.hidden:
        if p.name in known.plans:
            engine.fire(p.name)
        elif beside:
            spikes = {name: engine.spikes(name) for name in p.sources}
            engine.put(p.name, beside.fire(p.name, T, spikes))
    result = _counted(engine, beside, masks)
    kept = {**engine.masks(), **(beside.masks() if beside else {})}
    return result, kept if engine.keeping else {}


class _Beside(Simulation):
    """The ordinary kernels, for what has no event-driven one."""

    def count(self, p: Population, s: Array) -> None:
        """Count the spikes of a population that was computed elsewhere.

        Parameters
        ----------
        p : Population
            The population.
        s : ndarray of int8, shape (T, B, *S)
            Its spikes.
        """
        self._count(p, self._neuron(p), 0, s)

    def read_out(self, spikes: dict[str, Array], T: int) -> Array:
        """Evaluate the readout.

        Parameters
        ----------
        spikes : dict of str to ndarray of int8, shape (T, B, *S)
            Spikes of its sources.
        T : int
            Number of steps.

        Returns
        -------
        ndarray of float64, shape (T, B, classes)
            Logits.
        """
        self._read_out(0, T, spikes)
        return self.result.logits


def _counted(
    engine: Engine, beside: _Beside | None, masks: Mapping[str, Array]
) -> SpikingRun:
    """Read counts and logits."""
    known, snn = engine.prepared, engine.prepared.snn
    spikes: dict[str, Array] = {}
    negative: dict[str, Array] = {}
    synops: dict[str, Array] = {}
    for p in snn.hidden:
        if known.fan_outs[p.name] is not None:
            counts = engine.count(p.name)
        else:
            others = cast(_Beside, beside)
            if p.name in known.plans:
                others.count(p, engine.spikes(p.name))
            run = others.result
            counts = (run.spikes[p.name], run.negative[p.name], run.synops[p.name])
        spikes[p.name], negative[p.name], synops[p.name] = counts
    if snn.readout.name in known.plans:
        logits = engine.read_out()
    else:
        read = {name: engine.spikes(name) for name in snn.readout.sources}
        logits = cast(_Beside, beside).read_out(read, engine.T)
    return SpikingRun(
        logits=logits,
        spikes=spikes,
        negative=negative,
        synops=synops,
        v0={**engine.v0, **(beside.result.v0 if beside else {})},
        masks=dict(masks),
        marked=dict(engine.marked),
    )


def _joined(runs: list[SpikingRun], masks: Mapping[str, Array]) -> SpikingRun:
    """Join the runs of slices."""

    def total(field: str) -> dict[str, Any]:
        first, *others = (getattr(run, field) for run in runs)
        return {
            name: sum((other[name] for other in others), value)
            for name, value in first.items()
        }

    return SpikingRun(
        logits=np.concatenate([run.logits for run in runs], axis=1),
        spikes=total("spikes"),
        negative=total("negative"),
        synops=total("synops"),
        v0={n: np.concatenate([run.v0[n] for run in runs]) for n in runs[0].v0},
        masks=dict(masks),
        marked=total("marked"),
    )
