"""Weights of a population beside those of another: compared, masked, taken over."""

from __future__ import annotations

import dataclasses

import numpy as np

from refsnn.doctor.case import Case
from refsnn.network import Population, Projection
from refsnn.numerics import Array

TINY = 1e-300
"""In place of 0 in a divisor."""


def distance(q: Projection, model: Projection) -> float:
    """Return the size of a difference of weights, relative to the model's.

    Parameters
    ----------
    q, model : Projection
        Projections with weights of one shape.

    Returns
    -------
    float
        norm(W - W_model) / norm(W_model), Frobenius.
    """
    gap = float(np.linalg.norm((q.op.weight - model.op.weight).ravel()))
    size = float(np.linalg.norm(model.op.weight.ravel()))
    return gap / max(size, TINY)


def masked(q: Projection, alive: Array) -> Array:
    """Return a weight without the columns of dead channels.

    Parameters
    ----------
    q : Projection
        The projection.
    alive : ndarray of bool, shape (C,)
        Channels of the source whose columns stay.

    Returns
    -------
    ndarray
        The weight, 0 in the others.
    """
    return np.asarray(q.op.normalised(alive.astype(float), 1, np.array(1.0)).weight)


def put(
    case: Case,
    p: Population,
    model: Population,
    where: list[bool],
    *,
    bias: bool = True,
) -> Population:
    """Take some projections, and the bias, from a model of the population.

    Parameters
    ----------
    case : Case
        The case, whose method's shift the bias gets.
    p, model : Population
        The population, and the model, without shift.
    where : list of bool
        Which projections' weights are taken.
    bias : bool
        Whether the bias is.

    Returns
    -------
    Population
        The new one.
    """
    projections = tuple(
        q.with_weight(m.op.weight) if take else q
        for q, m, take in zip(p.projections, model.projections, where, strict=True)
    )
    p = dataclasses.replace(p, projections=projections)
    if not bias:
        return p
    due = np.zeros(()) if model.bias is None else model.over("bias")
    return dataclasses.replace(p, bias=flat(due + case.shift_of(p), p))


def flat(bias: Array, p: Population) -> Array:
    """Return a bias as populations store it.

    Parameters
    ----------
    bias : ndarray, broadcastable over S
        The bias.
    p : Population
        Whose it is.

    Returns
    -------
    ndarray, shape (C,), S or ()
        With one number a channel, if so many numbers it has.
    """
    channels = p.shape[:1]
    return bias.reshape(channels) if bias.size == channels[0] else bias
