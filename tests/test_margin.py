"""Traces, and the margin: rounding told from errors."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from nets import images, random_net, same
from refsnn import io
from refsnn.activations import QCFS
from refsnn.convert import convert
from refsnn.errors import DataError, FormatError, RefsnnError
from refsnn.layers import Add, Conv2d, Input, Linear
from refsnn.margin import ROUNDOFF, _decided, _errors, _terms, judge, risks
from refsnn.network import INPUT, Network, Node, Population, SpikingNetwork
from refsnn.neurons import State, potentials, unroll
from refsnn.profile import REFSNN
from refsnn.recording import record
from refsnn.run import merge, run_snn
from refsnn.snap import snap
from refsnn.trace import Recorded, Trace, images_sha256
from test_modes import raw_net

T = 12
IMAGES = images(11, 6)


def in_binary32(
    snn: SpikingNetwork, trace: Trace, seed: int, *, theta: float = 1.0
) -> dict[str, np.ndarray]:
    """Each population in binary32, fed with the trace's spikes, terms shuffled.

    Its weights, biases and currents are cast; terms are added to the potential itself.
    """
    rng = np.random.default_rng(seed)
    answer = {}
    for p in snn.hidden:
        recorded = trace.populations[p.name]
        size = recorded.spikes.shape
        parts = []
        if recorded.input_current is not None:
            parts.append(np.broadcast_to(recorded.input_current, size))
        if p.bias is not None and not (p.fed_by_image and p.grid is not None):
            parts.append(np.broadcast_to(p.over("bias"), size))
        for q in p.projections:
            if q.source != INPUT:
                s = q.pooled(merge(trace.populations[q.source].spikes))
                parts += [
                    term.reshape(size) for term in q.op.terms(s.astype(np.float32))
                ]
        parts = [parts[i].astype(np.float32) for i in rng.permutation(len(parts))]
        v = np.broadcast_to(p.over("v0"), size[1:]).astype(np.float32)
        state, spikes = State(v, np.zeros(size[1:], np.int64)), []
        neuron = p.neuron.over(p.shape)
        for t in range(size[0]):
            u = state.v
            for part in parts:
                u = u + part[t]
            s, state = neuron.discharge(u, state.N, np.float32(theta))
            spikes.append(s)
        answer[p.name] = np.array(spikes)
    return answer


@pytest.mark.parametrize("seed", range(4))
def test_no_spike_of_binary32_lies_outside_the_margin(seed: int) -> None:
    """Six images, twelve steps; a network and an order of the terms for each seed."""
    snn = raw_net(seed)
    trace = record(snn, IMAGES, T)
    other = in_binary32(snn, trace, seed)
    verdicts = judge(snn, trace, other, fed=True)
    assert list(verdicts) == [p.name for p in snn.hidden]
    assert [v.errors for v in verdicts.values()] == [0] * len(verdicts)
    assert all(v.unjudged == 0 for v in verdicts.values())


def test_ties_are_decided_by_rounding_and_excused() -> None:
    """A potential moved onto the threshold, to the last bit, by its own v(0)."""
    snn = raw_net(1)
    p = snn["act2"]
    trace = record(snn, IMAGES[:1], 1, membranes=True)
    u = trace.populations["act2"].v[0, 0] + trace.populations["act2"].spikes[0, 0]
    v0 = p.over("v0") + (1 - u)  # now u is 1, or next to it
    moved = dataclasses.replace(
        snn,
        populations=tuple(
            dataclasses.replace(p, v0=v0) if p.name == "act2" else p
            for p in snn.populations
        ),
    )
    trace = record(moved, IMAGES[:1], 1)
    risk = risks(moved, trace)["act2"]
    assert risk.at_risk == risk.neurons_at_risk == u.size
    found = judge(moved, trace, in_binary32(moved, trace, 3), fed=True)["act2"]
    assert found.differing > 0
    assert (found.rounding, found.errors) == (found.differing, 0)


def test_a_bound_is_near_what_happens() -> None:
    """|u^ - u| <= e_u at every step, and it comes within a factor of 30 of it."""
    snn = raw_net(2)
    trace = record(snn, IMAGES, T)
    worst = 0.0
    for p in snn.hidden:
        x, A, m = _terms(p, trace)
        spikes = trace.populations[p.name].spikes
        start = np.broadcast_to(p.over("v0"), spikes.shape[1:])
        bound = _errors(p, x, A, m, spikes, ROUNDOFF, start)
        narrow = potentials(
            _in_order(p, trace), spikes, start.astype(np.float32), np.float32(1)
        )
        wide = potentials(x, spikes, start, np.array(1.0))
        for t, ((got, _), (want, _)) in enumerate(zip(narrow, wide, strict=True)):
            assert got.dtype == np.float32
            gap = np.abs(got - want)
            assert (gap <= bound[t]).all()
            worst = max(worst, float((gap / bound[t]).max()))
    assert worst > 1 / 30


def _in_order(p: Population, trace: Trace) -> np.ndarray:
    """Currents of every step, summed in binary32."""
    recorded = trace.populations[p.name]
    size = recorded.spikes.shape
    x = np.zeros(size, np.float32)
    if recorded.input_current is not None:
        x = x + recorded.input_current.astype(np.float32)
    x = x.reshape(-1, *p.shape)
    for q in p.projections:
        if q.source != INPUT:
            x = q.op.accumulate(x, q.pooled(merge(trace.populations[q.source].spikes)))
    if p.bias is not None:
        x = x + p.over("bias").astype(np.float32)
    return x.reshape(size)


@pytest.mark.parametrize("fed", [True, False])
def test_a_wrong_threshold_is_an_error(fed: bool) -> None:
    snn = raw_net(2)
    trace = record(snn, IMAGES, T)
    verdicts = judge(snn, trace, in_binary32(snn, trace, 0, theta=1.01), fed=fed)
    first = verdicts["act1"].first
    assert first is not None
    assert (first.want, first.got) == (1, 0)
    assert first.distance > first.error
    where = (first.step - 1, first.sample, *first.neuron)
    assert trace.populations["act1"].spikes[where] == 1
    assert verdicts["act1"].errors > 0
    if not fed:  # behind a difference of act1 nothing is judged
        assert verdicts["act5"].unjudged > 0


def test_a_free_run_is_judged_at_its_first_differences_only() -> None:
    """One spike flipped in act1 changes what follows; only the flip is an error."""
    snn = raw_net(2)
    trace = record(snn, IMAGES, T)
    other = {name: p.spikes.copy() for name, p in trace.populations.items()}
    place = tuple(np.argwhere(other["act1"] == 0)[5])
    other["act1"][place] = 1
    follower = tuple(np.argwhere(other["act2"][-1, place[1]] == 0)[0])
    other["act2"][(T - 1, place[1], *follower)] = 1
    verdicts = judge(snn, trace, other)
    assert (verdicts["act1"].errors, verdicts["act1"].differing) == (1, 1)
    assert (verdicts["act2"].errors, verdicts["act2"].unjudged) == (0, 1)
    assert judge(snn, trace, other, fed=True)["act2"].errors == 1


def test_the_threshold_that_decides_is_the_one_that_is_looked_at() -> None:
    """At theta_neg rounding makes a negative spike of none, and no positive one."""
    want = np.array([0, 0, -1, 1, -1, 1, 0], np.int8)
    got = np.array([1, -1, 0, 0, 1, -1, 2], np.int8)
    high, low = np.full(7, 0.5), np.full(7, 0.25)
    answer = [0.5, 0.25, 0.25, 0.5, np.inf, np.inf, np.inf]
    assert _decided(want, got, high, low).tolist() == answer


def test_a_spike_that_no_threshold_explains_says_why() -> None:
    """Before any positive spike, where the guard allows no negative one; and twice."""
    snn = convert(random_net(2), "ecl", exact=False)
    trace = record(snn, IMAGES, T)
    want = trace.populations["act1"].spikes
    for spike, why in ((-1, "no spike is left to take back"), (2, "more than a spike")):
        got = want.copy()
        place = tuple(np.argwhere(want[0] == 0)[0])
        got[(0, *place)] = spike
        first = judge(snn, trace, {"act1": got}, fed=True)["act1"].first
        assert first.distance is None
        assert why in first.why


def test_a_network_of_another_carrier_is_traced_on_it_in_mode_exact_too() -> None:
    snn = snap(convert(random_net(2), "qcfs", exact=False), "float32", T=T)
    for mode in (None, "exact"):
        assert record(snn, IMAGES, T, mode=mode).carrier == "float32"


def test_behind_a_population_that_nobody_recorded_nothing_is_judged() -> None:
    snn = raw_net(2)
    trace = record(snn, IMAGES, T)
    other = {"act2": trace.populations["act2"].spikes ^ 1}
    found = judge(snn, trace, other)["act2"]
    assert (found.errors, found.rounding) == (0, 0)
    assert found.unjudged > 0
    assert judge(snn, trace, other, fed=True)["act2"].errors > 0


def test_the_image_s_current_may_stand_behind_others() -> None:
    """act2 = conv(act1) + conv(image), in this order: the trace has all of it."""
    rng = np.random.default_rng(3)
    nodes = [
        Node(name="input", op=Input()),
        Node(
            name="c1",
            op=Conv2d(weight=rng.normal(0, 1, (2, 1, 1, 1))),
            inputs=("input",),
        ),
        Node(name="act1", op=QCFS(lam=1.0), inputs=("c1",)),
        Node(
            name="c2",
            op=Conv2d(weight=rng.normal(0, 1, (2, 2, 1, 1))),
            inputs=("act1",),
        ),
        Node(
            name="skip",
            op=Conv2d(weight=rng.normal(0, 1, (2, 1, 1, 1))),
            inputs=("input",),
        ),
        Node(name="sum", op=Add(), inputs=("c2", "skip")),
        Node(name="act2", op=QCFS(lam=1.0), inputs=("sum",)),
        Node(name="out", op=Linear(weight=rng.normal(0, 1, (2, 32))), inputs=("act2",)),
    ]
    ann = Network(
        name="skip",
        input_shape=(1, 4, 4),
        classes=2,
        mean=np.array([0.4]),
        std=np.array([0.3]),
        nodes=tuple(nodes),
    )
    for exact in (True, False):
        snn = convert(ann, "qcfs", exact=exact)
        trace = record(snn, images(2, 3, (1, 4, 4)), 5, currents=True)
        x, _, _ = _terms(snn["act2"], trace)
        assert np.abs(x - trace.populations["act2"].current).max() < 1e-12
        assert trace.populations["act2"].input_current.any()


def test_a_trace_of_another_network_or_shape_is_refused() -> None:
    snn, trace = raw_net(2), record(raw_net(2), IMAGES[:1], 2)
    with pytest.raises(DataError, match="with the hash"):
        risks(raw_net(3), trace)
    with pytest.raises(DataError, match="as in the trace"):
        judge(snn, trace, {"act1": np.zeros((1, 1, 1), np.int8)})


# ---------------------------------------------------------------- traces


@pytest.mark.parametrize("snapped", [True, False])
def test_a_trace_is_what_happened(snapped: bool) -> None:
    snn = snap(raw_net(2)) if snapped else raw_net(2)
    trace = record(snn, IMAGES, T, membranes=True, currents=True)
    x = snn.preprocess(IMAGES)
    seen: dict[str, tuple] = {}

    def watch(population, start, x, s, state):
        seen[population.name] = (x.copy(), s, state)

    run = run_snn(snn, x, T, observe=watch, impl="definition")
    assert same(trace.readout, run.logits)
    assert (trace.mode, trace.bits is None) == (
        ("exact", "ordered")[not snapped],
        not snapped,
    )
    for name, (currents, s, state) in seen.items():
        recorded = trace.populations[name]
        assert same(recorded.spikes, s)
        assert same(recorded.v[-1], state.v)
        assert same(recorded.counts, state.N)
        assert same(np.broadcast_to(recorded.current, currents.shape).copy(), currents)
        start = np.broadcast_to(snn[name].over("v0"), s.shape[1:])
        steps = potentials(currents, s, start, np.array(1.0))
        assert all((v == recorded.v[t]).all() for t, (_, v) in enumerate(steps))
    fed = trace.populations["act1"].input_current
    if snapped:  # everything behind the first current is exact: start from it
        theta, neuron = np.array(1.0), snn["act1"].neuron.over(snn["act1"].shape)
        every = np.broadcast_to(fed, (T, *fed.shape))
        begun = State(
            np.broadcast_to(snn["act1"].over("v0"), fed.shape), 0 * fed.astype(int)
        )
        assert same(
            unroll(neuron, every, begun, theta)[0], trace.populations["act1"].spikes
        )


def test_files_come_back_and_are_plain_hdf5(tmp_path: Path) -> None:
    snn = snap(raw_net(2))
    trace = record(snn, IMAGES, T, membranes=True, currents=True)
    path = tmp_path / "t.h5"
    io.save_trace(trace, path)
    again = io.load_trace(path)
    assert again.profile == REFSNN
    for field in ("network", "network_sha256", "input_sha256", "mode", "carrier"):
        assert getattr(again, field) == getattr(trace, field)
    assert same(again.readout, trace.readout)
    for name, recorded in trace.populations.items():
        for field in ("spikes", "theta", "v0", "v", "current", "input_current"):
            one, two = getattr(recorded, field), getattr(again.populations[name], field)
            assert (one is None and two is None) or same(one, two), field
    io.save_trace(again, tmp_path / "u.h5")
    assert path.read_bytes() == (tmp_path / "u.h5").read_bytes()
    with h5py.File(path) as file:
        assert file.attrs["T"] == T
        group = file["populations/act5"]
        N = int(np.prod(group.attrs["shape"]))
        bits = np.unpackbits(group["spikes"][...], axis=-1, bitorder="little")[..., :N]
        negative = np.zeros_like(bits)
        if "negative" in group:
            negative = np.unpackbits(group["negative"][...], axis=-1, bitorder="little")
            negative = negative[..., :N]
        net = bits.sum(axis=0).astype(int) - negative.sum(axis=0)
        assert net.tolist() == group["counts"][...].tolist()
        assert file["input_current"].shape == (len(IMAGES), 4 * 8 * 8)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("populations/act1/counts", np.zeros((6, 256), np.int64), "sums of the spikes"),
        ("populations/act1/spikes", np.zeros((T, 6, 31), np.uint8), "(12, 6, 32)"),
        ("populations/act1/counts", np.array(3), "sums of the spikes"),
        ("populations/act1/theta", np.ones((7, 3)), "theta"),
        ("samples", np.array(3), "samples"),
        ("readout", np.zeros((T, 6)), "3 axes"),
        ("readout", np.zeros((T, 5, 3)), "steps and samples"),
        ("populations/act1/v", np.zeros((T, 6, 255)), "256"),
    ],
)
def test_broken_traces_are_refused(
    tmp_path: Path, path: str, value: np.ndarray, message: str
) -> None:
    file = tmp_path / "t.h5"
    io.save_trace(record(raw_net(2), IMAGES, T, membranes=True), file)
    with h5py.File(file, "r+") as f:
        del f[path]
        f[path] = value
        del f.attrs["sha256"]
    with pytest.raises(FormatError) as caught:
        io.load(file)
    assert message in str(caught.value)


def test_traces_that_do_not_fit_are_refused() -> None:
    spikes = np.zeros((3, 2, 4), np.int8)
    about = {"theta": np.array(1.0), "v0": np.array(0.5)}
    with pytest.raises(RefsnnError, match="int8"):
        Recorded(spikes=spikes + np.int8(2), **about)
    with pytest.raises(RefsnnError, match=r"expected \(3, 2, 4\)"):
        Recorded(spikes=spikes, v=np.zeros((3, 2, 5)), **about)
    with pytest.raises(RefsnnError, match=r"theta: .* expected \(\) or \(4,\)"):
        Recorded(spikes=spikes, **{**about, "theta": np.ones(3)})
    with pytest.raises(RefsnnError, match=r"v0: .* or \(2, 4\)"):
        Recorded(spikes=spikes, **{**about, "v0": np.ones((3, 4))})
    assert images_sha256(IMAGES) != images_sha256(IMAGES.reshape(12, 1, 8, 8))


def test_a_masked_neuron_that_spikes_is_an_error_without_a_distance(
    tmp_path: Path, refsnn
) -> None:
    snn = convert(random_net(2), "srp")
    trace = record(snn, IMAGES, 4)
    name, mask = next((n, m) for n, m in trace.masks.items() if not m.all())
    sample, *neuron = (int(i) for i in np.argwhere(~mask)[0])
    spikes = {n: p.spikes.copy() for n, p in trace.populations.items()}
    spikes[name][(1, sample, *neuron)] = 1
    net, golden, other = (tmp_path / n for n in ("n.h5", "g.h5", "o.npz"))
    io.save(snn, net)
    io.save_trace(trace, golden)
    np.savez(other, **spikes)
    arguments = ("margin", net, golden, "--other", other)
    done = refsnn(*arguments, "--json", "-")
    assert done.code == 1
    first = json.loads(done.out)["verdicts"][name]["first"]
    assert (first["sample"], first["step"], first["neuron"]) == (sample, 2, neuron)
    assert (first["distance"], first["why"]) == (None, "masked: it may not spike")
    done = refsnn(*arguments)
    assert done.code == 1
    assert "1 in place of 0, masked: it may not spike" in done.out


def test_the_commands(tmp_path: Path, refsnn) -> None:
    from refsnn import datasets

    ann = datasets.weights_folder() / "digits_relu.h5"
    net, other, first, second = (tmp_path / f"{n}.h5" for n in "abcd")
    how = ("--method", "max-norm", "--set", "samples=50")
    assert refsnn("convert", ann, *how, "--snap", "none", "-o", net)[0] == 0
    code, said, _ = refsnn("certify", net, "-T", 8)
    assert (code, "does not hold: population act1" in said) == (1, True)
    code, said, _ = refsnn("certify", ann, *how, "-T", 8, "--json", "-")
    answer = json.loads(said)
    assert (code, answer["holds"], answer["available"]) == (0, True, 53)
    assert answer["bits"] <= 53
    code, said, _ = refsnn(
        "convert", ann, *how, "--snap", "float32", "-T", 8, "-o", other
    )
    assert (code, "Changes by rounding" in said) == (0, True)
    assert refsnn("certify", other, "-T", 8, "--accumulator", "float32")[0] == 0
    assert (
        refsnn("certify", other, "-T", 8, "--accumulator", "float32", "--static")[0]
        == 1
    )
    few = ("-T", 8, "--limit", 9)
    code, said, _ = refsnn("run", other, *few, "--carrier", "float32", "--json", "-")
    result = json.loads(said)
    assert (result["mode"], result["carrier"]) == ("exact", "float32")
    assert result["certificate"] == 24
    code, _, said = refsnn("run", other, "-T", 9, "--limit", 9, "--carrier", "float32")
    assert (code, "bits, 24 there" in said) == (2, True)
    fixed = ("--mode", "fixed", "--set", "format=Q3.8", "--set", "accumulator=20")
    code, said, _ = refsnn("run", net, "-T", 8, "--limit", 9, *fixed, "--json", "-")
    result = json.loads(said)
    assert (result["mode"], result["certificate"]) == ("fixed", None)
    assert result["fixed"]["rounding"]["max_weight_change"] <= 2.0**-9
    narrow = (*fixed[:-1], "accumulator=10")
    code, _, said = refsnn("run", net, "-T", 8, "--limit", 9, *narrow)
    assert (code, "which 10 bits hold" in said) == (1, True)
    code, _, said = refsnn("run", net, *few, *fixed[:-1], "accumulator=x")
    assert (code, "option accumulator" in said) == (2, True)
    assert refsnn("trace", net, "-T", 8, "--samples", 3, "-o", first)[0] == 0
    assert refsnn("trace", other, "-T", 8, "--samples", 3, "-o", second)[0] == 0
    assert refsnn("margin", net, first)[0] == 0
    code, said, _ = refsnn("margin", net, first, "--other", first)
    assert (code, "rounding explains" in said) == (0, True)
    with h5py.File(first, "r+") as f:
        wrong = f["populations/act1/spikes"][...]
        wrong[2] ^= 1
        f["populations/act1/spikes"][...] = wrong
        spikes = np.unpackbits(wrong, axis=-1, bitorder="little").sum(axis=0)
        f["populations/act1/counts"][...] = spikes
        del f.attrs["sha256"]
    good = tmp_path / "good.h5"
    assert refsnn("trace", net, "-T", 8, "--samples", 3, "-o", good)[0] == 0
    code, said, _ = refsnn("margin", net, good, "--other", first)
    assert (code, "error: population act1, sample 0, step 3" in said) == (1, True)
    recording = tmp_path / "r.npz"
    recorded = {n: p.spikes for n, p in io.load_trace(good).populations.items()}
    np.savez(recording, **recorded)
    code, said, _ = refsnn("margin", net, good, "--other", recording)
    assert (code, "rounding explains" in said) == (0, True)
    broken = recorded["act1"].copy()
    broken[2, 0, 0] ^= 1
    np.savez(recording, act1=broken)
    code, said, _ = refsnn("margin", net, good, "--other", recording)
    assert (code, "error: population act1, sample 0, step 3" in said) == (1, True)
    for arrays, message in (
        ({"layer1": broken}, "got populations layer1; expected some of act1"),
        ({}, "got no population"),
        ({"act1": broken[:7]}, "as in the trace"),
    ):
        np.savez(recording, **arrays)
        code, _, said = refsnn("margin", net, good, "--other", recording)
        assert (code, message in said) == (2, True)
    assert (
        refsnn("trace", net, "-T", 7, "--samples", 3, "-o", tmp_path / "7.h5")[0] == 0
    )
    code, _, said = refsnn("margin", net, good, "--other", tmp_path / "7.h5")
    assert (code, "got shape (7, 3," in said) == (2, True)
