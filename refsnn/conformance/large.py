"""Whole networks: residual ones of generated weights, and trained ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from refsnn import architectures, datasets, io
from refsnn.activations import QCFS
from refsnn.conformance.base import MEAN, STD, T, Vector, pixels
from refsnn.conformance.draws import dyadic
from refsnn.convert import convert
from refsnn.layers import BatchNorm, Conv2d, Linear
from refsnn.network import Network
from refsnn.numerics import Shape
from refsnn.snap import snap

BATCH_NORM = (3, (1, 8, 8), 40)
"""Classes, image and seed of the network of the vector batch-norm."""


def _batch_norm(name: str) -> Vector:
    ann = residual_network(*BATCH_NORM)
    snn = snap(convert(ann, "qcfs", exact=False), "float32", T=2 * T)
    about = "a converted residual network, batch norms folded"
    snn = dataclasses.replace(snn, name=f"vector-{name}")
    return Vector(name=name, about=about, snn=snn, images=pixels(27, (1, 8, 8), 2))


def _resnet20(name: str) -> Vector:
    ann = residual_network(10, (3, 16, 16), seed=60)
    snn = snap(convert(ann, "qcfs", exact=False), "float32", T=T)
    about = "ResNet-20 on images of 16 x 16, generated weights"
    snn = dataclasses.replace(snn, name=f"vector-{name}")
    return Vector(
        name=name,
        about=about,
        snn=snn,
        images=pixels(28, (3, 16, 16), 1),
        T=4,
    )


def residual_network(classes: int, shape: Shape, seed: int) -> Network:
    """Build ResNet-20 with dyadic weights and batch norms that keep it busy.

    Parameters
    ----------
    classes : int
        Number of classes.
    shape : tuple of int
        (C, H, W) of the images.
    seed : int
        Names the weights.

    Returns
    -------
    Network
        A QCFS network.
    """
    activation = QCFS(lam=np.array(2.0), levels=4)
    ann = architectures.build(
        "resnet20-a", classes=classes, activation=activation, input_shape=shape
    )
    ops: dict[str, Any] = {}
    for index, node in enumerate(ann.nodes):
        op, at = node.op, seed * 100 + index
        if isinstance(op, Conv2d | Linear) and not node.name.endswith("shortcut"):
            fan_in = int(np.prod(op.weight.shape[1:]))
            bits = int(np.log2(fan_in)) // 2 + 3
            ops[node.name] = dataclasses.replace(
                op, weight=dyadic(at, op.weight.shape, -8, 9, bits)
            )
        elif isinstance(op, BatchNorm):
            size = op.gamma.shape
            ops[node.name] = BatchNorm(
                gamma=dyadic(at, size, 1, 3, 0),
                beta=dyadic(at + 50000, size, -1, 4, 3),
                mean=dyadic(at + 60000, size, -2, 2, 3),
                var=np.ones(size),
                eps=0.0,
            )
    mean = np.full(ann.input_shape[0], MEAN)
    std = np.full(ann.input_shape[0], STD)
    return dataclasses.replace(ann.with_ops(ops), mean=mean, std=std)


def _digits(activation: str) -> Callable[[str], Vector]:
    def make(name: str) -> Vector:
        ann = io.load_ann(datasets.weights_folder() / f"digits_{activation}.h5")
        test = datasets.load("digits", "test")
        if activation == "relu":
            train = datasets.load("digits", "train")
            snn = convert(ann, "max-norm", images=train.images, exact=False)
        else:
            method = "qcfs" if activation == "qcfs" else "ecl"
            snn = convert(ann, method, exact=False)
        snn = snap(snn, "float32", T=T)
        return Vector(
            name=name,
            about=f"a trained network of digits, method {snn.method}",
            snn=snn,
            images=test.images[:4],
            needs=frozenset({"DualThresholdIF"} if snn.method == "ecl" else ()),
            exact_readout=False,
        )

    return make


LARGE: dict[str, Callable[[str], Vector]] = {
    "batch-norm": _batch_norm,
    "resnet20": _resnet20,
    **{f"digits-{name}": _digits(name) for name in ("qcfs", "clip", "relu")},
}
"""What makes each of them."""
