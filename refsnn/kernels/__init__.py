"""Numba twins of the definitions; the only place that imports Numba.

A kernel is optional: what has none runs on its definition. Kernels never validate and
never raise; a test runs every pair bit for bit.
"""

from __future__ import annotations

from refsnn.kernels import neurons as _neurons
from refsnn.kernels import projections as _projections
from refsnn.kernels.pairs import PAIRS
from refsnn.layers import LinearMap
from refsnn.neurons import Neuron, State
from refsnn.neurons import unroll as unroll_definition
from refsnn.numerics import Array

__all__ = ["PAIRS", "accumulate", "unroll"]

_ = _neurons, _projections  # imported for their registrations


def accumulate(op: LinearMap, acc: Array, x: Array) -> Array:
    """Add the terms of a linear map, by its kernel if it has one.

    Parameters
    ----------
    op : LinearMap
        The map.
    acc : ndarray, shape (M, *S')
        The sums so far.
    x : ndarray, shape (M, *S)
        The input.

    Returns
    -------
    ndarray, shape (M, *S')
        The same bits as ``op.accumulate(acc, x)``.
    """
    kernel = PAIRS.get(type(op))
    return kernel(op, acc, x) if kernel else op.accumulate(acc, x)


def unroll(neuron: Neuron, x: Array, state: State, theta: Array) -> tuple[Array, State]:
    """Advance a population by T steps, by its neuron's kernel if it has one.

    Parameters
    ----------
    neuron : Neuron
        The model, its parameters broadcastable over S.
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
        State after the last step; the same bits as :func:`refsnn.neurons.unroll`.
    """
    kernel = PAIRS.get(type(neuron)) or unroll_definition
    return kernel(neuron, x, state, theta)
