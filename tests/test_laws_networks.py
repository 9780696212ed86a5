"""Level 2: laws of whole networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nets import dual_rule, dyadic, exact_net, on_grid, simulated_with_thresholds
from refsnn import datasets, io
from refsnn.convert import convert
from refsnn.network import Population, SpikingNetwork
from refsnn.neurons import PRESETS, State
from refsnn.passes import activations_to_neurons, canonical_form, fold_batchnorm
from refsnn.run import run_snn

STEPS = (1, 2, 3, 5, 8, 32)
BITS = 20


def spiking(name: str) -> SpikingNetwork:
    """A shipped network with IF neurons; the clip one with dual thresholds."""
    ann = io.load_ann(datasets.weights_folder() / f"digits_{name}.h5")
    if name == "qcfs":
        return convert(ann, "qcfs", exact=False)
    if name == "relu":
        images = datasets.load("digits", "train").images
        return convert(
            ann, "max-norm", images=images, options={"samples": 64}, exact=False
        )
    preset = PRESETS["snm"]
    return canonical_form(
        activations_to_neurons(
            fold_batchnorm(ann), lambda theta: (preset.neuron(theta), theta / 2)
        )
    )


@pytest.mark.parametrize("name", ["qcfs", "clip", "relu"])
def test_charge_is_conserved_in_every_neuron(name: str) -> None:
    """theta N(T) = sum of I(t) + v(0) - v(T), exactly, on weights of 20 bits."""
    snn = on_grid(spiking(name), BITS)
    x = snn.preprocess(datasets.load("digits", "test").images[:4])
    x = np.round(x * 2.0**10) / 2.0**10  # the analog input on a grid, too
    for T in STEPS:
        charge: dict[str, Any] = {}

        def observe(
            p: Population, start: int, x: np.ndarray, s: np.ndarray, state: State
        ) -> None:
            assert start == 0
            want = x.sum(axis=0) + p.over("v0") - state.v
            charge[p.name] = (p.over("theta") * state.N == want).all()  # noqa: B023 - called in this turn only
            assert (state.N == s.sum(axis=0, dtype=np.int64)).all()

        run_snn(snn, x, T, impl="definition", observe=observe)
        assert charge == {p.name: True for p in snn.hidden}


def test_every_weight_is_on_the_grid() -> None:
    for p in on_grid(spiking("qcfs"), BITS).populations:
        for q in p.projections:
            scaled = q.op.weight * 2.0**BITS
            assert (scaled == np.round(scaled)).all()
            assert np.abs(q.op.weight).max() > 2.0**-8


def test_the_first_steps_of_a_long_run_are_a_short_run() -> None:
    snn = spiking("clip")
    x = snn.preprocess(datasets.load("digits", "test").images[:5])
    long = run_snn(snn, x, 8, impl="definition")
    short = run_snn(snn, x, 3, impl="definition")
    assert (long.logits[:3] == short.logits).all()
    for name, spikes in short.spikes.items():
        assert long.spikes[name][:3].tolist() == spikes.tolist()
        assert long.negative[name][:3].tolist() == short.negative[name].tolist()
    assert sum(n.sum() for n in long.negative.values()) > 0


@pytest.mark.parametrize("seed", range(4))
def test_canonical_form_has_the_same_spikes_and_logits(seed: int) -> None:
    """With thresholds that are powers of two the rewrite is exact, ties included."""
    snn = activations_to_neurons(exact_net(seed), dual_rule)
    x = dyadic(np.random.default_rng(seed), (5, 2, 8, 8), 3)
    want = simulated_with_thresholds(snn, x, 6)
    got: dict[str, np.ndarray] = {}

    def observe(p, start, x, s, state):
        got[p.name] = s

    run = run_snn(canonical_form(snn), x, 6, impl="definition", observe=observe)
    for name, train in got.items():
        assert (train == want[name]).all(), name
        assert train.any()
    assert (run.logits == want["logits"]).all()
    assert sum(n.sum() for n in run.negative.values()) > 0
