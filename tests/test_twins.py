"""Level 3: every kernel equals its definition, bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nets import dyadic, same
from refsnn import kernels, neurons
from refsnn.kernels import PAIRS, dense, sparse
from refsnn.layers import Conv2d, Linear, LinearMap
from refsnn.neurons import IF, DualThresholdIF, GatedIF, Neuron, State
from test_layers import CONVOLUTIONS

Draw = Callable[..., np.ndarray]

KINDS: dict[str, Callable[[np.random.Generator], Draw]] = {
    "dyadic": lambda rng: lambda shape: dyadic(rng, shape, 3),
    "random": lambda rng: rng.standard_normal,
}


NOT_LISTED = ("analog", "analog float32", "pooled", "many")
"""Inputs of a convolution that are multiplied, term by term."""

WIDE = {  # tiles of registers, more elements of a kernel than a word has bits
    "tiles": ((3, 5, 4), (128, 3, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    "words": ((4, 6, 7), (40, 2, 5, 5), (2, 1), (2, 2), (1, 2), 2),
}


def inputs(rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """What a projection can meet: analog, spikes, signed spikes, pooled spikes."""
    spikes = (rng.random(shape) < 0.3).astype(np.int8)
    signed = spikes * rng.choice(np.array([-1, 1], dtype=np.int8), shape)
    return {
        "analog": rng.standard_normal(shape),
        "analog float32": rng.standard_normal(shape).astype(np.float32),
        "spikes": spikes,
        "signed": signed,
        "pooled": rng.integers(-4, 5, shape),
        "few": rng.integers(-3, 5, shape).astype(np.int8),
        "many": rng.integers(-9, 10, shape).astype(np.int8),
        "silent": np.zeros(shape, dtype=np.int8),
        "strided": np.repeat(spikes, 2, axis=-1)[..., ::2],
        "no samples": spikes[:0],
    }


def linear_maps(draw: Draw) -> list[tuple[LinearMap, tuple[int, ...]]]:
    maps: list[tuple[LinearMap, tuple[int, ...]]] = [
        (Linear(weight=draw((5, 12))), (3, 2, 2)),
        (Linear(weight=draw((1, 1)).astype(np.float32)), (1,)),
    ]
    convolutions = {**CONVOLUTIONS, **WIDE}
    for shape, kernel, stride, padding, dilation, groups in convolutions.values():
        how = {"stride": stride, "padding": padding, "dilation": dilation}
        maps.append((Conv2d(weight=draw(kernel), groups=groups, **how), shape))
    return maps


@pytest.mark.parametrize("kind", KINDS)
def test_projections(kind: str, rng: np.random.Generator) -> None:
    draw = KINDS[kind](rng)
    seen = set()
    for op, shape in linear_maps(draw):
        for name, x in inputs(rng, (3, *shape)).items():
            acc = draw((len(x), *op.out_shape(shape)))
            before = acc.copy()
            want = op.accumulate(acc, x)
            got = kernels.accumulate(op, acc, x)
            assert same(got, want), (op, name)
            if isinstance(op, Conv2d):
                assert same(dense.convolve(op, acc, x), want), (op, name)
                values = sparse.values_of(x)
                assert (values is None) == (name in NOT_LISTED), name
                if values is not None:
                    assert same(sparse.convolve(op, acc, x, values), want), (op, name)
            assert same(acc, before), (op, name)
        seen.add(type(op))
    assert seen == {cls for cls in PAIRS if issubclass(cls, LinearMap)}


def models(draw: Draw, S: tuple[int, ...]) -> list[Neuron]:
    per_neuron = -np.abs(draw(S)) - 0.125
    return [
        IF(),
        GatedIF(tolerance=1e-3),
        DualThresholdIF(theta_neg=-0.125),
        DualThresholdIF(theta_neg=-1.0),
        DualThresholdIF(theta_neg=-0.25, strict=True),
        DualThresholdIF(theta_neg=0.0, strict=True),
        DualThresholdIF(theta_neg=-0.125, guard=False),
        DualThresholdIF(theta_neg=per_neuron),
    ]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", KINDS)
def test_neurons(kind: str, dtype: type, rng: np.random.Generator) -> None:
    draw = KINDS[kind](rng)
    seen = set()
    for T, B, S in [(1, 1, (1,)), (9, 2, (3, 2, 2)), (6, 3, (5,)), (4, 0, (2,))]:
        x = draw((T, B, *S)).astype(dtype) + dtype(0.25)
        constant = np.broadcast_to(x[:1], x.shape)
        theta = {
            "scalar": np.array(1.0),
            "per channel": np.linspace(0.5, 1, S[0]).reshape(-1, *[1] * (len(S) - 1)),
            "per neuron": np.abs(draw(S)) + 0.25,
        }
        for neuron in models(draw, S):
            for currents in (x, constant, x[::-1]):
                for name, level in theta.items():
                    state = neurons.initial_state(level / 2, (B, *S))
                    twins(neuron, currents, state, level, name)
            begun = State(draw((B, *S)).astype(dtype), rng.integers(-2, 3, (B, *S)))
            twins(neuron, x, begun, theta["scalar"], "begun")
            seen.add(type(neuron))
    assert seen == {cls for cls in PAIRS if issubclass(cls, Neuron)}


def twins(
    neuron: Neuron, x: np.ndarray, state: State, theta: np.ndarray, why: str
) -> None:
    before = State(state.v.copy(), state.N.copy())
    want_s, want = neurons.unroll(neuron, x, state, theta)
    got_s, got = kernels.unroll(neuron, x, state, theta)
    assert same(got_s, want_s), (neuron, why)
    assert same(got.N, want.N), (neuron, why)
    assert same(got.v, want.v), (neuron, why)
    assert same(state.v, before.v), (neuron, why)
    assert same(state.N, before.N), (neuron, why)


def test_every_pair_belongs_to_a_kind_that_is_compared() -> None:
    assert all(issubclass(cls, (LinearMap, Neuron)) for cls in PAIRS)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_listed_terms_in_other_numbers(dtype: type, rng: np.random.Generator) -> None:
    weight = rng.integers(-(2**20), 2**20, (24, 3, 3, 3)).astype(np.float64)
    op = Conv2d(weight=weight / (3 if dtype is np.float32 else 1), padding=(1, 1))
    x = rng.integers(-1, 2, (2, 3, 5, 6)).astype(np.int8)
    acc = rng.integers(-9, 10, (2, 24, 5, 6)).astype(dtype)
    want = op.accumulate(acc, x)
    assert want.dtype == dtype
    assert same(kernels.accumulate(op, acc, x), want)
