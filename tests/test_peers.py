"""Level 7: other simulators themselves, spike for spike, under their profiles.

Needs the extra ``peers``; sinabs, whose pin of NIR excludes ours, is asked by
``reproductions/five_simulators.py`` in an environment of its own.
"""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra torch)")
for _peer in ("spikingjelly", "snntorch", "norse", "nir"):
    pytest.importorskip(_peer, reason=f"{_peer} is not installed (extra peers)")

from refsnn.conformance import conform, find_adapter, names  # noqa: E402
from refsnn.conformance.adapters import snntorch as snntorch_adapter  # noqa: E402
from refsnn.exchange.recordings import from_monitor  # noqa: E402
from refsnn.neurons import IF, initial_state, under, unroll  # noqa: E402
from refsnn.profile import PROFILES, Profile  # noqa: E402

ADAPTERS = "refsnn.conformance.adapters."
# the simulators' own deprecations are theirs to follow
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def currents() -> np.ndarray:
    """Multiples of 1/8, many ties; (T, B, N)."""
    rng = np.random.default_rng(2026)
    return rng.integers(-12, 21, (24, 4, 50)) / 8


def reference(profile: Profile, x: np.ndarray) -> np.ndarray:
    state = initial_state(np.array(0.0), x.shape[1:])
    return unroll(under(IF(), profile), x, state, np.array(1.0))[0]


def steps(module, x: np.ndarray, *, stateful: bool) -> np.ndarray:
    state, out = None, []
    for t in range(len(x)):
        step = torch.tensor(x[t], dtype=torch.float32)
        if stateful:
            answer = module(step)
        else:
            answer, state = module(step, state) if state is not None else module(step)
        out.append(answer.detach().numpy())
    return np.stack(out).astype(np.int8)


def graph(count: int):
    import nir

    ones = np.ones(count, dtype=np.float32)
    neurons = nir.IF(r=ones, v_threshold=ones, v_reset=0 * ones)
    return nir.NIRGraph(
        nodes={
            "input": nir.Input(np.array([count])),
            "linear": nir.Linear(np.eye(count, dtype=np.float32)),
            "neurons": neurons,
            "output": nir.Output(np.array([count])),
        },
        edges=[("input", "linear"), ("linear", "neurons"), ("neurons", "output")],
    )


def test_norse(currents: np.ndarray) -> None:
    import norse.torch

    got = steps(norse.torch.from_nir(graph(50)), currents, stateful=False)
    for name in ("norse", "nir-text"):
        assert (got == reference(PROFILES[name].profile, currents)).all()


def test_spikingjelly(currents: np.ndarray) -> None:
    from spikingjelly.activation_based import neuron

    hard, soft = neuron.IFNode(), neuron.IFNode(v_reset=None)
    want = reference(PROFILES["spikingjelly"].profile, currents)
    assert (steps(hard, currents, stateful=True) == want).all()
    want = reference(PROFILES["refsnn"].profile, currents)
    assert (steps(soft, currents, stateful=True) == want).all()


def test_snntorch(currents: np.ndarray) -> None:
    import snntorch
    from snntorch.import_nir import import_from_nir

    leaky = snntorch.Leaky(beta=1.0)
    want = reference(PROFILES["snntorch-leaky"].profile, currents)
    assert (steps(leaky, currents, stateful=False) == want).all()
    late = snntorch.Leaky(beta=0.5)
    want = reference(Profile(tie=">", decay=0.5, reset_delay=1), currents)
    assert (steps(late, currents, stateful=False) == want).all()
    node = dict(import_from_nir(graph(50)).named_modules())["neurons"]
    want = reference(PROFILES["snntorch"].profile, currents)
    assert (steps(node, currents, stateful=False) == want).all()


def test_snntorch_resets_to_zero_as_norse_does(currents: np.ndarray) -> None:
    import snntorch

    leaky = snntorch.Leaky(beta=1.0, reset_mechanism="zero")
    want = reference(Profile(reset="to-zero", tie=">", reset_delay=1), currents)
    assert (steps(leaky, currents, stateful=False) == want).all()
    assert (want == reference(PROFILES["norse"].profile, currents)).all()


@pytest.mark.parametrize(("name", "skipped"), [("torch", 0), ("spikingjelly", 4)])
def test_scores(name: str, skipped: int) -> None:
    scores = list(conform(find_adapter(f"{ADAPTERS}{name}:Adapter")))
    statuses = [score.status for score in scores]
    assert statuses.count("passed") == len(names()) - skipped
    assert statuses.count("skipped") == skipped


def test_every_failure_of_snntorch_is_explained() -> None:
    scores = list(conform(snntorch_adapter.Adapter))
    failed = [score for score in scores if score.status == "failed"]
    assert len(failed) == 20
    for score in failed:
        assert score.explanation.accepted
        assert "tie=>" in score.explanation.name
    passed = {score.name for score in scores if score.status == "passed"}
    assert passed == {"probe", "digits-qcfs", "digits-relu"}


def test_monitors_of_spikingjelly(currents: np.ndarray) -> None:
    from spikingjelly.activation_based import layer, monitor, neuron

    net = torch.nn.Sequential(
        layer.Linear(50, 20, bias=False), neuron.IFNode(v_reset=None)
    )
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(20, 50))
    watch = monitor.OutputMonitor(net, neuron.IFNode)
    for x in currents:
        net(torch.tensor(x, dtype=torch.float32))
    got = from_monitor(watch, {"1": "out"}, steps=len(currents))
    want = reference(PROFILES["refsnn"].profile, currents[..., :20])
    assert (got["out"] == want).all()
