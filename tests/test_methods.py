"""Methods and error terms: hand-worked tables, theorems, brute force."""

from __future__ import annotations

import dataclasses
import itertools
import json
from fractions import Fraction

import numpy as np
import pytest

from nets import ACTIVATIONS, constant_count, images, random_net
from refsnn import analysis, datasets, io
from refsnn.activations import QCFS, Clip, ReLU
from refsnn.analysis import TERMS, decompose, layout
from refsnn.calibrate import percentile_activations
from refsnn.cases import count_cases, count_condition
from refsnn.convert import METHODS, convert, need_fit
from refsnn.datasets import Images
from refsnn.errors import ConversionError, OptionError
from refsnn.evaluate import evaluate, result
from refsnn.grids import round_weights
from refsnn.layers import Flatten, Linear
from refsnn.margin import judge, risks
from refsnn.methods import prepared
from refsnn.network import Stages
from refsnn.neurons import IF, PRESETS, Margins, State, initial_state, offset, unroll
from refsnn.numerics import exact_sum
from refsnn.passes import fold_batchnorm
from refsnn.ranges import ranges
from refsnn.recording import record, spikes_of
from refsnn.restored import as_trained, restored
from refsnn.run import run_ann, run_snn
from refsnn.snap import snap
from test_passes import chain

ONE = np.array(1.0)
FEW = {"samples": 20, "batch": 10}
TRAINED = {"iterations": 20, "minibatch": 5, "rate": 1e-2}
RELEASED = {"batches": 2, "batch": 10}
CALIBRATED = {
    "calib-light": FEW,
    "calib-potential": FEW,
    "calib-advanced": FEW | TRAINED,
    "calib-none-code": RELEASED,
    "calib-light-code": RELEASED,
    "calib-potential-code": RELEASED,
    "calib-advanced-code": RELEASED | TRAINED | {"trained": 20},
}
RELU = {"opi", "max-norm", "percentile", "rts", "snm", "calib-none", *CALIBRATED}


def data(seed: int, count: int) -> Images:
    labels = np.arange(count, dtype=np.uint8) % 3
    return Images(
        name="random",
        split="test",
        sha256="0" * 64,
        images=images(seed, count),
        labels=labels,
    )


def made(name: str, seed: int = 1, T: int = 6, **options: object):
    """A trained network of the kind that a method takes, and the converted one."""
    kind = "relu" if name in RELU else "clip" if name == "ecl" else "qcfs"
    ann = random_net(seed, ACTIVATIONS[kind])
    options = {**CALIBRATED.get(name, {}), **options}
    snn = convert(ann, name, T=T, images=images(2, 20), options=options)
    return ann, snn


# ---------------------------------------------------------------- the methods


def test_thresholds_and_starts_of_every_method() -> None:
    """In units of theta: v(0), and the shift of rts, 1/(2T) in every bias."""
    starts = {"qcfs": 0.5, "srp": 0.5, "srp-v0": 0.5, "cos": 0.5, "ecl": 0.5}
    starts |= {"opi": 0.5, "max-norm": 0, "percentile": 0, "rts": 0, "snm": 0}
    starts |= {"calib-none": 0, "calib-light": 0}
    starts |= {"calib-none-code": 0, "calib-light-code": 0}
    free = {name for name, method in METHODS.items() if method.starts}
    assert free == {
        f"calib-{part}{code}"
        for part in ("potential", "advanced")
        for code in ("", "-code")
    }
    assert starts.keys() | free == METHODS.keys()
    for name, v0 in starts.items():
        _, snn = made(name)
        assert all((p.v0 == v0).all() for p in snn.hidden), name
        assert snn.T == (6 if METHODS[name].depends_on_T else None)
        assert snn.mode == "exact"
    _, shifted = made("rts", T=8)
    _, plain = made("max-norm")
    for p in shifted.hidden:
        before = plain[p.name]
        gap = p.over("bias") - (0 if before.bias is None else before.over("bias"))
        assert np.abs(gap - 1 / 16).max() < 1e-9


def test_srp_without_observing_is_qcfs_bit_for_bit() -> None:
    ann, snn = made("srp", tau=0)
    plain = convert(ann, "qcfs")
    x = snn.preprocess(images(3, 5))
    got, run = spikes_of(snn, x, 8)
    want, reference = spikes_of(plain, x, 8)
    assert all((got[name] == want[name]).all() for name in want)
    assert (run.logits == reference.logits).all()
    assert run.observing is None


