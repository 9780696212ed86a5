"""Small networks and values that the tests share."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from refsnn.activations import QCFS, Activation, Clip, ReLU
from refsnn.layers import (
    Add,
    AvgPool,
    BatchNorm,
    Conv2d,
    Flatten,
    GlobalAvgPool,
    Input,
    Linear,
)
from refsnn.network import INPUT, Network, Node, SpikingNetwork
from refsnn.neurons import DualThresholdIF, initial_state


def dyadic(rng: np.random.Generator, shape: object, bits: int = 6) -> np.ndarray:
    """Random multiples of 2^-bits in [-1, 1]; sums of a few thousand are exact."""
    return rng.integers(-(2**bits), 2**bits + 1, shape) / 2.0**bits


def random_net(
    seed: int,
    activation: Callable[[float | np.ndarray], Activation] = lambda lam: QCFS(lam=lam),
    *,
    lams: tuple[float | np.ndarray, ...] = (1.3, 0.7, 1.1, 0.9, 1.7),
    values: Callable[..., np.ndarray] | None = None,
    batchnorm: bool = True,
) -> Network:
    """Strides, groups, dilation, padding, pooling, and both kinds of shortcut.

    `values(rng, shape)` draws every weight; Gaussian numbers by default.
    """
    rng = np.random.default_rng(seed)
    draw = values or (lambda rng, shape: rng.normal(0, 0.4, shape))
    nodes = [Node(name="input", op=Input())]

    def add(name: str, op: object, *inputs: str) -> str:
        nodes.append(Node(name=name, op=op, inputs=inputs))
        return name

    def conv(name: str, source: str, O: int, I: int, k: int, **how: object) -> str:
        weight = draw(rng, (O, I // how.get("groups", 1), k, k))
        source = add(name, Conv2d(weight=weight, bias=draw(rng, O), **how), source)
        if not batchnorm:
            return source
        norm = BatchNorm(
            gamma=rng.uniform(0.5, 1.5, O),
            beta=rng.normal(0, 0.2, O),
            mean=rng.normal(0, 0.2, O),
            var=rng.uniform(0.5, 2, O),
        )
        return add(f"{name}_bn", norm, source)

    act = [activation(np.asarray(lam)) for lam in lams]
    x = conv("conv1", "input", 4, 2, 3, padding=(1, 1))
    a1 = add("act1", act[0], x)
    x = conv("conv2", a1, 4, 4, 3, padding=(2, 2), dilation=(2, 2), groups=2)
    a2 = add("act2", act[1], x)
    x = conv("conv3", a2, 4, 4, 1)
    a3 = add("act3", act[2], add("sum3", Add(), x, a1))
    pooled = add("pool", AvgPool(kernel=(2, 2), stride=(2, 2)), a3)
    x = conv("conv4", pooled, 6, 4, 3, padding=(1, 0), stride=(2, 1))
    y = conv("short4", a3, 6, 4, 1, stride=(4, 5))
    a4 = add("act4", act[3], add("sum4", Add(), x, y))
    x = add("flatten", Flatten(), a4)
    shape = (6, 2, 2)
    x = add("fc1", Linear(weight=draw(rng, (7, int(np.prod(shape))))), x)
    a5 = add("act5", act[4], x)
    x = add("fc2", Linear(weight=draw(rng, (3, 7)), bias=draw(rng, 3)), a5)
    g = add("gap", GlobalAvgPool(), a3)
    y = add("head", Linear(weight=draw(rng, (3, 4))), g)
    add("logits", Add(), x, y)
    return Network(
        name="random",
        input_shape=(2, 8, 8),
        classes=3,
        mean=np.array([0.4, 0.5]),
        std=np.array([0.25, 0.3]),
        nodes=tuple(nodes),
        provenance={"seed": seed},
    )


def images(seed: int, count: int, shape: tuple[int, ...] = (2, 8, 8)) -> np.ndarray:
    """Random uint8 images."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, *shape), dtype=np.uint8)


def on_grid(snn: SpikingNetwork, bits: int) -> SpikingNetwork:
    """Round weights, biases, v(0) and thresholds to multiples of 2^-bits."""

    def rounded(array: np.ndarray | None) -> np.ndarray | None:
        return None if array is None else np.round(array * 2.0**bits) / 2.0**bits

    populations = tuple(
        dataclasses.replace(
            p,
            projections=tuple(
                dataclasses.replace(
                    q, op=dataclasses.replace(q.op, weight=rounded(q.op.weight))
                )
                for q in p.projections
            ),
            bias=rounded(p.bias),
            v0=rounded(p.v0),
        )
        for p in snn.populations
    )
    return dataclasses.replace(snn, populations=populations)


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays have the same type, shape and bits."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


ACTIVATIONS = {
    "relu": lambda lam: ReLU(),
    "clip": lambda lam: Clip(lam=lam),
    "qcfs": lambda lam: QCFS(lam=lam, levels=4),
}


# powers of two, per channel where the layer allows it: divisions by them are exact
LAMS = (
    np.array([0.5, 1.0, 2.0, 4.0]),
    np.array(2.0),
    np.array([2.0, 1.0, 0.5, 1.0]),
    np.array(0.5),
    np.array(4.0),
)


def exact_net(seed: int) -> Network:
    return random_net(
        seed,
        lambda lam: Clip(lam=lam),
        lams=LAMS,
        values=lambda rng, shape: dyadic(rng, shape, 4),
        batchnorm=False,
    )


def dual_rule(theta: np.ndarray) -> tuple[DualThresholdIF, np.ndarray]:
    return DualThresholdIF(theta_neg=-0.25 * np.ones_like(theta)), theta / 2


def simulated_with_thresholds(snn: SpikingNetwork, x: np.ndarray, T: int) -> dict:
    """The network before normalisation: theta-valued spikes, averaged by pooling."""
    states = {
        p.name: initial_state(p.over("v0"), (len(x), *p.shape)) for p in snn.hidden
    }
    trains: dict[str, list] = {p.name: [] for p in snn.populations}
    total = 0.0
    for _ in range(T):
        emitted = {INPUT: x}
        for p in snn.populations:
            u = np.zeros((len(x), *p.shape))
            for q in p.projections:
                u = u + q.op(q.pooled(emitted[q.source]) / q.divisor)
            if p.bias is not None:
                u = u + p.over("bias")
            if p.neuron is None:
                total = total + u
                trains[p.name].append(total)
                continue
            neuron = p.neuron.over(p.shape)
            s, states[p.name] = neuron.step(u, states[p.name], p.over("theta"))
            emitted[p.name] = p.over("theta") * s
            trains[p.name].append(s)
    return {name: np.array(train) for name, train in trains.items()}


def trained_by_others(name: str) -> Path:
    """A file in $REFSNN_DATA, or the reason why the test is left out."""
    path = Path(os.environ.get("REFSNN_DATA", "no REFSNN_DATA")) / name
    if not path.is_file():
        pytest.skip(f"{path} is missing: a network trained by others is left out")
    return path


def constant_count(
    x: np.ndarray, v0: np.ndarray, theta: np.ndarray, T: int
) -> np.ndarray:
    """N(T) of a constant current: clip(floor((T x + v0) / theta), 0, T).

    It holds for IF and every guarded dual-threshold neuron while 0 <= v0 < theta, and
    is the QCFS activation with L = T levels when v0 = theta/2 (QCFS Theorem 1; exact
    proof for each v0 by charge conservation).
    """
    assert (v0 >= 0).all()
    assert (v0 < theta).all()
    return np.clip(np.floor((T * x + v0) / theta), 0, T).astype(np.int64)
