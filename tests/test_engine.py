"""The event-driven engine: all bits are those of the definitions, however it runs."""

from __future__ import annotations

import dataclasses
import gc
import json
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from nets import ACTIVATIONS, images, random_net, same
from refsnn import datasets, io, numerics
from refsnn.arithmetic import resolve
from refsnn.convert import METHODS, convert
from refsnn.engine import blocks, calls, layout, network
from refsnn.engine import filter as filtering
from refsnn.engine import seen as seeing
from refsnn.engine.geometry import windows
from refsnn.engine.network import Engine, prepared
from refsnn.engine.served import ordinary
from refsnn.errors import OptionError, RefsnnError
from refsnn.evaluate import evaluate
from refsnn.layers import Conv2d, Identity, Linear, SumPool
from refsnn.network import INPUT, Population, Projection, SpikingNetwork, Stages
from refsnn.neurons import IF, PRESETS, DualThresholdIF, GatedIF, Neuron
from refsnn.recording import spikes_of
from refsnn.run import SpikingRun, run_snn
from refsnn.run.events import SLICE
from refsnn.run.threads import helpers
from refsnn.snap import snap
from test_layers import CONVOLUTIONS
from test_max_pooling import SHAPE, pooled_net


def engine_spikes(
    snn: SpikingNetwork, x: np.ndarray, T: int, **numbers: str
) -> dict[str, np.ndarray]:
    """Every spike of a run without observing steps, read from the engine's bits."""
    known = prepared(snn, T, resolve(snn, T, **numbers))
    engine = Engine(known, x.astype(np.float64), T, {}, keeping=False)
    for p in snn.hidden:
        engine.fire(p.name)
    return {p.name: engine.spikes(p.name) for p in snn.hidden}


def need_equal(got: SpikingRun, want: SpikingRun) -> None:
    assert same(got.logits, want.logits)
    for field in ("spikes", "negative", "synops", "masks", "v0"):
        ours, theirs = getattr(got, field), getattr(want, field)
        assert set(ours) == set(theirs)
        for name, counts in theirs.items():
            assert same(ours[name], counts), (field, name)
    if want.observing:
        need_equal(got.observing, want.observing)


