"""Seeded inputs; must not be changed, only added to, or results are not comparable."""

from __future__ import annotations

import numpy as np

from refsnn import datasets
from refsnn.architectures import build
from refsnn.arithmetic import resolve
from refsnn.engine.network import Engine, prepared
from refsnn.errors import RefsnnError
from refsnn.layers import Conv2d, Linear, LinearMap, SumPool
from refsnn.network import INPUT, Population, Projection, SpikingNetwork
from refsnn.neurons import IF, PRESETS, Neuron
from refsnn.passes import (
    activations_to_neurons,
    canonical_form,
    fold_batchnorm,
    set_thresholds,
)
from refsnn.run import run_ann
from refsnn.snap import snap

T = 8
BATCH = 16


def currents(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Currents of about 0.2 thresholds a step, shape (T, BATCH, *shape)."""
    rng = np.random.default_rng(seed)
    return 0.2 + 0.5 * rng.standard_normal((T, BATCH, *shape))


def spikes(shape: tuple[int, ...], rate: float, seed: int = 0) -> np.ndarray:
    """Spikes, shape (T BATCH, *shape)."""
    rng = np.random.default_rng(seed)
    return (rng.random((T * BATCH, *shape)) < rate).astype(np.int8)


def convolution(channels: int, seed: int = 0) -> Conv2d:
    """A 3x3 convolution that keeps the shape."""
    weight = np.random.default_rng(seed).standard_normal((channels, channels, 3, 3))
    return Conv2d(weight=weight / (3 * np.sqrt(channels)), padding=(1, 1))


def seeded(name: str, share: float, *, dual: bool = False) -> SpikingNetwork:
    """Seeded weights; thresholds of which activations reach a share on average.

    The mean of min(a / theta, 1) over a layer's activations a is the share, which the
    rates of IF neurons, or of those with ECL's two thresholds, then are near to.
    """
    ann = fold_batchnorm(build(name, classes=10, input_shape=(3, 32, 32), seed=1))
    x = ann.preprocess(some_images(2, ann.input_shape))
    activations = {node.name for node in ann.activations}
    thetas: dict[str, np.ndarray] = {}

    def watch(node: str, value: np.ndarray) -> None:
        if node in activations:
            thetas[node] = np.array(threshold(value, share))

    run_ann(ann, x, observe=watch)
    clipped = set_thresholds(ann, thetas)

    def neuron(theta: np.ndarray) -> tuple[Neuron, np.ndarray]:
        model = PRESETS["fast-snn"].neuron(theta) if dual else IF()
        return model, theta / 2

    return snap(canonical_form(activations_to_neurons(clipped, neuron)))


def threshold(a: np.ndarray, share: float) -> float:
    """Find theta for which min(a / theta, 1) has a mean, by bisection."""
    low, high = 1e-6, float(a.max()) / share
    for _ in range(50):
        middle = np.sqrt(low * high)
        above = np.minimum(a / middle, 1).mean() > share
        low, high = (middle, high) if above else (low, middle)
    return float(high)


def some_images(count: int, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """CIFAR-10's first test images if they are there, else smooth random ones."""
    try:
        return datasets.load("cifar10", "test").images[:count]
    except RefsnnError:
        rng = np.random.default_rng(seed)
        small = rng.integers(0, 256, (count, shape[0], 8, 8))
        return small.repeat(4, axis=2).repeat(4, axis=3).astype(np.uint8)


def dense_macs(snn: SpikingNetwork) -> int:
    """Count the multiply-accumulates of one step behind the first layer."""
    return sum(
        q.op.macs(q.pooled_shape(snn.shape_of(q.source)))
        for p in snn.populations
        for q in p.projections
        if q.source != INPUT
    )


def layer(channels: int, size: int) -> SpikingNetwork:
    """A 3x3 convolution between two populations, snapped."""
    return between(convolution(channels), (channels, size, size))


def between(
    op: LinearMap,
    shape: tuple[int, ...],
    *,
    pool: tuple[SumPool, ...] = (),
    emits: Neuron | None = None,
    reads: Neuron | None = None,
    target: str = "float64",
) -> SpikingNetwork:
    """A projection between the populations ``from`` and ``to``, snapped."""
    synapses = Projection(source="from", op=op, pool=pool)
    behind = op.out_shape(synapses.pooled_shape(shape))
    head = np.random.default_rng(1).standard_normal((10, int(np.prod(behind))))
    first = Conv2d(weight=np.full((shape[0], 1, 1, 1), 0.5))
    populations = (
        Population(
            name="from",
            shape=shape,
            neuron=emits or IF(),
            projections=(Projection(source=INPUT, op=first),),
        ),
        Population(
            name="to", shape=behind, neuron=reads or IF(), projections=(synapses,)
        ),
        Population(
            name="out",
            shape=(10,),
            neuron=None,
            projections=(Projection(source="to", op=Linear(weight=head / shape[0])),),
        ),
    )
    return snap(
        SpikingNetwork(
            name="layer",
            input_shape=(1, *shape[1:]),
            classes=10,
            mean=np.zeros(1),
            std=np.ones(1),
            populations=populations,
            canonical=True,
            method="benchmark",
        ),
        target,
    )


def filled(
    snn: SpikingNetwork,
    s: np.ndarray,
    *,
    gates: dict[str, np.ndarray] | None = None,
    keeping: bool = False,
) -> Engine:
    """A network of `between`, which the caller keeps, in the engine; with spikes."""
    carrier = (snn.certificate or {})["accumulator"]
    known = prepared(snn, T, resolve(snn, T, carrier=carrier))
    x = np.random.default_rng(0).random((BATCH, *snn.input_shape))
    engine = Engine(known, x, T, gates or {}, keeping=keeping)
    engine.put("from", s.reshape(T, BATCH, *snn["from"].shape))
    return engine
