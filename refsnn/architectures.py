"""Architectures of the published tables, as untrained networks.

Nodes are named after the modules of the code in which each architecture was released,
so that a state dict of that code fits by name. Counts of parameters,
multiply-accumulates and neurons are tested against the released definitions'.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from refsnn.activations import Activation, ReLU
from refsnn.errors import OptionError
from refsnn.layers import (
    Add,
    AvgPool,
    BatchNorm,
    Conv2d,
    Flatten,
    GlobalAvgPool,
    Input,
    Layer,
    Linear,
)
from refsnn.network import Network, Node
from refsnn.numerics import Array, Shape

CIFAR: Shape = (3, 32, 32)
IMAGENET: Shape = (3, 224, 224)
VGG16 = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)
MOBILENET = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *((512, 1),) * 5,
    (1024, 2),
    (1024, 1),
)


class _Graph:
    """A network under construction; every method adds nodes and returns the last."""

    def __init__(self, input_shape: Shape, activation: Activation, seed: int) -> None:
        self.activation, self.seed = activation, seed
        self.nodes = [Node(name="input", op=Input())]
        self.shapes = {"input": input_shape}

    def add(self, name: str, op: Layer | Activation, *inputs: str) -> str:
        self.nodes.append(Node(name=name, op=op, inputs=inputs))
        self.shapes[name] = op.out_shape(*(self.shapes[i] for i in inputs))
        return name

    def conv(
        self,
        name: str,
        x: str,
        outputs: int,
        *,
        kernel: int = 3,
        stride: int = 1,
        groups: int = 1,
        bias: bool = False,
    ) -> str:
        """Add a convolution that keeps the rows and columns at stride 1."""
        shape = (outputs, self.shapes[x][0] // groups, kernel, kernel)
        op = Conv2d(
            weight=self._normal(shape, np.sqrt(2 / (outputs * kernel**2))),
            bias=np.zeros(outputs, dtype=np.float32) if bias else None,
            stride=(stride, stride),
            padding=(kernel // 2, kernel // 2),
            groups=groups,
        )
        return self.add(name, op, x)

    def linear(self, name: str, x: str, outputs: int) -> str:
        inputs = int(np.prod(self.shapes[x]))
        weight = self._normal((outputs, inputs), 1 / np.sqrt(3 * inputs))
        bias = np.zeros(outputs, dtype=np.float32)
        return self.add(name, Linear(weight=weight, bias=bias), x)

    def batchnorm(self, name: str, x: str) -> str:
        zero = np.zeros(self.shapes[x][0], dtype=np.float32)
        one = zero + 1
        return self.add(name, BatchNorm(gamma=one, beta=zero, mean=zero, var=one), x)

    def act(self, name: str, x: str) -> str:
        return self.add(name, self.activation, x)

    def _normal(self, shape: Shape, std: float) -> Array:
        """Draw weights; those of a layer do not depend on the other layers' sizes."""
        rng = np.random.default_rng([self.seed, len(self.nodes)])
        return (std * rng.standard_normal(shape, dtype=np.float32)).astype(np.float32)


def _resnet_option_a(g: _Graph, classes: int, blocks: int) -> None:
    """16-32-64 ResNet of He et al. for CIFAR, with parameter-free shortcuts."""
    x = g.act("relu", g.batchnorm("bn1", g.conv("conv1", "input", 16)))
    for stage, width in enumerate((16, 32, 64), start=1):
        for index in range(blocks):
            at = f"layer{stage}.{index}"
            stride = 2 if stage > 1 and index == 0 else 1
            y = g.conv(f"{at}.conv1", x, width, stride=stride)
            y = g.act(f"{at}.relu1", g.batchnorm(f"{at}.bn1", y))
            y = g.batchnorm(f"{at}.bn2", g.conv(f"{at}.conv2", y, width))
            if stride == 2:
                x = g.add(f"{at}.shortcut", option_a(g.shapes[x][0], width), x)
            x = g.act(f"{at}.relu2", g.add(f"{at}.add", Add(), y, x))
    g.linear("linear", g.add("avg_pool", GlobalAvgPool(), x), classes)


def option_a(inputs: int, outputs: int) -> Conv2d:
    """Return the parameter-free shortcut of He et al. (option A) as a convolution.

    Every second row and column is kept, and the channels are padded with zeros on both
    sides: exactly a 1x1 convolution of stride 2 whose weights are 0 and 1. It counts as
    a convolution in parameters and multiply-accumulates.

    Parameters
    ----------
    inputs, outputs : int
        Channels; the padding in front is (outputs - inputs) // 2.

    Returns
    -------
    Conv2d
        The convolution.
    """
    first = (outputs - inputs) // 2
    weight = np.zeros((outputs, inputs, 1, 1), dtype=np.float32)
    weight[np.arange(inputs) + first, np.arange(inputs)] = 1
    return Conv2d(weight=weight, stride=(2, 2))


