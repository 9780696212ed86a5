"""The conformance kit: right adapters pass, wrong ones are named."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import h5py
import numpy as np
import pytest

from nets import dual_rule, images, random_net
from refsnn import io
from refsnn.certificate import certify
from refsnn.compare import Explanation, Fit, compare, explain
from refsnn.conformance import (
    Score,
    agreed,
    check,
    conform,
    find_adapter,
    judge,
    names,
    network_arrays,
    play,
    story,
    tally,
    vector,
    vectors,
    write,
)
from refsnn.conformance.adapters.numpy import Adapter
from refsnn.conformance.draws import dyadic, integers
from refsnn.conformance.large import BATCH_NORM, residual_network
from refsnn.conformance.stored import FOLDER, stored
from refsnn.convert import convert
from refsnn.doctor import norm_fault
from refsnn.errors import DataError, OptionError
from refsnn.io import content_sha256
from refsnn.neurons import DualThresholdIF
from refsnn.profile import Profile


def test_draws_are_those_of_splitmix64() -> None:
    # the first outputs of SplitMix64 for the state 0, as its authors' code prints them
    full = integers(0, (3,), 0, 2**62 - 1)
    want = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert full.tolist() == [w % 2**62 for w in want]
    drawn = dyadic(5, (1000,), -3, 2, 4) * 16
    assert set(drawn.tolist()) == {-3, -2, -1, 0, 1, 2}


@pytest.mark.parametrize("name", names())
def test_every_vector_is_certified_and_busy(name: str) -> None:
    v = vector(name)
    assert certify(v.snn, "float32", T=v.T).holds
    trace = stored(v)
    assert trace.mode == "exact"
    for recorded in trace.populations.values():
        assert recorded.spikes.any()


def test_the_vectors_are_as_stored() -> None:
    assert set(check().values()) == {""}
    size = sum(path.stat().st_size for path in FOLDER.iterdir())
    assert size < 2_000_000


def test_vectors_written_elsewhere(tmp_path: Path) -> None:
    files = write(tmp_path / "v")
    assert len(files) == 2 * len(names())
    assert set(check(tmp_path / "v").values()) == {""}
    net = io.load_snn(tmp_path / "v/tie.net.h5")
    assert content_sha256(net) == content_sha256(vector("tie").snn)
    (tmp_path / "v/tie.h5").write_bytes((tmp_path / "v/bias.h5").read_bytes())
    (tmp_path / "v/mask.h5").unlink()
    bad = {name for name, what in check(tmp_path / "v").items() if what}
    assert bad == {"tie", "mask"}
    with pytest.raises(OptionError):
        write(tmp_path / "v")


def test_a_changed_spike_is_noticed(tmp_path: Path) -> None:
    write(tmp_path, networks=False)
    v = vector("bias")
    trace = stored(v)
    spikes = trace.populations["second"].spikes.copy()
    spikes[0, 0, 0, 0, 0] ^= 1
    wrong = dataclasses.replace(trace.populations["second"], spikes=spikes)
    changed = dataclasses.replace(
        trace, populations={**trace.populations, "second": wrong}
    )
    io.save_trace(changed, tmp_path / "bias.h5", force=True)
    assert check(tmp_path)["bias"] == "second"


def test_damaged_files_are_reported_among_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = ("tie", "bias", "mask", "state")
    monkeypatch.setattr("refsnn.conformance.stored.vectors", lambda: map(vector, some))
    write(tmp_path, networks=False)
    with h5py.File(tmp_path / "tie.h5", "r+") as file:
        file["populations/second/spikes"][0, 0, 0] ^= 1
    (tmp_path / "bias.h5").write_bytes(b"no HDF5")
    less = stored(vector("mask"))
    *_, name = less.populations
    left = {n: p for n, p in less.populations.items() if n != name}
    less = dataclasses.replace(less, populations=left)
    io.save_trace(less, tmp_path / "mask.h5", force=True)
    found = check(tmp_path)
    assert "the sums of the spikes" in found["tie"]
    assert "RSN-H5" in found["bias"]
    assert (found["mask"], found["state"]) == (name, "")


def test_the_template_passes_everything() -> None:
    scores = list(conform(Adapter))
    assert {score.status for score in scores} == {"passed"}
    assert [score.name for score in scores] == list(names())
    assert scores[0].name == "probe"


# -- wrong simulators ----------------------------------------------------------------


class HardReset(Adapter):
    def step(self, currents):
        out = super().step(currents)
        for p in self.populations:
            if p["neuron"]:
                self.v[p["name"]] = self.v[p["name"]] * (out[p["name"]] == 0)
        return out


class Strict(Adapter):
    def load(self, network):
        super().load(network)
        for p in self.populations:  # the next number above: > for >=
            p["theta_fire"] = np.nextafter(np.float32(p["theta"]), np.float32(9))

    def step(self, currents):
        kept = {p["name"]: p["theta"] for p in self.populations}
        out = {}
        for p in self.populations:
            p["theta"] = p["theta_fire"] if p["neuron"] else p["theta"]
        out = super().step(currents)
        for p in self.populations:
            name = p["name"]
            if p["neuron"]:  # what was reset by the next number, by the threshold
                fired = out[name].astype(np.float32)
                self.v[name] += (p["theta"] - kept[name].astype(np.float32)) * fired
            p["theta"] = kept[name]
        return out


class NeverReset(Adapter):
    def reset(self, batch):
        if not getattr(self, "v", {}) or len(next(iter(self.v.values()))) != batch:
            super().reset(batch)


class Transposed(Adapter):
    def load(self, network):
        super().load(network)
        for p in self.populations:
            for q in p["projections"]:
                if q["op"] == "conv2d" and q["weight"].shape[-1] > 1:
                    q["weight"] = q["weight"].swapaxes(-1, -2)


class Late(Adapter):
    """Every population gets the spikes of the step before."""

    def reset(self, batch):
        super().reset(batch)
        self.before = {
            p["name"]: np.zeros((batch, *p["shape"]), dtype=np.int8)
            for p in self.populations
        }

    def current(self, q, spikes, shape):
        arriving = self.before[q["from"]]
        self.now[q["from"]] = spikes
        return super().current(q, arriving, shape)

    def step(self, currents):
        self.now = {}
        out = super().step(currents)
        self.before.update(self.now)
        return out


class Doubled(Adapter):
    def load(self, network):
        super().load(network)
        for p in self.populations:
            p["theta"] = 2 * p["theta"]


class Clamped(Adapter):
    def step(self, currents):
        out = super().step(currents)
        self.v = {name: np.maximum(v, 0) for name, v in self.v.items()}
        return out


class Unfolded(Adapter):
    """Weights of the trained network, its batch norms forgotten."""

    def load(self, network):
        super().load(network)
        ops = {node.name: node.op for node in residual_network(*BATCH_NORM).nodes}
        for p in self.populations[1:-1]:
            name, p["bias"] = p["name"].replace("relu", "conv"), None
            for q in p["projections"]:
                if q["weight"].shape == ops[name].weight.shape:
                    q["weight"] = np.array(ops[name].weight)


class Half(Adapter):
    """Sums in float16."""

    def current(self, q, spikes, shape):
        q = {**q, "weight": q["weight"].astype(np.float16)}
        return super().current(q, spikes, shape)


class Rounded(Adapter):
    """Sums of fewer bits: what TF32, bfloat16 or short accumulators do."""

    bits = 23

    def current(self, q, spikes, shape):
        x = super().current(q, spikes, shape)
        _, exponent = np.frexp(np.abs(x).max() + 1e-30)
        grid = np.float32(2.0) ** (exponent + 1 - self.bits)
        return np.round(x / grid) * grid


class Deaf(Adapter):
    """A readout without its bias."""

    def load(self, network):
        super().load(network)
        self.populations[-1]["bias"] = None


class Off(Adapter):
    def step(self, currents):
        out = super().step(currents)
        name = self.populations[-1]["name"]
        return {**out, name: out[name] * np.float32(1.001)}


class Unknown(Adapter):
    def step(self, currents):
        out = super().step(currents)
        name = self.populations[-1]["name"]
        return {**out, name: out[name] * np.float32(np.nan)}


class Deep(Adapter):
    def step(self, currents):
        out = super().step(currents)
        name = self.populations[-1]["name"]
        return {**out, name: out[name][..., None]}


class Rising(Adapter):
    def step(self, currents):  # noqa: ARG002 - it does nothing with them
        raise RuntimeError("no device")


class Lacking(Adapter):
    def step(self, currents):
        return {"in": super().step(currents)["in"]}


WRONG = [
    (HardReset, "residual-charge", "reset=to-zero"),
    (Strict, "tie", "tie=>"),
    (NeverReset, "state", "state-not-reset"),
    (Transposed, "dilation", "kernel transposed in second"),
    (Late, "bias", "layer_delay=1"),
    (Doubled, "tie", "threshold x2 in in, second"),
    (Clamped, "clamp", "lower_clamp=0.0"),
]


@pytest.mark.parametrize(("wrong", "name", "why"), WRONG)
def test_wrong_adapters_are_named(wrong, name: str, why: str) -> None:
    score = judge(wrong, vector(name))
    assert score.status == "failed"
    assert score.explanation.accepted
    assert score.explanation.name == why
    assert score.run == ("again" if wrong is NeverReset else "")
    assert score.first is not None


class Started(HardReset):
    """Two defaults of other simulators at once."""

    def reset(self, batch):
        super().reset(batch)
        self.v = {name: 0 * v for name, v in self.v.items()}


def test_two_mistakes_in_one_adapter() -> None:
    score = judge(Started, vector("digits-qcfs"))
    why = "reset=to-zero; v(0) = 0 in act1, act2, act3, act4"
    assert (score.explanation.name, score.explanation.verdict) == (why, "exact")
    assert score.explanation.fits[0].kind == "reset=to-zero; v(0) = 0"


def test_one_name_for_what_one_mistake_does_everywhere() -> None:
    scores = list(conform(Late, quick=True))
    first = [score.explanation.name for score in scores]
    assert "recording-delay of second by 1" in first
    one = agreed(scores)
    assert {score.explanation.name for score in one} == {"layer_delay=1"}
    assert all(
        set(new.explanation.fits) == set(old.explanation.fits)
        for new, old in zip(one, scores, strict=True)
    )
    assert tally(one) == {"layer_delay=1": len(names(quick=True))}
    assert story(one) == f"all {len(names(quick=True))} explained by layer_delay=1"


def scored(*kinds: str, verdict: str = "exact") -> Score:
    """A failed vector, by the kinds of its explanations."""
    fits = tuple(Fit(kind=kind, name=f"{kind} in a") for kind in kinds)
    why = Explanation(
        name=fits[0].name if fits else "x",
        remaining=0,
        tried=(),
        verdict=verdict,
        differing=1,
        fits=fits,
    )
    return Score(name="v", about="", status="failed", differing=1, explanation=why)


def test_what_explains_the_most_goes_first() -> None:
    broken = Score(name="e", about="", status="failed", reason="no device")
    passed = Score(name="p", about="", status="passed")
    mixed = [
        scored("late", "delay"),
        scored("delay"),
        scored("tie", "strict"),
        scored("strict", "tie"),
        scored("tie", "strict", "delay"),
        scored(verdict="unexplained"),
        scored(verdict="up to rounding"),
        broken,
        passed,
    ]
    one = agreed(mixed)
    assert [s.explanation and s.explanation.fits[:1] for s in one[:5]] == [
        (Fit(kind=kind, name=f"{kind} in a"),)
        for kind in ("delay", "delay", "tie", "tie", "delay")
    ]
    assert one[0].explanation.name == "delay in a"
    assert story(one) == (
        "3 explained by delay, 2 explained by tie, 1 explained by x up to rounding, "
        "1 unexplained, 1 failed without a spike that differs"
    )
    assert story([passed]) == story([broken]) == ""
    assert story([scored("tie")]) == "1 explained by tie"


def test_batch_norms_that_were_not_folded_are_named() -> None:
    v = vector("batch-norm")
    golden, made = stored(v), Unfolded()
    made.load(network_arrays(v.snn))
    got, _ = play(made, v.snn, golden)
    assert not compare(golden, got).identical
    assert not explain(golden, got, v.snn).accepted
    fault = norm_fault(v.snn, residual_network(*BATCH_NORM))
    found = explain(golden, got, v.snn, more=[fault])
    assert found.accepted
    assert found.name.startswith("batch norm not folded in layer1.0.relu1")


@pytest.mark.parametrize(("wrong", "name", "why"), WRONG)
def test_wrong_adapters_fail_the_large_vectors_too(wrong, name: str, why: str) -> None:
    score = judge(wrong, vector("resnet20"))
    assert score.status == "failed"
    assert score.explanation.accepted, score.explanation
    assert score.explanation.name.split(" in ")[0] == why.split(" in ", maxsplit=1)[0]


def test_what_is_not_binary32_is_not_judged() -> None:
    scores = list(conform(Half, quick=True))
    assert scores[0].status == "failed"
    assert not scores[0].explanation.accepted
    assert {score.status for score in scores[1:]} == {"skipped"}
    assert "no binary32 addition" in scores[1].reason


@pytest.mark.parametrize("bits", [8, 11, 16, 22])
def test_short_sums_fail_the_probe(bits: int) -> None:
    short = type("Short", (Rounded,), {"bits": bits})
    score = judge(short, vector("probe"))
    assert score.status == "failed"
    assert not score.explanation.accepted


@pytest.mark.parametrize(
    ("wrong", "name"),
    [(Deaf, "bias"), (Deaf, "digits-qcfs"), (Off, "digits-relu"), (Off, "tie")],
)
def test_wrong_readouts_are_noticed(wrong, name: str) -> None:
    score = judge(wrong, vector(name))
    assert (score.status, score.differing) == ("failed", 0)
    assert "readout" in score.reason


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (Rising, "RuntimeError: no device"),
        (Lacking, "nothing of second, readout"),
        (Unknown, "not all finite"),
        (Deep, "finite numbers of shape"),
    ],
)
def test_adapters_that_break(wrong, reason: str) -> None:
    score = judge(wrong, vector("bias"))
    assert score.status == "failed"
    assert reason in score.reason
    raised = "Error" in reason  # by the adapter: where in it
    assert bool(re.search(r"test_conformance\.py:\d+\)$", score.reason)) == raised


def test_capabilities_choose_the_vectors() -> None:
    class Simple(Adapter):
        capabilities: ClassVar = {"neurons": ("IF",), "mask": False}

    class Expecting(Strict):
        capabilities: ClassVar = {
            **Adapter.capabilities,
            "expected_failures": {"tie": "it is strict", "kernel-shape": "so it is"},
        }

    class Right(Adapter):
        capabilities: ClassVar = {
            **Adapter.capabilities,
            "expected_failures": {"tie": "bug 7"},
        }

    assert judge(Simple, vector("guard")).reason == "no DualThresholdIF"
    assert judge(Simple, vector("mask")).status == "skipped"
    assert judge(Simple, vector("groups")).status == "passed"
    score = judge(Expecting, vector("tie"))
    assert (score.status, score.reason) == ("expected failure", "it is strict")
    assert judge(Right, vector("tie")).status == "unexpected pass"


def test_modules_and_capabilities_that_break(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "broken_adapter.py").write_text("1 / 0\n")
    with pytest.raises(OptionError, match="ZeroDivisionError"):
        find_adapter("broken_adapter:A")
    for index, value in enumerate(("None", "{'expected_failures': ['tie']}")):
        (tmp_path / f"odd_adapter{index}.py").write_text(
            "from refsnn.conformance.adapters.numpy import Adapter as A\n"
            f"class B(A):\n    capabilities = {value}\n"
        )
        with pytest.raises(OptionError, match="capabilities"):
            find_adapter(f"odd_adapter{index}:B")


@pytest.mark.parametrize("target", ["nobody:A", "json", "json:loads", "", ":", "json:"])
def test_no_adapter(target: str) -> None:
    with pytest.raises(OptionError, match="adapter"):
        find_adapter(target)


# -- the layout ----------------------------------------------------------------------


def test_what_the_layout_cannot_say_is_refused() -> None:
    snn = convert(random_net(3), "qcfs")
    foreign = dataclasses.replace(snn, profile=Profile(tie=">"))
    with pytest.raises(OptionError, match="conventions"):
        network_arrays(foreign)
    with pytest.raises(OptionError, match=r"masks=trace\.masks"):
        network_arrays(convert(random_net(3), "srp"))
    with pytest.raises(OptionError, match="COS"):
        network_arrays(convert(random_net(3), "cos"))
    dual, _ = dual_rule(np.array(1.0))
    loose = DualThresholdIF(theta_neg=dual.theta_neg, guard=False)
    populations = tuple(
        dataclasses.replace(p, neuron=loose) if p.neuron else p for p in snn.populations
    )
    with pytest.raises(OptionError, match="guarded"):
        network_arrays(dataclasses.replace(snn, populations=populations))


def test_the_layout_runs_a_converted_network() -> None:
    """Strides, groups, dilation, pooling and both shortcuts, through the template."""
    from refsnn.recording import record
    from refsnn.snap import snap

    snn = snap(convert(random_net(4), "qcfs", exact=False), "float32", T=8)
    trace = record(snn, images(3, 4), 6)
    adapter = Adapter()
    adapter.load(network_arrays(snn))
    adapter.reset(4)
    currents = {
        name: recorded.input_current
        for name, recorded in trace.populations.items()
        if recorded.input_current is not None
    }
    steps = [adapter.step(currents) for _ in range(6)]
    got = {n: np.stack([out[n] for out in steps]) for n in trace.populations}
    assert compare(trace, got).identical


# -- command line and pytest ---------------------------------------------------------


def test_conform_on_the_command_line(tmp_path: Path, refsnn) -> None:
    target = "refsnn.conformance.adapters.numpy:Adapter"
    code, out, _ = refsnn("conform", target, "--quick")
    assert code == 0
    assert f"{target}: {len(names(quick=True))} passed" in out
    file = tmp_path / "r.json"
    code, out, _ = refsnn(
        "conform", "test_conformance:Strict", "--quick", "--json", str(file)
    )
    assert code == 1
    answer = json.loads(file.read_text())
    assert answer["counts"]["failed"] > 5
    failed = answer["counts"]["failed"]
    assert answer["explained"] == {"tie=>": failed}
    assert out.count("explained by: tie=>\n") == failed
    assert out.endswith(f"\nall {failed} explained by tie=>\n")
    tie = next(v for v in answer["vectors"] if v["name"] == "tie")
    assert tie["explanation"]["name"] == "tie=>"
    assert tie["first"]["step"] >= 1
    assert refsnn("conform", "nobody:A")[0] == 2


def test_vectors_on_the_command_line(tmp_path: Path, refsnn) -> None:
    code, out, _ = refsnn("vectors", "check")
    assert code == 0
    assert f"{len(names())} of {len(names())} vectors are as stored" in out
    code, out, _ = refsnn("vectors", "write", str(tmp_path / "v"))
    assert code == 0
    (tmp_path / "v/tie.h5").unlink()
    code, out, _ = refsnn("vectors", "check", str(tmp_path / "v"))
    assert code == 1
    assert out.startswith("tie: ")


def test_the_pytest_plugin(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text("def test_own():\n    pass\n")
    (tmp_path / "mine.py").write_text(
        "from refsnn.conformance.adapters.numpy import Adapter as Right\n"
        "import numpy as np\n"
        "class Adapter(Right):\n"
        "    capabilities = {**Right.capabilities, 'groups': False,\n"
        "                    'expected_failures': {'tie': 'none'}}\n"
        "    def load(self, network):\n"
        "        super().load(network)\n"
        "        for p in self.populations:\n"
        "            p['theta'] = 2 * p['theta']\n"
    )
    options = ["-p", "no:cacheprovider", "-p", "refsnn.conformance.plugin", "-rA"]
    options += ["--refsnn-adapter", "mine:Adapter", "--refsnn-quick"]
    plugged = Path(sys.executable).with_name("pytest")  # does not add the folder
    done = subprocess.run(
        [plugged, *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "explanation: threshold x2" in done.stdout
    assert "refsnn: all 21 explained by threshold x2\n" in done.stdout
    assert "1 passed, 2 skipped, 1 xfailed" in done.stdout
    assert "20 failed" in done.stdout


def test_vectors_of_another_network_are_refused(monkeypatch) -> None:
    v = dataclasses.replace(vector("tie"), name="bias")
    with pytest.raises(DataError, match="made by another version"):
        stored(v)


def test_every_vector_says_what_it_is_about() -> None:
    assert len({v.about for v in vectors()}) == len(names())
