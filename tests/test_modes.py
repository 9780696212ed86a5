"""Snapping, modes and carriers: no choice changes a bit."""

from __future__ import annotations

import dataclasses
import itertools
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from nets import constant_count, images, random_net, same
from refsnn import datasets, io
from refsnn.accumulators import ACCUMULATORS
from refsnn.arithmetic import resolve
from refsnn.certificate import certify
from refsnn.convert import convert
from refsnn.errors import (
    AccumulatorError,
    ConversionError,
    DomainError,
    FormatError,
    OptionError,
    RefsnnError,
)
from refsnn.fixed import Fixed
from refsnn.layers import Conv2d, Linear
from refsnn.network import INPUT, Population, Projection, SpikingNetwork
from refsnn.neurons import IF, PRESETS, DualThresholdIF, Neuron
from refsnn.numerics import bits_behind_point
from refsnn.passes import activations_to_neurons, canonical_form, fold_batchnorm
from refsnn.recording import record, spikes_of
from refsnn.records import tensor
from refsnn.run import run_snn
from refsnn.snap import T_MAX, changes, largest_potentials, snap

T = 6


def raw_net(seed: int = 2, preset: str = "fast-snn") -> SpikingNetwork:
    """Shortcuts, groups, pooling, and negative spikes; not snapped."""
    ann = fold_batchnorm(random_net(seed))
    rule = PRESETS[preset]
    return canonical_form(
        activations_to_neurons(ann, lambda theta: (rule.neuron(theta), theta / 2))
    )


Recorded = tuple[dict[str, tuple[np.ndarray, ...]], np.ndarray]


def recorded(snn: SpikingNetwork, batch: int | None = None, **how: object) -> Recorded:
    """Currents, spikes and last potentials of every population, and the logits."""
    x = snn.preprocess(images(3, 8))
    parts = []
    for first in range(0, len(x), batch or len(x)):
        seen: dict[str, list[np.ndarray]] = {}

        def watch(population, start, x, s, state, seen=seen):
            kept = seen.setdefault(population.name, [[], [], None])
            kept[0].append(np.array(x))
            kept[1].append(s)
            kept[2] = state.v

        piece = x[first : first + (batch or len(x))]
        run = run_snn(snn, piece, T, observe=watch, **how)
        joined = {
            name: (np.concatenate(a), np.concatenate(b), v[None])
            for name, (a, b, v) in seen.items()
        }
        parts.append((joined, run.logits))
    return {
        name: tuple(
            np.concatenate([part[0][name][i] for part in parts], axis=1)
            for i in range(3)
        )
        for name in parts[0][0]
    }, np.concatenate([logits for _, logits in parts], axis=1)


