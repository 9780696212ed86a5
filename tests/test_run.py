"""Running networks: schedules, implementations, batches, counts, numerical errors."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest

from nets import ACTIVATIONS, images, random_net, same
from refsnn.activations import Clip
from refsnn.convert import convert
from refsnn.errors import DomainError, NumericalError, OptionError, ShapeError
from refsnn.layers import Identity, Linear, SumPool
from refsnn.network import INPUT, Population, Projection, SpikingNetwork
from refsnn.neurons import IF, PRESETS
from refsnn.passes import activations_to_neurons, canonical_form, fold_batchnorm
from refsnn.run import SpikingRun, image_currents, run_ann, run_snn


def dual_net(seed: int) -> SpikingNetwork:
    """A random network with dual-threshold neurons, in canonical form."""
    ann = fold_batchnorm(random_net(seed, lambda lam: Clip(lam=lam)))
    preset = PRESETS["fast-snn"]
    return canonical_form(
        activations_to_neurons(ann, lambda theta: (preset.neuron(theta), theta / 2))
    )


def assert_equal(a: SpikingRun, b: SpikingRun) -> None:
    assert same(a.logits, b.logits)
    for kind in ("spikes", "negative", "synops"):
        mine, theirs = getattr(a, kind), getattr(b, kind)
        assert list(mine) == list(theirs)
        assert all(same(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize("seed", range(3))
def test_no_choice_changes_a_bit(seed: int) -> None:
    """Implementation and schedule, on random weights: not a grid, any rounding."""
    snn = dual_net(seed)
    x = snn.preprocess(images(seed, 7))
    want = run_snn(snn, x, 9, impl="definition", schedule="layer")
    assert sum(n.sum() for n in want.negative.values()) > 0
    for impl in ("kernel", "definition"):
        for schedule in ("layer", "step"):
            got = run_snn(snn, x, 9, impl=impl, schedule=schedule)
            assert_equal(got, want)


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_the_size_of_the_pieces_changes_nothing(
    steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Currents of so many steps of the largest population at once, at least one."""
    snn = dual_net(2)
    x = snn.preprocess(images(2, 4))
    want = run_snn(snn, x, 7)
    seen: list[tuple[str, int, int]] = []

    def observe(p, start, x, s, state):
        seen.append((p.name, start, len(s)))

    monkeypatch.setattr("refsnn.run.simulation.CURRENTS", steps * 8 * 4 * 4 * 8 * 8)
    assert_equal(run_snn(snn, x, 7, observe=observe), want)
    piece = max(1, steps)
    pieces = [(first, min(piece, 7 - first)) for first in range(0, 7, piece)]
    assert [(start, n) for name, start, n in seen if name == "act1"] == pieces


def test_an_image_does_not_depend_on_its_batch() -> None:
    snn = dual_net(4)
    x = snn.preprocess(images(4, 6))
    together = run_snn(snn, x, 5)
    alone = [run_snn(snn, x[i : i + 1], 5) for i in range(6)]
    assert same(together.logits, np.concatenate([run.logits for run in alone], axis=1))
    for name in together.spikes:
        total = np.sum([run.spikes[name] for run in alone], axis=0)
        assert (together.spikes[name] == total).all()


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_the_trained_network_runs_alike_in_both_implementations(kind: str) -> None:
    ann = random_net(6, ACTIVATIONS[kind])
    x = ann.preprocess(images(6, 9))
    want = run_ann(ann, x, impl="definition")
    assert same(run_ann(ann, x, impl="kernel"), want)
    assert same(run_ann(ann, x[3:4]), want[3:4])


def test_counts_are_sums_over_the_recorded_spikes() -> None:
    snn = dual_net(7)
    trains: dict[str, np.ndarray] = {}

    def observe(p, start, x, s, state):
        trains[p.name] = s

    run = run_snn(snn, snn.preprocess(images(7, 4)), 6, observe=observe)
    for name, s in trains.items():
        assert s.shape == (6, 4, *snn[name].shape)
        assert run.spikes[name].tolist() == [(t == 1).sum() for t in s]
        assert run.negative[name].tolist() == [(t == -1).sum() for t in s]
        want = [int((np.abs(t).astype(np.int64) * snn.fan_out(name)).sum()) for t in s]
        assert run.synops[name].tolist() == want
        assert run.synops[name].dtype == np.int64


def test_fan_out_counts_what_an_all_ones_network_receives() -> None:
    """Put one spike in; with weights of one, its targets receive the fan-out."""
    snn = dual_net(8)
    for name in ("act1", "act3"):
        shape = snn[name].shape
        for index in [(0, 0, 0), (1, 0, 3), (3, 7, 7), (2, 4, 5)]:
            s = np.zeros((1, *shape), dtype=np.int8)
            s[(0, *index)] = 1
            received = 0.0
            for _, q in snn.projections(name):
                ones = dataclasses.replace(q.op, weight=np.ones(q.op.weight.shape))
                received += ones(q.pooled(s)).sum()
            assert snn.fan_out(name)[index] == received


