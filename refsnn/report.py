"""A result as one HTML page that needs nothing else."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jinja2
import numpy as np

from refsnn import captions, datasets, plotting
from refsnn.accounting import ENERGY_TABLES, counts, microjoules
from refsnn.datasets import Images
from refsnn.network import Population, SpikingNetwork
from refsnn.neurons import State
from refsnn.numerics import Array
from refsnn.run import run_snn

NEURONS = 40
"""Neurons of a population in the raster."""

PANELS = 4
"""Populations in the raster."""

OBSERVED = 4
"""Images whose potentials are drawn."""

LINES = 8
"""Populations whose potentials are drawn."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Observation:
    """What was seen of a few images.

    Attributes
    ----------
    images : int
        How many.
    trains : dict of str to ndarray of int8, shape (T, n)
        Spikes of some neurons of some populations, for the first image.
    potentials : dict of str to ndarray, shape (B, *S)
        Potentials of some populations behind the last step.
    """

    images: int
    trains: dict[str, Array]
    potentials: dict[str, Array]


def observe(snn: SpikingNetwork, data: Images, T: int, **how: Any) -> Observation:
    """Run a few images and keep what the figures show.

    Parameters
    ----------
    snn : SpikingNetwork
        The network in canonical form.
    data : Images
        Labelled images.
    T : int
        Number of steps.
    **how
        As in :func:`refsnn.run.run_snn`.

    Returns
    -------
    Observation
        Spike trains and potentials.
    """
    few = data.head(OBSERVED)
    names = [p.name for p in snn.hidden]
    shown, drawn = set(_spread(names, PANELS)), set(_spread(names, LINES))
    trains: dict[str, list[Array]] = {name: [] for name in names if name in shown}
    potentials: dict[str, Array] = {}

    def watch(
        population: Population,
        start: int,  # noqa: ARG001 - an observer is told everything
        x: Array,  # noqa: ARG001
        s: Array,
        state: State,
    ) -> None:
        p = population
        if p.name in shown:
            trains[p.name].append(s[:, :1])
        if p.name in drawn:
            potentials[p.name] = state.v.copy()

    x = snn.preprocess(few.images[: len(few.labels)])
    run = run_snn(snn, x, T, observe=watch, **how)
    return Observation(
        images=len(few.labels),
        trains={
            name: _some(run.emitted(name, np.concatenate(parts)))
            for name, parts in trains.items()
        },
        potentials={name: potentials[name] for name in names if name in potentials},
    )


def _some(s: Array) -> Array:
    """Return the spikes of some neurons for the first image, shape (T, n)."""
    of_one = s[:, 0].reshape(len(s), -1)
    chosen: Array = of_one[:, _spread(range(of_one.shape[1]), NEURONS)]
    return chosen


def _spread(items: Any, count: int) -> list[Any]:
    """Choose at most `count` items, evenly spaced, the first and last among them."""
    size = len(items)
    chosen = np.unique(np.linspace(0, size - 1, min(count, size)).round().astype(int))
    return [items[index] for index in chosen]


def page(result: dict[str, Any], observation: Observation, steps: list[int]) -> str:
    """Lay out a result as a page.

    Parameters
    ----------
    result : dict
        A ``refsnn-result``.
    observation : Observation
        What :func:`observe` returned.
    steps : list of int
        The t that tables show.

    Returns
    -------
    str
        HTML with its figures inside, which loads nothing. Texts that come from files
        are escaped.
    """
    figures = {
        "accuracy": plotting.accuracy(result),
        "rates": plotting.spike_rates(result),
    }
    if observation.trains:
        figures["raster"] = plotting.raster(observation.trains)
        figures["membranes"] = plotting.membranes(observation.potentials)
    if result["ann"]:
        figures["energy"] = plotting.operations(result, steps)
    return render(
        "report.html",
        result=result,
        about=captions.about(result),
        ahead=captions.ahead(result),
        latency=partial(captions.latency, result),
        variant=datasets.variant(result["data"]["sha256"]),
        figures={name: plotting.svg(figure) for name, figure in figures.items()},
        steps=steps,
        rows=[
            [f"{c:,}" if isinstance(c, int) else c for c in row]
            for row in counts(result)
        ],
        energy=[
            ["trained network", *microjoules(result, None)],
            *([captions.latency(result, t), *microjoules(result, t)] for t in steps),
        ],
        tables={name: ENERGY_TABLES[name] for name in result["energy"]},
        observed=observation.images,
        shown=NEURONS,
        percent=lambda correct: f"{100 * correct / result['images']:.2f} %",
    )


def render(template: str, **context: Any) -> str:
    """Fill a template of this package.

    Parameters
    ----------
    template : str
        Its file name.
    **context
        What it names.

    Returns
    -------
    str
        HTML. Texts are escaped.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("refsnn"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**context)
