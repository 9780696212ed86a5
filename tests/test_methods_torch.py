"""Level 7: every method gives the spikes of an independent PyTorch rendering.

Weights, thresholds and inputs are dyadic, so float64 is exact on both sides, ties and
residual potentials of exactly 0 included. 200 networks with strides, groups, dilation,
pooling and residual blocks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nets import LAMS, dyadic, random_net
from refsnn.activations import QCFS
from refsnn.layers import Conv2d, Input, Linear
from refsnn.methods import METHODS, Context
from refsnn.network import Network, Node, SpikingNetwork
from refsnn.passes import activations_to_neurons, canonical_form
from refsnn.recording import spikes_of
from refsnn.snap import snap

torch = pytest.importorskip("torch", reason="needs the extra torch")

import published  # noqa: E402 - needs torch

SEEDS = 20


def converted(
    ann: Network, name: str, options: dict[str, Any], T: int
) -> SpikingNetwork:
    """Convert by a method whose thresholds are the clips that are there."""
    method = METHODS[name]
    context = Context(
        options=method.options(**options),
        images=np.empty(0),
        T=T,
        impl="kernel",
        progress=None,
    )
    snn = activations_to_neurons(ann, method.neuron(context))
    snn = method.finish(snn, context) if method.finish else snn
    snn = snap(canonical_form(snn), T=64)
    return dataclasses.replace(snn, method=name)


def plain(ann: Network) -> list[dict[str, Any]]:
    """The network as dictionaries of float64 tensors."""
    nodes = []
    for node in ann.nodes:
        about: dict[str, Any] = {"name": node.name, "inputs": node.inputs}
        about["op"] = node.op.op
        for field in ("weight", "bias"):
            value = getattr(node.op, field, None)
            about[field] = None if value is None else torch.from_numpy(value.copy())
        for field in ("stride", "padding", "dilation", "groups", "kernel"):
            about[field] = getattr(node.op, field, None)
        if node in ann.activations:
            about["theta"] = torch.from_numpy(node.op.lam.astype(np.float64))
        nodes.append(about)
    return nodes


def tolerance(v: Any) -> Any:
    return v > 1e-3


CASES: dict[str, tuple[str, dict[str, Any], Callable]] = {
    "qcfs": ("qcfs", {}, lambda q: published.simple("if", 0.5)),
    "max-norm": ("max-norm", {}, lambda q: published.simple("if", 0.0)),
    "opi": ("opi", {}, lambda q: published.simple("if", 0.5)),
    "rts": ("rts", {}, lambda q: published.simple("if", 0.0, shift=True)),
    "snm": ("snm", {}, lambda q: published.simple("snm", 0.0)),
    "ecl": ("ecl", {}, lambda q: published.simple("fast-snn", 0.5)),
    "ecl, qffs": (
        "ecl",
        {"preset": "qffs"},
        lambda q: published.simple("qffs", 0.5),
    ),
    "ecl, no dual": ("ecl", {"dual": False}, lambda q: published.simple("if", 0.5)),
    "ecl, v(0) = 0": (
        "ecl",
        {"v0": 0.0},
        lambda q: published.simple("fast-snn", 0.0),
    ),
    "srp": ("srp", {"tau": 4}, lambda q: published.srp(tolerance, 4)),
    "srp, tau 1": ("srp", {"tau": 1}, lambda q: published.srp(tolerance, 1)),
    "srp, tau 0": ("srp", {"tau": 0}, lambda q: published.srp(tolerance, 0)),
    "srp-v0": ("srp-v0", {"tau": 3}, lambda q: published.srp(lambda v: v >= 0, 3)),
    "cos": ("cos", {"rho": 4}, lambda q: published.cos(4, 1, *margins(q))),
    "cos, iterated": (
        "cos",
        {"rho": 3, "rounds": 4},
        lambda q: published.cos(3, 4, *margins(q)),
    ),
}


def margins(q: int) -> tuple[float, float]:
    """0.999 and 1.001 rounded away from 1 to the grid."""
    return np.floor(0.999 * 2.0**q) / 2.0**q, np.ceil(1.001 * 2.0**q) / 2.0**q


def same_grid(snn: SpikingNetwork) -> SpikingNetwork:
    """One grid for all channels: COS rounds its margins to each channel's own."""
    q = min(int(p.grid.min()) for p in snn.hidden)
    populations = tuple(
        dataclasses.replace(p, grid=np.full_like(p.grid, q)) if p.neuron else p
        for p in snn.populations
    )
    return dataclasses.replace(snn, populations=populations)


@pytest.mark.parametrize("name", CASES)
def test_the_spikes_are_those_of_an_independent_rendering(name: str) -> None:
    method, options, rendering = CASES[name]
    masked = fired = 0
    for seed in range(SEEDS):
        rng = np.random.default_rng([seed, 7])
        bits = int(rng.choice([2, 3, 10]))
        T = int(rng.choice([4, 8])) if method == "rts" else int(rng.integers(4, 9))
        ann = random_net(
            seed,
            lambda lam: QCFS(lam=lam, levels=4),
            lams=LAMS,
            values=lambda rng, shape, bits=bits: dyadic(rng, shape, bits),
            batchnorm=False,
        )
        snn = same_grid(converted(ann, method, options, T))
        x = dyadic(rng, (2, 2, 8, 8), bits)
        q = int(snn.hidden[0].grid[0])
        want, logits = rendering(q)(plain(ann), torch.from_numpy(x), T)
        for impl in ("kernel", "definition"):
            got, run = spikes_of(snn, x, T, impl=impl)
            for layer, train in want.items():
                assert (got[layer] == train.numpy()).all(), (seed, layer)
            assert (run.logits == logits.numpy()).all(), seed
            masked += sum(int((~mask).sum()) for mask in run.masks.values())
        fired += sum(int(np.abs(s).sum()) for s in got.values())
    assert fired > 1000
    assert (masked > 0) == bool(options.get("tau"))


@pytest.mark.parametrize(
    ("name", "want"),
    [("srp", [False, False, True, True]), ("srp-v0", [True, True, True, True])],
)
def test_residual_potentials_at_the_criterion(name: str, want: list[bool]) -> None:
    """v(4) = 0, 2^-10 < 1e-3 < 2^-9, and 1/4, on constant currents (v - 1/2 + 1)/4."""
    residual = np.array([0.0, 2.0**-10, 2.0**-9, 0.25])
    nodes = (
        Node(name="input", op=Input()),
        Node(name="c", op=Conv2d(weight=np.ones((1, 1, 1, 1))), inputs=("input",)),
        Node(name="act", op=QCFS(lam=1.0), inputs=("c",)),
        Node(name="out", op=Linear(weight=np.eye(2, 4)), inputs=("act",)),
    )
    ann = Network(
        name="edge",
        input_shape=(1, 2, 2),
        classes=2,
        mean=np.zeros(1),
        std=np.ones(1),
        nodes=nodes,
    )
    snn = converted(ann, name, {"tau": 4}, 4)
    x = ((residual + 0.5) / 4).reshape(1, 1, 2, 2)
    got, run = spikes_of(snn, x, 4)
    assert run.masks["act"].reshape(-1).tolist() == want
    keep = tolerance if name == "srp" else lambda v: v >= 0
    trains, _ = published.srp(keep, 4)(plain(ann), torch.from_numpy(x), 4)
    assert (got["act"] == trains["act"].numpy()).all()
