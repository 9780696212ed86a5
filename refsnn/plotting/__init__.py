"""Figures of results, for reports and notebooks.

Every function returns a :class:`matplotlib.figure.Figure` that belongs to no window.
"""

from refsnn.plotting.calibration import (
    activation_mismatch,
    loss_bound,
    training_losses,
)
from refsnn.plotting.reproductions import (
    beside_published,
    energy_against_accuracy,
    parts_of,
)
from refsnn.plotting.results import (
    INK,
    accuracy,
    differences,
    membranes,
    operations,
    raster,
    rendered,
    spike_rates,
    svg,
)

__all__ = [
    "INK",
    "accuracy",
    "activation_mismatch",
    "beside_published",
    "differences",
    "energy_against_accuracy",
    "loss_bound",
    "membranes",
    "operations",
    "parts_of",
    "raster",
    "rendered",
    "spike_rates",
    "svg",
    "training_losses",
]
