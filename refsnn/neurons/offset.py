"""COS: moving initial potentials so that counts come out right."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from refsnn.neurons.base import Neuron, State
from refsnn.numerics import Array

BELOW, ABOVE = 0.999, 1.001
"""Fractions of theta by which a potential is moved to just below, or just above, theta
(released code of COS)."""


class Margins(NamedTuple):
    """The two fractions as potentials, on the grid if there is one.

    Attributes
    ----------
    below, above : ndarray, potential
        0.999 theta rounded down, 1.001 theta rounded up.
    """

    below: Array
    above: Array


def margins(q: Array) -> Margins:
    """Round the two fractions away from theta = 1 to a grid.

    Parameters
    ----------
    q : ndarray of int64
        Bits behind the point.

    Returns
    -------
    Margins
        In units of theta, the shape of `q`.
    """
    g = np.ldexp(1.0, -q)
    return Margins(np.floor(BELOW / g) * g, np.ceil(ABOVE / g) * g)


def offset(
    neuron: Neuron, x: Array, v0: Array, theta: Array, margins: Margins
) -> Array:
    """Move the initial potential of every neuron by what one spike takes.

    ::

        one too many   N > 0 and v(rho) < 0:
            v(0) - max(theta, m_min - 0.999 theta)
        one too few    N < rho and v(rho) >= theta:
            v(0) + max(theta, 1.001 theta - v_max)

    m_min is the smallest potential among the spikes before the reset, v_max the largest
    one among the steps without a spike. Source: COS (Hao et al., ICLR 2023), released
    code, which leaves no step without a spike to saturated neurons, N = rho; they are
    not wrong, and stay as they are here.

    Parameters
    ----------
    neuron : Neuron
        The model, its parameters broadcastable over S.
    x : ndarray, shape (rho, B, *S), potential
        Currents of the observing steps.
    v0 : ndarray, shape (B, *S), potential
        Initial potential.
    theta : ndarray, potential
        Threshold, broadcastable over S.
    margins : Margins
        Where a moved potential is to end up.

    Returns
    -------
    ndarray, shape (B, *S), potential
        The moved initial potential, in the type of `v0`.
    """
    state = State(v0, np.zeros(v0.shape, dtype=np.int64))
    spiked, rested = np.zeros((2, *v0.shape), dtype=bool)
    m_min, v_max = np.zeros_like(v0), np.zeros_like(v0)
    for current in x:
        u = state.v + current
        s, state = neuron.discharge(u, state.N, theta)
        fired = s > 0
        m_min = np.where(fired & (~spiked | (u < m_min)), u, m_min)
        v_max = np.where(~fired & (~rested | (state.v > v_max)), state.v, v_max)
        spiked, rested = spiked | fired, rested | ~fired
    many = spiked & (state.v < 0)
    few = rested & (state.v >= theta)
    lower = v0 - np.maximum(m_min - margins.below, theta)
    higher = v0 + np.maximum(margins.above - v_max, theta)
    moved: Array = np.where(many, lower, np.where(few, higher, v0))
    return moved.astype(v0.dtype)
