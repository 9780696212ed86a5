"""Level 7: calibration as released, against an independent PyTorch rendering."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from nets import ACTIVATIONS, images, random_net
from refsnn.activations import Activation
from refsnn.calibration import Training
from refsnn.calibration.weights import Layer, calibrate_weights, loss_and_gradient
from refsnn.convert import convert
from refsnn.layers import Conv2d
from refsnn.methods import rules
from refsnn.network import Network, SpikingNetwork
from refsnn.run import run_snn

torch = pytest.importorskip("torch", reason="needs the extra torch")

import published_calibration as released  # noqa: E402 - needs torch

T = 8
TRAIN, TEST = images(6, 60), images(7, 40)
SMALL = {"batches": 3, "batch": 12, "draw": 5}
ORDER = np.random.default_rng(5).permutation(60)[:36]
SEEDS = (10, 21)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Small tensors gain nothing by more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def network(seed: int) -> Network:
    return random_net(seed, ACTIVATIONS["relu"])


def plain(ann: Network) -> list[dict[str, Any]]:
    """The network as dictionaries of float64 tensors."""
    fields = ("weight", "bias", "gamma", "beta", "mean", "var")
    nodes = []
    for node in ann.nodes:
        op = "relu" if isinstance(node.op, Activation) else node.op.op
        about: dict[str, Any] = {"name": node.name, "inputs": node.inputs, "op": op}
        for field in fields:
            value = getattr(node.op, field, None)
            about[field] = None if value is None else torch.from_numpy(value.copy())
        for field in ("stride", "padding", "dilation", "groups", "kernel", "eps"):
            about[field] = getattr(node.op, field, None)
        nodes.append(about)
    return nodes


def tensor(ann: Network, some: np.ndarray) -> Any:
    return torch.from_numpy(ann.preprocess(some).astype(np.float64))


def made(method: str, number: int, **options: object) -> SpikingNetwork:
    settings = {**SMALL, **options}
    return convert(network(number), method, T=T, images=TRAIN, options=settings)


def compare(snn: SpikingNetwork, seed: int, nodes: list, theta: dict) -> None:
    """Thresholds, biases, weights, potentials, predictions."""
    names = {"pool": "pool", "gap.maps": "gap"}
    for p in snn.hidden:
        name = names.get(p.name, p.name)
        node = next(n for n in nodes if n["name"] == name)
        assert p.scale == pytest.approx(theta[name], abs=1e-6)
        v0 = node.get("v0", torch.zeros(())).numpy()
        assert np.abs(p.over("v0") * p.scale - v0).max() < 1e-6
        main, *above = released.feeding(nodes, node)
        if "mean" in main["name"]:
            continue  # pooling: its weights are averages
        bias = sum(
            n["bias"]
            for n in (main, *(b for a in above for b in sources(nodes, a)))
            if n.get("bias") is not None
        )
        shifted = np.asarray(bias) + theta[name] / (2 * T)
        assert np.abs(p.over("bias").reshape(-1) * p.scale - shifted).max() < 1e-6
    x = tensor(network(seed), TEST)
    want = released.through(nodes, theta, x, T).numpy()
    got = run_snn(snn, snn.preprocess(TEST), T).logits[-1]
    assert np.abs(got - want).max() < 1e-6
    assert (got.argmax(axis=-1) == want.argmax(axis=-1)).all()
    assert len(set(want.argmax(axis=-1).tolist())) > 1


def sources(nodes: list, add: dict) -> list[dict]:
    return [n for n in nodes if n["name"] in add["inputs"][1:] and n["op"] == "conv2d"]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("pools", [False, True])
@pytest.mark.parametrize("part", ["none", "bias", "potential"])
def test_calibration_as_released(part: str, pools: bool, seed: int) -> None:
    method = {"none": "none", "bias": "light", "potential": "potential"}[part]
    snn = made(f"calib-{method}-code", seed, spiking_pool=pools)
    assert snn.samples.tolist() == ORDER.tolist()
    ann = network(seed)
    nodes = released.folded(plain(ann))
    nodes = released.with_spiking_pools(nodes, ann.shapes) if pools else nodes
    x = tensor(ann, TRAIN[ORDER])
    theta = released.thresholds(nodes, x, T, 12, part != "none")
    if part != "none":
        nodes = released.calibrate(nodes, theta, x[:12], T, part)
    compare(snn, seed, nodes, theta)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_weights_as_released(
    optimiser: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights, then potentials; products in float64, as PyTorch's here."""
    exact = functools.partial(calibrate_weights, dtype=np.float64)
    monkeypatch.setattr(rules.calibration, "calibrate_weights", exact)
    rate, steps = {"adam": 1e-3, "sgd": 1e-2}[optimiser], 40
    snn = made(
        "calib-advanced-code",
        seed,
        iterations=steps,
        minibatch=8,
        trained=20,
        rate=rate,
        optimiser=optimiser,
        seed=3,
    )
    ann = network(seed)
    nodes = released.folded(plain(ann))
    x = tensor(ann, TRAIN[ORDER])
    theta = released.thresholds(nodes, x, T, 12, True)
    rng = np.random.default_rng(3)
    order = [torch.from_numpy(rng.permutation(20)[:8]) for _ in range(steps)]
    after = released.train(nodes, theta, x[:20], T, order, optimiser, rate)
    moved = 0.0
    for p in snn.hidden:
        node = next(n for n in after if n["name"] == p.name)
        main = next(released.feeding(after, node))
        before = next(n for n in nodes if n["name"] == main["name"])
        chosen = max(p.projections, key=lambda q: q.op.weight.size)
        scale = snn[chosen.source].scale if chosen.source != "@input" else 1.0
        got = chosen.op.weight * p.scale * chosen.divisor / scale
        assert np.abs(got - main["weight"].numpy()).max() < 1e-6
        moved = max(moved, float((main["weight"] - before["weight"]).abs().max()))
    assert moved > 10 * rate
    mixed = [
        {
            **node,
            "weight": next(a for a in after if a["name"] == node["name"])["weight"],
        }
        for node in nodes
    ]
    final = potentials(nodes, mixed, theta, x[:12])
    compare(snn, seed, final, theta)


