"""Evaluating a trained network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from refsnn.errors import OptionError
from refsnn.layers import Input, LinearMap
from refsnn.network import Model, Network
from refsnn.numerics import Array, require_finite
from refsnn.run.implementation import implementation


@np.errstate(
    over="ignore", invalid="ignore"
)  # reported by require_finite, with a place
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
    need_network(ann, Network)
    ann.need_input(x)
    chosen = implementation(impl)
    values: dict[str, Array] = {}
    last = {source: node.name for node in ann.nodes for source in node.inputs}
    for node in ann.nodes:
        inputs = [values[name] for name in node.inputs]
        if isinstance(node.op, Input):
            value = x.astype(np.float64)
        elif isinstance(node.op, LinearMap):
            start = np.zeros((len(x), *ann.shapes[node.name]))
            value = node.op.add_bias(chosen.accumulate(node.op, start, *inputs))
        else:
            value = node.op(*inputs)
        where = f"network {ann.name}, node {node.name}"
        require_finite(value, where=where, axes="(sample, *shape)")
        values[node.name] = value
        if observe:
            observe(node.name, value)
        for source in set(node.inputs):
            if last[source] == node.name:
                del values[source]
    return values[ann.nodes[-1].name]


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
