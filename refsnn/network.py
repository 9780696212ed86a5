"""Graphs: the trained network and the spiking one, validated when they are made."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from refsnn.activations import QCFS, Activation, Clip, ReLU
from refsnn.errors import (
    CycleError,
    DanglingError,
    DomainError,
    GraphError,
    RefsnnError,
    ShapeError,
)
from refsnn.layers import (
    Add,
    AvgPool,
    BatchNorm,
    Conv2d,
    Flatten,
    GlobalAvgPool,
    Identity,
    Input,
    Layer,
    Linear,
    LinearMap,
    MaxPool,
    SumPool,
)
from refsnn.neurons import Neuron
from refsnn.numerics import Array, Shape, per_channel
from refsnn.profile import REFSNN, Profile
from refsnn.records import frozen

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

PROJECTIONS: dict[str, type[LinearMap]] = {
    cls.op: cls for cls in (Conv2d, Linear, Identity)
}
"""Linear maps of the spiking network by the name they have in files."""

INPUT = "input"
"""What projections out of the image name as their source."""

NAME = re.compile(r"[A-Za-z0-9_.-]+")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """What a trained and a spiking network have in common.

    Parameters
    ----------
    name : str
        Name of the network.
    input_shape : tuple of int
        (C, H, W) of the images.
    classes : int
        Number of classes.
    mean, std : ndarray, shape (C,)
        Normalisation of pixels scaled to 0..1: input = (x/255 - mean) / std.
    provenance : mapping
        Data, recipe, seed, script, accuracy, library versions: JSON values.
    """

    name: str
    input_shape: Shape
    classes: int
    mean: Array
    std: Array
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def _check_header(self) -> None:
        shape = self.input_shape
        if len(shape) != 3 or min(shape) < 1:
            raise ShapeError(
                where=f"network {self.name}",
                got=f"input_shape {shape}",
                expected="(C, H, W), each at least 1",
            )
        if self.classes < 1:
            raise DomainError(
                where=f"network {self.name}",
                got=f"{self.classes} classes",
                expected="at least one",
            )
        for field in ("mean", "std"):
            value = np.asarray(getattr(self, field), dtype=np.float64)
            if value.shape != shape[:1] or not np.isfinite(value).all():
                raise ShapeError(
                    where=f"network {self.name}",
                    got=f"{field} {value.tolist()}",
                    expected=f"{shape[0]} finite numbers, one for each input channel",
                )
            object.__setattr__(self, field, frozen(value))
        if not (self.std > 0).all():
            raise DomainError(
                where=f"network {self.name}",
                got=f"std {self.std.tolist()}",
                expected="numbers above 0",
            )

    def preprocess(self, images: Array) -> Array:
        """Turn images into the analog input of the network.

        Parameters
        ----------
        images : ndarray of uint8, shape (B, C, H, W)
            Pixels, 0..255.

        Returns
        -------
        ndarray of float32, shape (B, C, H, W)
            (x/255 - mean) / std, computed in float64 and rounded once.

        Raises
        ------
        ShapeError, DomainError
            If the images have another shape or type.
        """
        where = f"images for network {self.name}"
        if images.dtype != np.uint8:
            raise DomainError(where=where, got=images.dtype, expected="uint8 pixels")
        if images.ndim != 4 or images.shape[1:] != self.input_shape:
            raise ShapeError(
                where=where,
                got=f"shape {images.shape}",
                expected=f"(B, {', '.join(map(str, self.input_shape))})",
            )
        mean, std = self.mean[:, None, None], self.std[:, None, None]
        return ((images / 255 - mean) / std).astype(np.float32)

    def need_input(self, x: Array) -> None:
        """Refuse an array that is not an analog input of this network.

        Parameters
        ----------
        x : ndarray, shape (B, C, H, W)
            What :meth:`preprocess` returned.

        Raises
        ------
        ShapeError, DomainError
            If its shape or type is another, or a value is not finite.
        """
        where = f"input of network {self.name}"
        if x.dtype.kind != "f":
            raise DomainError(
                where=where,
                got=f"type {x.dtype}",
                expected="normalised floating-point values",
                do="Call network.preprocess(images) first.",
            )
        if x.ndim != 4 or x.shape[1:] != self.input_shape or len(x) == 0:
            raise ShapeError(
                where=where,
                got=f"shape {x.shape}",
                expected=f"(B, {', '.join(map(str, self.input_shape))}), B at least 1",
            )
        if not np.isfinite(x).all():
            raise DomainError(where=where, got="NaN or infinity", expected="numbers")


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


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Projection:
    """Synapses from a source to a population.

    Parameters
    ----------
    source : str
        A population's name, or ``INPUT`` for the image.
    op : LinearMap
        The map, without bias.
    pool : tuple of SumPool
        Pooling in front of the map, applied in order.
    """

    source: str
    op: LinearMap
    pool: tuple[SumPool, ...] = ()

    @property
    def divisor(self) -> int:
        """Number of source elements in one pooled element."""
        return int(np.prod([pool.window for pool in self.pool], dtype=np.int64))

    def pooled_shape(self, shape: Shape) -> Shape:
        """Return the shape of the map's input.

        Parameters
        ----------
        shape : tuple of int
            S of the source.

        Returns
        -------
        tuple of int
            S behind the pooling.
        """
        for pool in self.pool:
            shape = pool.out_shape(shape)
        return shape

    def pooled(self, x: Array) -> Array:
        """Pool the source's output.

        Parameters
        ----------
        x : ndarray, shape (M, *S)
            Spikes, or the analog image.

        Returns
        -------
        ndarray, shape (M, *S')
            The map's input: sums over the windows.
        """
        for pool in self.pool:
            x = pool(x)
        return x

    def fan_out(self, shape: Shape) -> Array:
        """Count the neurons that each source element reaches, borders exact.

        Parameters
        ----------
        shape : tuple of int
            S of the source.

        Returns
        -------
        ndarray of int64, shape S
            Synaptic operations that one spike causes. Through pooling a spike is
            delivered once for every window that holds it.
        """
        shapes = [shape]
        for pool in self.pool:
            shapes.append(pool.out_shape(shapes[-1]))
        fan_out = self.op.fan_out(shapes[-1])
        for pool, before in zip(
            reversed(self.pool), reversed(shapes[:-1]), strict=True
        ):
            fan_out = pool.fan_out(fan_out, before)
        return fan_out


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Population:
    """Neurons of one model, or the readout.

    Parameters
    ----------
    name : str
        Name of the activation that it replaces; of the output node for the readout.
    shape : tuple of int
        S: (C, H, W) or (N,).
    neuron : Neuron or None
        The model; None marks the readout, whose currents are summed over the steps.
    projections : tuple of Projection
        Incoming synapses, in graph order.
    bias : ndarray, shape (C,), (S) or (), potential, or None
        Added to the current at every step, after all synaptic terms.
    theta : ndarray, shape () or (C,), potential
        Threshold; 1 in canonical form.
    v0 : ndarray, shape (), (C,) or S, potential
        Initial potential.
    scale : ndarray, shape () or (C,), activation
        The threshold before normalisation: a spike is worth `scale` of the trained
        network's activation. 0 marks a dead channel.
    """

    name: str
    shape: Shape
    neuron: Neuron | None
    projections: tuple[Projection, ...]
    bias: Array | None = None
    theta: Array = dataclasses.field(default_factory=lambda: np.array(1.0))
    v0: Array = dataclasses.field(default_factory=lambda: np.array(0.0))
    scale: Array = dataclasses.field(default_factory=lambda: np.array(1.0))

    def __post_init__(self) -> None:
        for field in ("bias", "theta", "v0", "scale"):
            value = getattr(self, field)
            if value is None:
                continue
            where = f"population {self.name}, {field}"
            array = np.asarray(value, dtype=np.float64)
            if not np.isfinite(array).all():
                raise DomainError(
                    where=where, got="NaN or infinity", expected="numbers"
                )
            per_channel(array, self.shape, where=where)
            object.__setattr__(self, field, frozen(array))
        if not (self.theta > 0).all():
            raise DomainError(
                where=f"population {self.name}",
                got=f"a smallest threshold of {self.theta.min()}",
                expected="theta > 0",
            )

    @property
    def neurons(self) -> int:
        """Number of neurons; 0 for the readout."""
        return int(np.prod(self.shape)) if self.neuron else 0

    def over(self, field: str) -> Array:
        """Shape `theta`, `v0`, `bias` or `scale` to broadcast over (..., *S).

        Parameters
        ----------
        field : str
            Name of the parameter.

        Returns
        -------
        ndarray
            The parameter.
        """
        where = f"population {self.name}, {field}"
        return per_channel(getattr(self, field), self.shape, where=where)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SpikingNetwork(Model):
    """A spiking network: populations in topological order, the last one the readout.

    Parameters
    ----------
    populations : tuple of Population
        Names, sources and shapes must fit.
    canonical : bool
        Whether every threshold is 1 and every projection acts on unit spikes and sums
        over its pooling windows. Otherwise projections act on theta times spikes and
        average over their windows; such a network is converted further, not run.
    method : str
        Name of the conversion method.
    options : mapping
        The method's options, all of them.
    T : int or None
        The number of steps it was converted for, if the method depends on it.
    ann_sha256 : str
        Content hash of the trained network.
    samples : ndarray of int64, or None
        Indices of the training images the conversion looked at.
    profile : Profile
        The conventions.
    mode : str
        Arithmetic mode, ``ordered``.
    """

    populations: tuple[Population, ...]
    canonical: bool
    method: str = ""
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    T: int | None = None
    ann_sha256: str = ""
    samples: Array | None = None
    profile: Profile = REFSNN
    mode: str = "ordered"

    def __post_init__(self) -> None:
        self._check_header()
        where = f"spiking network {self.name}"
        check_names(where, [p.name for p in self.populations])
        edges = {
            p.name: tuple(projection.source for projection in p.projections)
            for p in self.populations
        }
        check_order(where, edges, known=(INPUT,))
        check_used(where, edges, output=self.readout.name)
        for population in self.populations:
            self._check_population(population)
        if self.readout.shape != (self.classes,):
            raise ShapeError(
                where=f"{where}, readout {self.readout.name}",
                got=f"shape {self.readout.shape}",
                expected=f"({self.classes},), one logit for each class",
            )

    def _check_population(self, population: Population) -> None:
        where = f"spiking network {self.name}, population {population.name}"
        if (population.neuron is None) != (population is self.readout):
            raise GraphError(
                where=where,
                got="neurons" if population.neuron else "no neurons",
                expected="neurons in every population but the last, the readout",
            )
        if population.neuron:
            population.neuron.over(population.shape)
        if not population.projections:
            raise GraphError(where=where, got="no projections", expected="at least one")
        if self.canonical and not (population.theta == 1).all():
            raise DomainError(
                where=where,
                got=f"theta {population.theta.tolist()}",
                expected="1, since the network is in canonical form",
            )
        for projection in population.projections:
            source = self.shape_of(projection.source)
            try:
                got = projection.op.out_shape(projection.pooled_shape(source))
            except RefsnnError as error:
                raise ShapeError(
                    where=f"{where}, projection from {projection.source}",
                    got=error.got,
                    expected=error.expected,
                ) from None
            biased = projection.op.bias is not None
            if got != population.shape or biased:
                raise ShapeError(
                    where=f"{where}, projection from {projection.source}",
                    got=f"outputs of shape {got}, bias {biased}",
                    expected=f"outputs of shape {population.shape} and no bias",
                )

    @property
    def readout(self) -> Population:
        """The last population, which has no neurons."""
        return self.populations[-1]

    @property
    def hidden(self) -> tuple[Population, ...]:
        """The populations of neurons, in order."""
        return self.populations[:-1]

    def __getitem__(self, name: str) -> Population:
        """Return a population by its name."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Population]:
        return {population.name: population for population in self.populations}

    def shape_of(self, source: str) -> Shape:
        """Return the shape of a source.

        Parameters
        ----------
        source : str
            A population's name or ``INPUT``.

        Returns
        -------
        tuple of int
            S.
        """
        return self.input_shape if source == INPUT else self[source].shape

    def fan_out(self, source: str) -> Array:
        """Count the synapses out of each element of a source, borders exact.

        Parameters
        ----------
        source : str
            A population's name or ``INPUT``.

        Returns
        -------
        ndarray of int64, shape S
            Sum over all projections out of it, the readout's included.
        """
        shape = self.shape_of(source)
        total = np.zeros(shape, dtype=np.int64)
        for _, projection in self.projections(source):
            total = total + projection.fan_out(shape)
        return total

    def projections(self, source: str) -> Iterator[tuple[Population, Projection]]:
        """Walk the projections out of a source.

        Parameters
        ----------
        source : str
            A population's name or ``INPUT``.

        Yields
        ------
        population : Population
            The target.
        projection : Projection
            The synapses.
        """
        for population in self.populations:
            for projection in population.projections:
                if projection.source == source:
                    yield population, projection

    def first_layer_macs(self) -> int:
        """Count the multiply-accumulates of the constant current, padding included.

        Returns
        -------
        int
            For one image, once.
        """
        return sum(
            projection.op.macs(projection.pooled_shape(self.input_shape))
            for _, projection in self.projections(INPUT)
        )

    def describe(self) -> str:
        """Return a table of the populations in order of evaluation.

        Returns
        -------
        str
            One line a population: name, neuron, shape, neurons, threshold before
            normalisation, v(0), sources, synapses out.
        """
        head = "population neuron shape neurons scale v(0) sources synapses-out"
        rows: list[Sequence[object]] = [head.split()]
        for p in self.populations:
            sources = ", ".join(
                f"{q.source} ({'pool, ' * len(q.pool)}{q.op.op})" for q in p.projections
            )
            neuron = p.neuron.op if p.neuron else "readout"
            out = int(self.fan_out(p.name).sum()) if p.neuron else ""
            rows.append(
                (
                    p.name,
                    neuron,
                    p.shape,
                    p.neurons or "",
                    _span(p.scale),
                    _span(p.v0),
                    sources,
                    out,
                )
            )
        total = sum(p.neurons for p in self.populations)
        rows.append(("total", "", "", total, "", "", "", ""))
        return columns(rows)


def _span(values: Array) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:.4g}" if low == high else f"{low:.4g}..{high:.4g}"