@pytest.mark.parametrize("schedule", ["layer", "step"])
def test_srp_masks_by_the_residual_potential_of_a_run_of_tau_steps(
    schedule: str,
) -> None:
    ann, snn = made("srp", tau=5)
    x = snn.preprocess(images(3, 6))
    residual = {}

    def watch(population, start, x, s, state):
        residual[population.name] = state.v

    plain = convert(ann, "qcfs")
    first = run_snn(plain, x, 5, observe=watch)
    got, run = spikes_of(snn, x, 4, schedule=schedule)
    again, _ = spikes_of(plain, x, 4)
    for name, v in residual.items():
        assert (run.masks[name] == (v > 1e-3)).all()
        assert not got[name][:, ~run.masks[name]].any()
    name = snn.hidden[0].name  # its input is the image: behind the mask nothing changed
    assert (got[name] == again[name] * run.masks[name]).all()
    assert 0 < run.masks[name].mean() < 1
    for counts in ("spikes", "negative", "synops"):
        for name, train in getattr(first, counts).items():
            assert getattr(run.observing, counts)[name].tolist() == train.tolist()


def test_srp_s_observing_steps_are_counted_and_paid() -> None:
    ann, snn = made("srp", tau=3)
    some = data(4, 7)
    tally = evaluate(snn, some, 4, ann=ann, batch=2)
    answer = result(snn, some, tally, sha256="", seconds=0, ann=ann)
    assert answer["observing"]["steps"] == 3
    observed = answer["observing"]["populations"]
    assert list(observed) == [p.name for p in snn.hidden]
    assert all(len(counts["spikes"]) == 3 for counts in observed.values())
    energy = answer["energy"]["loihi"]["snn_pJ"]
    paid = sum(sum(c["synops"]) for c in observed.values())
    first = sum(c["synops"][0] for c in answer["snn"]["populations"].values())
    neurons = sum(p.neurons for p in snn.hidden)
    want = 23.6 * (paid + first + 7 * snn.first_layer_macs()) + 81 * 7 * neurons * 4
    assert energy[0] == pytest.approx(want)
    assert answer["stages"] == {"tau": 3, "rho": 0, "rounds": 1}
    _, cos = made("cos")
    answer = result(cos, some, evaluate(cos, some, 4), sha256="", seconds=0)
    assert "observing" not in answer
    assert answer["stages"]["rho"] == 4


def test_cos_moves_by_one_spike() -> None:
    """theta = 1, v(0) = 1/2, four steps; margins 0.999 and 1.001.

    x = 1, -1, 0, -1: u = 1.5 (spike), v = 0.5, -0.5, -0.5, -1.5: one too many. Without
    the spike u would be v(0) + 1 < 1: down by max(1.5 - 0.999, 1) = 1.
    x = 2, 0, 0, 0: u = 2.5, v = 1.5 0.5 (2 spikes) and v = 0.5: right.
    x = -1, 0, 2, 1: v = -0.5, -0.5, 0.5 (u = 1.5, spike), u = 1.5 (spike), 0.5: right.
    x = 0, 0, 0, 2: v = 0.5 0.5 0.5, u = 2.5 (spike), v = 1.5: one too few, up by
    max(1.001 - 0.5, 1) = 1.
    x = 2, 2, 2, 2: fires at every step, v = 4.5: saturated, stays.
    """
    x = np.array(
        [[1, -1, 0, -1], [2, 0, 0, 0], [-1, 0, 2, 1], [0, 0, 0, 2], [2, 2, 2, 2]], float
    ).T[:, None]
    margins = Margins(np.array(0.999), np.array(1.001))
    v0 = np.full((1, 5), 0.5)
    moved = offset(IF(), x, v0, ONE, margins)
    assert moved.tolist() == [[-0.5, 0.5, 0.5, 1.5, 0.5]]
    again, _ = unroll(IF(), x, State(moved, np.zeros((1, 5), np.int64)), ONE)
    assert again.sum(axis=0).tolist() == [[0, 2, 2, 2, 4]]


