"""Neurons under any conventions: one general, slow definition."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from refsnn.errors import DomainError
from refsnn.neurons.base import Neuron, State
from refsnn.neurons.models import DualThresholdIF
from refsnn.numerics import Array, Shape, bind
from refsnn.profile import REFSNN, Profile

MOST = 127
"""Most spikes that a neuron can emit in a step: int8 holds them."""


class ConventionNeuron(Neuron, abstract=True):
    r"""A named neuron as it would behave under other conventions.

    ::

        charge   u = decay v + x                                reset_delay = 0
                 u = decay v + x - theta s'                     1, subtract
                 u = decay v [s' = 0] + x                       1, to-zero
        fire     s = 1 if u >= theta                            tie >=, one
                 s = 1 if u > theta                             tie >, one
                 s = max(floor(u / theta), 0)                   tie >=, many
                 s = max(ceil(u / theta) - 1, 0)                tie >, many
                 less 1 below a negative threshold, if it has one, as it fires there
                 with u - theta s' in place of u                excess = waits
        reset    v = u - theta s                                subtract
                 v = 0 where s != 0, u elsewhere                to-zero
                 v = u                                          reset_delay = 1
        clamp    v = max(v, lower_clamp theta)                  if there is one
        count    N = N + s

    where s' is what v would emit before the charge: the spikes of the step before if
    they are still to be reset, and those of v(0) in the first step. Under
    :data:`refsnn.profile.REFSNN` it is the named neuron, bit for bit. The delay of a
    profile's layers is the network's affair. There is no kernel.

    Parameters
    ----------
    neuron : Neuron
        IF, GatedIF or DualThresholdIF.
    profile : Profile
        The conventions.

    Raises
    ------
    DomainError
        If the neuron has a rule of firing of its own.
    """

    neuron: Neuron
    profile: Profile

    def __post_init__(self) -> None:
        if not self.neuron.fires_at_theta:
            raise DomainError(
                where=f"conventions of neuron {self.neuron.op}",
                got="a rule of firing of its own",
                expected="a neuron that fires at theta",
            )
        waits = self.profile.excess == "waits"
        if (self.profile.reset_delay or waits) and min(self.neuron.alphabet) < 0:
            raise DomainError(
                where=f"conventions of neuron {self.neuron.op}",
                got="a look at the potential of the step before, and negative spikes",
                expected="a neuron without negative spikes: whether its guard counts "
                "the spike that is still to be reset is not defined",
            )
        if waits and (self.profile.reset_delay or self.profile.reset == "to-zero"):
            raise DomainError(
                where="profile, excess",
                got=f"waits, with {self.profile}",
                expected="waits only with a reset by subtraction that is not late",
            )
        least = min(self.neuron.alphabet)
        most = MOST if self.profile.spikes_per_step == "many" else 1
        object.__setattr__(self, "alphabet", tuple(range(least, most + 1)))

    def over(self, shape: Shape) -> ConventionNeuron:
        return dataclasses.replace(self, neuron=self.neuron.over(shape))

    def fire(self, u: Array, N: Array, theta: Array) -> Array:
        one, many = self.profile.tie == ">=", self.profile.spikes_per_step == "many"
        if many:
            s = np.floor(u / theta) if one else np.ceil(u / theta) - 1
            s = np.maximum(s, 0)
            if (s > MOST).any():
                raise DomainError(
                    where="spikes of a step",
                    got=f"{s.max():.0f}",
                    expected=f"at most {MOST}",
                    do="Raise the thresholds: inputs are far above them.",
                )
        else:
            s = u >= theta if one else u > theta
        spikes: Array = s.astype(np.int8)
        if isinstance(self.neuron, DualThresholdIF):
            spikes = spikes - (self.neuron.fire(u, N, theta) < 0).astype(np.int8)
        return spikes

    def step(self, x: Array, state: State, theta: Array) -> tuple[Array, State]:
        p, v, N = self.profile, state.v, state.N
        looks_back = p.reset_delay or p.excess == "waits"
        before = self.fire(v, N, theta) if looks_back else np.zeros_like(N)
        if p.reset == "to-zero" and p.reset_delay:
            v = np.where(before == 0, v, bind(0, v))
        u = v + x if p.decay == 1 else bind(p.decay, v) * v + x
        if p.reset == "subtract" and p.reset_delay:
            u = u - theta * before
        tested = u - theta * before if p.excess == "waits" else u
        return self._discharge(u, self.fire(tested, N, theta), N, theta)

    def discharge(self, u: Array, N: Array, theta: Array) -> tuple[Array, State]:
        return self._discharge(u, self.fire(u, N, theta), N, theta)

    def _discharge(
        self, u: Array, s: Array, N: Array, theta: Array
    ) -> tuple[Array, State]:
        """Reset, clamp and count behind some spikes."""
        p = self.profile
        if p.reset_delay:
            v = u
        else:
            v = (
                u - theta * s
                if p.reset == "subtract"
                else np.where(s == 0, u, bind(0, u))
            )
        if p.lower_clamp is not None:
            v = np.maximum(v, bind(p.lower_clamp, v) * theta)
        return s, State(v, N + s)

    def __repr__(self) -> str:
        return f"{self.neuron!r} under {self.profile}"


def under(neuron: Neuron, profile: Profile) -> Neuron:
    """Return a neuron as it behaves under some conventions.

    Parameters
    ----------
    neuron : Neuron
        A named neuron.
    profile : Profile
        The conventions.

    Returns
    -------
    Neuron
        Itself under those of this package.
    """
    how: dict[str, Any] = {"neuron": neuron, "profile": profile}
    return neuron if profile == REFSNN else ConventionNeuron(**how)