def equal(a: Recorded, b: Recorded) -> bool:
    return same(a[1], b[1]) and all(
        same(one, two)
        for name in a[0]
        for one, two in zip(a[0][name], b[0][name], strict=True)
    )


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("target", ACCUMULATORS)
def test_carriers_batches_schedules_and_kernels_agree(
    target: str, static: bool
) -> None:
    snn = snap(raw_net(), target, T=T, images=None if static else images(3, 8))
    want = recorded(snn, mode="ordered", impl="definition")
    assert any((s < 0).any() for _, s, _ in want[0].values())
    carriers = {"float64": ("float64",), "int32": ("float64", "int32")}
    for carrier in carriers.get(target, ("float64", "float32", "int32")):
        for impl, schedule, batch in itertools.product(
            ("kernel", "definition"), ("layer", "step"), (None, 1)
        ):
            how = {"impl": impl, "schedule": schedule}
            got = recorded(snn, batch, mode="exact", carrier=carrier, **how)
            assert equal(got, want), (carrier, impl, schedule, batch)
    assert equal(recorded(snn), want)


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("target", ACCUMULATORS)
def test_grids_are_the_finest_that_are_certified(target: str, static: bool) -> None:
    raw = raw_net()
    sample = images(3, 8)
    snn = snap(raw, target, T=T, images=None if static else sample)
    held = ACCUMULATORS[target]
    peaks = largest_potentials(snn, sample, T)
    for p in snn.hidden:
        weights = [q.op.weight for q in p.projections if q.source != INPUT]
        for c, q in enumerate(p.grid):
            rows = [w[c] for w in weights]
            assert all((bits_behind_point(row) <= q).all() for row in rows)
            assert not static or certify(snn, target, T=T).holds
        peak = (peaks[p.name].reshape(-1) * np.ldexp(1.0, p.grid)).max()
        assert peak < 2.0**held.bits
    finest = max(p.bits or 0 for p in certify(snn, target, T=T).populations[:-1])
    assert finest == held.bits if static else finest >= held.bits
    names = {"float64": "", "float32": "-f32", "int32": "-i32"}
    assert snn.name == raw.name + names[target]
    assert snn.certificate["static"] is static
    assert snn.certificate["bits"] <= held.bits
    change = changes(raw, snn)
    assert change["act1"].weight == 0  # the image's weights stay
    worst = max(c.neuron for c in change.values())
    assert 0 < worst < 2.0**-4
    assert all(c.relative < 2.0**-8 for c in change.values())


def test_conversion_ends_with_snapping() -> None:
    ann = random_net(4)
    snn = convert(ann, "qcfs")
    assert (snn.mode, snn.certificate["accumulator"]) == ("exact", "float64")
    assert snn.certificate["T"] == T_MAX
    assert certify(snn, T=T_MAX).holds
    assert resolve(snn, 32).mode == "exact"
    left = convert(ann, "qcfs", exact=False)
    assert (left.mode, left.certificate) == ("ordered", None)
    assert resolve(left, 32).mode == "ordered"
    a, b = recorded(snn), recorded(left)
    for name, (_, spikes, _) in a[0].items():
        assert (spikes == b[0][name][1]).all()


def test_sums_that_no_double_holds_are_left_ordered() -> None:
    ann = random_net(4)
    huge = {
        "conv4": dataclasses.replace(
            ann["conv4"].op, weight=ann["conv4"].op.weight * 2.0**60
        )
    }
    with pytest.warns(UserWarning, match="runs in mode ordered"):
        snn = convert(ann.with_ops(huge), "qcfs")
    assert snn.mode == "ordered"
    with pytest.raises(ConversionError, match="population act4"):
        snap(snn)


def test_tiny_clips_are_left_ordered() -> None:
    """lam of 1e-290 makes weights that no grid holds; it is converted all the same."""
    for lam in (1e-289, 1e-292, 1e-295):
        ann = random_net(4, lams=(1.3, lam, 1.1, 0.9, 1.7))
        with pytest.warns(UserWarning, match="runs in mode ordered"):
            snn = convert(ann, "qcfs")
        assert snn.mode == "ordered"
        assert resolve(snn, 4).mode == "ordered"


def test_observing_steps_are_snapped_for() -> None:
    """tau = 16 > T = 4: the certificate holds for both."""
    raw = convert(random_net(4), "srp", options={"tau": 16}, exact=False)
    for target in ACCUMULATORS:
        snn = snap(raw, target, T=4)
        assert snn.mode == "exact"
        assert certify(snn, target, T=4).holds
        assert snn.certificate["T"] == 16
        run_snn(snn, snn.preprocess(images(1, 1)), 4, carrier=target)


def test_a_run_of_more_steps_than_certified_is_ordered() -> None:
    snn = snap(raw_net(), T=4)
    assert resolve(snn, 4).mode == "exact"
    assert resolve(snn, 10**6).mode == "ordered"
    with pytest.raises(OptionError, match=r"T = 1000000: got population .* bits, 53"):
        resolve(snn, 10**6, mode="exact")


