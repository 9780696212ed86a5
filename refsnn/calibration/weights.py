"""Weights, trained layer by layer through the floor of what neurons put out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from refsnn.calibrate import Progress
from refsnn.calibration.optimisers import OPTIMISERS, at_rest, cosine
from refsnn.calibration.thresholds import clip_floor
from refsnn.calibration.walk import Walk
from refsnn.layers import LinearMap, linearised, product
from refsnn.network import (
    INPUT,
    Network,
    Population,
    Projection,
    SpikingNetwork,
)
from refsnn.numerics import Array, per_channel
from refsnn.run import processors

Watch = Callable[[str, int, float], None]
"""Told the population, the iteration from 0 and the loss of its batch."""

PIECES = 4
"""Parts of a batch that threads may share; sums of gradients depend on it."""

TELL = 50
"""Iterations between two reports of progress."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """How the weights of one layer are trained.

    Attributes
    ----------
    iterations : int
        Gradient steps a layer.
    minibatch : int
        Images of one step.
    rate : float
        Learning rate of the first step; it falls to 0 as half a cosine.
    optimiser : str
        A key of :data:`refsnn.calibration.optimisers.OPTIMISERS`.
    seed : int
        Seed of the permutations that choose the images of each step.
    shift : bool
        Whether the loss sees the shift theta/(2T) that the neurons see.
    """

    iterations: int = 5000
    minibatch: int = 32
    rate: float = 1e-5
    optimiser: str = "adam"
    seed: int = 0
    shift: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer's task: make the neurons' average output equal the activations.

    Attributes
    ----------
    op : LinearMap
        The trained map, in units of activations.
    x : ndarray, shape (n, *S), activation
        Average outputs of its calibrated source, pooled.
    rest : ndarray, shape (n, *S'), activation
        Everything else that is added: bias, shift, other projections.
    a : ndarray, shape (n, *S'), activation
        Activations of the trained network.
    theta : ndarray, broadcastable over S', activation
        Thresholds.
    T : int
        Number of steps.
    """

    op: LinearMap
    x: Array
    rest: Array
    a: Array
    theta: Array
    T: int


def loss_and_gradient(
    layer: Layer,
    weight: Array,
    some: Array,
    pool: ThreadPoolExecutor | None = None,
) -> tuple[float, Array]:
    """Return the loss of some images, and its gradient by the weight.

    ::

        z    = W x + rest
        loss = mean over images, rows, columns of
                   sum over channels of (ClipFloor(z, T, theta) - a)^2
        dloss/dz = 2 (ClipFloor(z) - a) / (images rows columns)   if 0 <= z <= theta

    The floor passes the gradient straight through, the clip where it does not bind,
    ends included. `rest` holds the shift if the loss is to see it. Source: released
    code of arXiv 2205.10121.

    Parameters
    ----------
    layer : Layer
        The task.
    weight : ndarray
        The weight.
    some : ndarray of int
        The images; split into pieces, whose sums are added in order.
    pool : ThreadPoolExecutor, optional
        Threads for the pieces; the bits do not depend on it.

    Returns
    -------
    loss : float
        In squared units of activations.
    gradient : ndarray, the shape of the weight
        Its gradient, in the type of the activations.
    """
    pieces = [piece for piece in np.array_split(some, PIECES) if len(piece)]
    size = len(some) * int(np.prod(layer.a.shape[2:]))

    def of(piece: Array) -> tuple[float, Array]:
        return _piece(layer, weight, piece, size)

    parts = list(pool.map(of, pieces) if pool else map(of, pieces))
    loss, gradient = parts[0]
    for more, g in parts[1:]:
        loss, gradient = loss + more, gradient + g
    return loss, gradient


def _piece(layer: Layer, weight: Array, some: Array, size: int) -> tuple[float, Array]:
    """Return what some images add to the loss and to its gradient."""
    x, a = layer.x[some], layer.a[some]
    z, gradient = linearised(dataclasses.replace(layer.op, weight=weight), x)
    z = z + layer.rest[some]
    error = clip_floor(z, layer.T, layer.theta) - a
    inside = (z >= 0) & (z <= layer.theta)
    return float((error**2).sum()) / size, gradient(2 / size * (error * inside))


def trained(
    layer: Layer,
    how: Training,
    tell: Callable[[int, float], None] | None = None,
) -> Array:
    """Minimise the loss of a layer over its weight.

    Parameters
    ----------
    layer : Layer
        The task.
    how : Training
        Steps, rate, optimiser, seed. Every step takes the first images of a new
        permutation.
    tell : callable, optional
        Told every iteration and its loss.

    Returns
    -------
    ndarray of float64
        The weight. The same bits again with the same libraries, threads and processor;
        elsewhere sums in another order make other roundings.
    """
    optimiser = OPTIMISERS[how.optimiser]
    rng = np.random.default_rng(how.seed)
    weight = layer.op.weight.astype(np.float64)
    moments = at_rest(weight)
    with ThreadPoolExecutor(min(PIECES, processors())) as pool:
        for t in range(how.iterations):
            some = rng.permutation(len(layer.x))[: how.minibatch]
            loss, g = loss_and_gradient(layer, weight, some, pool)
            rate = cosine(how.rate, t, how.iterations)
            weight, moments = optimiser.step(
                weight, g.astype(np.float64), moments, t + 1, rate
            )
            if tell:
                tell(t, loss)
    return weight


