r"""The margin: which differing spikes rounding excuses, for networks left as they are.

Another implementation simulates the same canonical network in binary32, u_ = 2^-24. It
gets the reference's spikes as input, adds to its potential v^ the terms of a step in
any order, by additions or fused multiply-adds, currents first or not, and subtracts the
spike. For one neuron let m be the number of nonzero terms of a step (active synapses,
the bias, the image's current) and A the sum of their sizes, v the reference's potential
before the step. With e_v(0) = 0, or u_ |v(0)| if v(0) is no binary32 number,

    gamma_m = m u_ / (1 - m u_)
    e_u     = e_v + gamma_m (A + |v| + e_v)
    e_v'    = e_u + [s != 0] u_ (|v'| + e_u)

Theorem. As long as the neuron's spikes are the reference's, |u^ - u| <= e_u. So its
spike is the reference's unless |u - theta| <= e_u, or |u - theta_neg| <= e_u and a
negative spike is allowed.

Proof. A tree of additions over v^ and m terms puts each of them under at most m
roundings, each by a factor 1 + d with |d| <= u_; so the computed sum differs from the
exact one by at most gamma_m (A + |v^|), and |v^| <= |v| + e_v, while v^ itself differs
from v by at most e_v. A product of a binary32 weight and a spike is exact. Subtracting
the spike rounds once. Induct over the steps. A weight or current that is no binary32
number, and a product with a pooled count, are rounded once more before they are added:
m + 1 or m + 2 takes m's place in gamma. A reference that is not certified has its own
error, by the same recursion with u_ = 2^-53, which is added.

Masks and moved initial potentials are those of the trace: an implementation that is
to be judged takes them from it. Not covered: Winograd, FFT, TF32, bfloat16, float16,
spikes scaled by theta, divisions before the sum.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from refsnn.errors import DataError, OptionError
from refsnn.io import content_sha256
from refsnn.network import INPUT, Population, SpikingNetwork
from refsnn.neurons import DualThresholdIF, initial_state, potentials
from refsnn.numerics import Array
from refsnn.run import implementation, merge
from refsnn.trace import Trace

ROUNDOFF = 2.0**-24
"""u_ of binary32."""

OWN_ROUNDOFF = 2.0**-53
"""u_ of binary64, in which the reference computed."""

MASKED = "masked: it may not spike"
"""Why a neuron that is not let out has no distance."""

GUARDED = "no spike is left to take back, or it is masked"
"""Why a negative spike has none."""

CROSSED = "no rounding crosses both thresholds, or adds more than a spike"
"""Why spikes that differ by more than one have none."""

SLACK = 1 + 2.0**-20
"""What the bounds, themselves computed in float64, are enlarged by."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Risk:
    """Where rounding could decide a spike.

    Attributes
    ----------
    steps : int
        Neuron-steps.
    at_risk : int
        Neuron-steps with |u - theta| or |u - theta_neg| at most e_u.
    neurons_at_risk : int
        Neurons, over all samples, with one of these.
    largest_error : float
        The largest e_u, potential.
    """

    steps: int
    at_risk: int
    neurons_at_risk: int
    largest_error: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """A differing spike that rounding does not explain.

    Attributes
    ----------
    population : str
        The population.
    sample, step : int
        The sample, and the step from 1.
    neuron : tuple of int
        Its index: channel, row, column.
    want, got : int
        The reference's spike and the other's.
    distance : float or None
        From the threshold that tells the two apart, potential; None where none does.
    error : float
        e_u, which is smaller.
    why : str
        Why there is no distance; empty if there is one.
    """

    population: str
    sample: int
    step: int
    neuron: tuple[int, ...]
    want: int
    got: int
    distance: float | None
    error: float
    why: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a comparison of a population came to.

    Attributes
    ----------
    differing : int
        Spikes that differ.
    rounding : int
        Neurons whose first difference rounding explains.
    errors : int
        Neurons whose first difference it does not explain.
    unjudged : int
        Neurons whose first difference came behind one of their inputs.
    first : Difference or None
        The first error: lowest sample, then step, then neuron.
    """

    differing: int
    rounding: int
    errors: int
    unjudged: int
    first: Difference | None


def risks(snn: SpikingNetwork, trace: Trace) -> dict[str, Risk]:
    """Count the spikes of a trace that rounding to binary32 could change.

    Parameters
    ----------
    snn : SpikingNetwork
        The network.
    trace : Trace
        A trace of it.

    Returns
    -------
    dict of str to Risk
        By population.
    """
    answer = {}
    for p, high, low, error in _margins(snn, trace):
        near = np.minimum(high, low) <= error
        answer[p.name] = Risk(
            steps=near.size,
            at_risk=int(near.sum()),
            neurons_at_risk=int(near.any(axis=0).sum()),
            largest_error=float(error.max()),
        )
    return answer


def judge(
    snn: SpikingNetwork,
    trace: Trace,
    other: Mapping[str, Array],
    *,
    fed: bool = False,
) -> dict[str, Verdict]:
    """Separate rounding from errors in another implementation's spikes.

    Each neuron is judged at its first difference.

    Parameters
    ----------
    snn : SpikingNetwork
        The network.
    trace : Trace
        The reference's trace of it.
    other : mapping of str to ndarray of int8, shape (T, B, *S)
        The other implementation's spikes, by population.
    fed : bool
        Whether each population got the reference's spikes as input. If not, a
        difference is judged only where no input of its population differed before, in
        the same sample and up to the same step.

    Returns
    -------
    dict of str to Verdict
        By population, of those in `other`.
    """
    clean: dict[str, Array] = {}
    answer = {}
    for p, high, low, error in _margins(snn, trace):
        want = trace.populations[p.name].spikes
        inputs = np.ones(want.shape[:2], dtype=bool)
        for source in p.sources:
            inputs &= clean[source]
        if p.name not in other:
            clean[p.name] = np.zeros_like(inputs)  # nobody knows
            continue
        got = _spikes(p, other[p.name], want)
        axes = tuple(range(2, want.ndim))
        same = np.logical_and.accumulate((want == got).all(axis=axes), axis=0)
        clean[p.name] = inputs & same
        trusted = np.ones_like(inputs) if fed else inputs
        distance = _decided(want, got, high, low)
        answer[p.name] = _verdict(p, want, got, distance, error, trusted)
    return answer


def need_network_of(trace: Trace, snn: SpikingNetwork) -> None:
    """Refuse a network that a trace is not of.

    Parameters
    ----------
    trace : Trace
        The trace.
    snn : SpikingNetwork
        The network.

    Raises
    ------
    DataError
        If their hashes differ.
    """
    if trace.network_sha256 != content_sha256(snn):
        raise DataError(
            where=f"trace of {trace.network}",
            got=f"a network with the hash {trace.network_sha256}",
            expected=f"{content_sha256(snn)}, that of {snn.name}",
        )


def _spikes(p: Population, spikes: Array, want: Array) -> Array:
    """Return another's spikes, or refuse them."""
    spikes = np.asarray(spikes)
    if spikes.shape != want.shape:
        raise DataError(
            where=f"spikes of population {p.name}",
            got=f"shape {spikes.shape}",
            expected=f"{want.shape}, as in the trace",
        )
    return spikes