def test_numbers_without_a_certificate_are_refused() -> None:
    snn = snap(raw_net())
    x = snn.preprocess(images(1, 1))
    for how in ({"carrier": "float32"}, {"carrier": "int32", "mode": "exact"}):
        with pytest.raises(OptionError, match="--snap"):
            run_snn(snn, x, 4, **how)
    raw = raw_net()
    with pytest.raises(OptionError, match="not rounded to a grid"):
        run_snn(raw, x, 4, mode="exact")
    for how, message in (
        ({"mode": "fast"}, "one of exact, ordered, fixed"),
        ({"carrier": "int8"}, "float64, float32, int32"),
        ({"mode": "ordered", "carrier": "int32"}, "float64 in mode ordered"),
        ({"mode": "exact", "fixed": Fixed()}, "mode fixed, no carrier"),
    ):
        with pytest.raises(OptionError, match=message):
            run_snn(snn, x, 4, **how)
    with pytest.raises(RefsnnError, match="grid for every population"):
        dataclasses.replace(raw, mode="exact")


def climbing(weight: float) -> SpikingNetwork:
    """One neuron that gains `weight` at every step in which its only input spikes."""
    feed = Projection(source=INPUT, op=Conv2d(weight=np.ones((1, 1, 1, 1))))
    a = Population(name="a", shape=(1, 1, 1), neuron=IF(), projections=(feed,))
    step = Projection(source="a", op=Linear(weight=np.array([[weight]])))
    b = Population(name="b", shape=(1,), neuron=IF(), projections=(step,))
    out = Projection(source="b", op=Linear(weight=np.ones((2, 1))))
    return SpikingNetwork(
        name="climbing",
        input_shape=(1, 1, 1),
        classes=2,
        mean=np.zeros(1),
        std=np.ones(1),
        populations=(
            a,
            b,
            Population(name="out", shape=(2,), neuron=None, projections=(out,)),
        ),
        canonical=True,
    )


@pytest.mark.parametrize("carrier", ["float32", "int32"])
def test_a_stored_run_is_checked_in_every_run(carrier: str) -> None:
    """Snapped on a dark image, where u stays 0; a bright one climbs out of the room."""
    raw = climbing(300.125)
    dark, bright = (
        np.zeros((1, 1, 1, 1), np.uint8),
        np.full((1, 1, 1, 1), 255, np.uint8),
    )
    snn = snap(raw, carrier, T=200, images=dark)
    assert (
        run_snn(snn, snn.preprocess(dark), 200, carrier=carrier).spikes["b"].sum() == 0
    )
    with pytest.raises(AccumulatorError, match=r"population b, step \d+, sample 0"):
        run_snn(snn, snn.preprocess(bright), 200, carrier=carrier)
    static = snap(raw, carrier, T=200)
    run = run_snn(static, static.preprocess(bright), 200, carrier=carrier)
    assert run.spikes["b"].sum() == 200


def test_an_input_that_is_no_image_is_refused() -> None:
    snn = snap(raw_net())
    x = 50 * snn.preprocess(images(1, 1))
    with pytest.raises(AccumulatorError, match="pixels of 0 to 255"):
        run_snn(snn, x, 2)
    run_snn(snn, x, 2, mode="ordered")


def test_rounded_neurons_decide_as_before_on_the_grid() -> None:
    """Every multiple of 2^-3, strict or not: theta_neg is rounded down, never to 0."""
    u = np.arange(-16, 17) / 8.0
    N = np.ones(u.shape, dtype=np.int64)
    for theta_neg, strict in itertools.product(
        (-1e-3, -0.25, -0.3, 0.0), (False, True)
    ):
        if theta_neg == 0 and not strict:
            continue
        neuron = DualThresholdIF(theta_neg=theta_neg, strict=strict)
        rounded = neuron.on_grid(np.array([3]))
        assert not rounded.strict
        assert (bits_behind_point(rounded.theta_neg) <= 3).all()
        want = neuron.fire(u, N, np.array(1.0))
        assert rounded.fire(u, N, np.array(1.0)).tolist() == want.tolist()


