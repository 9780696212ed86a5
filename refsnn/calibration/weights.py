"""Weights, trained layer by layer through the floor of what neurons put out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from refsnn.calibrate import Progress
from refsnn.calibration.kept import kept
from refsnn.calibration.optimisers import OPTIMISERS, at_rest, cosine
from refsnn.calibration.thresholds import clip_floor
from refsnn.calibration.walk import Walk
from refsnn.engine.geometry import as_map
from refsnn.errors import OptionError, need_least
from refsnn.layers import Conv2d, Identity, LinearMap, product
from refsnn.network import (
    INPUT,
    Network,
    Population,
    Projection,
    SpikingNetwork,
)
from refsnn.numerics import Array, per_channel
from refsnn.run import processors
from refsnn.run.threads import shared

Watch = Callable[[str, int, float], None]
"""Told the population, the iteration from 0 and the loss of its batch."""

PIECES = 4
"""Parts of a batch that threads may share; sums of gradients depend on it."""

TELL = 50
"""Iterations between two reports of progress."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """How weights are trained, layer by layer; options of the methods that do.

    Attributes
    ----------
    iterations : int
        Gradient steps a layer.
    minibatch : int
        Images of one step, of those that train the weights.
    rate : float
        Learning rate of the first step, at most 1; it falls to 0 as half a cosine.
    optimiser : str
        ``adam``, or ``sgd`` with momentum 0.9, that of the released code of 2021.
    seed : int
        Seed of the permutations that choose the images of each step.
    """

    iterations: int = 5000
    minibatch: int = 32
    rate: float = 1e-5
    optimiser: str = "adam"
    seed: int = 0

    def __post_init__(self) -> None:
        need_least(1, iterations=self.iterations, minibatch=self.minibatch)
        need_least(0, seed=self.seed)
        if not 0 < self.rate <= 1:
            raise OptionError(
                where="rate", got=self.rate, expected="above 0, at most 1"
            )
        if self.optimiser not in OPTIMISERS:
            expected = " or ".join(OPTIMISERS)
            raise OptionError(where="optimiser", got=self.optimiser, expected=expected)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer's task: make the neurons' average output equal the activations.

    Attributes
    ----------
    op : Conv2d or Linear
        The trained map, in units of activations.
    x : ndarray, shape (n, *S), activation
        Average outputs of its calibrated source, pooled.
    rest : ndarray, shape (n, *S'), activation
        Everything else that is added: bias, shift, other projections.
    a : ndarray, shape (n, *S'), activation
        Activations of the trained network.
    theta : ndarray, shape () or one for each channel, activation
        Thresholds, broadcastable over S'.
    T : int
        Number of steps.
    """

    op: LinearMap
    x: Array
    rest: Array
    a: Array
    theta: Array
    T: int

    @cached_property
    def task(self) -> Any:
        """The same, laid out for the compiled twin of :meth:`squares`."""
        from refsnn.kernels.gradients import Task  # noqa: PLC0415 - loads Numba

        return Task(self.op, self.x, self.rest, self.a, self.theta, self.T)

    def squares(self, weight: Array, some: Array, scale: float) -> tuple[float, Array]:
        """Return what some images add to the squared error and to its gradient.

        Parameters
        ----------
        weight : ndarray
            The weight.
        some : ndarray of int
            The images.
        scale : float
            What the gradient is multiplied by.

        Returns
        -------
        squares : float
            Sum of squared errors, in float64.
        gradient : ndarray, the shape of the weight
            In the type of the activations, which everything is computed in: z in the
            order of mode ``ordered``, `rest` first; the gradient over the pixels of an
            image, (row, column), and then over images.
        """
        op, x = dataclasses.replace(self.op, weight=weight), self.x[some]
        z = op.accumulate(self.rest[some], x)
        error, g = floor_gradient(z, self.a[some], self.theta, self.T, scale)
        squares = float(np.square(error, dtype=np.float64).sum())
        return squares, _weight_gradient(op, x, g)


def _weight_gradient(op: LinearMap, x: Array, g: Array) -> Array:
    """Return the gradient by the weight, summed as :meth:`Layer.squares` says."""
    total = np.zeros(op.weight.shape, dtype=x.dtype)
    if isinstance(op, Conv2d):
        x = np.pad(x, ((0, 0), (0, 0), *op.pads))
        for image, slopes in zip(x, g, strict=True):
            own = np.zeros_like(total)
            for i, j in np.ndindex(slopes.shape[1:]):
                window = image[_window(op, i, j)]
                window = window.reshape(op.groups, 1, *op.weight.shape[1:])
                slope = slopes[:, i, j].reshape(op.groups, -1, 1, 1, 1)
                own = own + (slope * window).reshape(own.shape)
            total = total + own
        return total
    for values, slope in zip(x.reshape(len(x), -1), g, strict=True):
        total = total + slope[:, None] * values
    return total


def _window(op: Conv2d, i: int, j: int) -> tuple[slice, ...]:
    """Return what an output pixel sees of a padded image."""
    ends = zip((i, j), op.stride, op.dilation, op.weight.shape[2:], strict=True)
    return (
        slice(None),
        *(slice(k * s, k * s + d * (size - 1) + 1, d) for k, s, d, size in ends),
    )


