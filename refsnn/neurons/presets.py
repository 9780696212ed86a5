"""Published dual-threshold rules."""

from __future__ import annotations

import dataclasses

import numpy as np

from refsnn.neurons.models import DualThresholdIF
from refsnn.numerics import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preset:
    """A published dual-threshold rule.

    Attributes
    ----------
    theta_neg : float
        Negative threshold, in units of potential of the un-normalised network.
    relative : bool
        Whether `theta_neg` is in units of theta instead.
    strict, guard : bool
        As in :class:`DualThresholdIF`.
    v0 : float
        Initial potential in units of theta.
    source : str
        Where the rule was read.
    """

    theta_neg: float
    relative: bool = False
    strict: bool = False
    guard: bool = True
    v0: float
    source: str

    def neuron(self, theta: Array) -> DualThresholdIF:
        """Return the neuron for a threshold.

        Parameters
        ----------
        theta : ndarray, shape () or (C,), potential
            The firing threshold.

        Returns
        -------
        DualThresholdIF
            The neuron, its negative threshold in the unit of `theta`.
        """
        unit = theta if self.relative else np.ones_like(theta)
        return DualThresholdIF(
            theta_neg=self.theta_neg * unit, strict=self.strict, guard=self.guard
        )


PRESETS: dict[str, Preset] = {
    "fast-snn": Preset(
        theta_neg=-1e-3,
        v0=0.5,
        source="Fast-SNN (Hu et al., TPAMI 2023), released code; stands in for ECL",
    ),
    "snm": Preset(
        theta_neg=-1.0,
        relative=True,
        v0=0.0,
        source="Signed Neuron with Memory (Wang et al., IJCAI 2022), released code",
    ),
    "qffs": Preset(
        theta_neg=0.0,
        strict=True,
        v0=0.5,
        source="QFFS (Li et al., Front. Neurosci. 2022), first author's later code",
    ),
    "ungated": Preset(
        theta_neg=-1e-3,
        guard=False,
        v0=0.5,
        source="fast-snn without the guard N > 0, to show why the guard is needed",
    ),
}
