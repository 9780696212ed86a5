"""Populations in mode `ordered` on event-driven kernels: the definition's bits."""

from __future__ import annotations

import numpy as np
import pytest

from nets import ACTIVATIONS, images, random_net
from refsnn.arithmetic import Arithmetic
from refsnn.convert import convert
from refsnn.engine import ordered as module
from refsnn.engine.layout import from_words, in_words
from refsnn.engine.ordered import counts, ordered
from refsnn.engine.plan import prepare
from refsnn.network import INPUT, SpikingNetwork
from refsnn.ranges import ranges
from refsnn.run import Simulation, implementation

T = 9


def trains(snn: SpikingNetwork, x: np.ndarray) -> dict[str, np.ndarray]:
    """Spikes of every population by the definition, (T, B, *S)."""
    definition = implementation("definition")
    spikes: dict[str, np.ndarray] = {}
    for p in snn.hidden:
        sources = {q.source for q in p.projections} - {INPUT}
        simulation = Simulation(snn, x, T, Arithmetic(mode="ordered"), definition, None)
        spikes[p.name] = simulation.fire(p.name, T, {s: spikes[s] for s in sources})
    return spikes


def packed(s: np.ndarray) -> np.ndarray:
    bits = s.astype(bool).swapaxes(0, 1)
    shape = bits.shape[2:] if bits.ndim == 5 else (bits.shape[2], 1, 1)
    return in_words(bits.reshape(*bits.shape[:2], *shape))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("doubt", [False, True])
def test_every_spike_is_that_of_the_definition(
    seed: int, doubt: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if every neuron is in doubt, so that all are computed again."""
    snn = convert(
        random_net(seed, ACTIVATIONS["relu"]),
        "calib-potential",
        T=T,
        images=images(seed, 20),
        options={"samples": 20, "batch": 10},
        exact=False,
    )
    spikes = trains(snn, snn.preprocess(images(seed + 50, 7)))
    if doubt:
        gather = module.doubts.gather_doubtful

        def doubting(*arguments):
            gather(*arguments)
            everyone = np.ones((1, C, 1, 1), dtype=bool)
            words = arguments[-1].reshape(-1, in_words(everyone).shape[-1])
            words[:] = in_words(everyone)[0, 0, 0]

        monkeypatch.setattr(module.doubts, "gather_doubtful", doubting)
    served = 0
    for p in snn.hidden:
        prepared, C = ordered(snn, p.name, T), p.shape[0]
        if prepared is None:
            continue
        sources = {q.source for q in p.projections}
        words = prepared.fire({s: packed(spikes[s]) for s in sources})
        assert (words == packed(spikes[p.name])).all(), p.name
        bits = from_words(words, C)
        assert (counts(words, C) == bits.sum(axis=1)).all()
        served += 1
    assert served


@pytest.mark.parametrize("seed", range(3))
def test_every_source_spikes(seed: int) -> None:
    """No word of spikes, the first neither, is taken for an empty one."""
    how = {"options": {"samples": 20, "batch": 10}, "exact": False}
    ann, some = random_net(seed, ACTIVATIONS["relu"]), images(seed, 20)
    snn = convert(ann, "calib-potential", T=T, images=some, **how)
    x = snn.preprocess(images(seed, 3))
    spikes = trains(snn, x)
    definition, served = implementation("definition"), 0
    for p in snn.hidden:
        prepared = ordered(snn, p.name, T)
        if prepared is not None:
            all_of = {q.source: np.ones_like(spikes[q.source]) for q in p.projections}
            words = prepared.fire({name: packed(s) for name, s in all_of.items()})
            numbers = Arithmetic(mode="ordered")
            simulation = Simulation(snn, x, T, numbers, definition, None)
            assert (words == packed(simulation.fire(p.name, T, all_of))).all(), p.name
            served += 1
    assert served


def test_it_serves_at_more_steps_than_the_engine_uses_integers_for() -> None:
    """What would serve in its place is slower than here many doubts are."""
    snn = convert(
        random_net(1, ACTIVATIONS["relu"]),
        "calib-light",
        T=T,
        images=images(1, 20),
        options={"samples": 20, "batch": 10},
        exact=False,
    )
    name, known = snn.hidden[1].name, ranges(snn)

    def integers(steps: int) -> bool:
        return prepare(snn, snn[name], known[name], steps, "float64").numbers.filtered

    first = next(steps for steps in (2**k for k in range(12)) if not integers(steps))
    assert ordered(snn, name, first) is not None
    assert ordered(snn, name, 2**12) is None
