"""The neuron models: when they fire."""

from __future__ import annotations

import dataclasses

import numpy as np

from refsnn.errors import DomainError
from refsnn.neurons.base import Neuron
from refsnn.numerics import Array, bind, collapsed, per_channel
from refsnn.records import flag, tensor


class IF(Neuron):
    """Integrate-and-fire: s = 1 if u >= theta, else 0 (equality fires).

    Source: Bu et al., ICLR 2022, Eq. 3-6; the same rule in the released QCFS, SRP, COS
    and calibration code.
    """

    op = "IF"
    alphabet = (0, 1)
    fires_at_theta = True

    def fire(self, u: Array, N: Array, theta: Array) -> Array:  # noqa: ARG002 - N unused
        return (u >= theta).astype(np.int8)


class GatedIF(IF):
    """Integrate-and-fire whose spikes are let out or not, for a whole run.

    ::

        keep = v(tau) > tolerance    (>= if not strict)

    at the end of tau observing steps, in which it is a plain IF neuron. Then it starts
    again, charges, fires and resets as before, and emits keep * s.

    Source: SRP (Hao et al., AAAI 2023), released code: v > 1e-3 theta, strictly. The
    paper's own criterion was not seen; ``tolerance=0, strict=False`` keeps a neuron
    unless its potential is negative.

    Parameters
    ----------
    tolerance : float or ndarray, shape () or (C,), potential
        Residual potential above which a neuron is kept.
    strict : bool
        Whether it has to lie above, and not only at, the tolerance.
    """

    op = "GatedIF"
    alphabet = (0, 1)
    tolerance: Array = tensor("", "C", unit="potential")
    strict: bool = flag(default=True)

    def keeps(self, v: Array) -> Array:
        """Say which neurons are let out.

        Parameters
        ----------
        v : ndarray, shape (B, *S), potential
            Residual potential at the end of the observing steps.

        Returns
        -------
        ndarray of bool, shape (B, *S)
            True where spikes are let out.
        """
        tolerance = bind(self.tolerance, v)
        kept: Array = v > tolerance if self.strict else v >= tolerance
        return kept

    def on_grid(self, q: Array) -> GatedIF:
        """Return the neuron with the same mask on potentials of the grid 2^-q.

        Parameters
        ----------
        q : ndarray of int, shape (C,)
            Bits behind the point.

        Returns
        -------
        GatedIF
            The neuron, its test not strict.
        """
        q = per_channel(q, self.tolerance.shape or q.shape, where=self.op)
        steps = np.ldexp(self.tolerance.astype(np.float64), q)
        steps = np.floor(steps) + 1 if self.strict else np.ceil(steps)
        tolerance = collapsed(np.ldexp(steps, -q), self.tolerance)
        return dataclasses.replace(self, tolerance=tolerance, strict=False)


class DualThresholdIF(Neuron):
    r"""Integrate-and-fire with a second, negative threshold.

    ::

        s = +1   if u >= theta
            -1   if u <= theta_neg and N > 0
             0   otherwise

    N is the net count of spikes emitted so far, so a negative spike takes back an
    earlier positive one. The two tests exclude each other because theta_neg < theta;
    their order and whether N includes this step do not matter.

    ECL (ICML 2025) names a dual-threshold neuron with a negative threshold and
    v(0) = theta/2; its equations are not public. This rule, of Fast-SNN (Hu et al.,
    TPAMI 2023, code), is the closest published one: a labelled reconstruction.

    Parameters
    ----------
    theta_neg : float or ndarray, shape (), (C,) or (C, H, W), potential
        Negative threshold: below 0, or 0 with `strict`. (0 without `strict` would undo
        a spike at u = 0 and oscillate: refused.)
    strict : bool
        Whether the negative test is ``u < theta_neg`` instead of ``u <= theta_neg``.
    guard : bool
        Whether a negative spike needs N > 0.
    """

    op = "DualThresholdIF"
    alphabet = (-1, 0, 1)
    fires_at_theta = True
    theta_neg: Array = tensor("", "C", "CHW", unit="potential")
    strict: bool = flag(default=False)
    guard: bool = flag(default=True)

    def check(self) -> None:
        highest = self.theta_neg.max()
        if not (highest < 0 or (highest == 0 and self.strict)):
            raise DomainError(
                where="DualThresholdIF.theta_neg",
                got=f"{highest}{' with the strict test' if self.strict else ''}",
                expected="a value below 0, or 0 with the strict test",
                do="At 0 without it the neuron would undo a spike at u = 0.",
            )

    def fire(self, u: Array, N: Array, theta: Array) -> Array:
        theta_neg = bind(self.theta_neg, u)
        below = u < theta_neg if self.strict else u <= theta_neg
        negative = below & (N > 0) if self.guard else below
        return (u >= theta).astype(np.int8) - negative.astype(np.int8)

    def on_grid(self, q: Array) -> DualThresholdIF:
        """Return the neuron with the same spikes on potentials of the grid 2^-q.

        ``u <= theta_neg`` holds if and only if it does for theta_neg rounded down, and
        ``u < theta_neg`` if and only if u is at most the next multiple below.

        Parameters
        ----------
        q : ndarray of int, shape (C,)
            Bits behind the point.

        Returns
        -------
        DualThresholdIF
            The neuron, its test not strict.
        """
        q = per_channel(
            q, self.theta_neg.shape or q.shape, where=f"{self.op}.theta_neg"
        )
        steps = np.ldexp(self.theta_neg.astype(np.float64), q)
        steps = np.ceil(steps) - 1 if self.strict else np.floor(steps)
        theta_neg = collapsed(np.ldexp(steps, -q), self.theta_neg)
        return dataclasses.replace(self, theta_neg=theta_neg, strict=False)
