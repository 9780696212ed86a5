"""The converted network with its activations restored, to compare neurons with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from refsnn.activations import Clipped
from refsnn.errors import OptionError
from refsnn.grids import round_to_grids
from refsnn.io import content_sha256
from refsnn.network import INPUT, Network, Population, SpikingNetwork
from refsnn.neurons import IF, Neuron
from refsnn.numerics import Array
from refsnn.passes import (
    activations_to_neurons,
    canonical_form,
    set_thresholds,
)
from refsnn.run import image_currents, implementation, run_ann


def need_made_of(snn: SpikingNetwork, ann: Network) -> None:
    """Refuse a trained network that a converted one was not made of.

    Parameters
    ----------
    snn : SpikingNetwork
        The converted network, with the content hash of its own.
    ann : Network
        The trained network.

    Raises
    ------
    OptionError
        If its hash is another.
    """
    got = content_sha256(ann)
    if snn.ann_sha256 != got:
        raise OptionError(
            where=f"trained network {ann.name}",
            got=f"a network with the hash {got}",
            expected=f"{snn.ann_sha256}, of which {snn.name} was made",
        )


def restored(
    snn: SpikingNetwork, ann: Network, x: Array, added: Mapping[str, Array]
) -> dict[str, tuple[Array, Array]]:
    """Evaluate a converted network with activations in place of its neurons.

    Parameters
    ----------
    snn : SpikingNetwork
        A network in canonical form.
    ann : Network
        The trained network it was made of, behind the rewrites of its method.
    x : ndarray, shape (B, C, H, W)
        Analog input.
    added : mapping of str to ndarray, potential
        What the method added to the current of each population, broadcastable over S;
        it is taken off again.

    Returns
    -------
    dict of tuple of ndarray, shape (B, *S), in units of theta
        Pre-activations and activations of every population, from the same rounded
        weights and the same current of the image.
    """
    accumulate = implementation("kernel").accumulate
    fed = image_currents(snn, x)
    answer: dict[str, tuple[Array, Array]] = {}
    for p in snn.hidden:
        z = fed.get(p.name, np.zeros((len(x), *p.shape)))
        for q in p.projections:
            if q.source != INPUT:
                z = accumulate(q.op, z, q.pooled(answer[q.source][1]))
        if p.bias is not None and not p.fed_by_image:
            z = z + p.over("bias")
        z = z - added[p.name]
        op = ann[p.name].op
        if isinstance(op, Clipped):
            op = dataclasses.replace(op, lam=np.array(1.0))
        answer[p.name] = (z, op(z))
    return answer


def distance(
    snn: SpikingNetwork,
    ann: Network,
    images: Array,
    activations: Mapping[str, tuple[Array, Array]],
) -> float:
    """Compare restored activations with those of the trained network's file.

    Parameters
    ----------
    snn : SpikingNetwork
        A network in canonical form.
    ann : Network
        The trained network it was made of.
    images : ndarray of uint8, shape (B, C, H, W)
        Images.
    activations : mapping
        What :func:`restored` returned for them.

    Returns
    -------
    float
        The largest distance, in units of theta; dead channels apart.
    """
    worst = 0.0

    def observe(name: str, value: Array) -> None:
        nonlocal worst
        if name in activations:
            scale = snn[name].over("scale")
            alive = np.where(scale > 0, scale, 1.0)
            gap = np.abs(value / alive - activations[name][1])
            worst = max(worst, float(np.where(scale > 0, gap, 0.0).max()))

    run_ann(ann, ann.preprocess(images), observe=observe)
    return worst


def uncalibrated(ann: Network, scales: Mapping[str, Array]) -> dict[str, Population]:
    """Return the populations as their thresholds alone make them.

    Parameters
    ----------
    ann : Network
        The trained network behind the rewrites of a method.
    scales : mapping of str to ndarray, shape () or (C,), activation
        Thresholds before normalisation, by activation; 0 where it is dead.

    Returns
    -------
    dict of str to Population
        With the trained network's weights and biases in units of theta, neither
        shifted nor calibrated nor rounded; the readout is the last.
    """

    def rule(theta: Array) -> tuple[Neuron, Array]:
        return IF(), theta / 2

    clipped = set_thresholds(ann, scales)
    plain = activations_to_neurons(clipped, rule, max_pool_on_spikes=True)
    return {p.name: p for p in canonical_form(plain).populations}


def scales(snn: SpikingNetwork) -> dict[str, Array]:
    """Return the thresholds before normalisation.

    Parameters
    ----------
    snn : SpikingNetwork
        A network in canonical form.

    Returns
    -------
    dict of str to ndarray, shape () or (C,), activation
        By population of neurons.
    """
    return {p.name: p.scale for p in snn.hidden}


def as_trained(snn: SpikingNetwork, ann: Network) -> SpikingNetwork:
    """Put the trained network's weights back where calibration changed them.

    Parameters
    ----------
    snn : SpikingNetwork
        A network with grids.
    ann : Network
        The trained network it was made of, behind the rewrites of its method.

    Returns
    -------
    SpikingNetwork
        With those weights, rounded to its grids; its biases and potentials stay.
    """
    plain = uncalibrated(ann, scales(snn))
    grids = {p.name: p.grid for p in snn.populations if p.grid is not None}
    populations = tuple(
        dataclasses.replace(p, projections=plain[p.name].projections, grid=None)
        for p in snn.populations
    )
    loose = dataclasses.replace(
        snn, populations=populations, mode="ordered", certificate=None
    )
    return round_to_grids(loose, grids)
