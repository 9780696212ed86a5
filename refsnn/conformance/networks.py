"""The networks of the conformance vectors, each made to bring out one convention.

They are built of dyadic numbers by code, equal everywhere, and certified for binary32:
whatever adds them in any order of binary32 (or wider, or integer) additions gets the
same spikes, so the only passing score is no difference at all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np

from refsnn import architectures, datasets, io
from refsnn.activations import QCFS
from refsnn.conformance.draws import dyadic, integers
from refsnn.convert import convert
from refsnn.layers import BatchNorm, Conv2d, Identity, Linear, SumPool
from refsnn.network import (
    INPUT,
    Network,
    Population,
    Projection,
    SpikingNetwork,
    Stages,
)
from refsnn.neurons import IF, DualThresholdIF, GatedIF, Neuron
from refsnn.numerics import Array, Shape
from refsnn.snap import snap

T, B = 8, 4
"""Steps and samples of the small networks."""

MEAN, STD = 128 / 255, 64 / 255
"""Pixels of 0 to 255 become multiples of 1/64 from -2 to 127/64."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Vector:
    """A network, inputs, and what an implementation needs to run them.

    Attributes
    ----------
    name : str
        The vector's name.
    about : str
        What it brings out.
    snn : SpikingNetwork
        The network, certified for binary32.
    images : ndarray of uint8, shape (B, C, H, W)
        The input.
    T : int
        Number of steps.
    needs : frozenset of str
        Capabilities that an adapter needs.
    exact_readout : bool
        Whether the readout's sums are exact in binary32 too.
    units : mapping of str to ndarray, shape (C,)
        Powers of two by population: its potentials are handed out in other units, its
        thresholds being these.
    """

    name: str
    about: str
    snn: SpikingNetwork
    images: Array
    T: int = T
    needs: frozenset[str] = frozenset()
    exact_readout: bool = True
    units: Mapping[str, Array] = dataclasses.field(default_factory=dict)


