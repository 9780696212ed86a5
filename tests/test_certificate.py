"""Certificates against brute force: every order of additions, every run."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest

from nets import dual_rule, exact_net, images, random_net
from refsnn.accumulators import ACCUMULATORS
from refsnn.certificate import certify
from refsnn.errors import OptionError
from refsnn.layers import Conv2d, Identity, Linear, MaxPool, SumPool
from refsnn.network import INPUT, Population, Projection, SpikingNetwork
from refsnn.neurons import IF, DualThresholdIF, Neuron, State, potentials, unroll
from refsnn.numerics import bits_behind_point, outward, round_to_grid
from refsnn.passes import activations_to_neurons, canonical_form, fold_batchnorm
from refsnn.ranges import ranges
from refsnn.run import run_snn
from refsnn.snap import snap

P24 = 2.0**24


def projected(
    projection: Projection,
    shape: tuple[int, ...],
    neuron: Neuron,
    *,
    source: tuple[int, ...] = (3,),
    emits: Neuron | None = None,
    **fields: object,
) -> SpikingNetwork:
    """A network whose population ``b`` has one projection from ``a``, on the grid 1."""
    C, size, n = source[0], int(np.prod(source)), int(np.prod(shape))
    first = Projection(source=INPUT, op=Linear(weight=np.eye(size, 3)))
    if len(source) == 3:
        weight = np.ones((C, 3, 1, 1))
        first = Projection(source=INPUT, op=Conv2d(weight=weight))
    a = Population(
        name="a",
        shape=source,
        neuron=emits or IF(),
        projections=(first,),
        grid=np.full(C, 2),
    )
    b = Population(
        name="b", shape=shape, neuron=neuron, projections=(projection,), **fields
    )
    readout = Population(
        name="out",
        shape=(2,),
        neuron=None,
        projections=(Projection(source="b", op=Linear(weight=np.ones((2, n)))),),
    )
    return SpikingNetwork(
        name="s",
        input_shape=(3, *source[1:]) if len(source) == 3 else (3, 1, 1),
        classes=2,
        mean=np.zeros(3),
        std=np.ones(3),
        populations=(a, b, readout),
        canonical=True,
    )


def summed(weights: np.ndarray, **fields: object) -> SpikingNetwork:
    """One neuron with these weights on spikes."""
    op = Linear(weight=weights[None])
    projection = Projection(source="a", op=op)
    return projected(projection, (1,), IF(), source=(len(weights),), **fields)


def in_float32(terms: list[float], *, fused: bool) -> float:
    """Add in binary32, one at a time; fused adds round product and sum once."""
    total = np.float32(0)
    for term in terms:
        if fused:
            total = np.float32(np.float64(total) + np.float64(term))
        else:
            total = total + np.float32(term)
    return float(total)


def orders(terms: list[float]) -> Iterator[float]:
    """Sums of every subset in every order, left to right and as halves."""
    for size in range(len(terms) + 1):
        for some in itertools.permutations(terms, size):
            yield in_float32(list(some), fused=False)
            yield in_float32(list(some), fused=True)
            half = size // 2
            left, right = (
                in_float32(list(p), fused=False) for p in (some[:half], some[half:])
            )
            yield float(np.float32(left) + np.float32(right))


def exact_sums(terms: list[float]) -> list[Fraction]:
    """The exact sums, in the order of :func:`orders`."""
    sums = []
    for size in range(len(terms) + 1):
        for some in itertools.permutations(terms, size):
            sums += 3 * [sum(map(Fraction, some), Fraction(0))]
    return sums


@pytest.mark.parametrize("seed", range(6))
def test_with_24_bits_every_order_of_additions_is_exact(seed: int) -> None:
    """Weights whose positive parts add up to 2^24 exactly, the most that is allowed."""
    rng = np.random.default_rng(seed)
    cuts = np.sort(rng.integers(1, 2**24, 2))
    positive = np.diff([0, *cuts, 2**24]).astype(float)
    negative = -rng.integers(1, 2**22, 2).astype(float)
    weights = rng.permutation([*positive, *negative])
    certificate = certify(summed(weights), "float32", T=1)
    b = certificate.populations[1]
    assert (b.sums, b.grid) == (24, (0, 0))
    assert certificate.sums_hold
    terms = weights.tolist()
    assert [Fraction(x) for x in orders(terms)] == exact_sums(terms)


def test_one_bit_over_the_edge_an_order_is_found_that_is_not_exact() -> None:
    """Positive parts of 2^24 + 3: 2^24 + 1 is no binary32 number."""
    weights = np.array([P24 - 2, 3.0, 2.0, -5.0])
    certificate = certify(summed(weights), "float32", T=1)
    assert certificate.populations[1].sums == 25
    assert not certificate.sums_hold
    assert "25 bits, 24 there" in certificate.why_not
    terms = weights.tolist()
    wrong = [a for a, b in zip(orders(terms), exact_sums(terms), strict=True) if a != b]
    assert wrong
    assert certify(summed(weights - [1, 1, 1, 0]), "float32", T=1).sums_hold


def test_int32_holds_less_than_a_power_of_two() -> None:
    assert ACCUMULATORS["float32"].need(np.array([P24, P24 + 2])).tolist() == [24, 25]
    edge = np.array([2.0**31 - 1, 2.0**31])
    assert ACCUMULATORS["int32"].need(edge).tolist() == [31, 32]
    whole = {"grid": np.array([0])}
    assert certify(summed(np.array([2.0**31 - 1]), **whole), "int32", T=1).sums_hold
    assert not certify(summed(np.array([2.0**31]), **whole), "int32", T=1).sums_hold


def test_integers_need_a_stored_grid() -> None:
    """Without one a weight of 1/4 would be cast to 0."""
    weights = np.array([0.25, 0.5, 0.75])
    assert certify(summed(weights), "float32", T=8).holds
    certificate = certify(summed(weights), "int32", T=8)
    assert "no stored grid" in certificate.why_not
    assert certify(summed(weights, grid=np.array([2])), "int32", T=8).holds


@pytest.mark.parametrize("accumulator", ACCUMULATORS)
def test_what_overflows_is_not_certified(accumulator: str) -> None:
    """2^-1030 beside 1/3 spans more than float64 counts; so do 1e300 and 0.1."""
    for weights in ([2.0**-1030, 1 / 3, 2 / 3], [1e300, -1e300, 0.1]):
        certificate = certify(summed(np.array(weights)), accumulator, T=8)
        assert not certificate.holds
        assert not certificate.sums_hold
    need = ACCUMULATORS[accumulator].need(np.array([np.inf, np.nan, 1.0]))
    assert (need > 10**5).tolist() == [True, True, False]


def test_thresholds_biases_and_v0_are_operands() -> None:
    """theta = 1 asks for a grid of at least 2^-24 in float32; v(0) and bias too."""
    weak = np.array([2.0**-26])
    assert bits_of(summed(weak)) == 26
    for field in ({"bias": np.array(P24 + 2)}, {"v0": np.array(P24 + 2)}):
        assert (
            certify(summed(np.ones(1), **field), "float32", T=1).populations[1].sums
            == 25
        )
    op = Linear(weight=np.ones((1, 3)))
    deep = DualThresholdIF(theta_neg=-(P24 + 2))
    snn = projected(Projection(source="a", op=op), (1,), deep)
    assert bits_of(snn) == 25


def bits_of(snn: SpikingNetwork) -> int | None:
    return certify(snn, "float32", T=1).populations[1].sums


RNG = np.random.default_rng(5)
WEIGHTS = RNG.integers(-8, 9, (4, 2, 3, 3)) / 4.0
PROJECTIONS = {
    "padding": ((2, 4, 4), Conv2d(weight=WEIGHTS, padding=(1, 1)), ()),
    "groups, stride": ((4, 5, 5), Conv2d(weight=WEIGHTS, groups=2, stride=(2, 1)), ()),
    "dilation": (
        (2, 6, 6),
        Conv2d(weight=WEIGHTS, dilation=(2, 1), padding=(0, 2)),
        (),
    ),
    "sums": ((2, 6, 6), Conv2d(weight=WEIGHTS), (SumPool(),)),
    "maxima": (
        (2, 8, 8),
        Conv2d(weight=WEIGHTS),
        (MaxPool(kernel=(3, 3), stride=(1, 1)), SumPool()),
    ),
    "linear": ((2, 3, 3), Linear(weight=RNG.integers(-8, 9, (3, 18)) / 4.0), ()),
    "shortcut": ((4, 2, 2), Identity(weight=np.array([0.5, -1.0, 2.0, 0.0])), ()),
}


@pytest.mark.parametrize("emits", [IF(), DualThresholdIF(theta_neg=-0.5)])
@pytest.mark.parametrize("name", PROJECTIONS)
def test_ranges_are_attained(name: str, emits: Neuron) -> None:
    """The worst input of each neuron, found term by term, reaches P and -Nn."""
    source, op, pool = PROJECTIONS[name]
    projection = Projection(source="a", op=op, pool=pool)
    pooled = projection.pooled_shape(source)
    shape = op.out_shape(pooled)
    snn = projected(projection, shape, IF(), source=source, emits=emits)
    r = ranges(snn)["b"]
    low, high = min(emits.alphabet) * projection.divisor, projection.divisor
    inputs = np.eye(int(np.prod(pooled))).reshape(-1, *pooled)
    terms = op(inputs)  # the term of every site, for every neuron
    most = np.maximum(terms * high, terms * low).sum(axis=0)
    least = np.minimum(terms * high, terms * low).sum(axis=0)
    assert r.P.tolist() == most.tolist()
    assert r.Nn.tolist() == (-least).tolist()


def test_currents_of_any_image_stay_in_their_range() -> None:
    snn = snap(canonical_form(activations_to_neurons(exact_net(3), dual_rule)))
    extremes = np.zeros((3, 2, 8, 8), dtype=np.uint8)
    extremes[1] = 255
    extremes[2] = np.where(np.indices((2, 8, 8)).sum(axis=0) % 2, 255, 0)
    x = snn.preprocess(np.concatenate([extremes, images(4, 5)]))
    seen = []

    def watch(population, start, x, s, state):
        r = ranges(snn)[population.name]
        assert (x <= r.P).all()
        assert (x >= -r.Nn).all()
        if r.current:
            assert (x >= r.current[0]).all()
            assert (x <= r.current[1]).all()
            seen.append(population.name)

    run_snn(snn, x, 4, observe=watch)
    assert seen == ["act1"]


@pytest.mark.parametrize("neuron", [IF(), DualThresholdIF(theta_neg=-0.25)])
@pytest.mark.parametrize("v0", [-1.0, 0.0, 0.5, 1.0, 1.75])
def test_the_static_bound_holds_for_every_run(neuron: Neuron, v0: float) -> None:
    """Every sequence of spikes from two sources, T up to 4; some reach it."""
    for weights in ([1.5, -0.75], [0.5, -2.0], [0.25, 0.25], [3.0, 0.0]):
        snn = summed(np.array(weights), v0=np.array(v0))
        for T in (1, 2, 4):
            (bound,) = ranges(snn)["b"].potentials(T)
            sequences = np.array(
                list(itertools.product([0, 1], repeat=2 * T)), dtype=np.int8
            ).reshape(-1, T, 2)
            x = np.moveaxis(sequences @ np.array(weights), 0, 1)[..., None]
            state = State(np.full(x.shape[1:], v0), np.zeros(x.shape[1:], np.int64))
            s, _ = unroll(neuron, x, state, np.array(1.0))
            u = [np.abs(u).max() for u, _ in potentials(x, s, state.v, np.array(1.0))]
            assert max(u) <= bound
            if weights == [3.0, 0.0] and v0 <= 1:
                assert bound == max(v0, 1) + (T - 1) * 2 + 3


def test_what_cannot_be_proved_is_refused() -> None:
    ann = fold_batchnorm(random_net(3))
    raw = canonical_form(activations_to_neurons(ann, lambda theta: (IF(), theta / 2)))
    certificate = certify(raw, T=8)
    assert not certificate.holds
    assert certificate.bits is None
    assert "from the image and is not rounded" in certificate.why_not
    needs = [p.bits for p in certificate.populations[1:-1]]
    assert min(needs) > 53  # divisions by theta leave no room
    snapped = snap(raw)
    off = dataclasses.replace(snapped["act2"], v0=np.array(2.0**-60))
    populations = tuple(off if p.name == "act2" else p for p in snapped.populations)
    broken = dataclasses.replace(snapped, populations=populations)
    assert "no multiples of its grid" in certify(broken, T=8).why_not

    class Shy(Neuron):
        op = "toy-shy"
        alphabet = (0, 1)

        def fire(self, u, N, theta):  # noqa: ARG002
            return (u >= 2 * theta).astype(np.int8)

    try:
        certificate = certify(
            projected(
                Projection(source="a", op=Linear(weight=np.ones((1, 3)))), (1,), Shy()
            ),
            T=8,
        )
        assert "toy-shy" in certificate.populations[1].faults[0]
        assert certificate.populations[1].sums == 2
        assert not certificate.holds
    finally:
        del Neuron.registry["toy-shy"]
    with pytest.raises(OptionError, match="float64, float32, int32"):
        certify(snapped, "float16", T=1)


def test_more_steps_need_more_bits() -> None:
    snn = snap(canonical_form(activations_to_neurons(exact_net(1), dual_rule)))
    bits = [certify(snn, T=T).bits for T in (1, 8, 64, 512, 1024)]
    assert bits == sorted(bits)
    assert bits[-1] <= 53
    assert not certify(snn, T=10**9).holds


def test_grids_of_numbers() -> None:
    x = np.array([0.0, 1.0, 0.5, 0.75, 6.0, 1 / 3, -(2.0**-40)])
    got = bits_behind_point(x)
    assert got[1:].tolist() == [0, 1, 2, -1, 54, 40]
    assert got[0] < -(10**6)
    assert round_to_grid(np.array([0.5, 1.5, 2.5, -0.5]), 0).tolist() == [0, 2, 2, 0]
    assert round_to_grid(np.array([0.3]), 2).tolist() == [0.25]
    assert round_to_grid(np.array([1e300, -1e300]), 52).tolist() == [1e300, -1e300]
    g = np.array([1.0, 1.0])
    bound = outward(np.array([2.0**52, 2.0**53 - 1]), g)
    assert bound[0] == 2.0**52
    assert bound[1] > 2.0**53
