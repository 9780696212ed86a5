"""Level 2: laws of single neurons and layers, on dyadic grids, with exact equality."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nets import constant_count
from refsnn import neurons
from refsnn.activations import QCFS, Clip, ReLU
from refsnn.layers import BatchNorm, Conv2d, Linear, SumPool
from refsnn.neurons import IF, PRESETS, DualThresholdIF, Neuron, State

GRID = 2.0**-3
GUARDED = [
    IF(),
    DualThresholdIF(theta_neg=-GRID),
    DualThresholdIF(theta_neg=-1.0),
    DualThresholdIF(theta_neg=0.0, strict=True),
]
NEURONS = [*GUARDED, DualThresholdIF(theta_neg=-GRID, guard=False)]

neuron_models = st.sampled_from(NEURONS)
guarded_models = st.sampled_from(GUARDED)
thetas = st.sampled_from([0.5, 1.0, 2.0])
potentials = st.integers(-24, 24).map(lambda k: k * GRID)
trains = st.lists(potentials, min_size=1, max_size=9)


def run(
    neuron: Neuron, x: list[float], v0: float, theta: float
) -> tuple[np.ndarray, State]:
    """Spikes of one neuron, shape (T,), and its state."""
    currents = np.array(x, dtype=np.float64).reshape(-1, 1, 1)
    start = neurons.initial_state(np.array(v0), (1, 1))
    s, state = neurons.unroll(neuron, currents, start, np.array(theta))
    return s[:, 0, 0], state


@given(neuron_models, trains, potentials, thetas)
def test_charge_is_conserved(
    neuron: Neuron, x: list[float], v0: float, theta: float
) -> None:
    s, state = run(neuron, x, v0, theta)
    assert theta * state.N.item() == sum(x) + v0 - state.v.item()
    assert state.N.item() == s.sum()


@given(neuron_models, trains, potentials, thetas)
def test_spikes_are_of_the_alphabet(
    neuron: Neuron, x: list[float], v0: float, theta: float
) -> None:
    s, _ = run(neuron, x, v0, theta)
    assert set(s.tolist()) <= set(neuron.alphabet)


@given(guarded_models, trains, potentials, thetas)
def test_a_guarded_neuron_never_owes_spikes(
    neuron: Neuron, x: list[float], v0: float, theta: float
) -> None:
    s, _ = run(neuron, x, v0, theta)
    assert (np.cumsum(s.astype(int)) >= 0).all()


@given(guarded_models, trains, potentials, thetas)
def test_a_guarded_neuron_equals_IF_up_to_its_first_spike(
    neuron: Neuron, x: list[float], v0: float, theta: float
) -> None:
    s, _ = run(neuron, x, v0, theta)
    plain, _ = run(IF(), x, v0, theta)
    first = np.flatnonzero(plain)
    end = first[0] + 1 if len(first) else len(x)
    assert s[:end].tolist() == plain[:end].tolist()


@given(guarded_models, potentials, st.integers(0, 15), thetas, st.integers(1, 9))
def test_constant_current_gives_the_closed_form_at_every_step(
    neuron: Neuron, x: float, sixteenths: int, theta: float, T: int
) -> None:
    v0 = sixteenths / 16 * theta  # 0 <= v0 < theta
    s, _ = run(neuron, [x] * T, v0, theta)
    for t in range(1, T + 1):
        want = constant_count(np.array(x), np.array(v0), np.array(theta), t)
        assert s[:t].sum() == want


@given(guarded_models, potentials, st.integers(-24, 8), thetas, st.integers(1, 9))
def test_constant_current_from_at_most_theta_gives_no_negative_spike(
    neuron: Neuron, x: float, eighths: int, theta: float, T: int
) -> None:
    strict = neuron.op == "DualThresholdIF" and neuron.strict
    v0 = min(eighths, 7 if strict else 8) / 8 * theta
    s, _ = run(neuron, [x] * T, v0, theta)
    assert (s >= 0).all()


@given(potentials, thetas, st.sampled_from([1, 2, 4, 8]))
def test_constant_current_from_half_the_threshold_is_QCFS_with_L_equal_T(
    x: float, theta: float, T: int
) -> None:
    s, _ = run(IF(), [x] * T, theta / 2, theta)
    want = QCFS(lam=theta, levels=T)(np.array([[x]])).item()
    assert theta * s.sum() / T == want


@given(guarded_models, trains, potentials, thetas)
def test_the_even_count_follows_from_N_and_v(
    neuron: Neuron, x: list[float], v0: float, theta: float
) -> None:
    """clip(floor((Z + v0) / theta), 0, T) = clip(N + floor(v(T) / theta), 0, T)."""
    T = len(x)
    _, state = run(neuron, x, v0, theta)
    want = np.clip(np.floor((sum(x) + v0) / theta), 0, T)
    assert np.clip(state.N.item() + np.floor(state.v.item() / theta), 0, T) == want


@given(neuron_models, trains, potentials, thetas, st.sampled_from([0.25, 4.0]))
def test_units_of_potential_do_not_matter(
    neuron: Neuron, x: list[float], v0: float, theta: float, unit: float
) -> None:
    s, _ = run(neuron, x, v0, theta)
    other = neuron.in_units_of(np.array(1 / unit))
    scaled, _ = run(other, [unit * i for i in x], unit * v0, unit * theta)
    assert s.tolist() == scaled.tolist()


@given(neuron_models, trains, trains, potentials, thetas)
def test_running_on_is_running_once(
    neuron: Neuron, x: list[float], y: list[float], v0: float, theta: float
) -> None:
    both, end = run(neuron, x + y, v0, theta)
    first, state = run(neuron, x, v0, theta)
    currents = np.array(y).reshape(-1, 1, 1)
    second, later = neurons.unroll(neuron, currents, state, np.array(theta))
    assert both.tolist() == [*first, *second[:, 0, 0]]
    assert (end.v, end.N) == (later.v, later.N)


def test_thresholds_per_neuron_are_divided_by_those_of_their_channel() -> None:
    theta_neg = -np.arange(1.0, 9.0).reshape(2, 2, 2)
    neuron = DualThresholdIF(theta_neg=theta_neg).in_units_of(np.array([1.0, 4.0]))
    want = np.stack([theta_neg[0], theta_neg[1] / 4])
    assert (neuron.theta_neg == want).all()


@pytest.mark.parametrize("name", PRESETS)
def test_presets_scale_with_the_threshold_they_are_normalised_by(name: str) -> None:
    theta = np.array([0.5, 2.0])
    neuron = PRESETS[name].neuron(theta).in_units_of(theta)
    want = -1.0 if PRESETS[name].relative else PRESETS[name].theta_neg / theta
    assert (neuron.theta_neg == want).all()


@given(neuron_models, trains, potentials, thetas)
def test_float32_and_float64_agree_on_the_grid(
    neuron: Neuron, x: list[float], v0: float, theta: float
) -> None:
    single = np.array(x, dtype=np.float32).reshape(-1, 1, 1)
    start = neurons.initial_state(np.array(v0), (1, 1))
    s, state = neurons.unroll(neuron, single, start, np.array(theta))
    want, double = run(neuron, x, v0, theta)
    assert state.v.dtype == np.float32
    assert s[:, 0, 0].tolist() == want.tolist()
    assert state.v.item() == double.v.item()


grids = st.lists(st.integers(-64, 64).map(lambda k: k / 16), min_size=1, max_size=8)


@given(grids, st.sampled_from([0.5, 1.0, 2.0]), st.sampled_from([1, 2, 4, 8]))
def test_QCFS_is_idempotent_monotone_and_within_half_a_level_of_clip(
    z: list[float], lam: float, L: int
) -> None:
    values = np.sort(np.array([z]))
    h = QCFS(lam=lam, levels=L)
    assert (h(h(values)) == h(values)).all()
    assert (np.diff(h(values)) >= 0).all()
    assert (np.abs(h(values) - Clip(lam=lam)(values)) <= lam / (2 * L)).all()


@given(grids)
def test_clip_beyond_every_value_is_ReLU(z: list[float]) -> None:
    values = np.array([z])
    assert (Clip(lam=8.0)(values) == ReLU()(values)).all()


small = st.integers(-8, 8).map(lambda k: k / 4)


@given(st.lists(small, min_size=18, max_size=18), st.lists(small, min_size=18))
def test_convolution_is_linear(weights: list[float], values: list[float]) -> None:
    conv = Conv2d(weight=np.array(weights).reshape(2, 1, 3, 3), padding=(1, 1))
    x, y = (np.array(values[i : i + 9]).reshape(1, 1, 3, 3) for i in (0, 9))
    assert (conv(x + 2 * y) == conv(x) + 2 * conv(y)).all()


@given(st.lists(small, min_size=24, max_size=24))
def test_sums_begun_elsewhere_go_on(values: list[float]) -> None:
    """W1 x + W2 y added into one sum is the sum of both, on the grid."""
    x = np.array(values[:6]).reshape(2, 3)
    one, two = (
        Linear(weight=np.array(v).reshape(3, 3)) for v in (values[6:15], values[15:])
    )
    acc = two.accumulate(one.accumulate(np.zeros((2, 3)), x), x)
    assert (acc == one(x) + two(x)).all()


@given(st.lists(st.integers(0, 1), min_size=16, max_size=16))
def test_pooled_spikes_are_integers_that_sum_to_the_spikes(spikes: list[int]) -> None:
    s = np.array(spikes, dtype=np.int8).reshape(1, 1, 4, 4)
    pooled = SumPool()(s)
    assert pooled.dtype == np.int64
    assert pooled.sum() == s.sum(dtype=np.int64)


@given(
    st.lists(small, min_size=12, max_size=12),
    st.sampled_from([0.25, 1.0, 4.0]),
    st.sampled_from([-2.0, 0.5, 1.0]),
)
def test_folding_is_normalising_behind_the_layer(
    values: list[float], root: float, gamma: float
) -> None:
    norm = BatchNorm(
        gamma=[gamma, 1.0],
        beta=[0.5, -0.25],
        mean=[1.0, -0.5],
        var=[root**2 - 2.0**-10, 1 - 2.0**-10],
        eps=2.0**-10,
    )
    linear = Linear(
        weight=np.array(values[:6]).reshape(2, 3), bias=np.array([0.5, 1.0])
    )
    x = np.array(values[6:]).reshape(2, 3)
    assert (norm.folded_into(linear)(x) == norm(linear(x))).all()
