"""What errors do to the loss, layer by layer."""

from __future__ import annotations

import dataclasses
from functools import reduce
from typing import Any

import numpy as np

from refsnn.calibrate import Progress
from refsnn.datasets import Images
from refsnn.evaluate import need_data, parts
from refsnn.methods import prepared
from refsnn.network import INPUT, Network, SpikingNetwork
from refsnn.numerics import Array
from refsnn.propagation.errors import Errors, Graph, errors_of, recursion_residue
from refsnn.restored import need_made_of
from refsnn.sums import LARGEST, added

BATCH = 20
"""Images of one thread at once."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Passed:
    """What one population's error does to the loss; sums over images.

    Attributes
    ----------
    local, error : float
        Mean sizes of c_l and e_l over the neurons, in theta.
    gap : float
        Mean size of e_l in units of the trained network's activations, which compares
        networks of other thresholds.
    first : float
        g^T J_l c_l, with derivatives.
    second : float
        1/2 c_l^T H_l c_l.
    bound : float
        2^(n-l) c_l^T H_l c_l.
    measured : float
        Loss change with populations up to this one as neurons.
    together : float
        1/2 e^T H e of their local errors together, with derivatives.
    """

    local: float
    error: float
    gap: float
    first: float
    second: float
    bound: float
    measured: float
    together: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Propagation:
    """Propagated errors over some images; all numbers are sums over them.

    Attributes
    ----------
    images : int
        Number of images.
    T : int
        Number of steps.
    loss : float
        Cross-entropy of the trained network.
    measured : float
        What it grows by in the spiking network.
    first, second : float
        g^T e and 1/2 e^T H e of the logits' true error.
    bound : float
        The sum of the populations' bounds.
    residue : float
        Largest distance, in theta, between an error and its exact recursion, of any
        neuron and image: rounding alone.
    populations : dict of str to Passed
        In graph order.
    """

    images: int
    T: int = dataclasses.field(metadata=LARGEST)
    loss: float
    measured: float
    first: float
    second: float
    bound: float
    residue: float = dataclasses.field(metadata=LARGEST)
    populations: dict[str, Passed]


def propagate(
    snn: SpikingNetwork,
    ann: Network,
    data: Images,
    T: int,
    *,
    batch: int = BATCH,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Propagation:
    """Follow local errors to the loss, over labelled images.

    Parameters
    ----------
    snn : SpikingNetwork
        A network in canonical form.
    ann : Network
        The trained network it was made of.
    data : Images
        Labelled images.
    T : int
        Number of steps.
    batch, threads, progress : optional
        As in :func:`refsnn.evaluate.evaluate`.

    Returns
    -------
    Propagation
        Sums over the images.

    Raises
    ------
    OptionError
        If the network is another one's, or takes maxima of spikes.
    """
    need_data(data, snn.classes)
    need_made_of(snn, ann)
    graph = Graph(prepared(snn, ann), snn)

    def of(images: Array, labels: Array) -> Propagation:
        return _propagate(graph, images, labels, T)

    return reduce(added, parts(of, data, batch, threads, progress))


def _propagate(graph: Graph, images: Array, labels: Array, T: int) -> Propagation:
    """Take the sums of one batch."""
    found = errors_of(graph, images, T)
    p, y = _softmax(found.logits), np.eye(graph.readout.shape[0])[labels]
    loss = cross_entropy(found.logits, labels)
    measured = _measured(graph, found, labels)
    reached = graph.jacobian_products(found.c, found.slope)
    so_far = np.zeros_like(p)
    populations, n = {}, len(graph.hidden)
    for l, q in enumerate(graph.hidden, start=1):
        Jc = reached[q.name]
        so_far = so_far + Jc
        size = _curvature(p, Jc)
        populations[q.name] = Passed(
            local=float(np.abs(found.c[q.name]).sum() / np.prod(q.shape)),
            error=float(np.abs(found.e[q.name]).sum() / np.prod(q.shape)),
            gap=float(
                np.abs(found.e[q.name] * q.over("scale")).sum() / np.prod(q.shape)
            ),
            first=float(((p - y) * Jc).sum()),
            second=size / 2,
            bound=2.0 ** (n - l) * size,
            measured=measured[q.name] - loss,
            together=_curvature(p, so_far) / 2,
        )
    e = found.spiking - found.logits
    return Propagation(
        images=len(images),
        T=T,
        loss=loss,
        measured=cross_entropy(found.spiking, labels) - loss,
        first=float(((p - y) * e).sum()),
        second=_curvature(p, e) / 2,
        bound=sum(passed.bound for passed in populations.values()),
        residue=recursion_residue(graph, found),
        populations=populations,
    )


def _measured(graph: Graph, found: Errors, labels: Array) -> dict[str, float]:
    """Return the loss with populations up to each one as neurons."""
    answer = {}
    for l, last in enumerate(graph.hidden):
        outputs = {INPUT: found.phi[INPUT]}
        for i, p in enumerate(graph.hidden):
            if i <= l:
                outputs[p.name] = found.phi[p.name]
            else:
                outputs[p.name] = graph.h[p.name](graph.pre_activation(p, outputs))
        logits = graph.pre_activation(graph.readout, outputs)
        answer[last.name] = cross_entropy(logits, labels)
    return answer


def _softmax(logits: Array) -> Array:
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p: Array = shifted / shifted.sum(axis=-1, keepdims=True)
    return p


def cross_entropy(logits: Array, labels: Array) -> float:
    """Return the cross-entropy of softmax, summed over images.

    Parameters
    ----------
    logits : ndarray, shape (B, classes)
        Logits.
    labels : ndarray of int, shape (B,)
        Classes.

    Returns
    -------
    float
        In nats.
    """
    top = logits.max(axis=-1)
    log_sum = top + np.log(np.exp(logits - top[:, None]).sum(axis=-1))
    return float((log_sum - logits[np.arange(len(labels)), labels]).sum())


def _curvature(p: Array, v: Array) -> float:
    """Return v^T (diag(p) - p p^T) v, summed over images."""
    mean = (p * v).sum(axis=-1, keepdims=True)
    return float((p * (v - mean) ** 2).sum())


def layout(found: Propagation) -> dict[str, Any]:
    """Lay out propagated errors as JSON values, means over the images.

    Parameters
    ----------
    found : Propagation
        What :func:`propagate` returned.

    Returns
    -------
    dict
        Its fields; ``looseness`` is bound / second, None if that is 0.
    """
    n = found.images
    names = ("loss", "measured", "first", "second", "bound")
    return {
        "images": n,
        "T": found.T,
        **{name: getattr(found, name) / n for name in names},
        "looseness": found.bound / found.second if found.second else None,
        "residue": found.residue,
        "populations": {
            name: {k: v / n for k, v in dataclasses.asdict(passed).items()}
            for name, passed in found.populations.items()
        },
    }
