"""Small networks, each made to bring out one convention."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from refsnn.conformance.base import MEAN, STD, B, T, Vector, pixels
from refsnn.conformance.draws import dyadic, integers
from refsnn.layers import Conv2d, Identity, Linear, SumPool
from refsnn.network import INPUT, Population, Projection, SpikingNetwork, Stages
from refsnn.neurons import IF, DualThresholdIF, GatedIF, Neuron
from refsnn.numerics import Array, Shape
from refsnn.snap import snap


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

    def draw(self, shape: Shape) -> Array:
        self.seed += 1
        return dyadic(self.seed, shape, -5, 7, 3)

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
        self,
        name: str,
        stages: Stages | None = None,
        steps: int = 2 * T,
        bias: Array | None = None,
    ) -> SpikingNetwork:
        """Read the last population out by a linear layer, and certify."""
        last = self.populations[-1]
        op = Linear(weight=self.draw((3, int(np.prod(last.shape)))))
        projection = Projection(source=last.name, op=op)
        readout = Population(
            name="readout",
            shape=(3,),
            neuron=None,
            projections=(projection,),
            bias=bias,
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


def _of(potentials: Array) -> Array:
    """Return the pixels of currents, multiples of 1/64."""
    return (64 * potentials + 128).astype(np.uint8)


SMALL: dict[str, Callable[[str], Vector]] = {}
"""What makes each of them, the probe first."""


def _vector(name: str) -> Callable[[Callable[[str], Vector]], Callable[[str], Vector]]:
    def register(make: Callable[[str], Vector]) -> Callable[[str], Vector]:
        SMALL[name] = make
        return make

    return register


@_vector("probe")
def _probe(name: str) -> Vector:
    """Sums that need all 24 bits: one unit above or below 1, of terms of up to 3."""
    count, unit = 16, 2.0**-22
    high = integers(7, (count,), 2**22, 3 * 2**22 - 1).astype(np.float64) * unit
    low = 1 - high + np.where(np.arange(count) % 2, -unit, unit)
    # of few bits, and far from the threshold: no other threshold or start fits all
    plain = np.array([[0.5, 0.25], [0.25, 0.5], [1.0, 0.5], [0.5, 1.0]])
    pairs = np.stack([high, low], axis=1)
    weight = np.concatenate([pairs, pairs[:, ::-1], plain])
    g = _Builder((2, 1, 1), 1)
    op = Conv2d(weight=weight.reshape(-1, 2, 1, 1))
    g.add("sums", (len(weight), 1, 1), [Projection(source="in", op=op)])
    images = _of(np.full((B, 2, 1, 1), 1.5))
    return Vector(
        name=name,
        about="binary32 addition, a probe: potentials one unit in the 24th bit above "
        "and below the threshold",
        snn=g.done(name, steps=1),
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
    images = pixels(18, (2, 3, 3))
    vector = _plain(name, about, images, 8, outputs=5, v0=v0)
    return dataclasses.replace(vector, needs=frozenset({"v0_per_neuron"}))


@_vector("bias")
def _bias(name: str) -> Vector:
    g = _Builder((2, 3, 3), 9)
    g.conv("second", "in", 6, (1, 1), bias=dyadic(19, (6,), -6, 6, 3))
    return Vector(
        name=name,
        about="a bias at every step, from the first on, also in the readout",
        snn=g.done(name, bias=dyadic(29, (3,), -9, 9, 2)),
        images=pixels(20, (2, 3, 3)),
    )


@_vector("theta-per-channel")
def _theta(name: str) -> Vector:
    about = "thresholds of single channels, potentials in their units"
    vector = _plain(name, about, pixels(21, (2, 3, 3)), 10, outputs=6)
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
    return _dual(name, about, 11, pixels(23, (4, 2, 2)))


@_vector("guard")
def _guard(name: str) -> Vector:
    values = integers(24, (B, 4, 2, 2), -60, 40) / 64
    about = "no negative spike without an earlier positive one"
    return _dual(name, about, 12, _of(values))


@_vector("mask")
def _mask(name: str) -> Vector:
    about = "masked neurons fire and reset, and emit nothing (SRP)"
    neuron = GatedIF(tolerance=np.array(0.125))
    images = pixels(25, (3, 3, 3))
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
            images=pixels(seed, shape),
            needs=frozenset(needs),
        )

    return make


SMALL["padding"] = _convolution(
    "zeros around the image", 14, (2, 5, 4), 4, padding=(1, 1)
)
SMALL["stride"] = _convolution(
    "every second row, every third column", 15, (2, 7, 8), 4, stride=(2, 3)
)
SMALL["dilation"] = _convolution(
    "kernels with gaps",
    16,
    (2, 7, 7),
    4,
    needs=("dilation",),
    dilation=(2, 1),
    padding=(1, 0),
)
SMALL["groups"] = _convolution(
    "channels in two groups", 17, (4, 4, 4), 6, needs=("groups",), groups=2
)
SMALL["depthwise"] = _convolution(
    "a kernel for each channel",
    18,
    (4, 4, 4),
    4,
    needs=("groups",),
    groups=4,
    padding=(1, 1),
)
SMALL["kernel-shape"] = _convolution(
    "a 2 x 3 kernel on a 5 x 4 image", 19, (2, 5, 4), 4, (2, 3)
)


def _pooled(name: str, about: str, seed: int, kernel: tuple[int, int]) -> Vector:
    shape = (3, 4, 6)
    g = _Builder(shape, seed)
    pool = (SumPool(kernel=kernel, stride=kernel),)
    g.conv("second", "in", 6, (1, 1), pool=pool)
    needs = frozenset({"pooling"})
    images = pixels(seed, shape)
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
    return Vector(name=name, about=about, snn=g.done(name), images=pixels(26, shape))
