"""What a method does around the T steps that count."""

from __future__ import annotations

import dataclasses

from refsnn.errors import GraphError
from refsnn.records import Ints


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stages:
    """Steps before the T steps, by which a method prepares them for each image.

    Attributes
    ----------
    tau : int
        Observing steps of SRP: the network runs so long; then neurons are masked by
        their residual potential, and all start again.
    rho : int
        Steps of COS by which every population's initial potential is moved, before its
        T steps, by the calibrated spikes of its sources.
    rounds : int
        How many times COS does so.
    """

    tau: int = 0
    rho: int = 0
    rounds: int = 1

    def __post_init__(self) -> None:
        for name, least in (("tau", 0), ("rho", 0), ("rounds", 1)):
            kind = Ints(length=None, least=least)
            value = kind.normalise(getattr(self, name), f"stages, {name}")
            object.__setattr__(self, name, value)
        if self.tau and self.rho:
            raise GraphError(
                where="stages",
                got=f"tau = {self.tau} and rho = {self.rho}",
                expected="observing steps of SRP or offset steps of COS, not both",
            )