def test_a_hundred_thousand_steps_equal_the_closed_form() -> None:
    """First layer: clip(floor(T x + v0)); then floor(w N + v0), since 0 <= w <= 1."""
    T = 100_000
    w, v0 = np.array([[0.625], [0.375]]), 0.5
    feed = Projection(source=INPUT, op=Conv2d(weight=np.full((1, 1, 1, 1), 0.6875)))
    a = Population(
        name="a",
        shape=(1, 1, 1),
        neuron=IF(),
        projections=(feed,),
        v0=np.array(v0),
        grid=np.array([12]),
    )
    follow = Projection(source="a", op=Linear(weight=w))
    b = Population(
        name="b",
        shape=(2,),
        neuron=IF(),
        projections=(follow,),
        v0=np.array(v0),
        grid=np.array([3, 3]),
    )
    read = Projection(
        source="b", op=Linear(weight=np.array([[0.5, -1.0], [0.25, 2.0]]))
    )
    out = Population(
        name="out",
        shape=(2,),
        neuron=None,
        projections=(read,),
        bias=np.array([0.125, -0.25]),
        grid=np.array([3, 3]),
    )
    snn = SpikingNetwork(
        name="dyadic",
        input_shape=(1, 1, 1),
        classes=2,
        mean=np.zeros(1),
        std=np.ones(1),
        populations=(a, b, out),
        canonical=True,
        mode="exact",
    )
    pixels = np.array([0, 51, 102, 204, 255], dtype=np.uint8).reshape(-1, 1, 1, 1)
    x = snn.preprocess(pixels)
    assert resolve(snn, T).mode == "exact"
    currents = np.round(x.astype(np.float64).reshape(-1) * 0.6875 * 2**12) / 2**12
    t = np.arange(1, T + 1)
    count = np.stack(
        [constant_count(c, np.array(v0), np.array(1.0), t) for c in currents], 1
    )
    second = np.floor(count[..., None] * w[:, 0] + v0)
    logits = second @ read.op.weight.T + t[:, None, None] * out.bias
    for carrier in ("float64", "float32", "int32"):
        run = run_snn(snn, x, T, carrier=carrier)
        assert same(run.logits, logits)
        assert run.spikes["a"].cumsum().tolist() == count.sum(axis=1).tolist()


def test_the_same_spikes_on_other_processors(tmp_path: Path) -> None:
    """Another code generator and another BLAS, in processes of their own."""
    snn = snap(raw_net(), "float32", T=T)
    io.save(snn, tmp_path / "net.h5")
    np.save(tmp_path / "x.npy", snn.preprocess(images(3, 2)))
    script = """
import hashlib, sys
import numpy as np
from refsnn import datasets, io
from refsnn.records import tensor
from refsnn.run import run_snn
sha = hashlib.sha256()
snn, x = io.load_snn("net.h5"), np.load("x.npy")
for carrier in ("float64", "float32", "int32"):
    observe = lambda population, start, x, s, state: sha.update(s.tobytes())
    sha.update(run_snn(snn, x, 6, carrier=carrier, observe=observe).logits.tobytes())
print(sha.hexdigest())
"""
    environments = (
        {},
        {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
        {"OPENBLAS_CORETYPE": "Nehalem"},
    )
    hashes = set()
    for extra in environments:
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / str(extra)), **extra},
            capture_output=True,
            text=True,
            check=True,
        )
        hashes.add(done.stdout)
    assert len(hashes) == 1


# ------------------------------------------------------------------ fixed point


