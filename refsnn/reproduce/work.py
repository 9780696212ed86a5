"""What is done on a shard's images: sums of numbers, as JSON values that add up."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from refsnn import propagation
from refsnn.analysis import TARGETS, decompose, layout
from refsnn.datasets import Images
from refsnn.evaluate import ann_predictions, evaluate
from refsnn.network import Network, SpikingNetwork
from refsnn.numerics import Array

Work = Callable[[SpikingNetwork, Network, Images, int], dict[str, Any]]


def run(
    snn: SpikingNetwork,
    ann: Network,  # noqa: ARG001 - every work is told both networks
    images: Images,
    T: int,
) -> dict[str, Any]:
    """Run a converted network.

    Parameters
    ----------
    snn : SpikingNetwork
        The converted network.
    ann : Network
        The trained network.
    images : Images
        The shard's images.
    T : int
        Number of steps.

    Returns
    -------
    dict
        ``correct`` at every t; ``populations`` and ``observing``: spikes and synaptic
        operations at every step.
    """
    tally = evaluate(snn, images, T)

    def plain(counts: Mapping[str, Array]) -> dict[str, list[int]]:
        return {name: values.tolist() for name, values in counts.items()}

    return {
        "correct": tally.correct.tolist(),
        "populations": {
            p.name: {
                what: getattr(tally, what)[p.name].tolist()
                for what in ("spikes", "negative", "synops")
            }
            for p in snn.hidden
        },
        "observing": {what: plain(counts) for what, counts in tally.observing.items()},
    }


def run_trained(
    snn: SpikingNetwork,  # noqa: ARG001 - every work is told both networks
    ann: Network,
    images: Images,
    T: int,  # noqa: ARG001 - and T
) -> dict[str, Any]:
    """Run a trained network.

    Parameters
    ----------
    snn, ann, images, T
        As in :func:`run`.

    Returns
    -------
    dict
        ``correct``.
    """
    return {"correct": int((ann_predictions(ann, images) == images.labels).sum())}


def errors(target: str) -> Work:
    """Take error terms apart against a target.

    Parameters
    ----------
    target : str
        One of :data:`refsnn.analysis.TARGETS`.

    Returns
    -------
    callable
        Gives, by population, sums of the terms' sizes in units of 2^-grid charge, and
        neurons by case.
    """

    def work(
        snn: SpikingNetwork, ann: Network, images: Images, T: int
    ) -> dict[str, Any]:
        found = layout(decompose(snn, ann, images, T, target=target))
        wanted = ("absolute", "cases", "against_ann", "condition", "neurons")
        return {
            name: {key: p[key] for key in wanted}
            for name, p in found["populations"].items()
        }

    return work


def propagated(
    snn: SpikingNetwork, ann: Network, images: Images, T: int
) -> dict[str, Any]:
    """Follow errors to the loss.

    Parameters
    ----------
    snn, ann, images, T
        As in :func:`run`.

    Returns
    -------
    dict
        Sums over the images, see :class:`refsnn.propagation.Propagation`.
    """
    found = propagation.propagate(snn, ann, images, T)
    sums = dataclasses.asdict(found)
    return {name: sums[name] for name in sums if name not in {"T", "residue"}}


WORK: dict[str, Work] = {
    "run": run,
    "ann": run_trained,
    "propagation": propagated,
    **{f"errors {target}": errors(target) for target in TARGETS},
}
"""Everything that is done in shards."""
