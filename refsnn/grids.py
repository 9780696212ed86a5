"""Rounding a canonical network: all operands to grids, weights to few bits."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from refsnn.network import INPUT, Population, Projection, SpikingNetwork
from refsnn.numerics import Array, collapsed, per_channel, round_to_grid


def round_to_grids(snn: SpikingNetwork, grids: Mapping[str, Array]) -> SpikingNetwork:
    """Round every operand of a canonical network to a grid for each channel.

    Weights, bias and v(0) to the nearest multiple of 2^-q, halves to even; a negative
    threshold as its neuron says. Weights from the image, and the bias of a population
    that it feeds, stay: the current they cause is rounded when it is computed.

    Parameters
    ----------
    snn : SpikingNetwork
        A network in canonical form.
    grids : mapping of str to ndarray of int, shape (C,)
        Bits behind the point q, for every population.

    Returns
    -------
    SpikingNetwork
        Another network, each population with its `grid`.
    """
    snn.need_canonical()
    populations = tuple(_on_grid(p, grids[p.name]) for p in snn.populations)
    return dataclasses.replace(snn, populations=populations)


def round_weights(snn: SpikingNetwork, bits: int) -> SpikingNetwork:
    """Round weights to integers of few bits times a power of two for each channel.

    ::

        W'[c] = rint(W[c] 2^q) 2^-q,   |rint(W[c] 2^q)| <= 2^(bits - 1) - 1

    with the largest such q of each output channel c of each projection, halves to even.
    Weights from the image, biases, thresholds and v(0) stay: the image's current is
    analog, and the others are added or compared once, not stored for each synapse.

    Parameters
    ----------
    snn : SpikingNetwork
        A network in canonical form, before it is rounded to grids.
    bits : int
        Bits of a weight, sign included.

    Returns
    -------
    SpikingNetwork
        Another network, its name ending in ``-w`` and the bits.
    """
    snn.need_canonical()
    most = 2 ** (bits - 1) - 1

    def rounded(projection: Projection) -> Projection:
        weight = np.abs(projection.op.weight.astype(np.float64))
        largest = weight.reshape(len(weight), -1).max(axis=1)
        q = bits - 1 - np.frexp(largest)[1].astype(np.int64)
        return _rounded(projection, q - (np.rint(np.ldexp(largest, q)) > most))

    populations = tuple(
        dataclasses.replace(p, projections=tuple(map(rounded, p.projections)))
        for p in snn.populations
    )
    return dataclasses.replace(snn, name=f"{snn.name}-w{bits}", populations=populations)


def _on_grid(p: Population, q: Array) -> Population:
    shaped = per_channel(q, p.shape, where=f"population {p.name}, grid")

    def rounded(field: str) -> Array:
        value = p.over(field)
        result = collapsed(round_to_grid(value, shaped), value)
        return result.reshape(q.shape) if result.size == len(q) else result

    return dataclasses.replace(
        p,
        neuron=p.neuron and p.neuron.on_grid(q),
        projections=tuple(_rounded(projection, q) for projection in p.projections),
        bias=p.bias if p.bias is None or p.fed_by_image else rounded("bias"),
        v0=rounded("v0"),
        grid=q,
    )


def _rounded(projection: Projection, q: Array) -> Projection:
    """Round a projection's weights row by row, the image's apart."""
    op = projection.op
    if projection.source == INPUT:
        return projection
    rows = q.reshape(-1, *[1] * (op.weight.ndim - 1))
    weight = round_to_grid(op.weight.astype(np.float64), rows)
    return projection.with_weight(weight)
