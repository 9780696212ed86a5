"""Errors of every neuron, and the linear maps that carry them on."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Mapping
from functools import reduce
from typing import cast

import numpy as np

from refsnn.activations import Activation, Clipped
from refsnn.errors import OptionError
from refsnn.layers import SumPool, product, pulled_back
from refsnn.network import INPUT, Network, Population, Projection, SpikingNetwork
from refsnn.neurons import State
from refsnn.numerics import Array
from refsnn.restored import scales, uncalibrated
from refsnn.run import run_snn


class Graph:
    """The trained network in units of a converted one's thresholds.

    Parameters
    ----------
    ann : Network
        The trained network behind the rewrites of the method.
    snn : SpikingNetwork
        The converted one.
    """

    def __init__(self, ann: Network, snn: SpikingNetwork) -> None:
        self.snn = snn
        populations = uncalibrated(ann, scales(snn))
        *self.hidden, self.readout = populations.values()
        self.h = {
            p.name: _in_theta(cast(Activation, ann[p.name].op)) for p in self.hidden
        }
        if any(q.maxima for p in populations.values() for q in p.projections):
            raise OptionError(
                where=f"spiking network {snn.name}",
                got="max pooling on spikes",
                expected="linear maps between populations",
            )

    def pre_activation(self, p: Population, outputs: Mapping[str, Array]) -> Array:
        """Return z of one population for given outputs of its sources.

        Parameters
        ----------
        p : Population
            The population.
        outputs : mapping of str to ndarray, shape (B, *S)
            Outputs by source, the image under ``INPUT``.

        Returns
        -------
        ndarray of float64, shape (B, *S)
            Bias included.
        """
        z = reduce(operator.add, (self.term(q, outputs) for q in p.projections))
        return z if p.bias is None else z + p.over("bias")

    def term(self, q: Projection, outputs: Mapping[str, Array]) -> Array:
        """Return what one projection adds.

        Parameters
        ----------
        q : Projection
            The projection.
        outputs : mapping of str to ndarray, shape (B, *S)
            Outputs by source.

        Returns
        -------
        ndarray of float64, shape (B, *S')
            W of the pooled output.
        """
        return product(q.op, np.asarray(q.pooled(outputs[q.source]), dtype=float))

    def jacobian_products(
        self, vectors: Mapping[str, Array], slopes: Mapping[str, Array]
    ) -> dict[str, Array]:
        """Return J_l v_l for every population, by one reverse pass for each class.

        Parameters
        ----------
        vectors : mapping of str to ndarray, shape (B, *S)
            v by population.
        slopes : mapping of str to ndarray, shape (B, *S)
            Slope of every activation.

        Returns
        -------
        dict of str to ndarray, shape (B, classes)
            By population of neurons.
        """
        B, K = len(next(iter(vectors.values()))), self.readout.shape[0]
        answer = {p.name: np.empty((B, K)) for p in self.hidden}
        for k in range(K):
            seed = np.zeros((B, K))
            seed[:, k] = 1
            pulled: dict[str, Array] = {}
            self._pull(self.readout, seed, pulled)
            for p in reversed(self.hidden):
                g = pulled.pop(p.name)
                answer[p.name][:, k] = (g * vectors[p.name]).reshape(B, -1).sum(axis=1)
                self._pull(p, g * slopes[p.name], pulled)
        return answer

    def _pull(self, p: Population, g: Array, pulled: dict[str, Array]) -> None:
        """Add the gradient by z of a population to those of its sources' outputs."""
        for q in p.projections:
            if q.source == INPUT:
                continue
            shapes = [self.snn.shape_of(q.source)]
            for pool in q.pool:
                shapes.append(pool.out_shape(shapes[-1]))
            back = pulled_back(q.op, g, shapes[-1])
            for pool, shape in zip(
                reversed(q.pool), reversed(shapes[:-1]), strict=True
            ):
                back = cast(SumPool, pool).vjp(back, shape)
            pulled[q.source] = pulled.get(q.source, 0) + back


def _in_theta(op: Activation) -> Activation:
    """Express an activation in units of its threshold."""
    return dataclasses.replace(op, lam=np.array(1.0)) if isinstance(op, Clipped) else op


@dataclasses.dataclass(frozen=True, kw_only=True)
class Errors:
    """Errors of one batch, by population.

    Attributes
    ----------
    c, e : dict of str to ndarray, shape (B, *S)
        Local and whole errors, in theta.
    secant, slope : dict of str to ndarray, shape (B, *S)
        B_l, and the derivative at the trained network's pre-activation.
    phi : dict of str to ndarray, shape (B, *S)
        Average outputs, the image under ``INPUT``.
    logits, spiking : ndarray, shape (B, classes)
        Of the trained network, and of the spiking one divided by T.
    """

    c: dict[str, Array]
    e: dict[str, Array]
    secant: dict[str, Array]
    slope: dict[str, Array]
    phi: dict[str, Array]
    logits: Array
    spiking: Array


def errors_of(graph: Graph, images: Array, T: int) -> Errors:
    """Run both networks and take the errors of every population.

    Parameters
    ----------
    graph : Graph
        Both networks.
    images : ndarray of uint8, shape (B, C, H, W)
        Images.
    T : int
        Number of steps.

    Returns
    -------
    Errors
        What was found.
    """
    snn = graph.snn
    x = snn.preprocess(images)
    counts: dict[str, Array] = {}

    def watch(
        population: Population,
        start: int,  # noqa: ARG001 - an observer is told everything
        x: Array,  # noqa: ARG001 - the same
        s: Array,  # noqa: ARG001 - the same
        state: State,
    ) -> None:
        counts[population.name] = state.N

    run = run_snn(snn, x, T, observe=watch)
    phi = {name: N * run.masks.get(name, 1) / T for name, N in counts.items()}
    phi[INPUT] = x.astype(np.float64)
    a = {INPUT: phi[INPUT]}
    c: dict[str, Array] = {}
    e: dict[str, Array] = {}
    secant: dict[str, Array] = {}
    slope: dict[str, Array] = {}
    for p in graph.hidden:
        h, z = graph.h[p.name], graph.pre_activation(p, a)
        moved = graph.pre_activation(p, phi)
        a[p.name] = h(z)
        c[p.name] = phi[p.name] - h(moved)
        e[p.name] = phi[p.name] - a[p.name]
        far = moved != z
        secant[p.name] = np.where(far, h(moved) - h(z), 0) / np.where(far, moved - z, 1)
        slope[p.name] = h.gradient(z)[0]
    return Errors(
        c=c,
        e=e,
        secant=secant,
        slope=slope,
        phi=phi,
        logits=graph.pre_activation(graph.readout, a),
        spiking=run.logits[-1] / T,
    )


def recursion_residue(graph: Graph, found: Errors) -> float:
    """Compare every error with its exact recursion over the secants.

    Parameters
    ----------
    graph : Graph
        Both networks.
    found : Errors
        Errors of a batch.

    Returns
    -------
    float
        The largest distance, in theta.
    """
    e = {INPUT: np.zeros_like(found.phi[INPUT])}
    worst = 0.0
    for p in graph.hidden:
        carried = reduce(operator.add, (graph.term(q, e) for q in p.projections))
        e[p.name] = found.c[p.name] + found.secant[p.name] * carried
        worst = max(worst, float(np.abs(e[p.name] - found.e[p.name]).max()))
    return worst