def plain_integers(
    snn: SpikingNetwork, x: np.ndarray, T: int, fixed: Fixed
) -> dict[str, list]:
    """Simulate one image in Python's integers: potentials after every reset."""
    n, bits = fixed.fraction, fixed.accumulator
    least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

    def nearest(value: float) -> int:
        return int(np.floor(value * 2**n + 0.5))

    state = {p.name: [] for p in snn.hidden}
    rows, first = {}, {}
    for p in snn.hidden:
        size = int(np.prod(p.shape))
        v0 = np.broadcast_to(p.over("v0"), p.shape).reshape(-1)
        state[p.name] = [[nearest(v), 0] for v in v0]
        bias = np.broadcast_to(0.0 if p.bias is None else p.over("bias"), p.shape)
        current = np.zeros(p.shape)
        terms = [[] for _ in range(size)]
        for q in p.projections:
            if q.source == INPUT:
                current = current + q.op.accumulate(np.zeros((1, *p.shape)), x[None])[0]
                continue
            S = q.pooled_shape(snn.shape_of(q.source))
            matrix = q.op(np.eye(int(np.prod(S))).reshape(-1, *S)).reshape(-1, size)
            for j in range(size):
                terms[j].append(
                    [(i, nearest(w)) for i, w in enumerate(matrix[:, j]) if w]
                )
        rows[p.name] = terms
        fed = p.fed_by_image
        first[p.name] = [
            nearest(c) for c in (current + (bias if fed else 0)).reshape(-1)
        ]
        rows[p.name, "bias"] = [0 if fed else nearest(b) for b in bias.reshape(-1)]
    history = {p.name: [] for p in snn.hidden}
    for step in range(1, T + 1):
        spikes: dict[str, np.ndarray] = {}
        for p in snn.hidden:
            emitted = []
            pooled = [
                q.pooled(spikes[q.source][None].astype(np.int64)).reshape(-1)
                for q in p.projections
                if q.source != INPUT
            ]
            theta_neg = getattr(p.neuron, "theta_neg", None)
            for j, (v, N) in enumerate(state[p.name]):
                parts = [first[p.name][j]]
                for taps, counts in zip(rows[p.name][j], pooled, strict=True):
                    parts += [w * int(counts[i]) for i, w in taps]
                parts.append(rows[p.name, "bias"][j])
                u = v
                for part in parts:
                    u += part
                    if fixed.overflow == "saturate-each":
                        u = min(max(u, least), most)
                if fixed.overflow == "wrap":
                    u = (u - least) % 2**bits + least
                elif fixed.overflow == "saturate-step":
                    u = min(max(u, least), most)
                elif not least <= u <= most:
                    raise OverflowError(p.name, step, j)
                s = 1 if u >= 2**n else 0
                if theta_neg is not None and s == 0 and N > 0:
                    c = j // int(np.prod(p.shape[1:]))
                    low = np.broadcast_to(theta_neg, p.shape[:1])[c]
                    s = -1 if u <= int(np.floor(low * 2**n)) else 0
                state[p.name][j] = [u - s * 2**n, N + s]
                emitted.append(s)
            spikes[p.name] = np.array(emitted, dtype=np.int8).reshape(p.shape)
            history[p.name].append([v for v, _ in state[p.name]])
    return history


@pytest.mark.parametrize("snapped", [True, False])
@pytest.mark.parametrize("impl", ["kernel", "definition"])
@pytest.mark.parametrize(
    ("overflow", "bits"),
    [
        *(("error", 24), ("wrap", 24), ("wrap", 10), ("saturate-step", 10)),
        ("saturate-each", 10),
    ],
)
def test_fixed_point_equals_plain_integers(
    overflow: str, bits: int, impl: str, snapped: bool
) -> None:
    """Every membrane value of every step; 10 bits behind a point at 8 overflow."""
    fixed = Fixed(format="Q3.8", accumulator=bits, overflow=overflow)
    snn = raw_net()
    snn = snap(snn) if snapped else snn
    x = snn.preprocess(images(3, 2))
    got: dict[str, list] = {p.name: [] for p in snn.hidden}

    def watch(population, start, x, s, state):
        got[population.name].append(state.v * 2.0**8)

    run_snn(snn, x, 5, fixed=fixed, impl=impl, schedule="step", observe=watch)
    clipped = 0
    for sample in range(2):
        image = x[sample].astype(np.float64)
        want = plain_integers(snn, image, 5, fixed)
        for name, steps in want.items():
            mine = [v[sample].reshape(-1).tolist() for v in got[name]]
            assert mine == steps, name
            clipped += sum(abs(v) >= 2**9 - 1 for step in steps for v in step)
    assert clipped > 0 or not overflow.startswith("saturate")