def test_logits_are_the_readout_of_counts() -> None:
    """logits(t) = W' counts(t) + t b, recomputed in exact integers of the counts."""
    snn = dual_net(9)
    trains: dict[str, np.ndarray] = {}

    def observe(p, start, x, s, state):
        trains[p.name] = s.astype(np.int64)

    run = run_snn(snn, snn.preprocess(images(9, 3)), 4, observe=observe)
    fc, head = snn.readout.projections
    for t in range(1, 5):
        hidden = trains["act5"][:t].sum(axis=0)
        pooled = trains["act3"][:t].sum(axis=(0, 3, 4))
        acc = np.zeros((3, 3))
        for counts, op in ((hidden, fc.op), (pooled, head.op)):
            for i in range(counts.shape[1]):
                acc = acc + op.weight[:, i] * counts[:, i, None]
        assert same(run.logits[t - 1], acc + t * snn.readout.bias)


def test_a_readout_may_draw_on_the_image() -> None:
    x = np.full((2, 1, 1, 2), 0.3)
    weight = np.array([[0.1, 0.7]])
    snn = SpikingNetwork(
        name="direct",
        input_shape=(1, 1, 2),
        classes=1,
        mean=[0],
        std=[1],
        populations=(
            Population(
                name="out",
                shape=(1,),
                neuron=None,
                projections=(Projection(source=INPUT, op=Linear(weight=weight)),),
            ),
        ),
        canonical=True,
    )
    for schedule in ("layer", "step"):
        got = run_snn(snn, x, 3, schedule=schedule).logits
        for t in (1, 2, 3):
            assert (got[t - 1] == 0.1 * (t * 0.3) + 0.7 * (t * 0.3)).all()


def mixed() -> SpikingNetwork:
    """A population that draws on the image before and after another population."""
    image = Projection(source=INPUT, op=Identity(weight=np.array([0.37])))
    a = Population(name="a", shape=(1, 2, 2), neuron=IF(), projections=(image,), v0=0.5)
    b = Population(
        name="b",
        shape=(1, 2, 2),
        neuron=IF(),
        projections=(
            image,
            Projection(source="a", op=Identity(weight=np.array([0.11]))),
            Projection(source=INPUT, op=Identity(weight=np.array([0.23]))),
        ),
        bias=np.array([0.05]),
    )
    pool = (SumPool(kernel=(2, 2), stride=(2, 2)),)
    readout = Projection(source="b", op=Linear(weight=np.ones((1, 1))), pool=pool)
    out = Population(name="out", shape=(1,), neuron=None, projections=(readout,))
    return SpikingNetwork(
        name="mixed",
        input_shape=(1, 2, 2),
        classes=1,
        mean=[0],
        std=[1],
        populations=(a, b, out),
        canonical=True,
    )


def test_terms_of_the_image_keep_their_place_in_the_sum() -> None:
    snn, x = mixed(), np.array([[[[0.9, 0.1], [-0.3, 0.7]]]])
    currents, spikes = {}, {}

    def observe(p, start, x, s, state):
        currents[p.name], spikes[p.name] = x, s

    run_snn(snn, x, 5, observe=observe)
    want = (0.0 + 0.37 * x + 0.11 * spikes["a"] + 0.23 * x) + 0.05
    assert same(currents["b"], want)
    assert_equal(run_snn(snn, x, 5), run_snn(snn, x, 5, schedule="step"))


@pytest.mark.parametrize("impl", ["kernel", "definition"])
def test_an_overflow_is_reported_where_it_is_born(impl: str) -> None:
    ann = random_net(1, lambda lam: Clip(lam=1.0), batchnorm=False)
    huge = dataclasses.replace(ann["conv2"].op, weight=np.full((4, 2, 3, 3), 1e308))
    ann = ann.with_ops({"conv2": huge})
    x = ann.preprocess(np.full((2, 2, 8, 8), 255, dtype=np.uint8))
    with pytest.raises(NumericalError, match=r"node conv2: got inf at index \(0, "):
        run_ann(ann, x, impl=impl)
    snn = canonical_form(activations_to_neurons(ann, lambda theta: (IF(), theta / 2)))
    with pytest.raises(NumericalError, match="current of population act2: got"):
        run_snn(snn, x, 2, impl=impl)


def test_a_potential_that_overflows_is_reported() -> None:
    first, *others = mixed().populations
    populations = (dataclasses.replace(first, bias=np.array([1.7e308])), *others)
    snn = dataclasses.replace(mixed(), populations=populations)
    x = np.zeros((1, 1, 2, 2))
    with pytest.raises(NumericalError, match="potential of population a: got inf"):
        run_snn(snn, x, 3)


