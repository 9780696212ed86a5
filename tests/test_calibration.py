"""Parameter calibration: hand-worked thresholds, and every layer against its rule."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pytest

from nets import ACTIVATIONS, images, random_net
from refsnn import io
from refsnn.calibration import clip_floor, mmse_thresholds
from refsnn.calibration.parameters import FRACTION
from refsnn.calibration.thresholds import _best, _squares
from refsnn.convert import convert
from refsnn.errors import OptionError
from refsnn.methods import METHODS, Context
from refsnn.network import SpikingNetwork
from refsnn.numerics import floor_half_up
from refsnn.passes import (
    activations_to_neurons,
    canonical_form,
    fold_batchnorm,
    set_thresholds,
)
from refsnn.run import run_ann, run_snn

T = 6
FEW = {"samples": 20, "batch": 10}
TRAIN = images(6, 20)


def made(method: str, train: np.ndarray = TRAIN, **options: object) -> SpikingNetwork:
    ann = random_net(4, ACTIVATIONS["relu"])
    options = {**FEW, **options}
    return convert(ann, method, T=T, images=train, options=options, exact=False)


def test_clip_floor_by_hand() -> None:
    """V = 2, T = 4: levels of 1/2, down to the next one, at most 2."""
    x = np.array([-1.0, 0.0, 0.49, 0.5, 1.2, 1.99, 2.0, 9.0])
    want = [0, 0, 0, 0.5, 1, 1.5, 2, 2]
    assert clip_floor(x, 4, np.array(2.0)).tolist() == want


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
    squares = _squares(a, 4, np.array(3.0))
    assert squares.shape == (100, 1)
    assert squares[99, 0] == 0
    assert _best(np.array(3.0), squares[None]) == 3.0
    two = np.ones((1, 100, 1))
    two[0, [49, 99]] = 0.25
    assert _best(np.array(4.0), two) == 4.0
    silent = _squares(np.zeros(5), 4, np.array(0.0))
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
    with pytest.raises(OptionError, match="those of the thresholds"):
        made("calib-light", batch=21)


def test_none_is_the_shift_alone() -> None:
    ann = random_net(4, ACTIVATIONS["relu"])
    one = convert(ann, "calib-none", T=T, images=TRAIN)
    two = convert(ann, "rts", T=T, images=TRAIN)
    for p, q in zip(one.populations, two.populations, strict=True):
        assert (p.over("v0") == q.over("v0")).all()
        assert p.bias is None or (p.bias == q.bias).all()