def test_cos_changes_every_wrong_count_by_exactly_one() -> None:
    """Dyadic currents: too many lose one spike, too few gain one."""
    rng = np.random.default_rng(3)
    rho, q = 5, 2.0**12
    x = np.round(rng.normal(0.2, 1.2, (rho, 4000, 1)) * q) / q
    margins = Margins(np.floor(0.999 * q) / q * ONE, np.ceil(1.001 * q) / q * ONE)
    v0 = np.full((4000, 1), 0.5)
    s, state = unroll(IF(), x, State(v0, np.zeros(v0.shape, np.int64)), ONE)
    N = s.sum(axis=0)
    many, few = (N > 0) & (state.v < 0), (N < rho) & (state.v >= 1)
    moved = offset(IF(), x, v0, ONE, margins)
    s, _ = unroll(IF(), x, State(moved, np.zeros(v0.shape, np.int64)), ONE)
    change = s.sum(axis=0) - N
    assert (change == few.astype(int) - many.astype(int)).all()
    assert many.sum() > 100
    assert few.sum() > 100


def test_cos_starts_stay_in_their_certified_range() -> None:
    _, snn = made("cos", rho=3, rounds=3)
    run = run_snn(snn, snn.preprocess(images(3, 8)), 6)
    assert run.v0.keys() == {p.name for p in snn.hidden}
    for name, v0 in run.v0.items():
        low, high = ranges(snn)[name].v0
        assert (v0 >= low).all()
        assert (v0 <= high).all()
    assert sum(int((v0 != 0.5).sum()) for v0 in run.v0.values()) > 10
    assert (run.v0["act1"] == 0.5).all()  # constant currents need no repair


def test_ecl_is_its_parts() -> None:
    """Switched off one by one: the clip, the second threshold, the half."""
    ann = random_net(1, ACTIVATIONS["clip"])
    train = images(2, 20)
    whole = convert(ann, "ecl")
    assert whole["act1"].neuron.op == "DualThresholdIF"
    theta_neg = whole["act1"].neuron.theta_neg * 1.3  # lam of act1
    assert np.abs(theta_neg + 1e-3).max() < 1e-9
    plain = convert(ann, "ecl", options={"dual": False})
    assert plain["act1"].neuron.op == "IF"
    zero = convert(ann, "ecl", options={"v0": 0.0})
    assert (zero["act1"].v0 == 0).all()
    largest = convert(ann, "ecl", images=train, options={"clip": False})
    want = convert(ann, "max-norm", images=train)
    assert (largest["act3"].scale == want["act3"].scale).all()
    for preset in PRESETS:
        snn = convert(ann, "ecl", options={"preset": preset})
        assert snn["act2"].neuron.guard == PRESETS[preset].guard
        assert (snn["act2"].v0 == 0.5).all()
    far = convert(ann, "ecl", options={"neg_threshold": -0.5})
    assert np.abs(far["act1"].neuron.theta_neg * 1.3 + 0.5).max() < 1e-9


def test_percentiles_are_numpy_s() -> None:
    ann = random_net(3, ACTIVATIONS["relu"])
    train = images(5, 70)  # more than one batch
    values: dict[str, list] = {}
    run_ann(
        ann,
        ann.preprocess(train),
        observe=lambda name, value: values.setdefault(name, []).append(value),
    )
    for percentile in (100, 99.9, 97.3, 50):
        got = percentile_activations(ann, train, percentile)
        for name, value in got.items():
            together = np.concatenate(values[name])
            want = np.percentile(together, percentile)
            assert value == pytest.approx(want, rel=1e-12)
            assert percentile < 100 or value == together.max()
    snn = convert(ann, "percentile", images=train, options={"percentile": 97.3})
    got = percentile_activations(fold_batchnorm(ann), train[::-1], 97.3)
    assert all(snn[name].scale == value for name, value in got.items())