@pytest.mark.parametrize("snapped", [True, False])
@pytest.mark.parametrize(
    ("overflow", "bits"),
    [("error", 24), ("wrap", 10), ("saturate-step", 10), ("saturate-each", 10)],
)
def test_a_trace_of_fixed_point(
    overflow: str, bits: int, snapped: bool, tmp_path: Path
) -> None:
    """Spikes of the run, potentials of plain integers; written, read and repeated."""
    fixed = Fixed(format="Q3.8", accumulator=bits, overflow=overflow)
    snn = raw_net()
    snn = snap(snn) if snapped else snn
    pixels = images(3, 2)
    x = snn.preprocess(pixels)
    made = record(snn, pixels, 5, membranes=True, currents=True, fixed=fixed)
    assert (made.mode, made.carrier, made.bits) == ("fixed", "int64", None)
    spikes, run = spikes_of(snn, x, 5, fixed=fixed, impl="definition")
    assert same(made.readout, run.logits)
    io.save_trace(made, tmp_path / "trace.h5")
    read = io.load_trace(tmp_path / "trace.h5")
    assert read.fixed == made.fixed == fixed
    fed = {}
    for p in snn.hidden:
        kept = read.populations[p.name]
        assert same(kept.spikes, spikes[p.name])
        assert same(kept.v, made.populations[p.name].v)
        start = np.broadcast_to(p.over("v0"), p.shape)
        mine = np.broadcast_to(dataclasses.replace(p, v0=kept.v0).over("v0"), p.shape)
        assert same(mine * 2.0**8, np.floor(start * 2.0**8 + 0.5))
        if kept.input_current is not None:
            fed[p.name] = kept.input_current
            assert same(kept.input_current[None] * 1.0, kept.current[:1])
    assert fed
    again = spikes_of(snn, fed, 5, **read.numbers)[0]
    for name, s in again.items():
        assert same(s, spikes[name])
    for sample in range(2):
        want = plain_integers(snn, x[sample].astype(np.float64), 5, fixed)
        for name, steps in want.items():
            v = made.populations[name].v[:, sample] * 2.0**8
            assert v.reshape(5, -1).tolist() == steps, name
    exact = record(snn, pixels, 5)
    with pytest.raises(DomainError, match="a format in mode fixed, and only there"):
        dataclasses.replace(exact, fixed=fixed)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"fixed": '{"format":"Q3.8"}'}, "format, accumulator, overflow"),
        (
            {"fixed": '{"accumulator":true,"format":"Q3.8","overflow":"wrap"}'},
            "format, accumulator, overflow",
        ),
        (
            {"fixed": '{"accumulator":99,"format":"Q3.8","overflow":"wrap"}'},
            "2 to 48 bits",
        ),
        ({"mode": "exact"}, "a format in mode fixed, and only there"),
        ({"fixed": None}, "a format in mode fixed, and only there"),
        ({"mode": "precise"}, "a format in mode fixed, and only there"),
        ({"carrier": "float64"}, "one of int64"),
        ({"mode": "precise", "fixed": None}, "one of exact, ordered, fixed"),
        ({"mode": "exact", "fixed": None}, "one of float64, float32, int32"),
    ],
)
def test_broken_fixed_point_traces_are_refused(
    attributes: dict[str, str | None], message: str, tmp_path: Path
) -> None:
    made = record(raw_net(), images(3, 1), 1, fixed=Fixed())
    io.save_trace(made, tmp_path / "trace.h5")
    with h5py.File(tmp_path / "trace.h5", "r+") as file:
        for name, value in attributes.items():
            del file.attrs[name]
            if value is not None:
                file.attrs[name] = value
        del file.attrs["sha256"]
    with pytest.raises(FormatError, match=message):
        io.load_trace(tmp_path / "trace.h5")


