"""Graphs: the trained network and the spiking one, validated when they are made."""

from refsnn.network.model import Model
from refsnn.network.population import FINEST, Population
from refsnn.network.projection import INPUT, PROJECTIONS, Projection
from refsnn.network.spiking import MODES, SpikingNetwork
from refsnn.network.stages import Stages
from refsnn.network.trained import OPS, Network, Node, Op

__all__ = [
    "FINEST",
    "INPUT",
    "MODES",
    "OPS",
    "PROJECTIONS",
    "Model",
    "Network",
    "Node",
    "Op",
    "Population",
    "Projection",
    "SpikingNetwork",
    "Stages",
]