BAD = {
    "tau": ("srp", {"tau": -1}, "at least 0"),
    "rho": ("cos", {"rho": -1}, "at least 0"),
    "rounds": ("cos", {"rounds": 0}, "at least 1"),
    "preset": ("ecl", {"preset": "loud"}, "one of fast-snn"),
    "threshold": ("ecl", {"neg_threshold": 0.0}, "below 0"),
    "fixed threshold": ("ecl", {"preset": "snm", "neg_threshold": -0.5}, "no other"),
    "one threshold": ("ecl", {"dual": False, "neg_threshold": -0.5}, "no other"),
    "no rule": ("ecl", {"dual": False, "preset": "snm"}, "no other has an effect"),
    "no images": ("ecl", {"samples": 7}, "the default, 0: no other has an effect"),
    "no rounds": ("cos", {"rho": 0, "rounds": 3}, "no other has an effect"),
    "percentile": ("percentile", {"percentile": 0.0}, "above 0"),
    "unknown": ("srp", {"rho": 4}, "one of tau"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_options_are_refused(name: str) -> None:
    method, options, message = BAD[name]
    with pytest.raises(OptionError, match=message):
        made(method, **options)


def test_integers_are_taken_for_real_options() -> None:
    _, snn = made("ecl", v0=0)
    assert snn.options["v0"] == 0.0
    assert type(snn.options["v0"]) is float
    with pytest.raises(OptionError, match="a value of type int"):
        made("srp", tau=4.0)


def test_networks_without_the_activation_are_refused() -> None:
    relu, clip = (random_net(1, ACTIVATIONS[kind]) for kind in ("relu", "clip"))
    for method in ("qcfs", "srp", "srp-v0", "cos"):
        with pytest.raises(ConversionError, match="qcfs only"):
            need_fit(clip, method)
    with pytest.raises(ConversionError, match="clip or qcfs only"):
        need_fit(relu, "ecl")
    need_fit(relu, "ecl", options={"clip": False})
    _, snn = made("cos", rho=5)
    x = snn.preprocess(images(1, 1))
    with pytest.raises(OptionError, match="at least 5"):
        run_snn(snn, x, 4)
    with pytest.raises(OptionError, match="schedule layer"):
        run_snn(snn, x, 6, schedule="step")


def test_files_keep_the_stages(tmp_path) -> None:
    for name, want in (("srp", Stages(tau=4)), ("cos", Stages(rho=4))):
        _, snn = made(name)
        io.save(snn, tmp_path / f"{name}.h5")
        again = io.load_snn(tmp_path / f"{name}.h5")
        assert again.stages == want
        x = snn.preprocess(images(3, 2))
        assert (run_snn(again, x, 5).logits == run_snn(snn, x, 5).logits).all()


# ---------------------------------------------------------------- theorems


def test_qcfs_theorem_2_by_exact_expectation() -> None:
    """z uniform on [0, lam]: the expected count of T steps times L is that of L levels.

    E clip(floor(z T + 1/2), 0, T) / T: level k begins at (2k-1)/(2T), so it is the sum
    over k of 1 - (2k-1)/(2T), over T; which is 1/2 for every T and every L. Without the
    half it is (T-1)/(2T).
    """

    def expected(levels: int, start: Fraction) -> Fraction:
        begins = [(k - start) / levels for k in range(1, levels + 1)]
        return sum(((1 - b) / levels for b in begins), Fraction(0))

    for T, L in itertools.product((1, 2, 3, 4, 5, 8, 16), (1, 2, 4, 7, 8)):
        half = Fraction(1, 2)
        assert expected(T, half) == expected(L, half) == half
        assert expected(T, Fraction(0)) - expected(L, Fraction(0)) == Fraction(
            1, 2 * L
        ) - Fraction(1, 2 * T)
    for T, L in ((2, 4), (8, 4), (3, 8)):  # the functions that are used, on a fine grid
        z = (np.arange(2**12) + 0.5) / 2**12
        rate = constant_count(z, np.array(0.5), ONE, T) / T
        gap = rate - QCFS(lam=1.0, levels=L)(z)
        assert abs(gap.mean()) < 2.0**-11


def test_the_half_is_opi_s_optimum() -> None:
    """Mean squared error of the rate, z uniform: theta^2 / (12 T^2) at 1/2."""
    z = (np.arange(2**14) + 0.5) / 2**14
    for T in (2, 4, 8):
        errors = {
            v0: ((constant_count(z, np.array(v0), ONE, T) / T - z) ** 2).mean()
            for v0 in np.arange(0, 1, 0.05).round(2)
        }
        assert min(errors, key=errors.__getitem__) == 0.5
        assert errors[0.5] == pytest.approx(1 / (12 * T**2), rel=0.01)


def test_a_shift_is_a_start_for_constant_currents() -> None:
    """v(0) = 0 and theta/(2T) a step give the counts of v(0) = theta/2."""
    x = np.arange(-300, 500) / 256.0
    for T in (1, 2, 4, 8):
        start = constant_count(x, np.array(0.5), ONE, T)
        shifted = np.broadcast_to(x + 1 / (2 * T), (T, 1, len(x)))
        s, _ = unroll(IF(), shifted, initial_state(np.array(0.0), (1, len(x))), ONE)
        assert s.sum(axis=0)[0].tolist() == start.tolist()


def integer_runs(neuron, theta: int, T: int, v0: int):
    """Every sequence of integer currents in [-2 theta - 1, 2 theta + 1]."""
    values = np.arange(-2 * theta - 1, 2 * theta + 2)
    x = np.array(list(itertools.product(values, repeat=T)), float).T[:, None]
    scaled = x / theta
    start = State(np.full(x.shape[1:], v0 / theta), np.zeros(x.shape[1:], np.int64))
    # theta is a power of two: in units of theta everything is exact
    s, state = unroll(neuron, scaled, start, ONE)
    return scaled.sum(axis=0)[0], s.sum(axis=0)[0].astype(int), state.v[0]


@pytest.mark.parametrize("preset", [None, "fast-snn", "snm", "qffs"])
@pytest.mark.parametrize("v0", [-2, 0, 1, 2, 4])
def test_cases_by_their_exact_conditions(preset: str | None, v0: int) -> None:
    """Every integer run: n* from the charge, and the conditions in N and v(T)."""
    neuron = IF() if preset is None else PRESETS[preset].neuron(ONE)
    total = dict.fromkeys("ABCD", 0)
    unrepaired = 0
    for T in (1, 2, 3, 4):
        S, N, v = integer_runs(neuron, 2, T, v0)
        n = np.clip(np.floor(S + v0 / 2), 0, T).astype(int)
        assert (n == np.clip(N + np.floor(v), 0, T)).all()
        conditions = {
            "A": (N > 0) & (v < -(N - 1)),
            "B": (N > 1) & (-(N - 1) <= v) & (v < 0),
            "C": (N > 0) & (N < T) & (v >= 1),
            "D": np.zeros(N.shape, dtype=bool),
        }
        got = count_cases(n, N)
        for name, condition in conditions.items():
            assert got[name] == condition.sum()
            total[name] += got[name]
        assert ((n < N) == ((N > 0) & (v < 0))).all()
        assert ((n > N) == ((N < T) & (v >= 1))).all()
        assert got["E"] == 0
        w = np.rint(2 * v * 2).astype(int)  # on the grid theta/2, v_ref = v(0)
        tested = count_condition(n, N, w, np.int64(2))
        assert tested == {"below": ((N > 0) & (v < 0)).sum(), "exceptions": 0}
        wrong = count_condition(n, N, w - 4 * (N > 0), np.int64(2))
        assert wrong["exceptions"] > 0
        S, N, _ = integer_runs(IF(), 2, T, v0)
        unrepaired += count_cases(n, N)["A"]
    assert total["C"] > 0
    if preset in {None, "snm"}:
        assert 0 < total["A"] <= unrepaired
    else:  # at -1e-3 and at 0 most over-firing is taken back, at the last step not
        assert 0 < total["A"] < unrepaired


def test_an_unguarded_neuron_has_a_case_of_its_own() -> None:
    _, N, _ = integer_runs(PRESETS["ungated"].neuron(ONE), 2, 3, 1)
    assert count_cases(0 * N, N)["E"] == (N < 0).sum() > 0


# ---------------------------------------------------------------- error terms

DECOMPOSED = {
    "qcfs": {},
    "srp": {"tau": 3},
    "srp-v0": {"tau": 3},
    "cos": {},
    "ecl": {},
    "opi": {},
    "max-norm": {},
    "rts": {},
    "snm": {},
    "calib-light": {},
    "calib-potential": {},
    "calib-advanced": {},
}


def by_fractions(ann, snn, x: np.ndarray, T: int, target: str) -> dict[str, dict]:
    """Every term of every neuron from the recorded run, in exact fractions."""
    method = METHODS[snn.method]
    half = Fraction(1, 2) if method.rounds else Fraction(0)
    answer: dict[str, dict] = {}
    seen: dict[str, tuple] = {}

    def watch(population, start, x, s, state):
        seen[population.name] = (np.array(x), s.copy(), state.N)

    run = run_snn(snn, x, T, observe=watch)
    ann = prepared(snn, ann)
    frames = analysis._frames(snn, ann, T, target)
    added = {name: (f.shift + f.change) / f.one for name, f in frames.items()}
    activations = restored(as_trained(snn, ann), ann, x, added)
    for p in snn.hidden:
        q = np.broadcast_to(p.grid.reshape(-1, *[1] * (len(p.shape) - 1)), p.shape)
        sums = dict.fromkeys((*TERMS, "total"), Fraction(0))
        currents, s, N = seen[p.name]
        s = run.emitted(p.name, s)
        op = ann[p.name].op
        for index in np.ndindex(N.shape):
            unit = Fraction(1, 2 ** int(q[index[1:]]))

            def gridded(value: float, unit=unit) -> Fraction:
                return ((Fraction(value) / unit + Fraction(1, 2)) // 1) * unit

            shift = Fraction(0)
            if method.shifts:
                shift = gridded(1 / (2 * T))
            S = sum(map(Fraction, currents[(slice(None), *index)].tolist())) - T * shift
            n_ref = min(max((S + half) // 1, 0), T)
            a_relu = gridded(max(float(activations[p.name][0][index]), 0.0))
            z_plus = max(S, Fraction(0))
            if target == "relu" or isinstance(op, ReLU):
                a, own, clipping = a_relu, z_plus, min(z_plus, Fraction(T)) - z_plus
            else:
                a, clipping = gridded(float(activations[p.name][1][index])), Fraction(0)
                if isinstance(op, Clip):
                    own = min(z_plus, Fraction(T))
                else:
                    L = op.levels
                    level = min(max((L * S / T + Fraction(1, 2)) // 1, 0), L)
                    own = T * gridded(float(level / L))
            emitted, count = int(s[(slice(None), *index)].sum()), int(N[index])
            terms = (own - T * a, clipping, n_ref - own - clipping)
            terms = (*terms, count - n_ref, emitted - count, emitted - T * a)
            assert sum(terms[:-1]) == terms[-1]
            for name, term in zip(sums, terms, strict=True):
                sums[name] += term
        answer[p.name] = sums
    return answer


@pytest.mark.parametrize("target", ["own", "relu"])
@pytest.mark.parametrize("name", DECOMPOSED)
def test_the_terms_are_those_of_exact_fractions(name: str, target: str) -> None:
    T = 6
    ann, snn = made(name, seed=4, T=T, **DECOMPOSED[name])
    some = data(3, 2)
    got = decompose(snn, ann, some, T, target=target)
    want = by_fractions(ann, snn, snn.preprocess(some.images), T, target)
    for layer, terms in want.items():
        errors = got.populations[layer]
        for term, value in terms.items():
            assert Fraction(errors.term(term), 2**got.grid) == value, (layer, term)
    assert got.distance < 1e-6


@pytest.mark.parametrize("name", DECOMPOSED)
def test_terms_add_up_and_do_not_depend_on_batches(name: str) -> None:
    ann, snn = made(name, seed=2, **DECOMPOSED[name])
    some = data(5, 7)
    whole = decompose(snn, ann, some, 6)
    parts = decompose(snn, ann, some, 6, batch=2, threads=2)
    assert layout(whole) == layout(parts)
    json.dumps(layout(whole))
    masked = 0
    for p in snn.hidden:
        errors = whole.populations[p.name]
        assert errors.neurons == 7 * p.neurons
        for channel in errors.channels:
            assert sum(channel[term] for term in TERMS) == channel["total"]
        assert len(errors.channels) == p.shape[0]
        assert (errors.repaired + errors.damaged > 0) == (errors.absolute["gating"] > 0)
        masked += errors.repaired + errors.damaged
    assert (masked > 0) == name.startswith("srp")
    first = whole.populations[snn.hidden[0].name]
    rounding = 7 * snn.hidden[0].neurons * 6  # of a, once each
    moved = name in {"calib-light", "calib-advanced"}  # what causes the current
    assert (first.absolute["propagated"] > rounding) == moved
    if name not in {"cos", "calib-potential", "calib-advanced"}:
        assert first.absolute["unevenness"] == 0
    assert (first.absolute["bias"] > 0) == (name == "calib-light")


def test_the_first_population_has_no_propagated_error() -> None:
    """Its current is the image's in both networks: exactly 0, at every T."""
    for name in ("qcfs", "opi", "ecl"):
        ann, snn = made(name)
        for T in (1, 4, 7):
            first = decompose(snn, ann, data(1, 3), T).populations["act1"]
            assert first.absolute["propagated"] == 0


def test_rounded_weights_are_of_the_network_that_is_compared() -> None:
    """What 4 bits lose is no error of conversion, but the distance of the networks."""
    ann = random_net(4)
    snn, some = convert(ann, "qcfs", exact=False), data(5, 3)
    far = [
        decompose(snap(one), ann, some, 6).distance
        for one in (snn, round_weights(snn, 4))
    ]
    assert far[0] < 1e-6 < 1e-3 < far[1]


def test_terms_of_every_neuron_add_up_to_those_of_its_channel() -> None:
    ann, snn = made("srp", seed=2, tau=3)
    some = data(5, 3)
    whole = decompose(snn, ann, some, 6)
    for name, terms in analysis.neuron_terms(snn, ann, some.images, 6).items():
        assert list(terms) == [*TERMS, *analysis.MORE]
        assert terms["total"].shape == (3, *snn[name].shape)
        assert (sum(terms[term] for term in TERMS) == terms["total"]).all()
        for c, q in enumerate(snn[name].grid):
            for term, values in terms.items():
                want = whole.populations[name].channels[c][term]
                assert int(values[:, c].sum()) << (whole.grid - int(q)) == want


def test_terms_of_every_neuron_are_of_the_target_asked_for() -> None:
    ann, snn = made("qcfs")
    some = data(5, 3)
    whole = decompose(snn, ann, some, 6, target="relu")
    for name, terms in analysis.neuron_terms(
        snn, ann, some.images, 6, target="relu"
    ).items():
        clipping = np.moveaxis(terms["clipping"], 1, 0)
        for c, q in enumerate(snn[name].grid):
            want = whole.populations[name].channels[c]["clipping"]
            assert int(clipping[c].sum()) << (whole.grid - int(q)) == want


def test_what_cannot_be_decomposed_is_refused() -> None:
    ann, snn = made("qcfs")
    some = data(1, 1)
    with pytest.raises(OptionError, match="of which"):
        decompose(snn, random_net(9), some, 2)
    with pytest.raises(OptionError, match="rounded to grids"):
        decompose(convert(ann, "qcfs", exact=False), ann, some, 2)
    with pytest.raises(OptionError, match="own or relu"):
        decompose(snn, ann, some, 2, target="mine")
    with pytest.raises(OptionError, match="fewer than"):
        decompose(snn, ann, some, 2**40)
    lone = chain(Flatten(), Linear(weight=np.ones((2, 16))))
    with pytest.raises(OptionError, match="no neurons"):
        decompose(convert(lone, "qcfs"), lone, some, 2)


def test_long_runs_stay_exact_in_64_bits() -> None:
    """T = 1,000 on a grid of 2^-40: charges of 2^50, sums in Python's integers."""
    ann, snn = made("qcfs", seed=3)
    got = decompose(snn, ann, data(2, 2), 1000)
    for errors in got.populations.values():
        assert sum(errors.term(term) for term in TERMS) == errors.term("total")
    assert exact_sum(np.full(1000, 2**62)) == 1000 * 2**62
    assert exact_sum(np.full(1000, -(2**62) - 1)) == -1000 * (2**62 + 1)


def test_traces_of_gated_networks(tmp_path) -> None:
    _, snn = made("srp", tau=3)
    trace = record(snn, images(3, 2), 5)
    run = run_snn(snn, snn.preprocess(images(3, 2)), 5)
    for name, recorded in trace.populations.items():
        assert not recorded.spikes[:, ~run.masks[name]].any()
        assert (recorded.mask == run.masks[name]).all()
    io.save_trace(trace, tmp_path / "t.h5")
    again = io.load_trace(tmp_path / "t.h5")
    assert (again.readout == run.logits).all()
    assert (again.populations["act2"].mask == run.masks["act2"]).all()
    other = {name: p.spikes.copy() for name, p in trace.populations.items()}
    silent = tuple(np.argwhere(~run.masks["act1"])[0])
    other["act1"][(2, *silent)] = 1
    assert judge(snn, trace, other)["act1"].errors == 1


@pytest.mark.parametrize("name", ["srp", "cos"])
def test_recorded_potentials_are_those_of_the_run(name: str, tmp_path) -> None:
    """Masked neurons reset inside; COS starts where it moved to."""
    _, snn = made(name)
    seen = {}

    def watch(population, start, x, s, state):
        seen[population.name] = state.v

    run_snn(snn, snn.preprocess(images(3, 2)), 5, observe=watch)
    trace = record(snn, images(3, 2), 5, membranes=True)
    io.save_trace(trace, tmp_path / "t.h5")
    again = io.load_trace(tmp_path / "t.h5")
    for layer, v in seen.items():
        assert (trace.populations[layer].v[-1] == v).all()
        assert (again.populations[layer].v0 == trace.populations[layer].v0).all()
    assert all(risk.steps for risk in risks(snn, again).values())


def test_snapping_sees_the_observing_steps() -> None:
    ann = random_net(1, ACTIVATIONS["qcfs"])
    raw = convert(ann, "srp", options={"tau": 9}, exact=False)
    snn = snap(raw, "float32", T=2, images=images(3, 6))
    x = snn.preprocess(images(3, 6))
    want = run_snn(snn, x, 2)
    assert (run_snn(snn, x, 2, carrier="float32").logits == want.logits).all()
    assert (
        want.observing.logits
        == run_snn(dataclasses.replace(snn, stages=Stages()), x, 9).logits
    ).all()
    cos = convert(ann, "cos", exact=False)
    with pytest.raises(ConversionError, match="--static"):
        snap(cos, "int32", T=6, images=images(3, 6))
    static = snap(cos, "int32", T=6)
    got = run_snn(static, x, 6, carrier="int32")
    assert (got.logits == run_snn(static, x, 6).logits).all()
    assert all((got.v0[k] == v).all() for k, v in run_snn(static, x, 6).v0.items())


def test_the_command(tmp_path, refsnn) -> None:
    qcfs = datasets.weights_folder() / "digits_qcfs.h5"
    few = ("-T", 4, "--limit", 5)
    code, said, _ = refsnn("errors", qcfs, "-m", "srp", *few)
    assert (code, "propagated" in said, "A ANN" in said) == (0, True, True)
    code, said, _ = refsnn("errors", qcfs, "-m", "qcfs", *few, "--json", "-")
    answer = json.loads(said)
    assert (answer["method"], answer["target"], answer["T"]) == ("qcfs", "own", 4)
    net = tmp_path / "net.h5"
    assert refsnn("convert", qcfs, "-m", "qcfs", "-o", net)[0] == 0
    code, said, _ = refsnn("errors", net, *few, "--ann", qcfs, "--json", "-")
    assert json.loads(said)["populations"] == answer["populations"]
    assert refsnn("errors", net, *few)[0] == 2
    for bad in (
        ("-m", "srp", "--set", "tau=-1", "-T", 4),
        ("-m", "cos", "--set", "rho=9", "-T", 4),
        ("-m", "srp", "-T", 0),
        ("-m", "ecl", "--set", "neg_threshold=0", "-T", 4),
    ):
        assert refsnn("run", qcfs, *bad)[0] == 2
    code, said, _ = refsnn("run", qcfs, "-m", "srp", *few)
    assert (code, "tau = 4" in said) == (0, True)


def test_neurons_of_the_methods_on_their_grids() -> None:
    """Criteria rounded so that no decision changes: 1e-3 up, 0 and -theta not."""
    for name, want in (("srp", None), ("srp-v0", 0.0)):
        _, snn = made(name)
        for p in snn.hidden:
            above = np.floor(np.ldexp(1e-3, p.grid)) + 1
            level = np.ldexp(above, -p.grid) if want is None else want
            assert (p.neuron.tolerance == level).all()
            assert not p.neuron.strict
    _, snn = made("snm")
    assert all((p.neuron.theta_neg == -1).all() for p in snn.hidden)


def test_levels_are_those_of_exact_fractions() -> None:
    """floor(L S / (T one) + 1/2), ties between two levels included."""
    rng = np.random.default_rng(4)
    for T, L, one in ((1, 4, 8), (4, 4, 16), (3, 7, 64), (8, 16, 2**40)):
        S = np.concatenate(
            [
                rng.integers(-2 * T * one, 3 * T * one, 500),
                (2 * np.arange(2 * L) - 1) * T * one // (2 * L),  # where levels begin
            ]
        )
        got = analysis._floor_ratio(L, S, np.array(T * one))
        want = [(Fraction(L * int(s), T * one) + Fraction(1, 2)) // 1 for s in S]
        assert got.tolist() == want
