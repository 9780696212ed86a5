"""Spiking neurons: charge, fire, reset, count, in this order, at every step.

One neuron is one record; its equations are the docstring of :class:`Neuron` and its
`fire` rule. Potentials and thresholds may be in any unit of potential; converted
networks use the canonical one, theta = 1.
"""

from refsnn.neurons.base import Neuron, State
from refsnn.neurons.conventions import ConventionNeuron, under
from refsnn.neurons.models import IF, DualThresholdIF, GatedIF
from refsnn.neurons.offset import Margins, margins, offset
from refsnn.neurons.presets import PRESETS, Preset
from refsnn.neurons.runs import initial_state, potentials, unroll

__all__ = [
    "IF",
    "PRESETS",
    "ConventionNeuron",
    "DualThresholdIF",
    "GatedIF",
    "Margins",
    "Neuron",
    "Preset",
    "State",
    "initial_state",
    "margins",
    "offset",
    "potentials",
    "under",
    "unroll",
]