@pytest.mark.parametrize("carrier", ["float64", "float32", "int32"])
def test_a_trace_is_the_same_on_every_carrier(carrier: str) -> None:
    snn = snap(convert(random_net(3), "qcfs", exact=False), carrier, T=8)
    pixels = images(3, 2)
    want = record(snn, pixels, 5, membranes=True, currents=True, mode="ordered")
    got = record(snn, pixels, 5, membranes=True, currents=True, carrier=carrier)
    assert (want.mode, got.mode, got.carrier) == ("ordered", "exact", carrier)
    for name, recorded in want.populations.items():
        mine = got.populations[name]
        for field in ("spikes", "v", "current"):
            assert same(getattr(mine, field), getattr(recorded, field)), field
        for one in (mine, recorded):
            population = dataclasses.replace(snn[name], v0=one.v0)
            assert (population.over("v0") == snn[name].over("v0")).all()


def test_overflow_is_an_error_by_default_and_says_where() -> None:
    snn = snap(raw_net())
    x = snn.preprocess(images(3, 2))
    assert Fixed().overflow == "error"
    fixed = Fixed(format="Q3.8", accumulator=10)
    with pytest.raises(AccumulatorError, match=r"population act\d, step \d") as caught:
        run_snn(snn, x, 5, fixed=fixed)
    assert caught.value.exit_code == 1
    name = caught.value.where.split("population ")[1].split(",")[0]
    sample = int(caught.value.where.split("sample ")[1].split(",")[0])
    with pytest.raises(OverflowError, match=name):
        plain_integers(snn, x[sample].astype(np.float64), 5, fixed)


def test_sums_beyond_64_bits_are_refused() -> None:
    """100 a step for 2^17 steps in units of 2^-40 pass 2^63: in the readout, too."""
    snn = climbing(100.0)
    x = np.zeros((1, 1, 1, 1))
    fixed = Fixed(format="Q7.40", accumulator=48, overflow="wrap")
    run_snn(snn, x, 4, fixed=fixed)
    out = dataclasses.replace(
        snn.readout,
        projections=(Projection(source="b", op=Linear(weight=np.full((2, 1), 100.0))),),
    )
    wide = dataclasses.replace(snn, populations=(*snn.hidden, out))
    with pytest.raises(OptionError, match=r"population out.*fewer than 2\^62"):
        resolve(wide, 2**17, fixed=fixed)
    cos = convert(random_net(4), "cos")
    with pytest.raises(OptionError, match="COS"):
        resolve(cos, 8, fixed=Fixed())
    first, second, out = (small_net := climbing(1.0)).populations
    high = dataclasses.replace(
        small_net, populations=(first, dataclasses.replace(second, v0=5.0), out)
    )
    small = Fixed(format="Q3.4", accumulator=6)
    with pytest.raises(OptionError, match=r"population b, v\(0\): got 80 to 80"):
        run_snn(high, x, 1, fixed=small)
    with pytest.raises(OptionError, match=r"thresholds.*Q0\.8 holds"):
        run_snn(snn, x, 4, fixed=Fixed(format="Q0.8", accumulator=20))


def test_the_order_of_additions_matters_to_saturation_alone() -> None:
    """v = 0; terms +3, -2 in an accumulator of +-1.99: clip(3) - 2 < 0, 3 - 2 = 1."""
    fixed = {
        rule: Fixed(format="Q3.2", accumulator=4, overflow=rule)
        for rule in ("wrap", "saturate-step", "saturate-each")
    }
    v, terms = np.zeros((1, 1), np.int64), [np.array([[12]]), np.array([[-8]])]
    want = {"wrap": 4, "saturate-step": 4, "saturate-each": -1}
    for rule, value in want.items():
        assert fixed[rule].charged(v, terms, "").item() == value
    got = fixed["saturate-each"].charged(v, terms[::-1], "").item()
    assert got == 4