def _decided(want: Array, got: Array, high: Array, low: Array) -> Array:
    """Return the distance from the threshold that tells one spike from the other."""
    step = np.abs(want.astype(np.int64) - got)  # 2: no rounding crosses both thresholds
    negative = np.minimum(want, got) < 0
    return np.where(step > 1, np.inf, np.where(negative, low, high))


def _why(want: int, got: int) -> str:
    """Say why no threshold tells two spikes apart."""
    if abs(want - got) > 1:
        return CROSSED
    return GUARDED if min(want, got) < 0 else MASKED


def _verdict(
    p: Population,
    want: Array,
    got: Array,
    distance: Array,
    error: Array,
    trusted: Array,
) -> Verdict:
    """Judge the first difference of each neuron."""
    differs = want != got
    first = differs & (np.cumsum(differs, axis=0) == 1)
    judged = first & trusted.reshape(*trusted.shape, *[1] * (want.ndim - 2))
    wrong = judged & (distance > error)
    places = np.argwhere(wrong)
    found = None
    if len(places):
        order = np.lexsort((*places[:, 2:].T[::-1], places[:, 0], places[:, 1]))
        step, sample, *neuron = (int(i) for i in places[order[0]])
        at = (step, sample, *neuron)
        found = Difference(
            population=p.name,
            sample=sample,
            step=step + 1,
            neuron=tuple(neuron),
            want=int(want[at]),
            got=int(got[at]),
            distance=float(distance[at]) if np.isfinite(distance[at]) else None,
            error=float(error[at]),
            why="" if np.isfinite(distance[at]) else _why(int(want[at]), int(got[at])),
        )
    return Verdict(
        differing=int(differs.sum()),
        rounding=int((judged & (distance <= error)).sum()),
        errors=int(wrong.sum()),
        unjudged=int((first & ~judged).sum()),
        first=found,
    )


def _margins(
    snn: SpikingNetwork, trace: Trace
) -> Iterator[tuple[Population, Array, Array, Array]]:
    """Walk the distances from both thresholds and the errors, (T, B, *S) each."""
    snn.need_canonical()
    snn.need_own_conventions()
    need_network_of(trace, snn)
    if trace.fixed:
        raise DataError(
            where=f"trace of {trace.network}",
            got=f"mode fixed, {trace.fixed}: integers, which no rounding changes",
            expected="a trace in mode exact or ordered",
        )
    for p in snn.hidden:
        yield _margin(p, trace)


