"""What is wrong with a converted network, and what each fault costs.

A fault is found by comparing the network with what its trained network, its method and
its own thresholds say it should be; it is repaired in a copy, which runs on the same
images: the predictions that come right are what the fault explains. `broken` makes each
fault, for teaching and for tests.
"""

from refsnn.doctor.case import Case
from refsnn.doctor.examine import Examination, Finding, examine, layout, steps_of
from refsnn.doctor.faults import FAULTS, MADE, Fault, broken
from refsnn.doctor.wiring import norm_fault

__all__ = [
    "FAULTS",
    "MADE",
    "Case",
    "Examination",
    "Fault",
    "Finding",
    "broken",
    "examine",
    "layout",
    "norm_fault",
    "steps_of",
]