def test_bad_formats_are_refused() -> None:
    for how, message in (
        ({"format": "8.8"}, "Qm.n"),
        ({"format": "Q40.40"}, "below 48"),
        ({"accumulator": 1}, "2 to 48 bits"),
        ({"overflow": "ignore"}, "one of error, wrap"),
        ({"format": "Q3.16", "accumulator": 16}, "at least the threshold"),
    ):
        with pytest.raises(OptionError, match=message):
            Fixed(**how)
    snn = climbing(300.125)
    with pytest.raises(OptionError, match=r"population b, weights: .*Q3\.8 holds"):
        run_snn(snn, np.zeros((1, 1, 1, 1)), 2, fixed=Fixed(format="Q3.8"))


def test_a_neuron_of_unknown_range_is_rounded_and_runs_ordered() -> None:
    """Sums are exact on its grid; how far its potential goes is not proved."""

    class Slow(Neuron):
        op = "toy-slow"
        alphabet = (0, 1)
        extra: np.ndarray = tensor("", "C", unit="potential")

        def fire(self, u, N, theta):
            return ((u >= theta + self.extra) & (N < 2)).astype(np.int8)

    try:
        ann = fold_batchnorm(random_net(5))
        rule = Slow(extra=0.3)
        raw = canonical_form(
            activations_to_neurons(ann, lambda theta: (rule, theta / 2))
        )
        snn = snap(raw)
        assert snn.mode == "ordered"
        assert resolve(snn, T).mode == "ordered"
        certificate = certify(snn, T=T)
        assert certificate.sums_hold
        assert "toy-slow" in certificate.why_not
        for p in snn.hidden:
            assert (bits_behind_point(p.neuron.extra) <= p.grid.max()).all()
        assert equal(recorded(snn), recorded(snn, 1, impl="definition"))
    finally:
        del Neuron.registry["toy-slow"]


def test_traces_are_exact_on_what_a_network_was_rounded_for(tmp_path, refsnn) -> None:
    """Or are refused: a float32 simulator is to be judged by them."""
    ann = io.load_ann(datasets.weights_folder() / "digits_qcfs.h5")
    plain = convert(ann, "qcfs", exact=False)
    blank = np.zeros((1, *ann.input_shape), np.uint8)
    fitted = snap(plain, "float32", T=8, images=blank)
    test = datasets.load("digits", "test").images[:3]
    with pytest.raises(AccumulatorError, match="act2, step 4"):
        record(fitted, test, 8)
    with pytest.raises(OptionError, match="T = 64"):
        record(fitted, blank, 64)
    assert record(fitted, test, 8, carrier="float64").carrier == "float64"
    assert record(fitted, test, 8, mode="ordered").mode == "ordered"
    held = record(fitted, blank, 8)
    assert (held.carrier, held.mode) == ("float32", "exact")
    assert held.bits <= 24
    whole = record(snap(plain, "int32", T=8), test, 8, membranes=True)
    wide = record(snap(plain, "int32", T=8), test, 8, membranes=True, carrier="float64")
    assert whole.carrier == "int32"
    for name, p in wide.populations.items():
        assert (whole.populations[name].spikes == p.spikes).all()
        assert (whole.populations[name].v == p.v).all()
    file, out = tmp_path / "f32.h5", tmp_path / "t.h5"
    io.save(fitted, file)
    refused = refsnn("trace", file, "-T", 8, "--samples", 3, "-o", out)
    assert (refused.code, out.exists()) == (1, False)
    done = refsnn("trace", file, "-T", 8, "-o", out, "--carrier", "float64")
    assert (done.code, "mode exact on float64" in done.out) == (0, True)
