"""What every neuron has: state, the order of a step, parameters with units."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any, ClassVar, NamedTuple, TypeVar

from refsnn.errors import OptionError
from refsnn.numerics import Array, Shape, collapsed, per_channel, round_to_grid
from refsnn.records import Record, Tensor, kinds

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