def _resnet(
    g: _Graph, classes: int, widths: Sequence[int], blocks: Sequence[int]
) -> None:
    """Basic-block ResNet with a 3x3 stem of stride 1 and 1x1 shortcuts (QCFS, SRP)."""
    x = g.conv("conv1.0", "input", widths[0])
    x = g.act("conv1.2", g.batchnorm("conv1.1", x))
    for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
        for index in range(count):
            at = f"conv{stage + 2}_x.{index}"
            stride = 2 if stage and index == 0 else 1
            y = g.conv(f"{at}.residual_function.0", x, width, stride=stride)
            y = g.batchnorm(f"{at}.residual_function.1", y)
            y = g.act(f"{at}.residual_function.2", y)
            y = g.conv(f"{at}.residual_function.3", y, width)
            y = g.batchnorm(f"{at}.residual_function.4", y)
            if stride != 1 or g.shapes[x][0] != width:
                x = g.conv(f"{at}.shortcut.0", x, width, kernel=1, stride=stride)
                x = g.batchnorm(f"{at}.shortcut.1", x)
            x = g.act(f"{at}.relu", g.add(f"{at}.add", Add(), y, x))
    g.linear("fc", g.add("avg_pool", GlobalAvgPool(), x), classes)


def _resnet_calibration(g: _Graph, classes: int) -> None:
    """Build the 64-128-256 ResNet that the calibration code calls ResNet-20."""
    x = g.act("relu", g.batchnorm("bn1", g.conv("conv1", "input", 64)))
    for stage, width in enumerate((64, 128, 256), start=1):
        for index in range(3):
            at = f"layer{stage}.{index}"
            stride = 2 if stage > 1 and index == 0 else 1
            y = g.conv(f"{at}.conv1", x, width, stride=stride)
            y = g.act(f"{at}.relu1", g.batchnorm(f"{at}.bn1", y))
            y = g.batchnorm(f"{at}.bn2", g.conv(f"{at}.conv2", y, width))
            if stride == 2:
                x = g.conv(f"{at}.downsample.0", x, width, kernel=1, stride=2)
                x = g.batchnorm(f"{at}.downsample.1", x)
            x = g.act(f"{at}.relu2", g.add(f"{at}.add", Add(), y, x))
    g.linear("fc", g.add("avgpool", GlobalAvgPool(), x), classes)


def _vgg16(g: _Graph, classes: int) -> None:
    """VGG-16 with batch norm, average pooling and the 4096-4096 head (QCFS, SRP)."""
    x = "input"
    for stage, widths in enumerate(VGG16, start=1):
        for index, width in enumerate(widths):
            at = f"layer{stage}"
            x = g.conv(f"{at}.{4 * index}", x, width, bias=True)
            x = g.batchnorm(f"{at}.{4 * index + 1}", x)
            x = g.act(f"{at}.{4 * index + 2}", x)
        x = g.add(f"{at}.{4 * len(widths)}", AvgPool(), x)
    x = g.add("classifier.0", Flatten(), x)
    x = g.act("classifier.2", g.linear("classifier.1", x, 4096))
    x = g.act("classifier.5", g.linear("classifier.4", x, 4096))
    g.linear("classifier.7", x, classes)


def _vgg16_single(g: _Graph, classes: int) -> None:
    """VGG-16 with batch norm, average pooling and one linear layer (calibration)."""
    x, at = "input", 0
    for widths in VGG16:
        for width in widths:
            x = g.conv(f"features.{at}", x, width, bias=True)
            x = g.batchnorm(f"features.{at + 1}", x)
            x = g.act(f"features.{at + 2}", x)
            at += 3
        x = g.add(f"features.{at}", AvgPool(), x)
        at += 1
    g.linear("classifier", g.add("flatten", Flatten(), x), classes)