def _margin(p: Population, trace: Trace) -> tuple[Population, Array, Array, Array]:
    """Repeat a population's potentials from the recorded spikes; bound their error."""
    neuron = p.neuron
    if neuron is None or not neuron.fires_at_theta:
        raise OptionError(
            where=f"population {p.name}",
            got="a neuron whose rule of firing is its own",
            expected="neurons that fire at theta",
        )
    spikes = trace.populations[p.name].spikes
    x, A, m = _terms(p, trace)
    start = _start(p, trace)
    rounded = not _binary32(start)
    total = _errors(p, x, A, m, spikes, ROUNDOFF, start, rounded=rounded)
    if trace.bits is None:
        total = total + _errors(p, x, A, m, spikes, OWN_ROUNDOFF, start)
    u = np.stack([u for u, _ in potentials(x, spikes, start, p.over("theta"))])
    high = np.abs(u - p.over("theta"))
    low = np.full_like(high, np.inf)
    if isinstance(neuron, DualThresholdIF):
        before = spikes.cumsum(axis=0, dtype=np.int64) - spikes
        allowed = (before > 0) | (not neuron.guard)
        theta_neg = neuron.over(p.shape).theta_neg
        below = np.abs(u - theta_neg)
        if not _binary32(theta_neg):
            below = np.maximum(below - ROUNDOFF * np.abs(theta_neg), 0)
        low = np.where(allowed, below, np.inf)
    mask = trace.populations[p.name].mask
    if mask is not None:  # what is not let out never spikes, rounded or not
        high, low = np.where(mask, high, np.inf), np.where(mask, low, np.inf)
    return p, high, low, total


def _start(p: Population, trace: Trace) -> Array:
    """Return the initial potentials of a trace, shape (B, *S)."""
    recorded = trace.populations[p.name]
    size = recorded.spikes.shape[1:]
    moved = recorded.v0.shape == size
    return recorded.v0 if moved else initial_state(p.over("v0"), size).v


def _errors(
    p: Population,
    x: Array,
    A: Array,
    m: Array,
    spikes: Array,
    roundoff: float,
    v0: Array,
    *,
    rounded: bool = False,
) -> Array:
    """Evaluate the recursion of e_u for every step, shape (T, B, *S)."""
    v, e_v = v0, rounded * roundoff * np.abs(v0)
    errors = np.empty(spikes.shape)
    pairs = potentials(x, spikes, v, p.over("theta"))
    for t, (_, after) in enumerate(pairs):
        gamma = m[t] * roundoff / (1 - m[t] * roundoff)
        e_u = (e_v + gamma * (A[t] + np.abs(v) + e_v)) * SLACK
        e_v = e_u + (spikes[t] != 0) * roundoff * (np.abs(after) + e_u)
        errors[t], v = e_u, after
    return errors


def _terms(p: Population, trace: Trace) -> tuple[Array, Array, Array]:
    """Return the currents, the sums of the terms' sizes, and the roundings m."""
    accumulate = implementation("kernel").accumulate
    fed = trace.populations[p.name].input_current
    size = trace.populations[p.name].spikes.shape
    x, A, m = (np.zeros((size[0] * size[1], *p.shape)) for _ in range(3))
    extra = 0
    if fed is not None:
        every = np.broadcast_to(fed, size).reshape(x.shape)
        x, A, m = x + every, A + np.abs(every), m + (every != 0)
        extra = int(not _binary32(fed))
    for q in p.projections:
        if q.source == INPUT:
            continue
        s = q.pooled(merge(trace.populations[q.source].spikes))
        ones = dataclasses.replace(q.op, weight=(q.op.weight != 0) * 1.0)
        sizes = dataclasses.replace(q.op, weight=np.abs(q.op.weight))
        x = accumulate(q.op, x, s)
        A = accumulate(sizes, A, np.abs(s))
        m = accumulate(ones, m, np.abs(np.sign(s)))
        extra = max(extra, int(not _binary32(q.op.weight)) + int(np.abs(s).max() > 1))
    if p.bias is not None and not (fed is not None and p.grid is not None):
        bias = p.over("bias")
        x, A, m = x + bias, A + np.abs(bias), m + (bias != 0)
        extra = max(extra, int(not _binary32(p.bias)))
    m = np.where(m > 0, m + extra, m)
    return x.reshape(size), A.reshape(size), m.reshape(size)


def _binary32(values: Array) -> bool:
    return bool((values == values.astype(np.float32)).all())
