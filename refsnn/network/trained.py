"""The trained network: a graph of layers and activations."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property

from refsnn.activations import QCFS, Activation, Clip, ReLU
from refsnn.errors import GraphError, ShapeError
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
    LinearMap,
    MaxPool,
)
from refsnn.network.graph import check_names, check_order, check_used, columns
from refsnn.network.model import Model
from refsnn.numerics import Shape

Op = Layer | Activation

OPS: dict[str, type[Op]] = {
    cls.op: cls
    for cls in (
        Input,
        Conv2d,
        Linear,
        BatchNorm,
        ReLU,
        Clip,
        QCFS,
        AvgPool,
        MaxPool,
        GlobalAvgPool,
        Flatten,
        Add,
    )
}
"""Layers of the trained network by the name they have in files."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Node:
    """A layer or activation in a graph.

    Parameters
    ----------
    name : str
        Unique name, letters, digits, ``_``, ``.`` and ``-``.
    op : Layer or Activation
        What it computes.
    inputs : tuple of str
        Names of the nodes it reads, in order.
    """

    name: str
    op: Op
    inputs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = f"node {self.name}"
        if type(self.op) not in OPS.values():
            raise GraphError(
                where=where, got=f"op {self.op!r}", expected=f"one of {', '.join(OPS)}"
            )
        if isinstance(self.inputs, str):
            got = f"inputs {self.inputs!r}"
            raise GraphError(where=where, got=got, expected="a tuple of names")
        object.__setattr__(self, "inputs", tuple(self.inputs))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Network(Model):
    """A trained network: nodes in topological order, the last one the output.

    Parameters
    ----------
    nodes : tuple of Node
        The first is the input.

    Raises
    ------
    GraphError, ShapeError
        If names clash, an edge dangles or closes a cycle, or shapes do not fit.
    """

    nodes: tuple[Node, ...]

    def __post_init__(self) -> None:
        self._check_header()
        object.__setattr__(self, "nodes", tuple(self.nodes))
        where = f"network {self.name}"
        check_names(where, [node.name for node in self.nodes])
        edges = {node.name: node.inputs for node in self.nodes}
        check_order(where, edges, known=())
        check_used(where, edges, output=self.nodes[-1].name)
        inputs = [node.name for node in self.nodes if isinstance(node.op, Input)]
        if inputs != [self.nodes[0].name]:
            raise GraphError(
                where=where,
                got=f"input nodes {', '.join(inputs) or 'none'}",
                expected="one input node, listed first",
            )
        output = self.shapes[self.nodes[-1].name]
        if output != (self.classes,):
            raise ShapeError(
                where=f"{where}, output node {self.nodes[-1].name}",
                got=f"shape {output}",
                expected=f"({self.classes},), one logit for each class",
            )

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Shape S of every node's output."""
        shapes: dict[str, Shape] = {}
        for node in self.nodes:
            where = f"network {self.name}, node {node.name}"
            arity, count = node.op.arity, len(node.inputs)
            if count != arity and not (arity is None and count > 1):
                raise GraphError(
                    where=f"{where} ({node.op.op})",
                    got=f"{count} inputs",
                    expected="two or more" if arity is None else f"{arity}",
                )
            if isinstance(node.op, Input):
                shapes[node.name] = self.input_shape
                continue
            try:
                shapes[node.name] = node.op.out_shape(*(shapes[i] for i in node.inputs))
            except ShapeError as error:
                raise ShapeError(
                    where=f"{where} ({error.where})",
                    got=error.got,
                    expected=error.expected,
                ) from None
        return shapes

    def __getitem__(self, name: str) -> Node:
        """Return a node by its name."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def consumers(self) -> dict[str, list[str]]:
        """Names of the nodes that read each node."""
        consumers: dict[str, list[str]] = {node.name: [] for node in self.nodes}
        for node in self.nodes:
            for source in node.inputs:
                consumers[source].append(node.name)
        return consumers

    @property
    def activations(self) -> tuple[Node, ...]:
        """The nodes that become populations of neurons."""
        return tuple(n for n in self.nodes if isinstance(n.op, Activation))

    @property
    def parameters(self) -> int:
        """Number of trained parameters: weights, biases, gamma and beta."""
        return sum(node.op.parameters for node in self.nodes)

    def macs(self) -> int:
        """Count multiply-accumulates of one image, padding taps included.

        Returns
        -------
        int
            Sum over convolutions and linear layers.
        """
        return sum(
            node.op.macs(self.shapes[node.inputs[0]])
            for node in self.nodes
            if isinstance(node.op, LinearMap)
        )

    def with_ops(self, ops: Mapping[str, Op]) -> Network:
        """Return the network with some nodes' layers replaced.

        Parameters
        ----------
        ops : mapping of str to Layer or Activation
            New layers by node name.

        Returns
        -------
        Network
            The new network.
        """
        nodes = tuple(
            dataclasses.replace(node, op=ops.get(node.name, node.op))
            for node in self.nodes
        )
        return dataclasses.replace(self, nodes=nodes)

    def describe(self) -> str:
        """Return a table of the nodes in order of evaluation.

        Returns
        -------
        str
            One line a node: name, layer, inputs, output shape, parameters, MACs.
        """
        rows: list[Sequence[object]] = [
            ("node", "layer", "inputs", "shape", "parameters", "MACs")
        ]
        for node in self.nodes:
            linear = isinstance(node.op, LinearMap)
            macs = node.op.macs(self.shapes[node.inputs[0]]) if linear else ""  # type: ignore[union-attr]  # linear maps have it
            inputs, shape = ", ".join(node.inputs), self.shapes[node.name]
            rows.append(
                (node.name, node.op.op, inputs, shape, node.op.parameters or "", macs)
            )
        rows.append(("total", "", "", "", self.parameters, self.macs()))
        return columns(rows)