def columns(rows: Sequence[Sequence[object]]) -> str:
    """Lay out rows as aligned text, numbers to the right.

    Parameters
    ----------
    rows : sequence of sequences
        The first is the head.

    Returns
    -------
    str
        One line a row.
    """
    table = [
        [f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row]
        for row in rows
    ]
    right = [
        any(isinstance(row[i], int) for row in rows[1:]) for i in range(len(rows[0]))
    ]
    widths = [max(len(row[i]) for row in table) for i in range(len(rows[0]))]
    lines = (
        "  ".join(
            cell.rjust(width) if flush else cell.ljust(width)
            for cell, width, flush in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in table
    )
    return "\n".join(lines)


def check_names(where: str, names: Sequence[str]) -> None:
    """Refuse an empty graph, and names that are malformed or stand twice.

    Parameters
    ----------
    where : str
        The graph, for the error.
    names : sequence of str
        Names in order.

    Raises
    ------
    GraphError
        At the first offence.
    """
    if not names:
        raise GraphError(where=where, got="no nodes", expected="at least one")
    seen: set[str] = set()
    for name in names:
        if not NAME.fullmatch(name):
            expected = f"letters, digits, '_', '.' and '-' ({NAME.pattern})"
            raise GraphError(where=where, got=f"the name {name!r}", expected=expected)
        if name in seen:
            got = f"two nodes named {name}"
            raise GraphError(where=where, got=got, expected="unique names")
        seen.add(name)


def check_order(
    where: str, edges: Mapping[str, Iterable[str]], *, known: Iterable[str]
) -> None:
    """Refuse dangling edges, cycles, and nodes listed before what they read.

    Parameters
    ----------
    where : str
        The graph, for the error.
    edges : mapping of str to iterable of str
        Sources of each node, nodes in the order of evaluation.
    known : iterable of str
        Sources that are no nodes.

    Raises
    ------
    GraphError
        Naming the edge or the cycle.
    """
    done = set(known)
    for name, sources in edges.items():
        for source in sources:
            if source in done:
                continue
            if source not in edges:
                raise DanglingError(
                    where=f"{where}, node {name}",
                    got=f"an input named {source}",
                    expected=f"one of {', '.join([*done, *edges])}",
                )
            cycle = _path(edges, source, name)
            if cycle:
                raise CycleError(
                    where=f"{where}, node {name}",
                    got=f"the cycle {' <- '.join([name, *cycle])}",
                    expected="a graph without cycles",
                )
            raise GraphError(
                where=f"{where}, node {name}",
                got=f"an input named {source}, which is listed later",
                expected="every node listed after its inputs",
            )
        done.add(name)


def _path(
    edges: Mapping[str, Iterable[str]], start: str, goal: str
) -> list[str] | None:
    """Return nodes from `start` along its inputs to `goal`, or None."""
    stack, seen = [[start]], {start}
    while stack:
        path = stack.pop()
        if path[-1] == goal:
            return path
        for source in edges.get(path[-1], ()):
            if source not in seen:
                seen.add(source)
                stack.append([*path, source])
    return None


def check_used(where: str, edges: Mapping[str, Iterable[str]], *, output: str) -> None:
    """Refuse a graph with nodes that nothing reads, the output apart.

    Parameters
    ----------
    where : str
        The graph, for the error.
    edges : mapping of str to iterable of str
        Sources of each node.
    output : str
        The node that nothing needs to read.

    Raises
    ------
    GraphError
        Naming the loose ends, or who reads the output.
    """
    read = {source for sources in edges.values() for source in sources}
    loose = [name for name in edges if name not in read and name != output]
    if loose or output in read:
        raise DanglingError(
            where=where,
            got=f"loose ends {', '.join(loose)}" if loose else f"readers of {output}",
            expected=f"every node but the last, {output}, to be read by a later one",
        )
