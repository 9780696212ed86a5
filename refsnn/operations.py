"""Operations of a recorded run, counted one way and another from its spikes.

A run counts what its energies need (:class:`refsnn.run.SpikingRun`). Tools differ in
what else they count: whether a weight of 0 costs an operation, whether constants do,
and which neurons are said to be updated. From a trace all of it is counted exactly.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from refsnn.margin import need_network_of
from refsnn.network import INPUT, Population, Projection, SpikingNetwork
from refsnn.numerics import Array, per_channel
from refsnn.run.implementation import implementation
from refsnn.run.simulation import merge
from refsnn.trace import Trace


@dataclasses.dataclass(frozen=True, kw_only=True)
class Operations:
    """What a population did at each step, summed over the samples.

    Attributes
    ----------
    spikes, negative : ndarray of int64, shape (T,)
        Spikes that it emitted, by their sign.
    received : ndarray of int64, shape (T,)
        Synaptic operations that reach it: a spike at a synapse, whatever the weight.
        Through sums a spike is delivered once for every window that holds it; borders
        are exact.
    nonzero : ndarray of int64, shape (T,)
        Those at weights other than 0. Zero-padded shortcuts, which are convolutions of
        zeros and ones here, and dead channels make the difference.
    constants : ndarray of int64, shape (T,)
        Additions of a constant: one for each neuron with a bias or a current of the
        image, which holds the bias.
    updates : ndarray of int64, shape (T,)
        Neurons, which all are updated at every step here.
    touched : ndarray of int64, shape (T,)
        Neurons that an operation at a weight other than 0 or a constant reaches.
    changed : ndarray of int64, shape (T,), or None
        Neurons whose potential is another behind the step; None for a trace without
        potentials, and for the readout, which has none.
    """

    spikes: Array
    negative: Array
    received: Array
    nonzero: Array
    constants: Array
    updates: Array
    touched: Array
    changed: Array | None


def operations(snn: SpikingNetwork, trace: Trace) -> dict[str, Operations]:
    """Count the operations of a recorded run.

    Parameters
    ----------
    snn : SpikingNetwork
        The network.
    trace : Trace
        Its trace; with potentials for `changed`.

    Returns
    -------
    dict of str to Operations
        By population, the readout last.

    Raises
    ------
    DataError
        If the trace is of another network.
    OptionError
        If the network is of other conventions, whose spikes arrive at other steps.
    """
    need_network_of(trace, snn)
    snn.need_own_conventions()
    return {p.name: _counted(p, trace) for p in snn.populations}


def _counted(p: Population, trace: Trace) -> Operations:
    """Count what reaches a population, and what it does."""
    T, samples = trace.T, len(trace.samples)
    shape = (T, samples, *p.shape)
    received, nonzero = np.zeros(shape), np.zeros(shape)
    for q in p.projections:
        if q.source != INPUT:
            s = merge(trace.populations[q.source].spikes)
            received += _reached(q, s, np.ones_like(q.op.weight)).reshape(shape)
            nonzero += _reached(q, s, (q.op.weight != 0).astype(float)).reshape(shape)
    biased = np.array(False) if p.bias is None else p.over("bias") != 0
    constant = np.broadcast_to(biased | p.fed_by_image, shape)
    recorded = trace.populations.get(p.name)
    silent = np.zeros(shape, dtype=np.int8)
    s = silent if recorded is None else recorded.spikes
    changed = None
    if recorded is not None and recorded.v is not None:
        v0 = recorded.v0
        if v0.shape != shape[1:]:  # not moved for each image
            v0 = per_channel(v0, p.shape, where=f"population {p.name}, v(0)")
        before = np.concatenate([np.broadcast_to(v0, (1, *shape[1:])), recorded.v[:-1]])
        changed = _of_steps(recorded.v != before)
    return Operations(
        spikes=_of_steps(s > 0),
        negative=_of_steps(s < 0),
        received=_of_steps(received),
        nonzero=_of_steps(nonzero),
        constants=_of_steps(constant),
        updates=np.full(T, samples * p.neurons if recorded else 0, dtype=np.int64),
        touched=_of_steps((nonzero > 0) | constant),
        changed=changed,
    )


def _reached(q: Projection, spikes: Array, weight: Array) -> Array:
    """Add the spikes that reach each neuron, weighted by 0 or 1."""
    seen = np.abs(q.selected(spikes)).astype(np.float64)
    for pool in q.pool[len(q.maxima) :]:
        seen = pool(seen)
    op = q.with_weight(weight).op
    sums = np.zeros((len(seen), *op.out_shape(seen.shape[1:])))
    return implementation("kernel").accumulate(op, sums, seen)


def _of_steps(values: Array) -> Array:
    """Sum over samples and neurons."""
    total: Array = values.sum(axis=tuple(range(1, values.ndim))).astype(np.int64)
    return total
