"""Comparing another simulator's spikes with the reference's: where and why they part.

:func:`compare` finds the first difference, :func:`explain` the convention or fault that
accounts for all of them.
"""

from refsnn.compare.explanations import (
    VERDICTS,
    Explanation,
    Fit,
    explain,
    explain_neurons,
)
from refsnn.compare.faults import FAULTS, Fault
from refsnn.compare.first import Comparison, First, compare, distance
from refsnn.compare.undo import UNDOINGS

__all__ = [
    "FAULTS",
    "UNDOINGS",
    "VERDICTS",
    "Comparison",
    "Explanation",
    "Fault",
    "First",
    "Fit",
    "compare",
    "distance",
    "explain",
    "explain_neurons",
]
