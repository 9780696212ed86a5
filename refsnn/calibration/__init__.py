"""Parameter calibration: thresholds, biases, weights and potentials that make up for
errors.

Thresholds are searched for each layer, or channel, on training images. Biases, weights
and initial potentials are then set layer by layer, in graph order, from the difference
between the trained network's activations (its own weights and inputs) and what the
neurons put out when every earlier population is calibrated already.

Sources: Li et al., Converting artificial neural networks to spiking neural networks via
parameter calibration, arXiv 2205.10121; the text was not available, the rules are those
of its released code and of reports on it, as each docstring says. Statistics are sums
of integers or exactly rounded, so they do not depend on the order of the images, unless
a docstring says so.
"""

from refsnn.calibration.kept import forget
from refsnn.calibration.parameters import calibrate_parameters
from refsnn.calibration.thresholds import (
    clip_floor,
    mmse_thresholds,
    moving_thresholds,
)
from refsnn.calibration.weights import Training, calibrate_weights

__all__ = [
    "Training",
    "calibrate_parameters",
    "calibrate_weights",
    "clip_floor",
    "forget",
    "mmse_thresholds",
    "moving_thresholds",
]