def floor_gradient(
    z: Array, a: Array, theta: Array, T: int, scale: float
) -> tuple[Array, Array]:
    """Return how far levels are from activations, and the gradient of half its square.

    ::

        error    = ClipFloor(z, T, theta) - a
        gradient = scale error   if 0 <= z <= theta, else 0

    Parameters
    ----------
    z, a : ndarray, shape (M, *S), activation
        Average inputs, and the outputs that they are to have.
    theta : ndarray, broadcastable over S, activation
        Thresholds.
    T : int
        Number of steps.
    scale : float
        What the gradient is multiplied by.

    Returns
    -------
    error, gradient : ndarray, shape (M, *S)
        In the type of `z`.
    """
    error = clip_floor(z, T, theta) - a
    inside = (z >= 0) & (z <= theta)
    return error, np.where(inside, z.dtype.type(scale) * error, z.dtype.type(0))


def loss_and_gradient(
    layer: Layer,
    weight: Array,
    some: Array,
    *,
    threads: int = 1,
    impl: str = "kernel",
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
    threads : int
        How many do the pieces; the bits do not depend on it.
    impl : str
        ``kernel`` or ``definition``: the gradients are the same, the loss but for the
        order of its sum.

    Returns
    -------
    loss : float
        In squared units of activations.
    gradient : ndarray, the shape of the weight
        Its gradient, in the type of the activations.
    """
    pieces = [piece for piece in np.array_split(some, PIECES) if len(piece)]
    size = len(some) * int(np.prod(layer.a.shape[2:]))
    squares = layer.squares if impl == "definition" else layer.task

    def of(piece: Array) -> tuple[float, Array]:
        found: tuple[float, Array] = squares(weight, piece, 2 / size)
        return found

    (loss, gradient), *others = shared(of, pieces, threads)
    for more, g in others:
        loss, gradient = loss + more, gradient + g
    return loss / size, gradient


def trained(
    layer: Layer,
    how: Training,
    tell: Callable[[int, float], None] | None = None,
    *,
    impl: str = "kernel",
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
    impl : str
        ``kernel`` or ``definition``; the weights are the same.

    Returns
    -------
    ndarray of float64
        The weight. Every sum has its order and no library multiplies, so threads and
        processors do not change its bits; what could is another C library's cos and
        pow, of which the rate and Adam's corrections are made.
    """
    optimiser = OPTIMISERS[how.optimiser]
    rng = np.random.default_rng(how.seed)
    weight = layer.op.weight.astype(np.float64)
    moments = at_rest(weight)
    threads = min(PIECES, processors())
    for t in range(how.iterations):
        some = rng.permutation(len(layer.x))[: how.minibatch]
        loss, g = loss_and_gradient(layer, weight, some, threads=threads, impl=impl)
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
    shift: bool = True,
    dtype: type[Any] = np.float32,
    impl: str = "kernel",
    progress: Progress | None = None,
    watch: Watch | None = None,
    folder: Path | None = None,
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
    shift : bool
        Whether the loss sees the shift theta/(2T) that the neurons see.
    dtype : type
        Type of the sums.
    impl : str
        ``kernel`` or ``definition``, of the runs and of the gradients.
    progress : callable, optional
        Told how many iterations are done.
    watch : callable, optional
        Told every loss.
    folder : Path, optional
        Where weights are kept as they are finished, and taken from if they are there,
        as :func:`refsnn.calibration.kept.kept` does.

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
        layer = _layer(walk, p, chosen, T, shift, dtype)
        weight = kept(
            folder,
            (layer, how),
            partial(trained, layer, how, tell, impl=impl),
        )
        weight = weight.reshape(chosen.op.weight.shape)
        walk.settle(_with_weight(walk.snn, p, chosen, weight))
        if progress:
            progress((done + 1) * how.iterations, total)
    return walk.snn


def _layer(
    walk: Walk,
    p: Population,
    chosen: Projection,
    T: int,
    shift: bool,
    dtype: type[Any],
) -> Layer:
    """Collect the task of one population, in units of activations."""
    theta = _theta(p)
    rest = np.zeros(()) if p.bias is None else p.over("bias")
    rest = (rest - (0 if shift else 1 / (2 * T))) * theta
    a = walk.activations(p.name)
    rest = np.broadcast_to(rest, a.shape)
    for q in p.projections:
        if q is not chosen:
            rest = rest + theta * product(q.op, walk.inputs(q))
    x = walk.inputs(chosen) / chosen.divisor
    scale = _scale(walk.snn, chosen)
    scale = per_channel(scale, x.shape[1:], where=f"population {p.name}, scale")
    op = _unnormalised(walk.snn, p, chosen)
    if isinstance(op, Identity):  # neurons behind a pooling: each channel sees its own
        channels = len(op.weight)
        op = Conv2d(weight=op.weight.reshape(-1, 1, 1, 1), groups=channels)
        x, rest, a = (
            value.reshape(len(a), *as_map(a.shape[1:]))
            for value in (x * scale, rest, a)
        )
        scale, theta = np.array(1.0), theta.reshape(-1, 1, 1) if theta.ndim else theta
    return Layer(
        op=op,
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
