"""Parameter calibration: hand-worked thresholds, and every layer against its rule."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from nets import ACTIVATIONS, images, random_net, same
from refsnn import io
from refsnn.activations import ReLU
from refsnn.calibration import (
    calibrate_parameters,
    clip_floor,
    mmse_thresholds,
    moving_thresholds,
    weights,
)
from refsnn.calibration.parameters import FRACTION
from refsnn.calibration.thresholds import _best, _squares, squared_errors
from refsnn.calibration.walk import Walk
from refsnn.convert import convert
from refsnn.errors import OptionError
from refsnn.kernels import levels
from refsnn.layers import AvgPool, Conv2d, Flatten, GlobalAvgPool, Input, Linear
from refsnn.methods import METHODS, Context
from refsnn.network import INPUT, Network, Node, SpikingNetwork
from refsnn.numerics import floor_half_up
from refsnn.passes import (
    activations_to_neurons,
    canonical_form,
    fold_batchnorm,
    set_thresholds,
    spiking_pools,
)
from refsnn.recording import spikes_of
from refsnn.run import run_ann, run_snn
from test_layers import CONVOLUTIONS
from test_max_pooling import pooled_ann
from test_passes import chain

T = 6
FEW = {"samples": 20, "batch": 10}
TRAIN = images(6, 20)


def made(
    method: str,
    train: np.ndarray = TRAIN,
    folder: Path | None = None,
    **options: object,
) -> SpikingNetwork:
    ann = random_net(4, ACTIVATIONS["relu"])
    how = {"options": {**FEW, **options}, "exact": False, "folder": folder}
    return convert(ann, method, T=T, images=train, **how)


def test_clip_floor_by_hand() -> None:
    """V = 2, T = 4: levels of 1/2, down to the next one, at most 2."""
    x = np.array([-1.0, 0.0, 0.49, 0.5, 1.2, 1.99, 2.0, 9.0])
    want = [0, 0, 0, 0.5, 1, 1.5, 2, 2]
    assert clip_floor(x, 4, np.array(2.0)).tolist() == want


def test_squared_errors_by_hand() -> None:
    """T = 2: of V = 1 the levels 0, 1/2, 1, of V = 4 they are 0, 2, 4."""
    x = np.array([0.25, 0.75, 3.0])
    got = squared_errors(x, 2, np.array([1.0, 4.0]))
    assert got.tolist() == [0.0625 + 0.0625 + 4, 0.0625 + 0.5625 + 1]
    assert squared_errors(x[:0], 2, np.array([1.0, 4.0])).tolist() == [0, 0]


def test_squared_errors_equal_their_kernel(rng: np.random.Generator) -> None:
    for steps in (1, 8, 64):
        x = rng.normal(size=501) * np.ldexp(1.0, rng.integers(-9, 9, 501))
        x[::7] = np.round(x[::7] * 4) / 4  # on levels too
        V = np.abs(x).max() * np.arange(1, 101) / 100
        want = squared_errors(x, steps, V)
        assert same(levels.squared_errors(x, steps, V), want)
        assert same(levels.squared_errors(x[:0], steps, V), np.zeros(100))


@pytest.mark.parametrize("channelwise", [False, True])
def test_thresholds_are_the_best_of_a_hundred(channelwise: bool) -> None:
    ann = fold_batchnorm(random_net(3, ACTIVATIONS["relu"]))
    seen: dict[str, np.ndarray] = {}
    run_ann(
        ann,
        ann.preprocess(TRAIN),
        observe=lambda name, value: seen.update({name: value}),
    )
    got = mmse_thresholds(ann, TRAIN, T, channelwise=channelwise)
    again = mmse_thresholds(ann, TRAIN[::-1], T, channelwise=channelwise)
    assert got.keys() == {node.name for node in ann.activations}
    for name, theta in got.items():
        assert (theta == again[name]).all()
        rows = np.moveaxis(seen[name], 1, 0)
        rows = rows.reshape(len(rows), -1) if channelwise else rows.reshape(1, -1)
        for row, value in zip(rows, theta.reshape(-1), strict=True):
            candidates = row.max() * np.arange(1, 101) / 100
            errors = [
                ((clip_floor(row, T, V) - row) ** 2).sum() if V else 0.0
                for V in candidates
            ]
            best = round(value / row.max() * 100) - 1 if row.max() else 99
            assert errors[best] == pytest.approx(min(errors), rel=1e-9)
            assert value == pytest.approx(candidates[best], rel=1e-12)


def test_the_larger_threshold_wins_ties() -> None:
    """Activations at the maximum alone: it is exact, and so is no smaller one."""
    a = np.array([3.0, 3.0, 0.0])
    squares = _squares(a, 4, np.array(3.0), squared_errors)
    assert squares.shape == (100, 1)
    assert squares[99, 0] == 0
    assert _best(np.array(3.0), squares[None]) == 3.0
    two = np.ones((1, 100, 1))
    two[0, [49, 99]] = 0.25
    assert _best(np.array(4.0), two) == 4.0
    silent = _squares(np.zeros(5), 4, np.array(0.0), squared_errors)
    assert _best(np.array(0.0), silent[None]) == 0.0


@pytest.mark.parametrize("part", ["bias", "potential"])
def test_every_population_is_set_by_its_rule(part: str) -> None:
    """With its own parameter put back, the calibrated network shows the gap."""
    method = {"bias": "calib-light", "potential": "calib-potential"}[part]
    snn = made(method)
    start = uncalibrated(snn)
    ann = fold_batchnorm(random_net(4, ACTIVATIONS["relu"]))
    batch = TRAIN[:10]
    outputs: dict[str, np.ndarray] = {}
    run_ann(ann, ann.preprocess(batch), observe=lambda n, v: outputs.update({n: v}))
    moved = 0
    for p in snn.hidden:
        before = start[p.name]
        populations = tuple(before if q.name == p.name else q for q in snn.populations)
        counts = {}

        def watch(population, start, x, s, state, counts=counts):
            counts[population.name] = state.N

        again = dataclasses.replace(snn, populations=populations)
        run_snn(again, again.preprocess(batch), T, mode="ordered", observe=watch)
        a = floor_half_up(outputs[p.name] * (2.0**FRACTION / p.scale)).astype(np.int64)
        gap = T * a - (counts[p.name] << FRACTION)
        if part == "potential":
            want = [
                float(Fraction(int(g), len(batch) << FRACTION))
                for g in gap.sum(axis=0).reshape(-1)
            ]
            assert p.over("v0").reshape(-1).tolist() == want
            moved += sum(abs(v) > 0.05 for v in want)
        else:
            rows = np.moveaxis(gap, 1, 0).reshape(p.shape[0], -1)
            change = [
                float(Fraction(int(row.sum()), (row.size * T) << FRACTION))
                for row in rows
            ]
            assert p.bias.tolist() == (before.bias + np.array(change)).tolist()
            moved += sum(abs(v) > 0.005 for v in change)
    assert moved > 5


def uncalibrated(snn: SpikingNetwork) -> SpikingNetwork:
    """What calibration starts from: thresholds and the shift, v(0) = 0."""
    ann = fold_batchnorm(random_net(4, ACTIVATIONS["relu"]))
    method = METHODS["rts"]
    context = Context(options=None, images=TRAIN, T=T, impl="kernel", progress=None)
    clipped = set_thresholds(ann, {p.name: p.scale for p in snn.hidden})
    plain = activations_to_neurons(clipped, method.neuron(context))
    return canonical_form(method.finish(plain, context))


@pytest.mark.parametrize("method", ["calib-light", "calib-potential"])
def test_the_order_of_the_images_does_not_matter(method: str) -> None:
    one = made(method, batch=20)
    two = made(method, TRAIN[::-1].copy(), batch=20)
    assert io.content_sha256(one) == io.content_sha256(two)


def test_calibration_is_for_its_own_T_and_names_its_images() -> None:
    snn = convert(
        random_net(4, ACTIVATIONS["relu"]),
        "calib-light",
        T=T,
        images=TRAIN,
        options=FEW,
    )
    assert snn.T == T
    assert snn.samples.tolist() == list(range(20))
    others = {"channelwise": False, "spiking_pool": False}
    assert dict(snn.options) == {**FEW, **others}
    assert snn.mode == "exact"
    with pytest.raises(OptionError, match="converted it for"):
        run_snn(snn, snn.preprocess(TRAIN[:1]), T + 1)
    with pytest.raises(OptionError, match="got 21; expected 1 to 20 images"):
        made("calib-light", batch=21)


def test_none_is_the_shift_alone() -> None:
    ann = random_net(4, ACTIVATIONS["relu"])
    one = convert(ann, "calib-none", T=T, images=TRAIN)
    two = convert(ann, "rts", T=T, images=TRAIN)
    for p, q in zip(one.populations, two.populations, strict=True):
        assert (p.over("v0") == q.over("v0")).all()
        assert p.bias is None or (p.bias == q.bias).all()


ADVANCED = {**FEW, "iterations": 30, "minibatch": 6, "rate": 1e-3}


def test_trained_weights_are_the_same_again_whatever_the_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = made("calib-advanced", **ADVANCED)
    for count in (1, 3):
        monkeypatch.setattr(weights, "processors", lambda count=count: count)
        again = made("calib-advanced", **ADVANCED)
        assert io.content_sha256(again) == io.content_sha256(one)
    other = made("calib-advanced", **ADVANCED, seed=1)
    assert io.content_sha256(other) != io.content_sha256(one)


def test_an_interrupted_training_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole, train, begun = made("calib-advanced", **ADVANCED), weights.trained, []

    def counted(*args: object, **more: object) -> np.ndarray:
        begun.append(args)
        if len(begun) == 3:
            raise KeyboardInterrupt
        return train(*args, **more)

    monkeypatch.setattr(weights, "trained", counted)
    with pytest.raises(KeyboardInterrupt):
        made("calib-advanced", folder=tmp_path, **ADVANCED)
    assert len(list(tmp_path.iterdir())) == 2
    again = made("calib-advanced", folder=tmp_path, **ADVANCED)
    layers = len(whole.hidden)
    assert layers > 3
    assert len(begun) == 3 + layers - 2
    assert io.content_sha256(again) == io.content_sha256(whole)
    made("calib-advanced", folder=tmp_path, **ADVANCED, seed=1)
    assert len(begun) == 3 + layers - 2 + layers
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    again = made("calib-advanced", folder=tmp_path, **ADVANCED)
    assert io.content_sha256(again) == io.content_sha256(whole)
    assert len(begun) == 3 + layers - 2 + 2 * layers


def test_training_changes_main_weights_only() -> None:
    """Thresholds, biases and shortcuts stay; v(0) is calibrated behind it."""
    snn = made("calib-advanced", **ADVANCED)
    before = uncalibrated(snn)
    for p, q in zip(snn.hidden, before.hidden, strict=True):
        changed = [
            (a.op.weight != b.op.weight).any()
            for a, b in zip(p.projections, q.projections, strict=True)
        ]
        sizes = [a.op.weight.size for a in p.projections]
        assert changed == [size == max(sizes) for size in sizes]
        assert (p.bias == q.bias).all()
        assert p.v0.shape == p.shape
    assert [q.op.weight.tolist() for q in snn.readout.projections] == [
        q.op.weight.tolist() for q in before.readout.projections
    ]


def test_the_gradient_by_hand() -> None:
    """Below 0 and above theta the clip lets nothing through; at both ends it does."""
    # z = w x = -1/2, 0, 1/2, 1, 2 for w = 1/2; theta = 1, T = 2: 0, 0, 1/2, 1, 1
    layer = weights.Layer(
        op=Linear(weight=np.array([[0.5]])),
        x=np.array([[-1.0], [0.0], [1.0], [2.0], [4.0]]),
        rest=np.zeros((5, 1)),
        a=np.array([[0.25], [0.0], [0.25], [0.5], [0.5]]),
        theta=np.array(1.0),
        T=2,
    )
    loss, gradient = weights.loss_and_gradient(layer, layer.op.weight, np.arange(5))
    # errors -1/4, 0, 1/4, 1/2, 1/2
    assert loss == (1 / 16 + 1 / 16 + 1 / 4 + 1 / 4) / 5
    # 2/5 (1/4 * 1 + 1/2 * 2): the first and the last give nothing
    assert gradient.tolist() == [[2 / 5 * 1.25]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", [*CONVOLUTIONS, "wide", "linear"])
def test_gradients_equal_their_kernel(
    kind: str, dtype: type, rng: np.random.Generator
) -> None:
    """Any weights, so every order but the stated one would show.

    Most averages are 0, all of one image and of one channel: those are left out.
    """
    n, op = 5, Linear(weight=rng.normal(0, 0.3, (19, 21)))
    shape: tuple[int, ...] = (21,)
    if kind == "wide":
        op, shape = Conv2d(weight=rng.normal(0, 0.3, (37, 6, 3, 3))), (6, 7, 8)
    elif kind != "linear":
        shape, kernel, stride, padding, dilation, groups = CONVOLUTIONS[kind]
        how = {"stride": stride, "padding": padding, "dilation": dilation}
        op = Conv2d(weight=rng.normal(0, 0.5, kernel), groups=groups, **how)
    out = op.out_shape(shape)
    theta = rng.uniform(0.5, 1, (out[0], *[1] * (len(out) - 1)))
    x = rng.uniform(0, 1, (n, *shape)) * (rng.random((n, *shape)) < 0.3)
    x[1] = x[:, 1:2] = 0
    layer = weights.Layer(
        op=op,
        x=x.astype(dtype),
        rest=rng.normal(0, 0.5, (n, *out)).astype(dtype),
        a=rng.uniform(0, 1, (n, *out)).astype(dtype),
        theta=theta.astype(dtype),
        T=4,
    )
    some = np.array([3, 0, 4])
    for images_of_step in (some, np.array([1]), rng.permutation(n)):
        losses = []
        gradients = []
        for impl in ("definition", "kernel"):
            loss, g = weights.loss_and_gradient(
                layer, op.weight, images_of_step, impl=impl
            )
            losses.append(loss)
            gradients.append(g)
        assert gradients[0].dtype == dtype
        assert same(*gradients)
        assert losses[0] == pytest.approx(losses[1], rel=1e-13)
    assert np.abs(gradients[0]).max() > 0


def test_training_finds_weights_through_the_floor(rng: np.random.Generator) -> None:
    """The activations are those of other weights: most of the loss goes."""
    there = rng.normal(0, 0.4, (3, 2, 3, 3))
    start = there + rng.normal(0, 0.1, there.shape)
    x = rng.integers(0, 9, (40, 2, 6, 6)) / 8
    layer = weights.Layer(
        op=Conv2d(weight=start, padding=(1, 1)),
        x=x,
        rest=np.full((40, 3, 6, 6), 0.05),
        a=np.clip(Conv2d(weight=there, padding=(1, 1))(x) + 0.05, 0, None),
        theta=np.array(3.0),
        T=8,
    )
    losses: list[float] = []
    how = weights.Training(iterations=300, minibatch=20, rate=5e-3)
    found = weights.trained(layer, how, lambda t, loss: losses.append(loss))
    assert len(losses) == 300
    assert np.mean(losses[-20:]) < 0.3 * losses[0]
    assert np.abs(found - there).mean() < 0.5 * np.abs(start - there).mean()


def test_every_loss_is_told() -> None:
    told: list[tuple[str, int]] = []
    convert(
        random_net(4, ACTIVATIONS["relu"]),
        "calib-advanced",
        T=T,
        images=TRAIN,
        options=ADVANCED,
        watch=lambda name, t, loss: told.append((name, t)),
    )
    names = ["act1", "act2", "act3", "act4", "act5"]
    assert told == [(name, t) for name in names for t in range(30)]


def test_dead_channels_stay_dead_in_training() -> None:
    """A threshold of 0 in one channel: its outgoing weights are 0 before and after."""
    ann = random_net(4, ACTIVATIONS["relu"])
    bias = np.array(ann["conv1"].op.bias)
    bias[2] = -1e3
    conv = dataclasses.replace(ann["conv1"].op, bias=bias)
    ann = ann.with_ops({"conv1": conv})
    options = {**ADVANCED, "channelwise": True}
    with pytest.warns(UserWarning, match="channels of act1"):
        snn = convert(ann, "calib-advanced", T=T, images=TRAIN, options=options)
    assert snn["act1"].scale[2] == 0
    assert snn["act1"].scale.min() == 0 < snn["act1"].scale[0]
    for p, q in snn.projections("act1"):
        weight = q.op.normalised(np.eye(4)[2], 1, np.array(1.0)).weight
        assert (weight == 0).all(), p.name


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("iterations", 0), ("minibatch", 0), ("seed", -1)),
        *(("rate", rate) for rate in (0.0, -1.0, 1.01, np.inf, np.nan)),
    ],
)
def test_training_options_are_checked(option: str, value: float) -> None:
    with pytest.raises(OptionError, match=option):
        made("calib-advanced", **{**ADVANCED, option: value})


@pytest.mark.parametrize("option", ["batch", "minibatch"])
@pytest.mark.parametrize("samples", [12, 0])
def test_no_batch_is_larger_than_what_it_is_part_of(option: str, samples: int) -> None:
    """Of 12 images, and of all 20: their number is known when they are chosen."""
    of = {**ADVANCED, "samples": samples, "batch": 1, "minibatch": 1, "iterations": 1}
    whole = samples or len(TRAIN)
    assert made("calib-advanced", **{**of, option: whole}).method == "calib-advanced"
    refused = rf"^{option}: got {whole + 1}; expected 1 to {whole} images"
    with pytest.raises(OptionError, match=refused):
        made("calib-advanced", **{**of, option: whole + 1})


def test_options_of_released_calibration_are_checked() -> None:
    ann = random_net(4, ACTIVATIONS["relu"])
    for options, match in (
        ({"batches": 0}, "batches"),
        ({"batches": 3, "batch": 7}, "at most 20"),
        ({"batches": 1, "batch": 5, "optimiser": "x"}, "adam or sgd"),
        ({"batches": 1, "batch": 5, "trained": 21, "minibatch": 1}, "at most 20"),
        ({"batches": 1, "batch": 5, "trained": 9, "minibatch": 10}, "1 to 9 images"),
    ):
        with pytest.raises(OptionError, match=match):
            convert(ann, "calib-advanced-code", T=T, images=TRAIN, options=options)


def one_activation() -> Network:
    """The image itself, rectified; pixels 0..255 are activations 0..1."""
    conv = Conv2d(weight=np.ones((1, 1, 1, 1)))
    return Network(
        name="one",
        input_shape=(1, 1, 2),
        classes=2,
        mean=np.zeros(1),
        std=np.ones(1),
        nodes=(
            Node(name="input", op=Input()),
            Node(name="conv", op=conv, inputs=("input",)),
            Node(name="act", op=ReLU(), inputs=("conv",)),
            Node(name="flat", op=Flatten(), inputs=("act",)),
            Node(name="out", op=Linear(weight=np.eye(2)), inputs=("flat",)),
        ),
    )


def test_thresholds_move_over_batches_by_hand() -> None:
    """Batches of one image, maxima 1, 0.2 and 0.6: 1, then 0.9 + 0.02 = 0.92, then
    0.828 + 0.06 = 0.888. With the search the same, since a pixel at the maximum and
    one of 0 have no error there, and the first candidate wins ties."""
    pixels = np.array([255, 51, 153], dtype=np.uint8)
    some = np.zeros((3, 1, 1, 2), dtype=np.uint8)
    some[:, 0, 0, 1] = pixels
    ann = one_activation()
    for search in (False, True):
        got = moving_thresholds(ann, some, 4, batch=1, search=search)["act"]
        assert got == pytest.approx(0.888, abs=1e-7)
        back = moving_thresholds(ann, some[::-1], 4, batch=1, search=search)["act"]
        assert back != pytest.approx(0.888, abs=1e-3)
    silent = moving_thresholds(ann, 0 * some, 4, batch=1)["act"]
    assert silent == 0


def test_pooling_behind_pooling_has_neurons_too() -> None:
    ann = chain(
        Conv2d(weight=np.ones((2, 1, 1, 1))),
        ReLU(),
        AvgPool(),
        GlobalAvgPool(),
        Linear(weight=np.ones((2, 2))),
        input_shape=(1, 4, 4),
    )
    with_neurons = spiking_pools(ann)
    x = np.random.default_rng(0).normal(size=(3, 1, 4, 4))
    assert np.abs(run_ann(ann, x) - run_ann(with_neurons, x)).max() < 1e-12
    assert not any(
        isinstance(n.op, (AvgPool, GlobalAvgPool)) for n in with_neurons.nodes
    )
    assert len(with_neurons.activations) == 3


def test_weights_behind_maxima_see_the_maxima_of_every_step() -> None:
    """Not those of averages, which are less where neurons take turns."""
    ann = pooled_ann()
    how = {"max_pool_on_spikes": True, "exact": False}
    snn = convert(ann, "qcfs", **how)
    some = images(4, 5, ann.input_shape)
    walk = Walk(snn, fold_batchnorm(ann), some, T)
    trains, _ = spikes_of(snn, snn.preprocess(some), T)
    more = 0
    for p in snn.hidden:
        for q in p.projections:
            if q.source == INPUT:
                continue
            steps = trains[q.source].astype(np.float64)
            want = np.mean([q.pooled(s) for s in steps], axis=0)
            got = walk.inputs(q)
            assert np.abs(got - want).max() < 1e-12
            more += (got > q.pooled(walk.averages(q.source))).sum()
        walk.settle(p)
    assert more > 0


def test_what_calibration_cannot_take_is_refused() -> None:
    ann = fold_batchnorm(random_net(4, ACTIVATIONS["relu"]))
    snn = made("calib-potential")
    with pytest.raises(OptionError, match="bias or potential"):
        calibrate_parameters(snn, ann, TRAIN, T, part="potentials")
    with pytest.raises(OptionError, match=r"v\(0\) other than 0"):
        calibrate_parameters(snn, ann, TRAIN, T, part="potential")
    signed = convert(random_net(4), "ecl", exact=False)
    with pytest.raises(OptionError, match="negative spikes"):
        calibrate_parameters(signed, ann, TRAIN, T, part="bias")


def test_pooling_neurons_compute_the_same_function() -> None:
    ann = fold_batchnorm(random_net(4, ACTIVATIONS["relu"]))
    with_neurons = spiking_pools(ann)
    x = ann.preprocess(TRAIN[:4])
    assert np.abs(run_ann(ann, x) - run_ann(with_neurons, x)).max() < 1e-12
    added = {n.name for n in with_neurons.activations} - {
        n.name for n in ann.activations
    }
    assert added == {"pool", "gap.maps"}
    snn = made("calib-light", spiking_pool=True)
    assert [p.name for p in snn.hidden if p.name in added] == ["pool", "gap.maps"]
    assert not any(q.pool for p in snn.populations for q in p.projections)


@pytest.mark.parametrize("method", ["calib-advanced", "calib-advanced-code"])
def test_a_file_says_how_to_repeat_it(method: str, tmp_path: Path) -> None:
    ann = random_net(4, ACTIVATIONS["relu"])
    few = {"iterations": 20, "minibatch": 6, "rate": 1e-3, "seed": 3, "batch": 10}
    more = {"samples": 20} if method == "calib-advanced" else {"batches": 1, "draw": 2}
    more |= {} if method == "calib-advanced" else {"trained": 12}
    snn = convert(ann, method, T=T, images=TRAIN, options={**few, **more})
    io.save(snn, tmp_path / "net.h5")
    kept = io.load(tmp_path / "net.h5")
    assert isinstance(kept, SpikingNetwork)
    again = convert(
        ann, kept.method, T=kept.T, images=TRAIN, options=dict(kept.options)
    )
    assert io.content_sha256(again) == io.content_sha256(kept)
    order = np.random.default_rng(2).permutation(20)[:12]
    want = np.arange(20) if method == "calib-advanced" else order
    assert kept.samples.tolist() == want.tolist()
