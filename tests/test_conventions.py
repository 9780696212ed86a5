"""Convention profiles: what other simulators do, by one general definition."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nets import dyadic, random_net
from refsnn import io
from refsnn.convert import convert
from refsnn.errors import DomainError, OptionError, ShapeError
from refsnn.neurons import (
    IF,
    ConventionNeuron,
    DualThresholdIF,
    GatedIF,
    initial_state,
    under,
    unroll,
)
from refsnn.profile import PROFILES, REFSNN, Profile
from refsnn.recording import record, spikes_of

NEURONS = [
    IF(),
    GatedIF(tolerance=0.25),
    DualThresholdIF(theta_neg=-(2.0**-6)),
    DualThresholdIF(theta_neg=-1.0),
    DualThresholdIF(theta_neg=0.0, strict=True),
    DualThresholdIF(theta_neg=-(2.0**-6), guard=False),
]

HARD = Profile(reset="to-zero")

# One NIR file, five neurons: an exact tie, a residual charge, several thresholds at
# once, a deep negative potential, one early charge. Five conventions disagree.
INPUTS = np.array(
    [[0.5] * 8, [0.75] * 8, [2.5] * 8, [-3.0] + [0.75] * 7, [1.5] + [0.0] * 7]
)


def train(profile: Profile, x: list[float], v0: float = 0.0, neuron: object = None):
    general = ConventionNeuron(neuron=neuron or IF(), profile=profile)
    theta = np.array(1.0)
    state = initial_state(np.array(v0), (1,))
    s, after = unroll(general, np.array(x)[:, None], state, theta)
    return s[:, 0], after


@pytest.mark.parametrize(
    ("profile", "x", "s", "v"),
    [
        # 3/4; 3/2>0; 3/4; 3/2>0: what lay above the threshold is lost
        (HARD, [0.75] * 4, [0, 1, 0, 1], 0.0),
        # 1 is not above 1; 2>1; 2>1
        (Profile(tie=">"), [1.0] * 3, [0, 1, 1], 1.0),
        # 5/2: two spikes, 1/2 left; 3: three; 5/2: two
        (Profile(spikes_per_step="many"), [2.5] * 3, [2, 3, 2], 0.5),
        # 3 at the strict tie: the third threshold is not passed: 2, one left; 4: three
        (Profile(spikes_per_step="many", tie=">"), [3.0, 3.0], [2, 3], 1.0),
        # -3 is clamped to -1; -1/4; 1/2; 5/4>1/4
        (Profile(lower_clamp=-1.0), [-3.0] + [0.75] * 3, [0, 0, 0, 1], 0.25),
        # 1; 1/2 + 1 = 3/2... by halves: 1>0; 1>0
        (Profile(decay=0.5), [1.0, 1.0], [1, 1], 0.0),
        # 3/4; 3/8 + 3/4 = 9/8 > 1/8; 1/16 + 3/4 = 13/16
        (Profile(decay=0.5), [0.75] * 3, [0, 1, 0], 0.8125),
        # 3/4; 9/8 fires; 9/16 + 3/4 - 1 = 5/16: the threshold itself is not decayed
        (Profile(decay=0.5, reset_delay=1), [0.75] * 3, [0, 1, 0], 0.3125),
        # 5/2 > 1: 3/2; 3/2 + 1/4 - 1 = 3/4 <= 1 waits: 7/4; 7/4 + 1/2 - 1 = 5/4: 5/4
        (Profile(tie=">", excess="waits"), [2.5, 0.25, 0.5], [1, 0, 1], 1.25),
        # snnTorch's Leaky(beta=1, reset_mechanism="zero"), first neuron of INPUTS
        (
            Profile(reset="to-zero", tie=">", reset_delay=1),
            [0.5] * 8,
            [0, 0, 1, 0, 0, 1, 0, 0],
            1.0,
        ),
    ],
)
def test_conventions_by_hand(profile, x, s, v) -> None:
    got, state = train(profile, x)
    assert got.tolist() == s
    assert state.v == v
    assert state.N == sum(s)


def test_many_spikes_with_a_negative_one() -> None:
    # 2 spikes, 1/4 left; -7/4 <= -1: one back, -3/4; -3/4 + 2 = 5/4: one
    many = Profile(spikes_per_step="many")
    got, state = train(many, [2.25, -2.0, 2.0], neuron=DualThresholdIF(theta_neg=-1.0))
    assert got.tolist() == [2, -1, 1]
    assert state.v == 0.25


@pytest.mark.parametrize("neuron", NEURONS, ids=repr)
@given(seed=st.integers(0, 2**31))
def test_every_named_neuron_is_the_general_one_under_its_profile(neuron, seed) -> None:
    rng = np.random.default_rng(seed)
    x = dyadic(rng, (12, 3, 4), 3) * 2
    state = initial_state(dyadic(rng, (3, 4), 3), (3, 4))
    theta = np.array(rng.integers(1, 9) / 8)
    general = ConventionNeuron(neuron=neuron, profile=REFSNN)
    want, after = unroll(neuron, x, state, theta)
    got, ended = unroll(general, x, state, theta)
    assert (want == got).all()
    assert (after.v == ended.v).all()
    assert (after.N == ended.N).all()
    assert under(neuron, REFSNN) is neuron


@given(seed=st.integers(0, 2**31))
def test_a_late_reset_without_leak_changes_no_spike(seed) -> None:
    rng = np.random.default_rng(seed)
    x = dyadic(rng, (12, 5), 3) * 2
    state, theta = initial_state(np.array(0.5), (5,)), np.array(1.0)
    late = ConventionNeuron(neuron=IF(), profile=Profile(reset_delay=1))
    assert (unroll(late, x, state, theta)[0] == unroll(IF(), x, state, theta)[0]).all()


@pytest.mark.parametrize(
    ("name", "trains"),
    [
        ("refsnn", "01010101 01110111 11111111 00000011 10000000"),
        ("nir-text", "00100100 01010101 11111111 00000010 10000000"),
        ("norse", "00100100 01010101 11111111 00000010 10000000"),
        ("spikingjelly", "01010101 01010101 11111111 00000010 10000000"),
        ("snntorch", "00101010 01101101 11111111 00000110 10000000"),
        ("sinabs", "01010101 01110111 23232323 00011011 10000000"),
    ],
)
def test_one_file_five_conventions(name, trains) -> None:
    # the trains of the simulators themselves; scripts of the suite run them again
    profile = PROFILES[name].profile
    got = [train(profile, x)[0] for x in INPUTS]
    assert " ".join("".join(map(str, s)) for s in got) == trains


def test_a_profile_says_what_it_is() -> None:
    assert str(REFSNN) == "refsnn"
    assert str(Profile(reset="to-zero", tie=">")) == "reset=to-zero, tie=>"
    assert all(peer.source for peer in PROFILES.values())


@pytest.mark.parametrize(
    "fields",
    [
        {"reset": "hard"},
        {"tie": "="},
        {"layer_delay": 2},
        {"layer_delay": True},
        {"lower_clamp": 0.5},
        {"lower_clamp": float("nan")},
        {"decay": 0.0},
        {"decay": 1.5},
    ],
    ids=str,
)
def test_bad_profiles(fields) -> None:
    with pytest.raises(DomainError, match=f"profile, {next(iter(fields))}"):
        Profile(**fields)


def test_what_is_not_defined_is_refused() -> None:
    with pytest.raises(DomainError, match="the step before"):
        under(DualThresholdIF(theta_neg=-1.0), Profile(reset_delay=1))
    with pytest.raises(DomainError, match="at most 127"):
        train(Profile(spikes_per_step="many"), [1000.0])


# -- networks under other conventions -----------------------------------------------


PLAIN = convert(random_net(3), "qcfs")


def other(profile: Profile):
    return dataclasses.replace(PLAIN, profile=profile)


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("schedule", ["layer", "step"])
def test_networks_run_under_every_profile(name, schedule) -> None:
    snn = other(PROFILES[name].profile)
    x = dyadic(np.random.default_rng(1), (2, *snn.input_shape))
    want, first = spikes_of(snn, x, 6)
    got, again = spikes_of(snn, x, 6, schedule=schedule, impl="definition")
    assert all((want[p] == got[p]).all() for p in want)
    assert (first.logits == again.logits).all()
    for p in snn.hidden:
        at_step = want[p.name].reshape(6, -1).sum(axis=1, dtype=int)
        assert (first.spikes[p.name] - first.negative[p.name] == at_step).all()


def test_layer_delay_by_hand() -> None:
    """Each population gets what its sources emitted one step before."""
    snn = other(Profile(layer_delay=1))
    x = dyadic(np.random.default_rng(1), (2, *snn.input_shape))
    spikes, _ = spikes_of(snn, x, 5)
    first = PLAIN.hidden[0].name
    assert (spikes[first] == spikes_of(PLAIN, x, 5)[0][first]).all()
    assert not np.array_equal(
        spikes[PLAIN.hidden[1].name], spikes_of(PLAIN, x, 5)[0][PLAIN.hidden[1].name]
    )
    before = np.concatenate([np.zeros_like(spikes[first][:1]), spikes[first][:-1]])
    (q,) = snn.hidden[1].projections
    neuron = snn.hidden[1].neuron.over(snn.hidden[1].shape)
    currents = np.stack([q.op(q.pooled(s.astype(float))) for s in before])
    if snn.hidden[1].bias is not None:
        currents = currents + snn.hidden[1].over("bias")
    state = initial_state(snn.hidden[1].over("v0"), currents.shape[1:])
    want, _ = unroll(neuron, currents, state, snn.hidden[1].over("theta"))
    assert (want == spikes[snn.hidden[1].name]).all()


def test_files_keep_the_profile(tmp_path) -> None:
    snn = other(PROFILES["sinabs"].profile)
    io.save(snn, tmp_path / "n.h5")
    assert io.load_snn(tmp_path / "n.h5").profile == snn.profile
    images = np.zeros((1, *snn.input_shape), dtype=np.uint8)
    trace = record(other(HARD), images, 4, membranes=True)
    io.save_trace(trace, tmp_path / "t.h5")
    again = io.load_trace(tmp_path / "t.h5")
    assert again.profile == HARD
    fired = trace.populations[snn.hidden[0].name]
    assert (fired.v[fired.spikes != 0] == 0).all()


def test_nothing_is_proved_of_other_conventions() -> None:
    from refsnn.certificate import certify
    from refsnn.run import run_snn

    snn = other(HARD)
    with pytest.raises(OptionError, match="the conventions reset=to-zero"):
        certify(snn, "float64", T=4)
    x = np.zeros((1, *snn.input_shape))
    with pytest.raises(OptionError, match="the conventions reset=to-zero"):
        run_snn(snn, x, 4, mode="exact")


@pytest.mark.parametrize("exact", [True, False])
def test_currents_stand_for_the_image(exact: bool) -> None:
    from refsnn.run import image_currents, run_snn

    snn = convert(random_net(3), "qcfs", exact=exact)
    x = dyadic(np.random.default_rng(1), (2, *snn.input_shape))
    currents = image_currents(snn, x)
    assert (run_snn(snn, x, 5).logits == run_snn(snn, currents, 5).logits).all()
    with pytest.raises(OptionError, match="those of act1"):
        run_snn(snn, {}, 5)
    with pytest.raises(ShapeError, match="currents of act1"):
        run_snn(snn, {"act1": currents["act1"][:, :1]}, 5)
