"""Evaluating a trained network."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from refsnn.errors import OptionError
from refsnn.layers import Input, LinearMap
from refsnn.network import Model, Network, Node
from refsnn.numerics import Array, require_finite
from refsnn.run.implementation import Impl, implementation


def run_ann(
    ann: Network,
    x: Array,
    *,
    impl: str = "kernel",
    observe: Callable[[str, Array], None] | None = None,
) -> Array:
    """Evaluate a trained network.

    Parameters
    ----------
    ann : Network
        The network.
    x : ndarray, shape (B, C, H, W)
        Analog input, as :meth:`refsnn.network.Model.preprocess` returns it.
    impl : str
        ``kernel`` or ``definition``.
    observe : callable, optional
        Called with the name and the output, shape (B, *S), of every node in order.

    Returns
    -------
    ndarray of float64, shape (B, classes)
        Logits.

    Raises
    ------
    NumericalError
        At the first node whose output is not finite.
    """
    logits = x
    for name, logits in ann_outputs(ann, x, impl=impl):
        if observe:
            observe(name, logits)
    return logits


def ann_outputs(
    ann: Network, x: Array, *, impl: str = "kernel"
) -> Iterator[tuple[str, Array]]:
    """Evaluate a trained network node by node, holding no more than it still needs.

    Parameters
    ----------
    ann : Network
        The network.
    x : ndarray, shape (B, C, H, W)
        Analog input.
    impl : str
        ``kernel`` or ``definition``.

    Yields
    ------
    name : str
        Every node in order.
    value : ndarray of float64, shape (B, *S)
        Its output.
    """
    need_network(ann, Network)
    ann.need_input(x)
    chosen = implementation(impl)
    values: dict[str, Array] = {}
    last = {source: node.name for node in ann.nodes for source in node.inputs}
    for node in ann.nodes:
        inputs = [values[name] for name in node.inputs] or [x]
        value = _output(ann, node, inputs, chosen)
        values[node.name] = value
        yield node.name, value
        for source in set(node.inputs):
            if last[source] == node.name:
                del values[source]


@np.errstate(
    over="ignore", invalid="ignore"
)  # reported by require_finite, with a place
def _output(ann: Network, node: Node, inputs: list[Array], chosen: Impl) -> Array:
    """Evaluate one node; the input's is the image."""
    if isinstance(node.op, Input):
        value = inputs[0].astype(np.float64)
    elif isinstance(node.op, LinearMap):
        start = np.zeros((len(inputs[0]), *ann.shapes[node.name]))
        value = node.op.add_bias(chosen.accumulate(node.op, start, *inputs))
    else:
        value = node.op(*inputs)
    where = f"network {ann.name}, node {node.name}"
    require_finite(value, where=where, axes="(sample, *shape)")
    return value


def need_network(network: object, kind: type[Model]) -> None:
    """Refuse anything but a network of one kind.

    Parameters
    ----------
    network : object
        What was given.
    kind : type
        Network or SpikingNetwork.

    Raises
    ------
    OptionError
        If it is something else.
    """
    if not isinstance(network, kind):
        raise OptionError(
            where="run",
            got=f"a {type(network).__name__}",
            expected=f"a {kind.__name__}",
            do="run_ann runs a Network; convert() makes a SpikingNetwork of it.",
        )