def test_spikes_outside_the_alphabet_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    snn = mixed()
    for wrong in (np.int8(5), np.int8(-1)):
        monkeypatch.setattr(IF, "fire", lambda self, u, N, theta: (u > 0) * wrong)  # noqa: B023 - called in this turn
        with pytest.raises(DomainError, match=r"alphabet \(0, 1\)"):
            run_snn(snn, np.ones((1, 1, 2, 2)), 2, impl="definition")
    monkeypatch.setattr(IF, "fire", lambda self, u, N, theta: (u > 0) * 1.0)
    with pytest.raises(TypeError, match="float64"):  # a neuron's own programming error
        run_snn(snn, np.ones((1, 1, 2, 2)), 2, impl="definition")


def bad_inputs() -> Iterator[tuple[str, np.ndarray, type[Exception], str]]:
    good = np.zeros((2, 2, 8, 8), dtype=np.float32)
    yield "pixels", good.astype(np.uint8), DomainError, "preprocess"
    yield "shape", good[:, :1], ShapeError, "shape"
    yield "flat", good[0], ShapeError, "shape"
    yield "none", good[:0], ShapeError, "at least 1"
    yield "nan", np.where(np.arange(8) == 3, np.nan, good), DomainError, "NaN"


@pytest.mark.parametrize(
    ("x", "error", "message"), [case[1:] for case in bad_inputs()], ids=lambda v: ""
)
def test_bad_inputs_are_refused(x: np.ndarray, error: type, message: str) -> None:
    ann, snn = random_net(1), dual_net(1)
    with pytest.raises(error, match=message):
        run_ann(ann, x)
    with pytest.raises(error, match=message):
        run_snn(snn, x, 1)


def test_bad_arguments_are_refused() -> None:
    snn = dual_net(1)
    x = snn.preprocess(images(0, 1))
    with pytest.raises(OptionError, match="got a Network; expected a SpikingNetwork"):
        run_snn(random_net(1), x, 1)
    with pytest.raises(OptionError, match="got a SpikingNetwork; expected a Network"):
        run_ann(snn, x)
    for T in (0, -1, 2.0, "2", True, np.nan):
        with pytest.raises(DomainError, match="at least 1 time step"):
            run_snn(snn, x, T)
    with pytest.raises(OptionError, match="kernel or definition"):
        run_snn(snn, x, 1, impl="fast")
    with pytest.raises(OptionError, match="layer or step"):
        run_snn(snn, x, 1, schedule="random")
    only8 = dataclasses.replace(snn, T=8, method="rts")
    with pytest.raises(OptionError, match="expected T = 8, which method rts"):
        run_snn(only8, x, 4)


def test_numbers_of_steps_may_be_of_any_integer_type() -> None:
    snn = convert(random_net(1), "qcfs")
    x = snn.preprocess(images(5, 40, snn.input_shape))
    want = run_snn(snn, x, 16)
    for kind in (np.int8, np.uint8, np.int64):
        got = run_snn(snn, x, kind(16), threads=kind(2))
        assert same(got.logits, want.logits)


def test_currents_are_of_an_analog_image() -> None:
    snn = dual_net(1)
    x = images(5, 2, snn.input_shape)
    with pytest.raises((ShapeError, DomainError), match="uint8"):
        image_currents(snn, x, mode="ordered")


def test_images_are_normalised_in_float64_and_rounded_once() -> None:
    ann = random_net(1)
    pixels = images(3, 2)
    want = [
        (pixels[:, c].astype(np.float64) / 255 - ann.mean[c]) / ann.std[c]
        for c in (0, 1)
    ]
    got = ann.preprocess(pixels)
    assert same(got, np.stack(want, axis=1).astype(np.float32))
    with pytest.raises(DomainError, match="uint8"):
        ann.preprocess(pixels.astype(np.int64))
    with pytest.raises(ShapeError, match=r"\(B, 2, 8, 8\)"):
        ann.preprocess(pixels[:, :1])


def test_masks_of_other_populations_or_shapes_are_refused() -> None:
    snn = dual_net(2)
    x = snn.preprocess(images(2, 4))
    name, shape = snn.hidden[0].name, snn.hidden[0].shape
    every = {name: np.ones((4, *shape), dtype=bool)}
    assert same(run_snn(snn, x, 3, masks=every).logits, run_snn(snn, x, 3).logits)
    with pytest.raises(OptionError, match="got other; expected some of"):
        run_snn(snn, x, 3, masks={"other": every[name]})
    with pytest.raises(ShapeError, match=f"masks of {name}"):
        run_snn(snn, x, 3, masks={name: every[name][:3]})
