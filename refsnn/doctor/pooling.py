"""The fault of maxima of spikes in place of maxima of activations."""

from __future__ import annotations

import numpy as np

from refsnn.calibrate import watch_ann
from refsnn.doctor.case import BATCH, Case, Sign, worst
from refsnn.doctor.levels import LOOKED_AT
from refsnn.network import INPUT, Population
from refsnn.neurons import State
from refsnn.numerics import Array
from refsnn.run import run_snn


def maxima_of_spikes(case: Case) -> Sign | None:
    """Look for max pooling behind neurons: neurons that take turns count double.

    Parameters
    ----------
    case : Case
        A case.

    Returns
    -------
    Sign or None
        How much more theta times the maxima of spikes, a step, is than the maxima of
        the trained network's activations, relative to these; of the population whose
        spikes are pooled.
    """
    pools = [
        (f"{q.source} {p.name} {index}", q)
        for p in case.snn.populations
        for index, q in enumerate(p.projections)
        if q.maxima and q.source != INPUT
    ]
    if not pools:
        return None
    data = case.data.head(LOOKED_AT)
    got: dict[str, float] = dict.fromkeys((key for key, _ in pools), 0.0)
    want = dict(got)

    def add(totals: dict[str, float], name: str, values: Array) -> None:
        for key, q in pools:
            if q.source == name:
                totals[key] += float(q.selected(values).sum())

    for start in range(0, len(data.labels), BATCH):
        images = data.images[start : start + BATCH]
        for name, s in _emitted(case, images, {q.source for _, q in pools}).items():
            for step in s:
                add(got, name, step * case.snn[name].over("scale") / case.T)
    watch_ann(case.ready, data.images, lambda name, a: add(want, name, a), batch=BATCH)
    excess: dict[str, float] = {}
    for key, q in pools:
        more = got[key] / want[key] - 1 if want[key] else 0.0
        excess[q.source] = max(excess.get(q.source, -np.inf), more)
    return worst(excess, "relative excess of the maxima of its spikes")


def _emitted(case: Case, images: Array, names: set[str]) -> dict[str, Array]:
    """Return the spikes of some populations, (T, B, *S); masked ones are none."""
    fired: dict[str, list[Array]] = {name: [] for name in names}

    def watch(
        population: Population,
        start: int,  # noqa: ARG001 - an observer is told everything
        x: Array,  # noqa: ARG001 - the same
        s: Array,
        state: State,  # noqa: ARG001 - the same
    ) -> None:
        if population.name in names:
            fired[population.name].append(s.copy())

    run = run_snn(case.snn, case.snn.preprocess(images), case.T, observe=watch)
    masks = {name: run.masks.get(name, np.int8(1)) for name in names}
    return {name: np.concatenate(s) * masks[name] for name, s in fired.items()}