def potentials(nodes: list, trained: list, theta: dict, x: Any) -> list[dict]:
    """Potentials of the trained network against the activations before training."""
    want = released.outputs(nodes, x)
    trained = [dict(node) for node in trained]

    def look(node: dict, values: dict) -> None:
        got = released.emitted(node, values[node["inputs"][0]], theta, T)
        mean = got.reshape(T, *want[node["name"]].shape).mean(dim=0)
        node["v0"] = T * (want[node["name"]] - mean).mean(dim=0)

    released.through(trained, theta, x, T, look)
    return trained


def test_the_loss_and_its_gradient_are_those_of_autograd() -> None:
    rng = np.random.default_rng(2)
    op = Conv2d(weight=rng.normal(0, 0.3, (3, 2, 3, 3)), padding=(1, 1))
    theta = np.array([0.5, 1.0, 2.0]).reshape(-1, 1, 1)
    x, a = rng.uniform(0, 1, (6, 2, 5, 5)), rng.uniform(0, 1, (6, 3, 5, 5))
    rest = np.full((6, 3, 5, 5), 0.1)
    layer = Layer(op=op, x=x, rest=rest, a=a, theta=theta, T=T)
    some = np.array([4, 0, 5])
    loss, got = loss_and_gradient(layer, op.weight, some)
    weight = torch.from_numpy(np.array(op.weight)).requires_grad_()
    V = torch.from_numpy(theta)
    z = torch.nn.functional.conv2d(torch.from_numpy(x[some]), weight, padding=1) + 0.1
    levels = released.Floor.apply(torch.minimum(z.clamp(min=0), V) * T / V)
    error = V / T * levels - torch.from_numpy(a[some])
    want = error.pow(2).sum(dim=1).mean()
    want.backward()
    assert loss == pytest.approx(want.item(), rel=1e-12)
    assert np.abs(got - weight.grad.numpy()).max() < 1e-14
    assert np.abs(got).max() > 0.01


def test_steps_and_schedule_are_those_of_torch() -> None:
    from refsnn.calibration.optimisers import OPTIMISERS, at_rest, cosine

    rng = np.random.default_rng(1)
    gradients = rng.normal(0, 1, (25, 4, 3))
    rate = Training().rate
    for name, make in {
        "adam": lambda w: torch.optim.Adam([w], lr=rate),
        "sgd": lambda w: torch.optim.SGD([w], lr=rate, momentum=0.9),
    }.items():
        w = rng.normal(0, 1, (4, 3))
        tw = torch.from_numpy(w.copy()).requires_grad_()
        steps = make(tw)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(steps, 25)
        moments = at_rest(w)
        for t, g in enumerate(gradients):
            assert schedule.get_last_lr()[0] == pytest.approx(cosine(rate, t, 25))
            tw.grad = torch.from_numpy(g)
            steps.step()
            schedule.step()
            w, moments = OPTIMISERS[name].step(
                w, g, moments, t + 1, cosine(rate, t, 25)
            )
            assert np.abs(w - tw.detach().numpy()).max() < 1e-14
