"""Errors followed to the loss: by hand, as matrices, against the loss itself."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nets import ACTIVATIONS, images, random_net
from refsnn import datasets
from refsnn.activations import ReLU
from refsnn.convert import convert
from refsnn.datasets import Images
from refsnn.errors import OptionError
from refsnn.layers import Conv2d, Flatten, Input, Linear
from refsnn.methods import prepared
from refsnn.network import Network, Node, SpikingNetwork
from refsnn.propagation import (
    Graph,
    cross_entropy,
    errors_of,
    propagate,
    recursion_residue,
)

TRAIN = images(6, 40)
CASES = {
    "relu": ("relu", "calib-light", {"samples": 20, "batch": 10}),
    "relu, trained": (
        "relu",
        "calib-advanced",
        {"samples": 20, "batch": 10, "iterations": 50, "minibatch": 8, "rate": 1e-3},
    ),
    "relu, pooling neurons": (
        "relu",
        "calib-potential",
        {"samples": 20, "batch": 10, "spiking_pool": True},
    ),
    "clip": ("clip", "ecl", {}),
    "qcfs": ("qcfs", "qcfs", {}),
    "srp": ("qcfs", "srp", {}),
}


def labelled(pixels: np.ndarray, labels: np.ndarray, classes: int) -> Images:
    return Images(
        name="x",
        split="test",
        sha256="",
        images=pixels,
        labels=labels.astype(np.uint8),
        classes=classes,
    )


def made(name: str, T: int) -> tuple[Network, SpikingNetwork]:
    kind, method, options = CASES[name]
    ann = random_net(21, ACTIVATIONS[kind])
    return ann, convert(ann, method, T=T, images=TRAIN, options=options)


@pytest.mark.parametrize("name", CASES)
def test_the_recursion_over_secants_is_exact(name: str) -> None:
    ann, snn = made(name, 6)
    graph = Graph(prepared(snn, ann), snn)
    found = errors_of(graph, TRAIN[:7], 6)
    assert recursion_residue(graph, found) < 1e-9
    assert max(np.abs(e).max() for e in found.e.values()) > 0.1
    reached = graph.jacobian_products(found.c, found.secant)
    total = sum(reached.values())
    assert np.abs(total - (found.spiking - found.logits)).max() < 1e-8


def test_the_recursion_notices_another_slope() -> None:
    ann, snn = made("relu", 6)
    graph = Graph(prepared(snn, ann), snn)
    found = errors_of(graph, TRAIN[:7], 6)
    found.secant["act3"][...] = found.slope["act3"]
    assert recursion_residue(graph, found) > 0.01


def chain(rng: np.random.Generator) -> Network:
    """Three layers of four neurons, two classes."""
    nodes = [
        Node(name="input", op=Input()),
        Node(
            name="conv",
            op=Conv2d(weight=rng.normal(0, 1, (4, 2, 1, 1))),
            inputs=("input",),
        ),
        Node(name="a1", op=ReLU(), inputs=("conv",)),
        Node(name="flat", op=Flatten(), inputs=("a1",)),
    ]
    source = "flat"
    for layer in (2, 3):
        linear = Linear(weight=rng.normal(0, 0.7, (4, 4)), bias=rng.normal(0, 0.2, 4))
        nodes.append(Node(name=f"fc{layer}", op=linear, inputs=(source,)))
        nodes.append(Node(name=f"a{layer}", op=ReLU(), inputs=(f"fc{layer}",)))
        source = f"a{layer}"
    head = Linear(weight=rng.normal(0, 1, (2, 4)))
    nodes.append(Node(name="out", op=head, inputs=(source,)))
    return Network(
        name="chain",
        input_shape=(2, 1, 1),
        classes=2,
        mean=np.full(2, 0.5),
        std=np.full(2, 0.25),
        nodes=tuple(nodes),
    )


def test_the_bound_is_that_of_the_matrices(rng: np.random.Generator) -> None:
    """H_(l-1) = W^T B H_l B W, written out; 2^(n-l) c^T H_l c, image by image."""
    ann = chain(rng)
    train = images(1, 30, (2, 1, 1))
    snn = convert(ann, "max-norm", images=train)
    labels = np.array([0, 1, 1])
    T, got = 4, 0.0
    found = propagate(snn, ann, labelled(train[:3], labels, 2), T)
    graph = Graph(prepared(snn, ann), snn)
    errors = errors_of(graph, train[:3], T)
    populations = [*graph.hidden, graph.readout]
    bounds, seconds = np.zeros(3), np.zeros(3)
    for b in range(3):
        p = np.exp(errors.logits[b]) / np.exp(errors.logits[b]).sum()
        H = np.diag(p) - np.outer(p, p)
        for l in (3, 2, 1):
            W = populations[l].projections[0].op.weight
            W = W.reshape(len(W), -1)
            if l < 3:
                B = np.diag(errors.slope[f"a{l + 1}"][b].reshape(-1))
                H = W.T @ B @ H @ B @ W
            else:
                H = W.T @ H @ W
            c = errors.c[f"a{l}"][b].reshape(-1)
            bounds[l - 1] += 2.0 ** (3 - l) * (c @ H @ c)
            seconds[l - 1] += (c @ H @ c) / 2
    for l, passed in enumerate(found.populations.values()):
        assert passed.bound == pytest.approx(bounds[l], rel=1e-9)
        assert passed.second == pytest.approx(seconds[l], rel=1e-9)
        got += passed.bound
    assert found.bound == pytest.approx(got)
    assert found.bound > 0


@pytest.mark.parametrize("name", CASES)
def test_the_bound_holds_and_the_loss_is_what_it_is(name: str) -> None:
    ann, snn = made(name, 6)
    rng = np.random.default_rng(0)
    data = labelled(TRAIN, rng.integers(0, 3, len(TRAIN)), 3)
    found = propagate(snn, ann, data, 6, batch=7)
    last = list(found.populations.values())[-1]
    assert last.measured == pytest.approx(found.measured, abs=1e-6)
    for population, passed in found.populations.items():
        assert passed.together <= found.bound
        in_activations = passed.error * float(snn[population].scale)
        assert passed.gap == pytest.approx(in_activations)
    assert found.bound > last.together > 0
    one = propagate(snn, ann, data, 6, batch=40, threads=1)
    assert one.measured == pytest.approx(found.measured, rel=1e-9)


def test_the_loss_change_is_its_two_orders_when_errors_are_small() -> None:
    """At T = 512 what is left over is of third order."""
    ann, snn = made("clip", 512)
    rng = np.random.default_rng(0)
    data = labelled(TRAIN[:12], rng.integers(0, 3, 12), 3)
    found = propagate(snn, ann, data, 512)
    assert abs(found.measured) > 1e-3
    orders = found.first + found.second
    assert found.measured == pytest.approx(orders, rel=0.01)


def test_cross_entropy_by_hand() -> None:
    """-log(3/4) and -log(1/2); and no overflow."""
    logits = np.array([[np.log(3.0), 0.0], [1e4, 1e4]])
    want = np.log(4 / 3) + np.log(2)
    assert cross_entropy(logits, np.array([0, 1])) == pytest.approx(want)


def test_other_networks_are_refused() -> None:
    _, snn = made("qcfs", 6)
    data = labelled(TRAIN[:2], np.zeros(2), 3)
    with pytest.raises(OptionError, match="of which"):
        propagate(snn, random_net(3), data, 6)


def test_the_command(refsnn) -> None:
    ann = str(datasets.weights_folder() / "digits_qcfs.h5")
    few = ["errors", ann, "-m", "qcfs", "-T", "4", "--limit", "20", "--propagation"]

    code, out, _ = refsnn(*few)
    assert (code, "exact recursion" in out) == (0, True)
    answer = json.loads(refsnn(*few, "--json", "-").out)
    assert answer["bound"] > answer["second"] > 0
    assert answer["looseness"] == pytest.approx(answer["bound"] / answer["second"])
    assert list(answer["populations"]) == ["act1", "act2", "act3", "act4"]
    assert refsnn(*few, "--target", "relu").code == 2
