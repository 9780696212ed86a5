"""Running a trained network once, and a spiking network for T steps.

Trained networks are evaluated in float64, every sum in the order that
:mod:`refsnn.layers` states; spiking ones in the numbers that :mod:`refsnn.arithmetic`
names. Results do not depend on the implementation, on the schedule, or on which images
share a batch.
"""

from refsnn.run.implementation import IMPLS, implementation
from refsnn.run.result import Observer, SpikingRun
from refsnn.run.simulation import Simulation, merge
from refsnn.run.spiking import (
    ENGINES,
    SCHEDULES,
    engine_of,
    image_currents,
    need_steps,
    run_snn,
)
from refsnn.run.threads import alone, processors
from refsnn.run.trained import ann_outputs, need_network, run_ann

__all__ = [
    "ENGINES",
    "IMPLS",
    "SCHEDULES",
    "Observer",
    "Simulation",
    "SpikingRun",
    "alone",
    "ann_outputs",
    "engine_of",
    "image_currents",
    "implementation",
    "merge",
    "need_network",
    "need_steps",
    "processors",
    "run_ann",
    "run_snn",
]
