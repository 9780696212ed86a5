"""Spiking neurons: charge, fire, reset, count, in this order, at every step.

One neuron is one record; its equations are the docstring of :class:`Neuron` and its
`fire` rule. Potentials and thresholds may be in any unit of potential; converted
networks use the canonical one, theta = 1.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np

from refsnn.errors import DomainError, OptionError
from refsnn.numerics import Array, Shape, bind, collapsed, per_channel, round_to_grid
from refsnn.records import Record, Tensor, flag, kinds, tensor

NeuronType = TypeVar("NeuronType", bound="Neuron")


class State(NamedTuple):
    """What a population carries from step to step.

    Attributes
    ----------
    v : ndarray, shape (B, *S), potential
        Membrane potential after the reset.
    N : ndarray of int64, shape (B, *S)
        Net number of spikes emitted so far: positive minus negative.
    """

    v: Array
    N: Array


class Neuron(Record, abstract=True):
    r"""Base of the neurons without leak, reset by subtraction.

    Per step, with u, v in units of potential and s in the neuron's alphabet::

        charge   u = v + x
        fire     s = fire(u, N, theta)
        reset    v = u - theta s
        count    N = N + s

    Hence theta N(t) = sum of x up to t + v(0) - v(t) at every t, exactly in real
    arithmetic (Bu et al., ICLR 2022, Eq. 3-6 and 8-9). The potential has no lower
    bound and there is at most one spike a step.

    A subclass sets `op` (its name in files and on the command line), `alphabet` (the
    values s can take) and `fire`. Everything else is derived from its fields.
    `fires_at_theta` says that it emits +1 if and only if u >= theta, and -1 only
    below 0; then the range of its potential is known before it runs.
    """

    alphabet: ClassVar[tuple[int, ...]]
    fires_at_theta: ClassVar[bool] = False
    registry: ClassVar[dict[str, type[Neuron]]] = {}

    def __init_subclass__(cls, *, abstract: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(abstract=abstract, **kwargs)
        if abstract:
            return
        where = f"neuron class {cls.__qualname__}"
        if not vars(cls).get("op") or not hasattr(cls, "alphabet"):
            got = "no op of its own, or no alphabet"
            expected = "both, or abstract=True for a base of other neurons"
            raise OptionError(where=where, got=got, expected=expected)
        known = Neuron.registry.get(cls.op, cls)
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise OptionError(
                where=where,
                got=f"op = {cls.op!r}, the name of {known.__qualname__}",
                expected="a name that no other neuron has",
            )
        Neuron.registry[cls.op] = cls

    def fire(self, u: Array, N: Array, theta: Array) -> Array:
        """Return the spikes s of this step.

        Parameters
        ----------
        u : ndarray, shape (B, *S), potential
            Membrane potential after the charge.
        N : ndarray of int64, shape (B, *S)
            Net spike count before this step.
        theta : ndarray, potential
            Threshold, broadcastable over (B, *S), in the type of `u`.

        Returns
        -------
        ndarray of int8, shape (B, *S)
            Values of `alphabet`.
        """
        raise NotImplementedError

    def step(self, x: Array, state: State, theta: Array) -> tuple[Array, State]:
        """Advance by one time step.

        Parameters
        ----------
        x : ndarray, shape (B, *S), potential
            Input current of this step, bias included.
        state : State
            State before the step.
        theta : ndarray, potential
            Threshold, broadcastable over (B, *S), in the type of `x`.

        Returns
        -------
        s : ndarray of int8, shape (B, *S)
            Spikes.
        state : State
            State after the step.
        """
        return self.discharge(state.v + x, state.N, theta)

    def discharge(self, u: Array, N: Array, theta: Array) -> tuple[Array, State]:
        """Fire, reset and count, behind the charge.

        Parameters
        ----------
        u : ndarray, shape (B, *S), potential
            Membrane potential after the charge.
        N : ndarray of int64, shape (B, *S)
            Net spike count before this step.
        theta : ndarray, potential
            Threshold, broadcastable over (B, *S), in the type of `u`.

        Returns
        -------
        s : ndarray of int8, shape (B, *S)
            Spikes.
        state : State
            State after the step.
        """
        s = self.fire(u, N, theta)
        v = u - theta * s
        N = N + s
        return s, State(v, N)

    def over(self: NeuronType, shape: Shape) -> NeuronType:
        """Shape every per-channel parameter to broadcast over a population.

        Parameters
        ----------
        shape : tuple of int
            S, the population's shape.

        Returns
        -------
        Neuron
            The same neuron, its parameters views of these.
        """
        shaped = copy.copy(self)
        for name, kind in kinds(type(self)):
            value = getattr(self, name)
            if isinstance(kind, Tensor) and value is not None:
                value = per_channel(value, shape, where=f"{self.op}.{name}")
                object.__setattr__(shaped, name, value)
        return shaped

    def in_units_of(self: NeuronType, theta: Array) -> NeuronType:
        """Express every parameter declared as a potential in units of the threshold.

        Parameters
        ----------
        theta : ndarray, shape () or (C,), potential
            The threshold before normalisation.

        Returns
        -------
        Neuron
            The neuron of the canonical network, whose threshold is 1.
        """
        divided = {}
        for name, value in self.potentials.items():
            shape = value.shape or theta.shape
            unit = per_channel(theta, shape, where=f"{self.op}.{name}")
            divided[name] = value / unit
        return dataclasses.replace(self, **divided)

    def on_grid(self: NeuronType, q: Array) -> NeuronType:
        """Round every parameter declared as a potential to multiples of 2^-q.

        Parameters
        ----------
        q : ndarray of int, shape (C,)
            Bits behind the point.

        Returns
        -------
        Neuron
            The rounded neuron, to nearest even; a subclass that can be rounded to an
            equal one, on potentials of that grid, does that instead.
        """
        rounded = {}
        for name, value in self.potentials.items():
            bits = per_channel(q, value.shape or q.shape, where=f"{self.op}.{name}")
            rounded[name] = collapsed(round_to_grid(value, bits), value)
        return dataclasses.replace(self, **rounded)

    @property
    def potentials(self) -> dict[str, Array]:
        """The parameters declared as potentials, by name."""
        return {
            name: getattr(self, name)
            for name, kind in kinds(type(self))
            if isinstance(kind, Tensor)
            and kind.unit == "potential"
            and getattr(self, name) is not None
        }


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


def initial_state(v0: Array, shape: Shape) -> State:
    """Return the state before the first step: v = v(0), N = 0.

    Parameters
    ----------
    v0 : ndarray, potential
        Initial potential, broadcastable over `shape`.
    shape : tuple of int
        (B, *S).

    Returns
    -------
    State
        The state.
    """
    return State(np.broadcast_to(v0, shape), np.zeros(shape, dtype=np.int64))


def unroll(neuron: Neuron, x: Array, state: State, theta: Array) -> tuple[Array, State]:
    """Advance a population by T steps.

    Parameters
    ----------
    neuron : Neuron
        The model, its parameters broadcastable over (B, *S).
    x : ndarray, shape (T, B, *S), potential
        Input currents.
    state : State
        State before the first of these steps.
    theta : ndarray, potential
        Threshold, broadcastable over (B, *S).

    Returns
    -------
    s : ndarray of int8, shape (T, B, *S)
        Spikes.
    state : State
        State after the last step.
    """
    theta = bind(theta, x)
    state = State(bind(state.v, x), state.N)
    s = np.empty(x.shape, dtype=np.int8)
    for t in range(len(x)):
        fired, state = neuron.step(x[t], state, theta)
        np.copyto(s[t], fired, casting="no")
    return s, state


def potentials(
    x: Array, s: Array, v: Array, theta: Array
) -> Iterator[tuple[Array, Array]]:
    """Repeat the potentials of a population whose spikes are known.

    Parameters
    ----------
    x : ndarray, shape (T, B, *S), potential
        Input currents.
    s : ndarray of int8, shape (T, B, *S)
        Spikes.
    v : ndarray, shape (B, *S), potential
        Potential before the first of these steps.
    theta : ndarray, potential
        Threshold, broadcastable over S.

    Yields
    ------
    u, v : ndarray, shape (B, *S), potential
        At every step: after the charge, and after the reset; the bits of
        :meth:`Neuron.step` for arrays of one type.
    """
    for t in range(len(s)):
        u = v + x[t]
        v = u - theta * s[t]
        yield u, v


def constant_count(x: Array, v0: Array, theta: Array, T: int) -> Array:
    """Return N(T) of a constant current: clip(floor((T x + v0) / theta), 0, T).

    It holds for IF and every guarded dual-threshold neuron while 0 <= v0 < theta, and
    is the QCFS activation with L = T levels when v0 = theta/2 (QCFS Theorem 1; exact
    proof for each v0 by charge conservation).

    Parameters
    ----------
    x : ndarray, potential
        The current, the same at every step.
    v0 : ndarray, potential
        Initial potential.
    theta : ndarray, potential
        Threshold.
    T : int
        Number of steps.

    Returns
    -------
    ndarray of int64
        Spike counts.

    Raises
    ------
    DomainError
        If v0 lies outside [0, theta).
    """
    if not (np.all(v0 >= 0) and np.all(v0 < theta)):
        raise DomainError(
            where="constant_count",
            got=f"v0 from {np.min(v0)} to {np.max(v0)}",
            expected="0 <= v0 < theta",
        )
    return np.clip(np.floor((T * x + v0) / theta), 0, T).astype(np.int64)
