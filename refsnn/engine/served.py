"""Which populations have an event-driven kernel, and why others have none."""

from __future__ import annotations

from refsnn.engine.geometry import windows
from refsnn.network import INPUT, Population, SpikingNetwork
from refsnn.neurons import IF, DualThresholdIF, GatedIF

NEURONS = (IF, GatedIF, DualThresholdIF)
"""Models that the kernels know."""


def why_ordinary(snn: SpikingNetwork, p: Population) -> str:
    """Say why a population has no event-driven kernel.

    Parameters
    ----------
    snn : SpikingNetwork
        Its network.
    p : Population
        The population, or the readout.

    Returns
    -------
    str
        The reason; empty if it has one.
    """
    unknown = _why_unknown(snn, p)
    if unknown:
        return unknown
    for q in p.projections:
        if q.source != INPUT and windows(q, snn.shape_of(q.source)) is None:
            kind = "maxima of spikes" if q.maxima else "a flattened identity"
            return f"{kind} from {q.source}"
        if q.source == INPUT and p.neuron is None:
            return "a readout of the image"
    return ""


def _why_unknown(snn: SpikingNetwork, p: Population) -> str:
    """Say why the kernels do not know a population's neurons, if they do not."""
    neuron = p.neuron
    if neuron is None:
        return ""
    if type(neuron) not in NEURONS:
        return f"neurons {neuron.op}"
    strict = isinstance(neuron, GatedIF | DualThresholdIF) and neuron.strict
    if strict and p.grid is None:
        return f"strict thresholds of {neuron.op} without a grid"
    if snn.stages.rho and type(neuron) is not IF:
        return f"initial potentials of {neuron.op} that are moved for each image"
    return ""


def ordinary(snn: SpikingNetwork) -> dict[str, str]:
    """Say which populations have no event-driven kernel, and why.

    Parameters
    ----------
    snn : SpikingNetwork
        The network.

    Returns
    -------
    dict of str to str
        Reasons by population; those that have one are missing.
    """
    reasons = {p.name: why_ordinary(snn, p) for p in snn.populations}
    return {name: why for name, why in reasons.items() if why}
