"""The faults: made, found and repaired."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from refsnn.doctor import dynamics, levels, pooling, weights, wiring
from refsnn.doctor.case import Case, Sign
from refsnn.errors import OptionError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault.

    Attributes
    ----------
    made : callable or None
        From a case to the broken one, or to None where there is nothing to break; None
        if it is not made.
    found : callable
        From a case to the sign of the fault, or None.
    repaired : callable or None
        From a case to the one without it; None if it cannot be repaired.
    suggestion : str
        What to do.
    structural : bool
        Whether it is wrong whatever it costs; else only if predictions come right.
    """

    made: Callable[[Case], Case | None] | None
    found: Callable[[Case], Sign | None]
    repaired: Callable[[Case], Case] | None
    suggestion: str
    structural: bool = True


FAULTS: dict[str, Fault] = {
    "threshold-too-small": Fault(
        made=levels.shrink_thresholds,
        found=levels.small_thresholds,
        repaired=levels.raise_thresholds,
        suggestion="Raise the thresholds: the largest activation, a percentile of it, "
        "or the smallest squared error for this T, on training images.",
        structural=False,
    ),
    "wrong-initial-potential": Fault(
        made=dynamics.start_wrong,
        found=dynamics.wrong_start,
        repaired=dynamics.start_right,
        suggestion="Start at the method's v(0): theta/2, or 0 with theta/(2T) added to "
        "every current.",
    ),
    "missing-shortcut-scale": Fault(
        made=wiring.unscale_shortcuts,
        found=wiring.shortcuts_unscaled,
        repaired=wiring.scale_shortcuts,
        suggestion="Multiply identity shortcuts by theta_in / theta_out.",
    ),
    "hard-reset": Fault(
        made=dynamics.reset_hard,
        found=dynamics.hard_reset,
        repaired=dynamics.reset_by_subtraction,
        suggestion="Reset by subtracting theta; a reset to zero throws away the charge "
        "above it.",
    ),
    "bn-not-folded": Fault(
        made=wiring.leave_norms_out,
        found=wiring.norms_left_out,
        repaired=wiring.fold_norms,
        suggestion="Fold batch norms into weights and biases: W gamma / sqrt(var + "
        "eps), beta + gamma (b - mean) / sqrt(var + eps).",
    ),
    "dead-channels": Fault(
        made=wiring.kill_channels,
        found=wiring.dead_channels,
        repaired=wiring.wake_channels,
        suggestion="Give these channels a threshold above 0: more training images, or "
        "one threshold for the layer.",
    ),
    "other-weights": Fault(
        made=weights.flip_kernels,
        found=weights.other_weights,
        repaired=weights.trained_weights,
        suggestion="Take the trained network's weights and biases, W theta_in / "
        "theta_out and b / theta_out, and look for a transposed, permuted, flipped or "
        "negated array. Weights that were trained, calibrated or rounded to few bits "
        "after conversion are other ones, too, where the file does not name a method "
        "that does so.",
    ),
    "max-pooling": Fault(
        made=None,
        found=pooling.maxima_of_spikes,
        repaired=None,
        suggestion="Train with average pooling: the maximum of spikes at every step "
        "counts neurons that take turns twice. It cannot be repaired in the network.",
    ),
    "wrong-normalisation": Fault(
        made=dynamics.forget_normalisation,
        found=dynamics.wrong_normalisation,
        repaired=dynamics.normalise,
        suggestion="Normalise images with the mean and std that the network was "
        "trained with.",
    ),
    "t-too-small": Fault(
        made=levels.stop_early,
        found=levels.few_steps,
        repaired=levels.take_more_steps,
        suggestion="Run more steps, or take a method made for few: v(0) = theta/2, "
        "calibration.",
        structural=False,
    ),
}
"""Every fault by its name."""

MADE = tuple(name for name, fault in FAULTS.items() if fault.made)
"""Those that :func:`broken` makes."""


def broken(case: Case, name: str) -> Case:
    """Break a network.

    Parameters
    ----------
    case : Case
        A case.
    name : str
        One of :data:`MADE`.

    Returns
    -------
    Case
        The broken one; without grids, so it runs in mode `ordered`.

    Raises
    ------
    OptionError
        If there is no such fault, or nothing in the network to break.
    """
    make = FAULTS[name].made if name in FAULTS else None
    if make is None:
        expected = f"one of {', '.join(MADE)}"
        raise OptionError(where="--break", got=name, expected=expected)
    made = make(case)
    if made is None:
        raise OptionError(
            where=f"--break {name}, network {case.snn.name}, method {case.snn.method}",
            got="nothing to break in this way",
            expected="a network with batch norms, identity shortcuts of other weights "
            "than 1, or a v(0) or weights that the method fixes, as the fault needs it",
        )
    return made