def all_equal(snn: SpikingNetwork, x: np.ndarray, T: int, **numbers: str) -> SpikingRun:
    """Run by every engine and by the definitions; return the event-driven run."""
    want = run_snn(snn, x, T, impl="definition", **numbers)
    got = run_snn(snn, x, T, engine="event", **numbers)
    need_equal(got, want)
    for engine in ("ordinary", "dense"):
        need_equal(run_snn(snn, x, T, engine=engine, **numbers), want)
    return got


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("pools", [(), ((2, 2),), ((2, 1), (2, 3))])
def test_windows_are_the_map(
    name: str, pools: tuple[tuple[int, int], ...], rng: np.random.Generator
) -> None:
    """Adding the rows that windows name gives what the projection gives."""
    shape, kernel, stride, padding, dilation, groups = CONVOLUTIONS[name]
    how = {"stride": stride, "padding": padding, "dilation": dilation}
    op = Conv2d(weight=rng.integers(-3, 4, kernel) * 1.0, groups=groups, **how)
    sums = tuple(SumPool(kernel=(2, k), stride=(s, 1)) for k, s in pools)
    for pool in reversed(sums):  # a map that leaves the convolution's
        C, H, W = shape
        shape = (C, (H - 1) * pool.stride[0] + 2, W + pool.kernel[1] - 1)
    q = Projection(source="a", op=op, pool=sums)
    x = rng.integers(-1, 2, (1, *shape))
    want = op.accumulate(
        np.zeros((1, *op.out_shape(q.pooled_shape(shape)))), q.pooled(x)
    )[0]
    w = windows(q, shape)
    I, per = kernel[1], kernel[0] // groups
    got = np.zeros_like(want)
    for o, i, j in np.ndindex(want.shape):
        for p, column in np.ndindex(kernel[2:]):
            for y in w.rows[i, p]:
                for z in w.columns[w.first[j] + column]:
                    if y >= 0 and z >= 0:
                        channels = slice(o // per * I, o // per * I + I)
                        got[o, i, j] += (
                            op.weight[o, :, p, column] @ x[0, channels, y, z]
                        )
    assert (got == want).all()


def test_tiles_hold_the_channels() -> None:
    for words in range(1, 70):
        tiles, registers = layout.tiles_of(words)
        assert tiles * registers >= words
        tiles, registers = layout.tiles_of(words, whole=True)
        assert tiles * registers == words
    values = numerics.aligned(np.arange(5.0))
    assert values.ctypes.data % numerics.ALIGNMENT == 0
    assert (values == np.arange(5.0)).all()


RULES = {
    "qcfs": ("qcfs", {}),
    "srp": ("srp", {"tau": 3}),
    "srp-v0": ("srp-v0", {"tau": 2}),
    "ecl": ("ecl", {}),
    "ecl-qffs": ("ecl", {"preset": "qffs"}),
    "ecl-ungated": ("ecl", {"preset": "ungated"}),
    "snm": ("snm", {}),
    "max-norm": ("max-norm", {}),
    "rts": ("rts", {}),
    "calib-light": ("calib-light", {"samples": 8, "batch": 8}),
    "calib-potential": ("calib-potential", {"samples": 8, "batch": 8}),
    "calib-advanced": (
        "calib-advanced",
        {"samples": 8, "batch": 8, "minibatch": 4, "iterations": 5},
    ),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", [1, 2])
def test_networks_of_every_kind(rule: str, seed: int) -> None:
    """Strides, groups, dilation, pooling, shortcuts; every method and neuron."""
    method, options = RULES[rule]
    ann = random_net(seed, ACTIVATIONS["qcfs"], lams=(1.3, 0.7, 1.1, 0.9, 1.7))
    for T in (1, 7):
        sample = images(seed + 9, 8)
        snn = convert(ann, method, T=T, images=sample, options=options)
        x = snn.preprocess(images(seed, 5))
        assert resolve(snn, T).mode == "exact"
        got = all_equal(snn, x, T)
        if min(snn.hidden[0].neuron.alphabet) < 0 and T > 1:
            assert sum(int(n.sum()) for n in got.negative.values()) > 0


@pytest.mark.parametrize("carrier", ["float64", "float32", "int32"])
@pytest.mark.parametrize("options", [{}, {"rho": 2}, {"rho": 3, "rounds": 2}])
def test_cos_moves_the_same_potentials(options: dict, carrier: str) -> None:
    lams = (1.3, 0.7, 1.1, 0.9, 1.7)
    for seed in (1, 2):
        ann = random_net(seed, ACTIVATIONS["qcfs"], lams=lams)
        snn = snap(convert(ann, "cos", options=options, exact=False), carrier, T=7)
        x = snn.preprocess(images(seed, 5))
        for T in (4, 7):
            got = all_equal(snn, x, T, carrier=carrier)
            assert set(got.v0) == {p.name for p in snn.hidden}
            assert any((v0 != 0.5).any() for v0 in got.v0.values())


def test_matrix_products_need_exact_sums() -> None:
    snn = convert(random_net(1, ACTIVATIONS["qcfs"]), "qcfs")
    x = snn.preprocess(images(1, 3))
    for how, reason in (
        ({"mode": "ordered"}, "mode ordered"),
        ({"impl": "definition"}, "impl definition"),
    ):
        with pytest.raises(OptionError, match=reason):
            run_snn(snn, x, 2, engine="dense", **how)
    need_equal(run_snn(snn, x, 2, engine="dense", schedule="step"), run_snn(snn, x, 2))


PLAIN = Stages()


def spiking(
    shapes: list[tuple[tuple[int, ...], list[tuple[int, object, tuple]]]],
    rng: np.random.Generator,
    neuron: Neuron,
    input_shape: tuple[int, ...],
    stages: Stages = PLAIN,
) -> SpikingNetwork:
    """Populations of given shapes, projections from those at given places; snapped.

    The first draws on the image by a 1x1 convolution.
    """
    populations = []
    for k, (shape, incoming) in enumerate(shapes):
        projections = tuple(
            Projection(source=f"p{source}", op=op, pool=pool)
            for source, op, pool in incoming
        )
        if not incoming:
            weight = rng.normal(0, 1, (shape[0], input_shape[0], 1, 1))
            projections = (Projection(source=INPUT, op=Conv2d(weight=weight)),)
        last = k == len(shapes) - 1
        populations.append(
            Population(
                name=f"p{k}",
                shape=shape,
                neuron=None if last else neuron,
                projections=projections,
                bias=rng.normal(0, 0.2, shape[0]),
                v0=np.array(0.0 if last else 0.5),
            )
        )
    return snap(
        SpikingNetwork(
            name="made",
            input_shape=input_shape,
            classes=shapes[-1][0][0],
            mean=np.full(input_shape[0], 0.5),
            std=np.full(input_shape[0], 0.3),
            populations=tuple(populations),
            canonical=True,
            method="test",
            stages=stages,
        )
    )


NEURONS = {
    "moved": IF(),
    "IF": IF(),
    "dual": DualThresholdIF(theta_neg=-0.01),
    "strict": DualThresholdIF(theta_neg=0.0, strict=True),
    "unguarded": DualThresholdIF(theta_neg=-1.0, guard=False),
    "gated": GatedIF(tolerance=1e-3),
}
STAGES = {"moved": Stages(rho=3, rounds=2)}
"""Those whose initial potentials are moved for each image."""


@pytest.mark.parametrize("neuron", NEURONS)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_every_convolution(name: str, neuron: str, rng: np.random.Generator) -> None:
    """Any stride, padding, dilation and groups, behind sums, beside an identity."""
    shape, kernel, stride, padding, dilation, groups = CONVOLUTIONS[name]
    how = {"stride": stride, "padding": padding, "dilation": dilation}
    C, H, W = shape
    large = (C, 2 * H, W + 1)
    op = Conv2d(weight=rng.normal(0, 0.5, kernel), groups=groups, **how)
    pool = (SumPool(kernel=(2, 2), stride=(2, 1)),)
    out = op.out_shape(shape)
    own = Identity(weight=rng.normal(0, 0.5, out[0]))
    size = int(np.prod(out))
    snn = spiking(
        [
            (large, []),
            (out, [(0, op, pool)]),
            (out, [(1, own, ())]),
            ((20,), [(2, Linear(weight=rng.normal(0, 0.5, (20, size))), ())]),
            ((3,), [(3, Linear(weight=rng.normal(0, 1, (3, 20))), ())]),
        ],
        rng,
        NEURONS[neuron],
        (2, *large[1:]),
        STAGES.get(neuron, PLAIN),
    )
    assert not ordinary(snn)
    x = snn.preprocess(images(5, 3, snn.input_shape))
    all_equal(snn, x, 5)
    if neuron != "gated":
        want, _ = spikes_of(snn, x, 5, impl="definition")
        for name_of, s in engine_spikes(snn, x, 5).items():
            assert same(s, want[name_of])


UNLIKE_ROWS = (
    "dilation",
    "dilation beyond the map",
    "depthwise",
    "shortcut",
    "stride beyond the kernel",
    "everything",
)
"""Convolutions whose windows are not stretches of rows, or are of one channel."""


@pytest.mark.parametrize("neuron", ["IF", "dual", "gated"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_sums_that_are_looked_up_change_nothing(
    name: str, neuron: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any convolution whose rows have no gaps; also where many are in doubt."""
    monkeypatch.setattr(filtering, "ROOM", 16)
    monkeypatch.setattr(filtering, "FINE", 2)
    shape, kernel, stride, padding, dilation, groups = CONVOLUTIONS[name]
    how = {"stride": stride, "padding": padding, "dilation": dilation}
    op = Conv2d(weight=rng.normal(0, 0.5, kernel), groups=groups, **how)
    out, size = op.out_shape(shape), int(np.prod(op.out_shape(shape)))
    last = Linear(weight=rng.normal(0, 1, (3, size)))
    layers = [(shape, []), (out, [(0, op, ())]), ((3,), [(1, last, ())])]
    snn = spiking(layers, rng, NEURONS[neuron], (2, *shape[1:]))
    x = snn.preprocess(images(5, 9, snn.input_shape))
    want = run_snn(snn, x, 5, impl="definition")
    seen = set()
    for limit in (0, 10**9):
        monkeypatch.setattr(seeing, "LOOKED_UP", limit)
        same_network = dataclasses.replace(snn)  # prepared anew
        got = run_snn(same_network, x, 5, engine="event")
        need_equal(got, want)
        assert name not in ("same", "stride", "uneven ends") or got.marked["p1"] > 1
        known = prepared(same_network, 5, resolve(same_network, 5))
        lists = [one for part in known.plans["p1"].parts for one in part.lists]
        seen.add(any(one["sums"] >= 0 for one in lists))
        assert known.plans["p1"].fold < 4 or any(one["sums"] >= 0 for one in lists)
    assert seen == {False, name not in UNLIKE_ROWS}


THINNED = {
    "both": ((1, 1), (2, 2)),
    "columns": ((1, 1), (1, 2)),
    "rows": ((1, 1), (2, 1)),
    "sums of rows": ((2, 1), (2, 2)),
}
"""Windows of one column, which need not lie side by side, and their strides."""


@pytest.mark.parametrize("size", [(3, 3), (1, 1)])
@pytest.mark.parametrize("name", THINNED)
def test_sums_behind_a_pooling_that_leaves_pixels_out(
    name: str, size: tuple[int, int], rng: np.random.Generator
) -> None:
    """What is looked up is of neighbours, which such a pooling does not see."""
    pool = SumPool(kernel=THINNED[name][0], stride=THINNED[name][1])
    padding = tuple(s // 2 for s in size)
    op = Conv2d(weight=rng.normal(0, 0.5, (16, 2, *size)), padding=padding)
    out = op.out_shape(pool.out_shape((2, 8, 8)))
    last = Linear(weight=rng.normal(0, 1, (3, int(np.prod(out)))))
    layers = [
        ((2, 8, 8), []),
        (out, [(0, op, (pool,))]),
        ((3,), [(1, last, ())]),
    ]
    snn = spiking(layers, rng, NEURONS["IF"], (2, 8, 8))
    assert not ordinary(snn)
    all_equal(snn, snn.preprocess(images(5, 3, snn.input_shape)), 5)


@pytest.mark.parametrize(("columns", "fold"), [(8, 4), (6, 2), (5, 1)])
def test_doubts_of_equal_windows_of_unlike_pixels(
    columns: int, fold: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two pixels of a word and one of two words: who is in doubt finds its own."""
    monkeypatch.setattr(filtering, "ROOM", 16)
    monkeypatch.setattr(filtering, "FINE", -3)
    monkeypatch.setattr(seeing, "LOOKED_UP", 10**9)

    def conv(O: int, I: int, size: tuple[int, int], **how: tuple[int, int]) -> Conv2d:
        return Conv2d(weight=rng.normal(0, 0.2, (O, I, *size)), **how)

    halved = {"stride": (1, 2)}
    flat = Linear(weight=rng.normal(0, 1, (3, 9 * 3 * columns)))
    shape = (9, 3, columns)
    layers = [
        ((16, 3, 2 * columns), []),
        ((32, 3, columns), [(0, conv(32, 16, (1, 2), **halved), ())]),
        (
            shape,
            [(0, conv(9, 16, (1, 2), **halved), ()), (1, conv(9, 32, (1, 1)), ())],
        ),
        (shape, [(1, conv(9, 32, (3, 3), padding=(1, 1)), ())]),
        ((3,), [(2, flat, ()), (3, flat, ())]),
    ]
    snn = spiking(layers, rng, NEURONS["dual"], (2, 3, 2 * columns))
    x = snn.preprocess(images(5, 9, snn.input_shape))
    plan = prepared(snn, 4, resolve(snn, 4)).plans["p2"]
    found = [(one["read_words"], one["sums"] >= 0) for one in plan.parts[0].lists]
    assert (plan.fold, found[::2]) == (fold, [(1, True), (2, True)])
    got = all_equal(snn, x, 4)
    assert got.marked["p2"] > 9
    assert any(counts.any() for counts in got.negative.values())


@pytest.mark.parametrize("carrier", ["float64", "float32", "int32"])
def test_long_rows_are_looked_up_whole(
    carrier: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of several words a pixel, two projections, rows listed one at a time."""
    monkeypatch.setattr(seeing, "LOOKED_UP", 10**9)
    monkeypatch.setattr(calls, "CHUNK", 1)
    monkeypatch.setattr(network, "WORTH", 0)

    def conv(I: int, size: int) -> Conv2d:
        weight = rng.normal(0, 0.1, (9, I, size, size))
        return Conv2d(weight=weight, padding=(size // 2,) * 2)

    flat = Linear(weight=rng.normal(0, 1, (3, 9 * 3 * 20)))
    layers = [
        ((32, 3, 20), []),
        ((9, 3, 20), [(0, conv(32, 3), ())]),
        ((9, 3, 20), [(1, conv(9, 5), ()), (0, conv(32, 1), ()), (1, conv(9, 5), ())]),
        ((3,), [(2, flat, ())]),
    ]
    snn = snap(spiking(layers, rng, NEURONS["dual"], (2, 3, 20)), carrier, T=5)
    x = snn.preprocess(images(5, 4, snn.input_shape))
    how = {"carrier": carrier}
    plans = prepared(snn, 5, resolve(snn, 5, **how)).plans
    for name, looked_up in (("p1", [True]), ("p2", [True, False, True])):
        found = [one["sums"] >= 0 for one in plans[name].parts[0].lists]
        assert found[::2] == looked_up  # spikes of +1, where windows are like the first
        assert not any(found[1::2])
    assert (plans["p1"].fold, plans["p2"].fold) == (4, 2)
    want = run_snn(snn, x, 5, impl="definition", **how)
    for threads in (1, 2):
        got = run_snn(snn, x, 5, engine="event", threads=threads, **how)
        need_equal(got, want)


def wide(
    rng: np.random.Generator, neuron: Neuron, stages: Stages = PLAIN
) -> SpikingNetwork:
    """Several words a pixel, several tiles, groups with parts of their own."""

    def conv(O: int, I: int, **how: object) -> Conv2d:
        return Conv2d(weight=rng.normal(0, 0.1, (O, I, 3, 3)), padding=(1, 1), **how)

    even = SumPool(kernel=(2, 2), stride=(2, 2))
    return spiking(
        [
            ((48, 4, 6), []),
            ((160, 4, 6), [(0, conv(160, 48), ())]),
            ((64, 4, 6), [(1, conv(64, 80, groups=2), ())]),
            ((64, 4, 6), [(2, conv(64, 1, groups=64), ()), (2, one(rng, 64), ())]),
            ((16, 4, 6), [(3, conv(16, 64), ())]),
            ((16, 4, 6), [(4, conv(16, 16), ()), (4, one(rng, 16), ())]),
            ((30, 2, 3), [(5, conv(30, 16, stride=(2, 2)), ()), (3, half(rng), ())]),
            ((30, 2, 3), [(6, conv(30, 30), ()), (6, one(rng, 30), ())]),
            ((3,), [(7, Linear(weight=rng.normal(0, 1, (3, 30))), (even, tall()))]),
        ],
        rng,
        neuron,
        (2, 4, 6),
        stages,
    )


def one(rng: np.random.Generator, C: int) -> Identity:
    return Identity(weight=rng.uniform(0.2, 0.9, C))


def half(rng: np.random.Generator) -> Conv2d:
    return Conv2d(weight=rng.normal(0, 0.3, (30, 64, 1, 1)), stride=(2, 2))


def tall() -> SumPool:
    return SumPool(kernel=(1, 1), stride=(1, 1))


@pytest.mark.parametrize("neuron", NEURONS)
def test_many_channels(neuron: str, rng: np.random.Generator) -> None:
    snn = wide(rng, NEURONS[neuron], STAGES.get(neuron, PLAIN))
    known = prepared(snn, 6, resolve(snn, 6))
    assert not known.ordinary
    assert known.plans["p4"].fold == known.plans["p5"].fold == 2
    assert len(known.plans["p2"].parts) == 2
    assert all(plan.numbers.filtered for plan in list(known.plans.values())[1:-1])
    got = all_equal(snn, snn.preprocess(images(7, 9, snn.input_shape)), 6)
    rates = [int(s.sum()) for s in got.spikes.values()]
    assert all(rates)


class FewBits:
    """Draws multiples of 1/16."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def normal(self, *how: object) -> np.ndarray:
        return np.rint(self.rng.normal(*how) * 16) / 16

    def uniform(self, *how: object) -> np.ndarray:
        return np.rint(self.rng.uniform(*how) * 16) / 16


@pytest.mark.parametrize("neuron", [name for name in NEURONS if name not in STAGES])
def test_weights_of_few_bits_need_no_filter(
    neuron: str, rng: np.random.Generator
) -> None:
    """Where potentials lie on thresholds all the time; both round to integers."""
    snn = wide(FewBits(rng), NEURONS[neuron])
    plans = prepared(snn, 6, resolve(snn, 6)).plans
    assert all(plans[p.name].numbers.whole for p in snn.hidden[1:])
    got = all_equal(snn, snn.preprocess(images(7, 9, snn.input_shape)), 6)
    assert set(got.marked) <= {snn.hidden[0].name}
    assert all(int(s.sum()) for s in got.spikes.values())


@pytest.mark.parametrize("neuron", ["dual", "moved"])
@pytest.mark.parametrize("T", [3, 6])
def test_blocks_of_steps_change_nothing(
    T: int, neuron: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where many neurons are in doubt, and where the last block is not full."""
    monkeypatch.setattr(filtering, "ROOM", 24)
    monkeypatch.setattr(filtering, "FINE", 2)
    snn = wide(rng, NEURONS[neuron], STAGES.get(neuron, PLAIN))
    x = snn.preprocess(images(7, 9, snn.input_shape))
    want, marked = run_snn(snn, x, T, impl="definition"), []
    for wide_from in (1, 10_000):
        monkeypatch.setattr(blocks, "WIDE", wide_from)
        got = run_snn(snn, x, T, engine="event")
        need_equal(got, want)
        marked.append(got.marked)
        known = prepared(snn, T, resolve(snn, T))
        sizes = {len(blocks.block_of(plan, T)) for plan in known.plans.values()}
        assert sizes == ({1, blocks.BLOCK} if wide_from == 1 else {1})
    assert marked[0] == marked[1]
    assert sum(marked[0].values()) > 100


def test_blocks_are_for_many_channels_and_steps(rng: np.random.Generator) -> None:
    snn = spiking(
        [
            ((255, 1, 1), []),
            (
                (256, 1, 1),
                [(0, Conv2d(weight=rng.normal(0, 0.1, (256, 255, 1, 1))), ())],
            ),
            ((3,), [(1, Linear(weight=rng.normal(0, 1, (3, 256))), ())]),
        ],
        rng,
        IF(),
        (2, 1, 1),
    )
    plans = prepared(snn, 9, resolve(snn, 9)).plans
    sizes = {T: [len(blocks.block_of(p, T)) for p in plans.values()] for T in (2, 3, 9)}
    assert sizes == {2: [1, 1, 1], 3: [1, 4, 1], 9: [1, 4, 1]}
    assert [blocks.patterns(T, (0,) * 4) for T in (3, 4, 9)] == [15, 15, 45]


@pytest.mark.parametrize("carrier", ["float64", "float32", "int32"])
def test_carriers(carrier: str, rng: np.random.Generator) -> None:
    """Networks snapped for a carrier, with a proof for every input."""
    snn = convert(random_net(4, ACTIVATIONS["qcfs"]), "ecl", exact=False)
    snapped = snap(snn, carrier, T=8)
    x = snn.preprocess(images(4, 6))
    all_equal(snapped, x, 8, carrier=carrier)
    plans = prepared(snapped, 8, resolve(snapped, 8, carrier=carrier)).plans
    kinds = {plan.numbers.dtype for name, plan in plans.items() if name != "logits"}
    want = {"float64": np.int32, "float32": np.float32, "int32": np.int32}
    assert kinds == {want[carrier]}
    filtered = {
        plan.numbers.filtered for name, plan in plans.items() if name != "logits"
    }
    assert filtered == {carrier == "float64"}
    if carrier != "float64":  # the same network on float64, its sums still integers
        all_equal(snapped, x, 8)


@pytest.mark.parametrize("stages", [PLAIN, STAGES["moved"]])
def test_too_many_steps_for_the_filter(
    stages: Stages, rng: np.random.Generator
) -> None:
    """Then the sums are float64's."""
    snn = wide(rng, IF(), stages)
    x = snn.preprocess(images(7, 2, snn.input_shape))
    T = 1024
    known = prepared(snn, T, resolve(snn, T))
    kinds = {plan.numbers.dtype for plan in known.plans.values()}
    assert np.float64 in kinds
    need_equal(
        run_snn(snn, x, T, engine="event"), run_snn(snn, x, T, engine="ordinary")
    )


@pytest.mark.parametrize("neuron", ["IF", "dual", "gated"])
def test_integers_for_few_spikes_change_nothing(
    neuron: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    snn, T = wide(rng, NEURONS[neuron]), 64
    x = snn.preprocess(images(7, 2, snn.input_shape))
    want = run_snn(snn, x, T, engine="ordinary")
    for fine, chosen in ((-20, True), (40, False)):
        monkeypatch.setattr(filtering, "FINE_OF_SPIKES", fine)
        run = run_snn(snn, x, T, engine="event")
        need_equal(run, want)
        assert (run.marked["p1"] > 0) == chosen  # float64 marks none


def test_spikes_choose_integers_or_float64(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few leave few neurons in doubt; slices of a batch choose for themselves."""
    monkeypatch.setattr(filtering, "FINE_OF_SPIKES", 7)
    snn, T = wide(rng, IF()), 64
    many = snn.preprocess(images(7, SLICE // T, snn.input_shape))
    both = np.concatenate([many, 0 * many])
    runs = [run_snn(snn, x, T, engine="event") for x in (many, 0 * many, both)]
    none, some, same = (run.marked["p1"] for run in runs)
    assert (none, some) == (0, same)
    assert some > 0
    need_equal(runs[2], run_snn(snn, both, T, engine="ordinary"))


def test_what_has_no_kernel_runs_beside() -> None:
    """Maxima of spikes, a flattened identity, a neuron that kernels do not know."""
    snn = snap(pooled_net())
    x = snn.preprocess(images(2, 4, SHAPE))
    assert ordinary(snn)
    all_equal(snn, x, 6)


def test_potentials_are_moved_beside_ordinary_kernels(rng: np.random.Generator) -> None:
    """Behind a population of theirs, and of neurons that the engine does not move."""
    flat = Identity(weight=rng.uniform(0.5, 1.5, 12), flatten=True)
    maps, hidden = rng.normal(0, 0.5, (20, 12)), rng.normal(0, 1, (3, 20))
    shapes = [
        ((3, 2, 2), []),
        ((12,), [(0, flat, ())]),
        ((20,), [(1, Linear(weight=maps), ())]),
        ((3,), [(2, Linear(weight=hidden), ())]),
    ]
    snn = spiking(shapes, rng, IF(), (2, 2, 2), STAGES["moved"])
    assert list(ordinary(snn)) == ["p1"]
    got = all_equal(snn, snn.preprocess(images(2, 9, (2, 2, 2))), 6)
    assert all((got.v0[name] != 0.5).any() for name in ("p1", "p2"))
    dual = wide(rng, NEURONS["dual"], STAGES["moved"])
    assert set(ordinary(dual)) == {p.name for p in dual.hidden}
    assert "that are moved for each image" in ordinary(dual)["p1"]
    all_equal(dual, dual.preprocess(images(7, 3, dual.input_shape)), 4)


def test_a_folded_flat_identity(rng: np.random.Generator) -> None:
    flat = Identity(weight=rng.uniform(0.5, 1.5, 12), flatten=True)
    head = Linear(weight=rng.normal(0, 1, (3, 12)))
    shapes = [((3, 2, 2), []), ((12,), [(0, flat, ())]), ((3,), [(1, head, ())])]
    snn = spiking(shapes, rng, IF(), (2, 2, 2))
    assert list(ordinary(snn)) == [snn.populations[1].name]
    all_equal(snn, snn.preprocess(images(2, 4, (2, 2, 2))), 6)


@pytest.mark.parametrize("neuron", ["dual", "moved"])
def test_batches_and_slices_change_nothing(
    neuron: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "WORTH", 0)  # threads share rows however few
    monkeypatch.setattr(blocks, "WIDE", 100)
    snn = wide(rng, NEURONS[neuron], STAGES.get(neuron, PLAIN))
    x = snn.preprocess(images(7, 64, snn.input_shape))
    whole = run_snn(snn, x, 9, engine="event")
    need_equal(whole, run_snn(snn, x, 9, engine="ordinary"))
    alone = [run_snn(snn, x[k : k + 1], 9, engine="event") for k in range(64)]
    assert same(np.concatenate([run.logits for run in alone], axis=1), whole.logits)
    for name, counts in whole.spikes.items():
        assert same(sum(run.spikes[name] for run in alone), counts)
    marked = {name: sum(run.marked[name] for run in alone) for name in whole.marked}
    assert marked == whole.marked
    for threads in (2, 3):
        for some in (x, x[:1], x[:2]):
            want = run_snn(snn, some, 9, engine="event")
            got = run_snn(snn, some, 9, engine="event", threads=threads)
            need_equal(got, want)
            assert got.marked == want.marked
    free = Event()
    busy = helpers(2).submit(free.wait, 60)  # whoever asks does what they do not begin
    need_equal(run_snn(snn, x[:1], 9, engine="event", threads=2), alone[0])
    assert not busy.done()
    free.set()
    with pytest.raises(OptionError, match="threads"):
        run_snn(snn, x, 9, threads=0)


@pytest.mark.parametrize("method", ["qcfs", "srp", "ecl"])
def test_digits(method: str) -> None:
    ann = io.load_ann(datasets.weights_folder() / "digits_qcfs.h5")
    snn = convert(ann, method)
    x = snn.preprocess(datasets.load("digits", "test").images[:64])
    all_equal(snn, x, 8)


def test_an_engine_has_to_exist(rng: np.random.Generator) -> None:
    snn = convert(random_net(1, ACTIVATIONS["qcfs"]), "qcfs")
    x = snn.preprocess(images(1, 2))
    with pytest.raises(OptionError, match="auto or event"):
        run_snn(snn, x, 2, engine="fast")
    for how in ({"mode": "ordered"}, {"impl": "definition"}, {"schedule": "step"}):
        with pytest.raises(OptionError, match="engine event"):
            run_snn(snn, x, 2, engine="event", **how)


def test_every_method_is_tried() -> None:
    """The others set no neuron, threshold or potential that these do not."""
    tried = {method for method, _ in RULES.values()} | {"cos"}
    plain = {"calib-none", "opi", "percentile"}
    released = {name for name in METHODS if name.endswith("-code")}
    assert tried | plain | released == set(METHODS)
    assert set(PRESETS) >= {"qffs", "ungated"}


EDGE = 64
"""Weights whose rounding errors add up to almost the bound."""


def on_the_edge(
    neuron: Neuron,
    goal: float,
    units: int,
    up: bool,
    *,
    q: int | None = None,
    v0: float = 0.0,
    stages: Stages | None = None,
) -> tuple[SpikingNetwork, int]:
    """A neuron whose current is `goal` and `units` of its grid more.

    64 of its 65 weights lie 1/2 - 1/64 of 2^-q beside a multiple of 2^-q, all on one
    side; the last one makes the sum right. So integers are wrong by 31 2^-q, and 66
    terms (65 weights and v(0)) bound the error by 33.
    """
    side = 1 if up else -1
    q = q or (28 if neuron.op == "IF" else 29)
    fraction = (0.5 - 1 / EDGE) * side
    weights = np.full(EDGE + 1, 2.0**q / 256 + fraction)
    weights[-1] = 0
    weights[-1] = goal * 2.0**q + units / EDGE - weights.sum()
    fires = Conv2d(weight=np.full((EDGE + 1, 1, 1, 1), 2.0))
    populations = (
        Population(
            name="on",
            shape=(EDGE + 1, 1, 1),
            neuron=IF(),
            projections=(Projection(source=INPUT, op=fires),),
            grid=np.full(EDGE + 1, 20),
        ),
        Population(
            name="edge",
            shape=(1,),
            neuron=neuron,
            projections=(
                Projection(source="on", op=Linear(weight=weights[None] / 2**q)),
            ),
            grid=np.array([q + 6]),
            v0=np.array(v0),
        ),
        Population(
            name="out",
            shape=(1,),
            neuron=None,
            projections=(Projection(source="edge", op=Linear(weight=np.eye(1))),),
            grid=np.zeros(1, dtype=np.int64),
        ),
    )
    return SpikingNetwork(
        name="edge",
        input_shape=(1, 1, 1),
        classes=1,
        mean=np.zeros(1),
        std=np.ones(1),
        populations=populations,
        canonical=True,
        method="test",
        mode="exact",
        stages=stages or Stages(tau=1 if neuron.op == "GatedIF" else 0),
    ), q


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("units", [-1, 0, 1])
@pytest.mark.parametrize(
    ("current", "v0", "wrong"),
    [(1.5, -1.0, {0, 1}), (-0.5, 2.0, {-1})],
    ids=["too few", "too many"],
)
def test_moved_neurons_on_the_edge_of_the_bound(
    current: float, v0: float, wrong: set[int], units: int, up: bool
) -> None:
    """One spike in two steps, which end at theta, or 0, and `units` of 2^-5 more."""
    how = {"q": 27, "v0": v0, "stages": Stages(rho=2)}
    snn, q = on_the_edge(IF(), current, units, up, **how)
    x = snn.preprocess(np.full((1, 1, 1, 1), 255, dtype=np.uint8))
    plan = prepared(snn, 2, resolve(snn, 2)).plans["edge"]
    assert plan.numbers.filtered
    assert plan.numbers.q == [q]
    got = all_equal(snn, x, 2)
    assert (got.v0["edge"].item() != v0) == (units in wrong)


def test_moved_potentials_may_need_more_bits_than_sums(
    rng: np.random.Generator,
) -> None:
    """Sums are multiples of 1/16, 0.999 theta is rounded to 2^-40."""
    snn = wide(FewBits(rng), IF(), STAGES["moved"])
    fine = {p.name: np.full(p.shape[0], 40) for p in snn.hidden}
    populations = [dataclasses.replace(p, grid=fine[p.name]) for p in snn.hidden]
    whole = dataclasses.replace(snn, populations=(*populations, snn.readout))
    plans = prepared(whole, 6, resolve(whole, 6)).plans
    assert not any(plans[p.name].numbers.whole for p in whole.hidden)
    x = whole.preprocess(images(7, 9, whole.input_shape))
    got = all_equal(whole, x, 6)
    moved = np.concatenate([v0.ravel() for v0 in got.v0.values()])
    assert (moved * 2.0**20 % 1 != 0).any()


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("units", [-1, 0, 1])
@pytest.mark.parametrize(
    ("neuron", "goal"),
    [
        (IF(), 1.0),
        (DualThresholdIF(theta_neg=-0.125, guard=False), -0.125),
        (GatedIF(tolerance=2.0**-5, strict=False), 2.0**-5),
        (GatedIF(tolerance=2.0**-5), 2.0**-5),
    ],
    ids=["theta", "theta_neg", "tolerance", "strict tolerance"],
)
def test_neurons_on_the_edge_of_the_bound(
    neuron: Neuron, goal: float, units: int, up: bool
) -> None:
    """At, above and below a threshold by 2^-6 of what integers resolve."""
    snn, q = on_the_edge(neuron, goal, units, up)
    x = snn.preprocess(np.full((1, 1, 1, 1), 255, dtype=np.uint8))
    plan = prepared(snn, 1, resolve(snn, 1)).plans["edge"]
    assert plan.numbers.filtered
    assert plan.numbers.q == [q]
    want = run_snn(snn, x, 1, impl="definition")
    got = run_snn(snn, x, 1, engine="event")
    marked = (got.observing or got).marked["edge"]
    need_equal(got, want)
    assert marked == 1


def test_a_neuron_that_v0_alone_leaves_in_doubt() -> None:
    """v(0) just below theta, rounded to it, and nothing else: no spike."""
    snn, q = on_the_edge(IF(), 1.0, 0, up=False)
    edge = dataclasses.replace(
        snn["edge"],
        v0=np.array(1 - 2.0 ** -(q + 6)),
        projections=(
            Projection(source="on", op=Linear(weight=np.zeros((1, EDGE + 1)))),
        ),
    )
    populations = (snn.populations[0], edge, snn.populations[2])
    snn = dataclasses.replace(snn, populations=populations)
    for pixel in (0, 255):
        x = snn.preprocess(np.full((1, 1, 1, 1), pixel, dtype=np.uint8))
        got = all_equal(snn, x, 1)
        assert got.marked["edge"] == 1


def test_few_are_marked(rng: np.random.Generator) -> None:
    """On what is no edge a share of the neurons as small as the bound."""
    snn = wide(rng, IF())
    x = snn.preprocess(images(7, 30, snn.input_shape))
    got = run_snn(snn, x, 6, engine="event")
    neurons = len(x) * sum(snn[name].neurons for name in got.marked)
    assert sum(got.marked.values()) < 1e-3 * neurons


def test_the_command_line_chooses_and_says_so(refsnn, tmp_path: Path) -> None:
    file = str(datasets.weights_folder() / "digits_qcfs.h5")
    few = ("-T", "4", "--limit", "20", "--json", "-")
    answers = {}
    for engine in ("auto", "event", "dense", "ordinary"):
        how = ("run", file, "--method", "srp", *few, "--engine", engine)
        code, said, _ = refsnn(*how)
        assert code == 0
        answers[engine] = json.loads(said)
    engines = {name: a["versions"].pop("engine") for name, a in answers.items()}
    for name in ("ordinary", "dense"):
        assert engines[name] == {"name": name}
    assert engines["auto"] == engines["event"]
    assert engines["event"]["name"] == "event"
    assert engines["event"]["ordinary"] == {}
    assert 0 <= engines["event"]["marked_share"] < 1e-2
    for answer in answers.values():
        answer.pop("seconds")
    assert answers["auto"] == answers["event"] == answers["ordinary"]
    code, said, _ = refsnn("run", file, "--method", "qcfs", *few, "--mode", "ordered")
    assert json.loads(said)["versions"]["engine"] == {"name": "ordinary"}
    ordered = ("--mode", "ordered", "--engine", "event")
    code, _, said = refsnn("run", file, "--method", "qcfs", *few, *ordered)
    assert code == 2
    assert "Leave the engine to auto" in said

    out = str(tmp_path / "net.h5")
    for method in ("srp", "cos"):
        refsnn("convert", file, "--method", method, "-o", out, "--force")
        code, said, _ = refsnn("info", out)
        assert "all: event" in said
    io.save(snap(pooled_net()), Path(out), force=True)
    _, said, _ = refsnn("info", out)
    assert "ordinary: maxima of spikes from" in said
    assert "others: event" in said


def test_evaluate_adds_up_on_every_engine() -> None:
    ann = io.load_ann(datasets.weights_folder() / "digits_qcfs.h5")
    snn, data = convert(ann, "ecl"), datasets.load("digits", "test").head(70)
    want = evaluate(snn, data, 5, engine="ordinary", threads=1)
    for how in ({"threads": 2}, {"batch": 7, "threads": 2}, {"threads": 1}):
        got = evaluate(snn, data, 5, engine="event", **how)
        assert (got.correct == want.correct).all()
        assert same(got.predictions, want.predictions)
        for field in ("spikes", "negative", "synops"):
            for name, counts in getattr(want, field).items():
                assert same(getattr(got, field)[name], counts)
    assert set(got.marked) == {p.name for p in snn.hidden}
    assert want.marked == {}


def test_a_trained_resnet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped ResNet-20, on images of noise: every spike, two ways of sharing."""
    file = Path(datasets.weights_folder()) / "resnet20_cifar10_qcfs4.h5"
    if not file.is_file():
        pytest.skip("weights/resnet20_cifar10_qcfs4.h5 is not part of the package")
    snn = convert(io.load_ann(file), "ecl")
    x = snn.preprocess(images(3, 2, snn.input_shape))
    want, run = spikes_of(snn, x, 4, mode="ordered")
    monkeypatch.setattr(network, "WORTH", 10_000_000)  # some populations are shared
    for threads in (1, 3):
        need_equal(run_snn(snn, x, 4, engine="event", threads=threads), run)
    for name, s in engine_spikes(snn, x, 4).items():
        assert same(s, want[name]), name


def test_inputs_that_are_no_images(rng: np.random.Generator) -> None:
    """The same errors as on the ordinary kernels."""
    snn = convert(random_net(1, ACTIVATIONS["qcfs"]), "srp")
    x = snn.preprocess(images(1, 3))
    for value in (np.nan, np.inf, 1e6):
        wrong = x.copy()
        wrong[1, 0, 2, 3] = value
        messages = []
        for engine in ("event", "ordinary"):
            with pytest.raises(RefsnnError) as raised:
                run_snn(snn, wrong, 4, engine=engine)
            messages.append(str(raised.value))
        assert messages[0] == messages[1]


def test_few_preparations_are_kept() -> None:
    snn = convert(random_net(1, ACTIVATIONS["qcfs"]), "qcfs")
    made = [prepared(snn, T, resolve(snn, T)) for T in (1, 2, 3, 3, 2)]
    assert made[2] is made[3]
    assert made[1] is made[4]
    assert prepared(snn, 1, resolve(snn, 1)) is not made[0]


def test_a_prepared_network_can_be_forgotten() -> None:
    snn = convert(random_net(1, ACTIVATIONS["qcfs"]), "qcfs")
    known = prepared(snn, 2, resolve(snn, 2))
    run_snn(snn, snn.preprocess(images(1, 2)), 2, engine="event")
    assert known.snn is snn
    del snn
    gc.collect()
    assert known.network() is None


@pytest.mark.parametrize(("H", "W", "T", "B"), [(60, 41, 1, 1), (6, 5, 10, 8)])
def test_lists_stay_in_their_room(
    H: int, W: int, T: int, B: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every neuron of a source of one word spikes at every step: lists fill up."""
    room, guards = calls.Call.room, []

    def guarded(call: calls.Call) -> tuple[np.ndarray, np.ndarray]:
        events, first = room(call)
        whole = np.full(len(events) + 64, 7777, dtype=events.dtype)
        guards.append(whole[len(events) :])
        return whole[: len(events)], first

    monkeypatch.setattr(calls.Call, "room", guarded)
    rng = np.random.default_rng(0)
    shapes = [
        ((16, H, W), []),
        ((16, H, W), [(0, Conv2d(weight=rng.normal(0, 0.1, (16, 16, 1, 1))), ())]),
        ((3,), [(1, Linear(weight=rng.normal(0, 0.1, (3, 16 * H * W))), ())]),
    ]
    snn = spiking(shapes, rng, IF(), (2, H, W))
    x = snn.preprocess(np.zeros((B, 2, H, W), dtype=np.uint8))
    known = prepared(snn, T, resolve(snn, T))
    engine = Engine(known, x, T, {}, keeping=False)
    engine.put("p0", np.ones((T, B, 16, H, W), dtype=np.int8))
    engine.fire("p1")
    assert guards
    assert all((guard == 7777).all() for guard in guards)


@pytest.mark.filterwarnings("error")
def test_weights_that_meet_no_pixel_may_be_too_large() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 0.02, (16, 16, 3, 3))
    weight[..., 0, 0] = 5.0
    shapes = [
        ((16, 1, 1), []),
        ((16, 1, 1), [(0, Conv2d(weight=weight, padding=(1, 1)), ())]),
        ((3,), [(1, Linear(weight=rng.normal(0, 0.1, (3, 16))), ())]),
    ]
    snn = spiking(shapes, rng, IF(), (2, 1, 1))
    x = snn.preprocess(rng.integers(0, 256, (2, 2, 1, 1)).astype(np.uint8))
    got = run_snn(snn, x, 2, engine="event", threads=2)
    need_equal(got, run_snn(snn, x, 2, impl="definition"))


@pytest.mark.parametrize("threads", [0, -1, 2.5, "2"])
def test_threads_are_counted(threads: object) -> None:
    snn = convert(io.load_ann(datasets.weights_folder() / "digits_qcfs.h5"), "qcfs")
    x = snn.preprocess(datasets.load("digits", "test").images[:1])
    with pytest.raises(OptionError, match="at least 1"):
        run_snn(snn, x, 2, threads=threads)
