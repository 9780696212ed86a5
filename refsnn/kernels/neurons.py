"""Twins of the neurons' update over T steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from refsnn.kernels.pairs import exact, kernel_of
from refsnn.neurons import IF, DualThresholdIF, GatedIF, State
from refsnn.numerics import Array, bind


def _unroll(
    kernel: Callable[..., None],
    x: Array,
    state: State,
    theta: Array,
    *parameters: Any,
) -> tuple[Array, State]:
    """Lay out operands as (T, B, neurons); run a kernel on copies of the state."""
    T, B, *S = x.shape
    constant = T > 1 and x.strides[0] == 0
    v = np.array(np.broadcast_to(state.v, x.shape[1:]), dtype=x.dtype, order="C")
    N = np.array(np.broadcast_to(state.N, x.shape[1:]), dtype=np.int64, order="C")
    s = np.empty(x.shape, dtype=np.int8)
    if s.size:
        kernel(
            s.reshape(T, B, -1),
            v.reshape(B, -1),
            N.reshape(B, -1),
            np.ascontiguousarray(x[:1] if constant else x).reshape(-1, B, v[0].size),
            _flat(theta, x, S),
            *parameters,
        )
    return s, State(v, N)


def _flat(value: Array, x: Array, S: list[int]) -> Array:
    """Return a parameter as one value a neuron, in the type of the currents."""
    full: Array = np.array(np.broadcast_to(bind(value, x), S), order="C")
    return full.reshape(-1)


@kernel_of(GatedIF)
@kernel_of(IF)
def integrate_and_fire(
    neuron: IF,  # noqa: ARG001 - kernels of neurons share one signature
    x: Array,
    state: State,
    theta: Array,
) -> tuple[Array, State]:
    """Twin of :func:`refsnn.neurons.unroll` for IF, and for GatedIF behind its mask.

    Parameters
    ----------
    neuron : IF
        The model.
    x : ndarray, shape (T, B, *S), potential
        Input currents.
    state : State
        State before the first of these steps.
    theta : ndarray, potential
        Threshold, broadcastable over S.

    Returns
    -------
    s : ndarray of int8, shape (T, B, *S)
        Spikes.
    state : State
        State after the last step.
    """
    return _unroll(_integrate_and_fire, x, state, theta)


@exact
def _integrate_and_fire(s, v, N, x, theta):  # type: ignore[no-untyped-def]  # typed by Numba
    T, B, size = s.shape
    for t in range(T):
        current = x[min(t, x.shape[0] - 1)]
        for b in range(B):
            for j in range(size):
                u = v[b, j] + current[b, j]
                if u >= theta[j]:
                    s[t, b, j] = 1
                    v[b, j] = u - theta[j]
                    N[b, j] += 1
                else:
                    s[t, b, j] = 0
                    v[b, j] = u


@kernel_of(DualThresholdIF)
def dual_threshold(
    neuron: DualThresholdIF, x: Array, state: State, theta: Array
) -> tuple[Array, State]:
    """Twin of :func:`refsnn.neurons.unroll` for the dual-threshold neuron.

    Parameters
    ----------
    neuron : DualThresholdIF
        The model, its negative threshold broadcastable over S.
    x : ndarray, shape (T, B, *S), potential
        Input currents.
    state : State
        State before the first of these steps.
    theta : ndarray, potential
        Threshold, broadcastable over S.

    Returns
    -------
    s : ndarray of int8, shape (T, B, *S)
        Spikes.
    state : State
        State after the last step.
    """
    theta_neg = _flat(neuron.theta_neg, x, list(x.shape[2:]))
    return _unroll(
        _dual_threshold, x, state, theta, theta_neg, neuron.strict, neuron.guard
    )


@exact
def _dual_threshold(s, v, N, x, theta, theta_neg, strict, guard):  # type: ignore[no-untyped-def]  # typed by Numba
    T, B, size = s.shape
    for t in range(T):
        current = x[min(t, x.shape[0] - 1)]
        for b in range(B):
            for j in range(size):
                u = v[b, j] + current[b, j]
                below = u < theta_neg[j] or (u == theta_neg[j] and not strict)
                if u >= theta[j]:
                    s[t, b, j] = 1
                    v[b, j] = u - theta[j]
                    N[b, j] += 1
                elif below and (N[b, j] > 0 or not guard):
                    s[t, b, j] = -1
                    v[b, j] = u + theta[j]
                    N[b, j] -= 1
                else:
                    s[t, b, j] = 0
                    v[b, j] = u