def calibrate_weights(
    snn: SpikingNetwork,
    ann: Network,
    images: Array,
    T: int,
    how: Training,
    *,
    dtype: type[Any] = np.float32,
    impl: str = "kernel",
    progress: Progress | None = None,
    watch: Watch | None = None,
) -> SpikingNetwork:
    """Train the weights of every population, in graph order, on calibrated sources.

    Of several projections into a population the one with most weights is trained;
    shortcuts stay, and so does the readout (released code).

    Parameters
    ----------
    snn : SpikingNetwork
        A canonical network, its currents shifted by 1/(2T).
    ann : Network
        The trained network, batch norms folded, with its own activations.
    images : ndarray of uint8, shape (n, C, H, W)
        Training images.
    T : int
        Number of steps.
    how : Training
        Steps, rate, optimiser, seed; each layer starts with the same seed.
    dtype : type
        Type of the matrix products.
    impl : str
        ``kernel`` or ``definition``, of the runs.
    progress : callable, optional
        Told how many iterations are done.
    watch : callable, optional
        Told every loss.

    Returns
    -------
    SpikingNetwork
        The calibrated network.
    """
    walk = Walk(snn, ann, images, T, impl=impl)
    total = how.iterations * len(snn.hidden)
    for done, p in enumerate(snn.hidden):

        def tell(t: int, loss: float, p: Population = p, done: int = done) -> None:
            if progress and (t + 1) % TELL == 0:
                progress(done * how.iterations + t + 1, total)
            if watch:
                watch(p.name, t, loss)

        chosen = max(p.projections, key=lambda q: q.op.weight.size)
        layer = _layer(walk, p, chosen, T, how, dtype)
        weight = trained(layer, how, tell)
        walk.settle(_with_weight(walk.snn, p, chosen, weight))
        if progress:
            progress((done + 1) * how.iterations, total)
    return walk.snn


def _layer(
    walk: Walk,
    p: Population,
    chosen: Projection,
    T: int,
    how: Training,
    dtype: type[Any],
) -> Layer:
    """Collect the task of one population, in units of activations."""
    theta = _theta(p)
    rest = np.zeros(()) if p.bias is None else p.over("bias")
    rest = (rest - (0 if how.shift else 1 / (2 * T))) * theta
    a = walk.activations(p.name)
    rest = np.broadcast_to(rest, a.shape)
    for q in p.projections:
        if q is not chosen:
            rest = rest + theta * product(q.op, q.pooled(walk.averages(q.source)))
    x = chosen.pooled(walk.averages(chosen.source)) / chosen.divisor
    scale = _scale(walk.snn, chosen)
    scale = per_channel(scale, x.shape[1:], where=f"population {p.name}, scale")
    return Layer(
        op=_unnormalised(walk.snn, p, chosen),
        x=(x * scale).astype(dtype),
        rest=rest.astype(dtype),
        a=a.astype(dtype),
        theta=theta.astype(dtype),
        T=T,
    )


def _theta(p: Population) -> Array:
    """Return a population's threshold before normalisation, that of the dead 1."""
    scale = p.over("scale")
    return np.where(scale > 0, scale, 1.0)


def _scale(snn: SpikingNetwork, q: Projection) -> Array:
    return np.array(1.0) if q.source == INPUT else snn[q.source].scale


def _unnormalised(snn: SpikingNetwork, p: Population, q: Projection) -> LinearMap:
    """Undo the normalisation of a projection's weight; what is dead stays 0."""
    scale = _scale(snn, q)
    inverse = np.where(scale > 0, 1 / np.where(scale > 0, scale, 1.0), 0.0)
    theta = _theta(p).reshape(-1) if p.scale.ndim else _theta(p)
    return q.op.normalised(inverse, 1, 1 / (q.divisor * theta))


def _with_weight(
    snn: SpikingNetwork, p: Population, chosen: Projection, weight: Array
) -> Population:
    """Put a trained weight, in units of activations, in its place."""
    theta = _theta(p).reshape(-1) if p.scale.ndim else _theta(p)
    op = dataclasses.replace(chosen.op, weight=weight)
    op = op.normalised(_scale(snn, chosen), chosen.divisor, theta)
    projections = tuple(
        dataclasses.replace(q, op=op) if q is chosen else q for q in p.projections
    )
    return dataclasses.replace(p, projections=projections)
