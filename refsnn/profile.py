"""Convention profiles: what a spiking simulation means, as data in every artefact."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from refsnn.errors import DomainError

_CHOICES: dict[str, tuple[Any, ...]] = {
    "reset": ("subtract", "to-zero"),
    "tie": (">=", ">"),
    "spikes_per_step": ("one", "many"),
    "layer_delay": (0, 1),
    "reset_delay": (0, 1),
    "excess": ("fires", "waits"),
    "input_coding": ("direct",),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Profile:
    """The conventions under which spikes were, or are to be, computed.

    Thresholds, initial potentials and negative thresholds with their guard belong to
    the populations; the arithmetic mode belongs to the network. What the fields mean is
    said by :class:`refsnn.neurons.ConventionNeuron`.

    Attributes
    ----------
    reset : str
        ``subtract`` (v = u - theta s) or ``to-zero``.
    tie : str
        ``>=`` (a potential equal to the threshold fires) or ``>``.
    spikes_per_step : str
        ``one`` or ``many``.
    lower_clamp : float or None
        Lower bound of the potential in units of theta, at most 0, if there is one.
    layer_delay : int
        Steps a spike takes from one population to the next: 0 or 1.
    input_coding : str
        ``direct``: the analog image is presented unchanged at every step.
    decay : float
        What the potential is multiplied by before every charge, 0 < decay <= 1;
        1 without leak.
    reset_delay : int
        0: the reset follows the spike; 1: it comes with the next step's charge, behind
        the decay.
    excess : str
        ``fires``: a potential left above theta is tested like any other; ``waits``: in
        the step that follows it is compared with 2 theta.

    Raises
    ------
    DomainError
        If a field has no such value.
    """

    reset: str = "subtract"
    tie: str = ">="
    spikes_per_step: str = "one"
    lower_clamp: float | None = None
    layer_delay: int = 0
    input_coding: str = "direct"
    decay: float = 1.0
    reset_delay: int = 0
    excess: str = "fires"

    def __post_init__(self) -> None:
        for name, values in _CHOICES.items():
            value = getattr(self, name)
            if type(value) is not type(values[0]) or value not in values:
                raise DomainError(
                    where=f"profile, {name}",
                    got=repr(value),
                    expected=" or ".join(repr(known) for known in values),
                )
        clamp = self.lower_clamp
        if clamp is not None and not (_is_number(clamp) and clamp <= 0):
            expected = "a number of at most 0, in units of theta, or None"
            raise DomainError(
                where="profile, lower_clamp", got=repr(clamp), expected=expected
            )
        if not (_is_number(self.decay) and 0 < self.decay <= 1):
            raise DomainError(
                where="profile, decay", got=repr(self.decay), expected="0 < decay <= 1"
            )

    def __str__(self) -> str:
        """Name what differs from refsnn's own conventions."""
        parts = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                parts.append(f"{field.name}={value}")
        return ", ".join(parts) or "refsnn"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


REFSNN = Profile()
"""The conventions of refsnn's named neurons, and of QCFS, SRP, COS and calibration."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Peer:
    """Another simulator's conventions for an integrate-and-fire neuron.

    Attributes
    ----------
    profile : Profile
        The conventions.
    source : str
        Where they were read. Unless it says otherwise, the simulator itself was run
        against them, spike for spike: by a test; sinabs by
        ``reproductions/five_simulators.py``, in an environment of its own.
    """

    profile: Profile
    source: str


PROFILES: dict[str, Peer] = {
    "refsnn": Peer(
        profile=REFSNN,
        source="QCFS (Bu et al., ICLR 2022), Eq. 3-6; this package",
    ),
    "nir-text": Peer(
        profile=Profile(reset="to-zero", tie=">"),
        source="NIR's definition of IF (Pedersen et al., Nat. Commun. 2024), v_reset = "
        "0, one step of dt = 1",
    ),
    "norse": Peer(
        profile=Profile(reset="to-zero", tie=">"),
        source="Norse 1.1.0, norse.torch.from_nir of nir.IF",
    ),
    "sinabs": Peer(
        profile=Profile(spikes_per_step="many", lower_clamp=-1.0),
        source="sinabs 3.1.3, IAF with its defaults and min_v_mem = -theta",
    ),
    "spikingjelly": Peer(
        profile=Profile(reset="to-zero"),
        source="SpikingJelly 2.0.0, IFNode with its default v_reset = 0; v_reset = "
        "None is the profile refsnn",
    ),
    "snntorch": Peer(
        profile=Profile(tie=">", decay=0.9, excess="waits"),
        source="snnTorch 1.0.0, import_from_nir of nir.IF, which makes it Leaky with "
        "beta = 0.9 and reset_delay = False",
    ),
    "snntorch-leaky": Peer(
        profile=Profile(tie=">", reset_delay=1),
        source="snnTorch 1.0.0, Leaky(beta=1) with its default reset_delay = True; its "
        "docstring says that it fires at the threshold, its code compares with >",
    ),
    "lava": Peer(
        profile=Profile(reset="to-zero", tie=">", layer_delay=1),
        source="Lava's floating-point LIF without decay: s = v > vth, v set to 0, a "
        "spike arrives a step later; read, not run",
    ),
}
"""Conventions by simulator, for networks of integrate-and-fire neurons."""
