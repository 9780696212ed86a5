"""Convention profiles: what a spiking simulation means, as data in every artefact."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Profile:
    """The conventions under which spikes were, or are to be, computed.

    Thresholds, initial potentials and negative thresholds with their guard belong to
    the populations; the arithmetic mode belongs to the network.

    Attributes
    ----------
    reset : str
        ``subtract`` (v = u - theta s) or ``to-zero``.
    tie : str
        ``>=`` (a potential equal to the threshold fires) or ``>``.
    spikes_per_step : str
        ``one`` or ``many``.
    lower_clamp : float or None
        Lower bound of the potential, if there is one.
    layer_delay : int
        Steps a spike takes from one population to the next: 0 or 1.
    input_coding : str
        ``direct``: the analog image is presented unchanged at every step.
    """

    reset: str
    tie: str
    spikes_per_step: str
    lower_clamp: float | None
    layer_delay: int
    input_coding: str


REFSNN = Profile(
    reset="subtract",
    tie=">=",
    spikes_per_step="one",
    lower_clamp=None,
    layer_delay=0,
    input_coding="direct",
)
"""The conventions of refsnn's named neurons, and of QCFS, SRP, COS and calibration."""
