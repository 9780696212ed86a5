"""Neurons over several steps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from refsnn.neurons.base import Neuron, State
from refsnn.numerics import Array, Shape, bind


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