def _mobilenet(g: _Graph, classes: int) -> None:
    """MobileNet v1: depthwise and pointwise convolutions (grouped convolutions)."""
    x = g.conv("model.0.0", "input", 32, stride=2)
    x = g.act("model.0.2", g.batchnorm("model.0.1", x))
    for index, (width, stride) in enumerate(MOBILENET, start=1):
        at, channels = f"model.{index}", g.shapes[x][0]
        x = g.conv(f"{at}.0", x, channels, stride=stride, groups=channels)
        x = g.act(f"{at}.2", g.batchnorm(f"{at}.1", x))
        x = g.conv(f"{at}.3", x, width, kernel=1)
        x = g.act(f"{at}.5", g.batchnorm(f"{at}.4", x))
    g.linear("fc", g.add("model.14", GlobalAvgPool(), x), classes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
    """A named architecture.

    Attributes
    ----------
    summary : str
        One line on what it is.
    source : str
        The code whose module names its nodes have.
    build : callable
        Adds the nodes to a graph, given the number of classes.
    input_shape : tuple of int
        (C, H, W) it is usually used with.
    """

    summary: str
    source: str
    build: Callable[[_Graph, int], None]
    input_shape: Shape = CIFAR


def _option_a_entry(depth: int) -> Architecture:
    return Architecture(
        summary=f"ResNet-{depth}, 16-32-64, parameter-free shortcuts (option A)",
        source="akamaster/pytorch_resnet_cifar10",
        build=lambda g, classes: _resnet_option_a(g, classes, (depth - 2) // 6),
    )


def _resnet_entry(
    summary: str,
    widths: Sequence[int],
    blocks: Sequence[int],
    input_shape: Shape = CIFAR,
) -> Architecture:
    return Architecture(
        summary=summary,
        source="putshua/ANN_SNN_QCFS, hzc1208/ANN2SNN_SRP",
        build=lambda g, classes: _resnet(g, classes, widths, blocks),
        input_shape=input_shape,
    )


ARCHITECTURES: dict[str, Architecture] = {
    **{f"resnet{depth}-a": _option_a_entry(depth) for depth in (20, 32, 44, 56)},
    "resnet20": _resnet_entry(
        "ResNet-20, 16-32-64, 1x1 shortcuts", (16, 32, 64), (3, 3, 3)
    ),
    "resnet18": _resnet_entry(
        "ResNet-18, 64-128-256-512, 3x3 stem of stride 1",
        (64, 128, 256, 512),
        (2, 2, 2, 2),
    ),
    "resnet34": _resnet_entry(
        "ResNet-34 as released for ImageNet: 3x3 stem of stride 1, no pooling",
        (64, 128, 256, 512),
        (3, 4, 6, 3),
        IMAGENET,
    ),
    "resnet20-calib": Architecture(
        summary="the calibration code's ResNet-20, 64-128-256, 1x1 shortcuts",
        source="yhhhli/SNN_Calibration",
        build=_resnet_calibration,
    ),
    "vgg16": Architecture(
        summary="VGG-16 with batch norm, average pooling and a 4096-4096 head",
        source="putshua/ANN_SNN_QCFS, hzc1208/ANN2SNN_SRP",
        build=_vgg16,
    ),
    "vgg16-single": Architecture(
        summary="VGG-16 with batch norm, average pooling and one linear layer",
        source="yhhhli/SNN_Calibration",
        build=_vgg16_single,
    ),
    "mobilenet": Architecture(
        summary="MobileNet v1",
        source="yhhhli/SNN_Calibration",
        build=_mobilenet,
        input_shape=IMAGENET,
    ),
}
"""Every architecture by its name."""


def build(
    name: str,
    *,
    classes: int,
    activation: Activation | None = None,
    input_shape: Shape | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    seed: int = 0,
) -> Network:
    """Build an untrained network.

    Parameters
    ----------
    name : str
        A key of :data:`ARCHITECTURES`.
    classes : int
        Number of classes.
    activation : Activation, optional
        What every activation is; a rectifier by default.
    input_shape : tuple of int, optional
        (C, H, W) of the images; the architecture's usual one by default.
    mean, std : sequence of float, one for each channel
        Normalisation of the images; 0 and 1 by default.
    seed : int
        Seed of the weights: convolutions He-normal by outgoing connections, linear
        layers with variance 1/(3 inputs), biases 0, batch norms the identity.

    Returns
    -------
    Network
        The network.

    Raises
    ------
    OptionError
        If there is no such architecture.
    ShapeError
        If the images are too small for it.
    """
    if name not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise OptionError(where="architecture", got=name, expected=f"one of {known}")
    architecture = ARCHITECTURES[name]
    shape = input_shape or architecture.input_shape
    graph = _Graph(shape, activation or ReLU(), seed)
    architecture.build(graph, classes)
    return Network(
        name=name,
        input_shape=shape,
        classes=classes,
        mean=np.zeros(shape[0]) if mean is None else np.asarray(mean),
        std=np.ones(shape[0]) if std is None else np.asarray(std),
        nodes=tuple(graph.nodes),
        provenance={"architecture": name, "seed": seed, "trained": False},
    )