class _Builder:
    """A small spiking network under construction; the image feeds population `in`."""

    def __init__(self, shape: Shape, seed: int) -> None:
        self.shapes: dict[str, Shape] = {INPUT: shape}
        self.populations: list[Population] = []
        self.seed = 100 * seed
        image = Projection(source=INPUT, op=Identity(weight=np.ones(shape[0])))
        self.add("in", shape, [image])

    def add(
        self,
        name: str,
        shape: Shape,
        projections: list[Projection],
        neuron: Neuron | None = None,
        **fields: Any,
    ) -> str:
        self.populations.append(
            Population(
                name=name,
                shape=shape,
                neuron=neuron or IF(),
                projections=tuple(projections),
                **fields,
            )
        )
        self.shapes[name] = shape
        return name

    def draw(self, shape: Shape, low: int = -5, high: int = 7, bits: int = 3) -> Array:
        self.seed += 1
        return dyadic(self.seed, shape, low, high, bits)

    def conv(
        self,
        name: str,
        source: str,
        outputs: int,
        kernel: tuple[int, int] = (3, 3),
        *,
        pool: tuple[SumPool, ...] = (),
        extra: tuple[Projection, ...] = (),
        how: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> str:
        """Add a population behind a convolution."""
        how = how or {}
        shape = self.shapes[source]
        for p in pool:
            shape = p.out_shape(shape)
        inputs = shape[0] // how.get("groups", 1)
        op = Conv2d(weight=self.draw((outputs, inputs, *kernel)), **how)
        projection = Projection(source=source, op=op, pool=pool)
        return self.add(name, op.out_shape(shape), [projection, *extra], **fields)

    def done(
        self, name: str, stages: Stages | None = None, steps: int = 2 * T
    ) -> SpikingNetwork:
        """Read the last population out by a linear layer, and certify."""
        last = self.populations[-1]
        op = Linear(weight=self.draw((3, int(np.prod(last.shape)))))
        projection = Projection(source=last.name, op=op)
        readout = Population(
            name="readout", shape=(3,), neuron=None, projections=(projection,)
        )
        C = self.shapes[INPUT][0]
        snn = SpikingNetwork(
            name=f"vector-{name}",
            input_shape=self.shapes[INPUT],
            classes=3,
            mean=np.full(C, MEAN),
            std=np.full(C, STD),
            populations=(*self.populations, readout),
            canonical=True,
            stages=stages or Stages(),
        )
        return snap(snn, "float32", T=steps)


def _pixels(seed: int, shape: Shape, batch: int = B) -> Array:
    return integers(seed, (batch, *shape), 0, 255).astype(np.uint8)


def _of(potentials: Array) -> Array:
    """Return the pixels of currents, multiples of 1/64."""
    return (64 * potentials + 128).astype(np.uint8)


_MADE: dict[str, Callable[[str], Vector]] = {}


def _vector(name: str) -> Callable[[Callable[[str], Vector]], Callable[[str], Vector]]:
    def register(make: Callable[[str], Vector]) -> Callable[[str], Vector]:
        _MADE[name] = make
        return make

    return register


@_vector("probe")
def _probe(name: str) -> Vector:
    """Sums that need all 24 bits: one unit above or below 1, of terms of up to 3."""
    count, unit = 16, 2.0**-21
    high = integers(7, (count,), 2**21, 3 * 2**21 - 1).astype(np.float64) * unit
    low = 1 - high + np.where(np.arange(count) % 2, -unit, unit)
    weight = np.zeros((2 * count, 2))
    weight[:count, 0], weight[:count, 1] = high, low
    weight[count:, 0], weight[count:, 1] = low, high
    g = _Builder((2, 1, 1), 1)
    op = Conv2d(weight=weight.reshape(2 * count, 2, 1, 1))
    g.add("sums", (2 * count, 1, 1), [Projection(source="in", op=op)])
    images = _of(np.full((B, 2, 1, 1), 1.5))
    return Vector(
        name=name,
        about="binary32 addition, a probe: potentials one unit in the 24th bit above "
        "and below the threshold",
        snn=g.done(name, steps=2),
        images=images,
        T=1,
    )


def _plain(
    name: str, about: str, images: Array, seed: int, outputs: int = 3, **fields: Any
) -> Vector:
    """Two populations, the second behind a 1x1 convolution."""
    shape = images.shape[1:]
    g = _Builder(shape, seed)
    g.conv("second", "in", outputs, (1, 1), **fields)
    return Vector(name=name, about=about, snn=g.done(name), images=images)


@_vector("tie")
def _tie(name: str) -> Vector:
    steps = integers(11, (B, 3, 3, 3), 0, 4) / 4
    about = "a potential equal to the threshold fires"
    return _plain(name, about, _of(steps), 2)


@_vector("residual-charge")
def _residual(name: str) -> Vector:
    values = integers(12, (B, 2, 3, 3), 20, 62) / 64
    about = "what lies above the threshold stays: reset by subtraction"
    return _plain(name, about, _of(values), 3)


@_vector("saturation")
def _saturation(name: str) -> Vector:
    values = integers(13, (B, 2, 3, 3), 64, 127) / 64
    about = "one spike a step, however high the potential"
    return _plain(name, about, _of(values), 4)


@_vector("clamp")
def _clamp(name: str) -> Vector:
    values = integers(14, (B, 3, 3, 3), -100, 127) / 64
    about = "potentials have no lower bound"
    return _plain(name, about, _of(values), 5, outputs=8)


@_vector("uneven-arrival")
def _uneven(name: str) -> Vector:
    values = integers(15, (B, 4, 2, 2), 4, 60) / 64
    about = "the order of arrival decides: charge, fire, reset, in this order"
    return _plain(name, about, _of(values), 6, outputs=12)


@_vector("state")
def _state(name: str) -> Vector:
    values = integers(16, (B, 3, 2, 2), 3, 20) / 64
    about = "potentials last through the steps, and start anew with every batch"
    vector = _plain(name, about, _of(values), 7, outputs=6)
    return dataclasses.replace(vector, T=2 * T)


@_vector("v0-per-neuron")
def _v0(name: str) -> Vector:
    shape = (5, 3, 3)
    about = "initial potentials of single neurons"
    v0 = dyadic(17, shape, -4, 9, 3)
    images = _pixels(18, (2, 3, 3))
    vector = _plain(name, about, images, 8, outputs=5, v0=v0)
    return dataclasses.replace(vector, needs=frozenset({"v0_per_neuron"}))


@_vector("bias")
def _bias(name: str) -> Vector:
    about = "a bias at every step, from the first on"
    bias = dyadic(19, (6,), -6, 6, 3)
    return _plain(name, about, _pixels(20, (2, 3, 3)), 9, outputs=6, bias=bias)


@_vector("theta-per-channel")
def _theta(name: str) -> Vector:
    about = "thresholds of single channels, potentials in their units"
    vector = _plain(name, about, _pixels(21, (2, 3, 3)), 10, outputs=6)
    units = {"second": np.ldexp(1.0, integers(22, (6,), -2, 2))}
    needs = frozenset({"theta_per_channel"})
    return dataclasses.replace(vector, units=units, needs=needs)


def _dual(name: str, about: str, seed: int, images: Array) -> Vector:
    neuron = DualThresholdIF(theta_neg=np.array(-0.25))
    vector = _plain(name, about, images, seed, outputs=10, neuron=neuron)
    return dataclasses.replace(vector, needs=frozenset({"DualThresholdIF"}))


@_vector("negative-spike")
def _negative(name: str) -> Vector:
    about = "a negative spike takes back an earlier one, and travels on"
    return _dual(name, about, 11, _pixels(23, (4, 2, 2)))


@_vector("guard")
def _guard(name: str) -> Vector:
    values = integers(24, (B, 4, 2, 2), -60, 40) / 64
    about = "no negative spike without an earlier positive one"
    return _dual(name, about, 12, _of(values))


@_vector("mask")
def _mask(name: str) -> Vector:
    about = "masked neurons fire and reset, and emit nothing (SRP)"
    neuron = GatedIF(tolerance=np.array(0.125))
    images = _pixels(25, (3, 3, 3))
    g = _Builder((3, 3, 3), 13)
    g.conv("second", "in", 6, (1, 1), neuron=neuron)
    snn = g.done(name, Stages(tau=4))
    needs = frozenset({"mask"})
    return Vector(name=name, about=about, snn=snn, images=images, needs=needs)


def _convolution(
    about: str,
    seed: int,
    shape: Shape,
    outputs: int,
    kernel: tuple[int, int] = (3, 3),
    needs: tuple[str, ...] = (),
    **how: Any,
) -> Callable[[str], Vector]:
    """Return what makes a vector of one convolution."""

    def make(name: str) -> Vector:
        g = _Builder(shape, seed)
        g.conv("second", "in", outputs, kernel, how=how)
        return Vector(
            name=name,
            about=about,
            snn=g.done(name),
            images=_pixels(seed, shape),
            needs=frozenset(needs),
        )

    return make


_MADE["padding"] = _convolution(
    "zeros around the image", 14, (2, 5, 4), 4, padding=(1, 1)
)
_MADE["stride"] = _convolution(
    "every second row, every third column", 15, (2, 7, 8), 4, stride=(2, 3)
)
_MADE["dilation"] = _convolution(
    "kernels with gaps",
    16,
    (2, 7, 7),
    4,
    needs=("dilation",),
    dilation=(2, 1),
    padding=(1, 0),
)
_MADE["groups"] = _convolution(
    "channels in two groups", 17, (4, 4, 4), 6, needs=("groups",), groups=2
)
_MADE["depthwise"] = _convolution(
    "a kernel for each channel",
    18,
    (4, 4, 4),
    4,
    needs=("groups",),
    groups=4,
    padding=(1, 1),
)
_MADE["kernel-shape"] = _convolution(
    "a 2 x 3 kernel on a 5 x 4 image", 19, (2, 5, 4), 4, (2, 3)
)


def _pooled(name: str, about: str, seed: int, kernel: tuple[int, int]) -> Vector:
    shape = (3, 4, 6)
    g = _Builder(shape, seed)
    pool = (SumPool(kernel=kernel, stride=kernel),)
    g.conv("second", "in", 6, (1, 1), pool=pool)
    needs = frozenset({"pooling"})
    images = _pixels(seed, shape)
    return Vector(name=name, about=about, snn=g.done(name), images=images, needs=needs)


@_vector("pooling")
def _pooling(name: str) -> Vector:
    return _pooled(name, "spikes of 2 x 2 windows, summed", 20, (2, 2))


@_vector("global-pooling")
def _global(name: str) -> Vector:
    return _pooled(name, "spikes of a whole channel, summed", 21, (4, 6))


@_vector("shortcut")
def _shortcut(name: str) -> Vector:
    shape = (3, 4, 4)
    g = _Builder(shape, 22)
    scaled = Identity(weight=np.array([0.5, 1.0, 0.25]))
    g.conv(
        "second",
        "in",
        3,
        how={"padding": (1, 1)},
        extra=(Projection(source="in", op=scaled),),
    )
    down = Conv2d(weight=g.draw((4, 3, 1, 1)), stride=(2, 2))
    g.conv(
        "third",
        "second",
        4,
        how={"padding": (1, 1), "stride": (2, 2)},
        extra=(Projection(source="in", op=down),),
    )
    about = "identity, scaled and 1 x 1 shortcuts into one current"
    return Vector(name=name, about=about, snn=g.done(name), images=_pixels(26, shape))


@_vector("batch-norm")
def _batchnorm(name: str) -> Vector:
    ann = _residual_network(3, (1, 8, 8), seed=40)
    snn = snap(convert(ann, "qcfs", exact=False), "float32", T=2 * T)
    about = "a converted residual network, batch norms folded"
    snn = dataclasses.replace(snn, name=f"vector-{name}")
    return Vector(name=name, about=about, snn=snn, images=_pixels(27, (1, 8, 8), 2))


@_vector("resnet20")
def _resnet20(name: str) -> Vector:
    ann = _residual_network(10, (3, 16, 16), seed=60)
    snn = snap(convert(ann, "qcfs", exact=False), "float32", T=T)
    about = "ResNet-20 on images of 16 x 16, generated weights"
    snn = dataclasses.replace(snn, name=f"vector-{name}")
    return Vector(
        name=name,
        about=about,
        snn=snn,
        images=_pixels(28, (3, 16, 16), 1),
        T=4,
    )


def _residual_network(classes: int, shape: Shape, seed: int) -> Network:
    """Build ResNet-20 with dyadic weights and batch norms that keep it busy."""
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


_MADE.update({f"digits-{name}": _digits(name) for name in ("qcfs", "clip", "relu")})


def names(*, quick: bool = False) -> tuple[str, ...]:
    """Return the names of the vectors, the probe first.

    Parameters
    ----------
    quick : bool
        Whether only the small networks are wanted.

    Returns
    -------
    tuple of str
        The names.
    """
    large = {"resnet20", *(name for name in _MADE if name.startswith("digits-"))}
    return tuple(name for name in _MADE if not (quick and name in large))


@cache
def vector(name: str) -> Vector:
    """Build a vector.

    Parameters
    ----------
    name : str
        One of :func:`names`.

    Returns
    -------
    Vector
        The vector; the same object every time.
    """
    return _MADE[name](name)


def vectors(*, quick: bool = False) -> Iterator[Vector]:
    """Build the vectors, the probe first.

    Parameters
    ----------
    quick : bool
        Whether only the small networks are wanted.

    Yields
    ------
    Vector
        One after another.
    """
    for name in names(quick=quick):
        yield vector(name)
