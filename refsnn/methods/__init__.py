"""The registry of conversion methods: one entry each, with its source.

A method takes a trained network to a spiking one: rewrites of the graph, passes that
may look at training images and end with a clip for every activation, a rule from a
threshold to a neuron and its initial potential, and what finishes the network.
"""

from refsnn.methods.base import Context, Method
from refsnn.methods.options import Options, SampleOptions
from refsnn.methods.registry import (
    METHODS,
    method_named,
    need_option,
    options_of,
    prepared,
    settings_in,
    settings_of,
)

__all__ = [
    "METHODS",
    "Context",
    "Method",
    "Options",
    "SampleOptions",
    "method_named",
    "need_option",
    "options_of",
    "prepared",
    "settings_in",
    "settings_of",
]
