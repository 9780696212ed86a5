"""Pure rewrites from a trained network to a canonical spiking one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import NoReturn

import numpy as np

from refsnn.activations import Clip, Clipped, ReLU
from refsnn.errors import ConversionError
from refsnn.layers import (
    Add,
    AvgPool,
    BatchNorm,
    Conv2d,
    Flatten,
    GlobalAvgPool,
    Identity,
    Input,
    LinearMap,
    MaxPool,
    SumPool,
)
from refsnn.network import (
    INPUT,
    Network,
    Node,
    Population,
    Projection,
    SpikingNetwork,
)
from refsnn.neurons import Neuron
from refsnn.numerics import Array


def fold_batchnorm(ann: Network) -> Network:
    """Fold every batch normalisation into the linear layer in front of it.

    ::

        W' = gamma W / sqrt(var + eps)
        b' = beta + gamma (b - mean) / sqrt(var + eps)

    in float64. The folded network computes the same function up to rounding.

    Parameters
    ----------
    ann : Network
        A trained network.

    Returns
    -------
    Network
        The network without batch normalisation.

    Raises
    ------
    ConversionError
        If a normalisation does not directly follow a convolution or linear layer, or
        something else reads that layer too.
    """
    ops: dict[str, LinearMap] = {}
    renamed: dict[str, str] = {}
    for node in ann.nodes:
        if not isinstance(node.op, BatchNorm):
            continue
        source = ann[node.inputs[0]]
        readers = ann.consumers[source.name]
        if not isinstance(source.op, LinearMap) or readers != [node.name]:
            raise ConversionError(
                where=f"network {ann.name}, node {node.name}",
                got=f"a batch norm behind {source.name} ({source.op.op}), "
                f"which {', '.join(readers)} read",
                expected="a conv2d or linear layer that only the batch norm reads",
                do="Such a normalisation cannot be folded into weights.",
            )
        ops[source.name] = node.op.folded_into(source.op)
        renamed[node.name] = source.name
    nodes = tuple(
        Node(
            name=node.name,
            op=ops.get(node.name, node.op),
            inputs=tuple(renamed.get(i, i) for i in node.inputs),
        )
        for node in ann.nodes
        if node.name not in renamed
    )
    return dataclasses.replace(ann, nodes=nodes)


def spiking_pools(ann: Network) -> Network:
    """Give every average pooling behind an activation neurons of its own.

    Pooling behind such a pooling gets them too; behind a sum of activations it stays
    linear. Pooling becomes a convolution of each channel with weights 1/k^2, followed
    by a rectifier, which changes nothing: averages of activations are not negative.
    Source: released code of arXiv 2106.06984 (2021), as described; that global pooling
    is taken in the same way is a reconstruction.

    Parameters
    ----------
    ann : Network
        A trained network.

    Returns
    -------
    Network
        A network of the same function. The rectifier has the pooling's name, the
        convolution that name with ``.mean``.
    """
    active = {node.name for node in ann.activations}
    nodes: list[Node] = []
    for node in ann.nodes:
        op = node.op
        if isinstance(op, (AvgPool, GlobalAvgPool)) and active & set(node.inputs):
            nodes += _spiking_pool(ann, node)
            active.add(node.name)
        else:
            nodes.append(node)
    return dataclasses.replace(ann, nodes=tuple(nodes))


def _spiking_pool(ann: Network, node: Node) -> list[Node]:
    """Return the nodes that stand for one average pooling."""
    C, H, W = ann.shapes[node.inputs[0]]
    everything = AvgPool(kernel=(H, W), stride=(H, W))
    op = node.op if isinstance(node.op, AvgPool) else everything
    weight = np.full((C, 1, *op.kernel), 1 / op.window)
    mean = Node(
        name=f"{node.name}.mean",
        op=Conv2d(weight=weight, stride=op.stride, groups=C),
        inputs=node.inputs,
    )
    if op is node.op:
        return [mean, Node(name=node.name, op=ReLU(), inputs=(mean.name,))]
    maps = Node(name=f"{node.name}.maps", op=ReLU(), inputs=(mean.name,))
    return [mean, maps, Node(name=node.name, op=Flatten(), inputs=(maps.name,))]


def set_thresholds(ann: Network, lam: Mapping[str, Array]) -> Network:
    """Clip activations at given values, which become their neurons' thresholds.

    Parameters
    ----------
    ann : Network
        A trained network.
    lam : mapping of str to ndarray, shape () or (C,)
        Clip for each activation to replace; 0 where it is dead.

    Returns
    -------
    Network
        The network with :class:`~refsnn.activations.Clip` in their place.
    """
    return ann.with_ops({name: Clip(lam=value) for name, value in lam.items()})


NeuronRule = Callable[[Array], tuple[Neuron, Array]]
"""From a threshold to a neuron and its initial potential, both in potential units."""


def activations_to_neurons(
    ann: Network, rule: NeuronRule, *, max_pool_on_spikes: bool = False
) -> SpikingNetwork:
    """Replace every activation by a population with the threshold theta = lam.

    A dead channel (lam = 0) gets theta = 1 and outgoing weights 0.

    Parameters
    ----------
    ann : Network
        A network without batch normalisation, whose activations all have a clip
        ``lam``: trained (clip, QCFS), or set by :func:`set_thresholds`.
    rule : callable
        Neuron model and v(0) for a threshold.
    max_pool_on_spikes : bool
        Whether max pooling behind neurons is taken to mean the maximum of their spikes
        at every step; refused otherwise. (Of the image it is exact.)

    Returns
    -------
    SpikingNetwork
        Not yet canonical: projections act on theta times spikes and average over their
        pooling windows.

    Raises
    ------
    ConversionError
        If the graph is not made of populations joined by linear maps.
    """
    need_linear_output(ann)
    output = ann.nodes[-1]
    if not max_pool_on_spikes:
        _refuse_max_pool(ann)
    populations = [_population(ann, node, rule) for node in ann.activations]
    projections, bias = _incoming(ann, output.name)
    readout = Population(
        name=output.name,
        shape=ann.shapes[output.name],
        neuron=None,
        projections=projections,
        bias=bias,
    )
    return SpikingNetwork(
        name=ann.name,
        input_shape=ann.input_shape,
        classes=ann.classes,
        mean=ann.mean,
        std=ann.std,
        provenance=ann.provenance,
        populations=(*populations, readout),
        canonical=False,
    )


def need_linear_output(ann: Network) -> None:
    """Refuse a network that ends in an activation.

    Parameters
    ----------
    ann : Network
        A trained network, best as the user has it: the activation is named.

    Raises
    ------
    ConversionError
        If the last node is an activation.
    """
    output = ann.nodes[-1]
    if output in ann.activations:
        _refuse(
            ann,
            output,
            f"an output behind the activation {output.op.op}",
            "a network that ends in a conv2d or linear layer",
            do="Leave it out: a logit that is the largest behind it, and neither 0 "
            "nor clipped, is the largest without it too.",
        )


def _refuse_max_pool(ann: Network) -> None:
    """Refuse max pooling behind neurons."""
    for node in ann.nodes:
        if isinstance(node.op, MaxPool):
            paths, _ = _paths(ann, node)
            if any(path.source != INPUT for path in paths):
                _refuse(
                    ann,
                    node,
                    "max pooling",
                    "average pooling",
                    do="The maximum of spikes is not the spikes of the maximum. Train "
                    "with average pooling, or ask for it by name: "
                    "max_pool_on_spikes=True, --max-pool-on-spikes.",
                )


def _population(ann: Network, node: Node, rule: NeuronRule) -> Population:
    """Return the neurons that stand for an activation."""
    if not isinstance(node.op, Clipped):
        expected = "an activation with a threshold (clip or qcfs)"
        _refuse(ann, node, f"the activation {node.op.op}", expected)
    lam = node.op.lam.astype(np.float64)
    theta = np.where(lam > 0, lam, 1.0)
    neuron, v0 = rule(theta)
    projections, bias = _incoming(ann, node.inputs[0])
    return Population(
        name=node.name,
        shape=ann.shapes[node.name],
        neuron=neuron,
        projections=projections,
        bias=bias,
        theta=theta,
        v0=v0,
        scale=lam,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Path:
    """The layers from a source up to some node: pooling, then at most one map."""

    source: str
    pool: tuple[MaxPool | SumPool, ...] = ()
    flat: bool = False
    op: LinearMap | None = None


def _incoming(ann: Network, name: str) -> tuple[tuple[Projection, ...], Array | None]:
    """Return the projections and the summed bias of a pre-activation."""
    paths, bias = _paths(ann, ann[name])
    channels = ann.shapes[name][0]
    projections = []
    for path in paths:
        op = path.op or Identity(weight=np.ones(channels), flatten=path.flat)
        op = dataclasses.replace(op, bias=None)
        projections.append(Projection(source=path.source, op=op, pool=path.pool))
    return tuple(projections), bias


def _paths(ann: Network, node: Node) -> tuple[list[_Path], Array | None]:
    """Follow a node's inputs back to the populations or the image it draws on."""
    op = node.op
    if isinstance(op, Input):
        return [_Path(source=INPUT)], None
    if node in ann.activations:
        return [_Path(source=node.name)], None
    if isinstance(op, BatchNorm):
        _refuse(ann, node, "a batch norm", "a network behind fold_batchnorm")
    before = [_paths(ann, ann[name]) for name in node.inputs]
    paths = [path for some, _ in before for path in some]
    biases = [bias for _, bias in before if bias is not None]
    if isinstance(op, Add):
        return paths, sum(biases[1:], biases[0]) if biases else None
    if any(path.op for path in paths) or biases:
        linear = ", ".join(node.inputs)
        _refuse(
            ann,
            node,
            f"{op.op} directly behind the linear layers of {linear}",
            "an activation between two linear layers, and pooling or flatten only "
            "between an activation and the next linear layer",
            do=_reordered(ann, node, paths),
        )
    if isinstance(op, LinearMap):
        paths = [dataclasses.replace(path, op=op) for path in paths]
        return paths, None if op.bias is None else op.bias.astype(np.float64)
    if isinstance(op, MaxPool):
        _need_maximum(ann, node, paths)
    pool, flat = _pool(ann, node)
    return [
        dataclasses.replace(path, pool=path.pool + pool, flat=path.flat or flat)
        for path in paths
    ], None


def _need_maximum(ann: Network, node: Node, paths: list[_Path]) -> None:
    """Refuse a maximum that none of spikes is."""
    if any(isinstance(pool, SumPool) for path in paths for pool in path.pool):
        _refuse(
            ann, node, "max pooling of averages", "max pooling in front of averages"
        )
    if len(paths) > 1:
        sources = ", ".join(path.source for path in paths)
        _refuse(
            ann,
            node,
            f"max pooling of the sum of {sources}",
            "max pooling directly behind one activation",
            do="The sum of maxima is not the maximum of the sum. Put an activation "
            "behind the sum.",
        )


def _reordered(ann: Network, node: Node, paths: list[_Path]) -> str:
    """Say how to repair a layer that stands directly behind linear ones."""
    op, linear = node.op, ", ".join(node.inputs)
    pointwise = all(path.op is None or _is_pointwise(path.op) for path in paths)
    if isinstance(op, (MaxPool, Flatten)) and _leads_to_activations(ann, node):
        kind, spikes = "ReLU", ""  # a clip may be one of flattened features
        if isinstance(op, MaxPool):
            spikes = "; then ask for max pooling of spikes by max_pool_on_spikes=True"
            kind = "activation"
        return (
            f"Swap {node.name} and the {kind} behind it: with the {kind} first, "
            f"directly behind {linear}, the function is the same{spikes}."
        )
    if isinstance(op, (AvgPool, GlobalAvgPool)) and pointwise:
        return (
            f"Put the pooling in front of the 1x1 convolutions of {linear}: averages "
            "of what they compute are what they compute of averages, so the function "
            "is the same (behind global pooling they are linear layers)."
        )
    if isinstance(op, (LinearMap, Flatten)):
        return (
            f"Train with a ReLU behind {linear}, or multiply the two linear layers out "
            "into one."
        )
    return f"Train with a ReLU directly behind {linear}: that is another function."


def _is_pointwise(op: LinearMap) -> bool:
    """Whether a layer computes each output pixel from the pixel at its place."""
    if not isinstance(op, Conv2d) or op.weight.shape[2:] != (1, 1):
        return False
    return op.stride == (1, 1) and not any(op.padding)


def _leads_to_activations(ann: Network, node: Node) -> bool:
    """Whether all that reads a node are activations, perhaps behind more pooling."""
    readers = [ann[name] for name in ann.consumers[node.name]]
    return bool(readers) and all(
        reader in ann.activations
        or (isinstance(reader.op, MaxPool) and _leads_to_activations(ann, reader))
        for reader in readers
    )


def _pool(ann: Network, node: Node) -> tuple[tuple[MaxPool | SumPool, ...], bool]:
    """Return the pooling that a layer stands for, and whether it flattens."""
    op = node.op
    if isinstance(op, MaxPool):
        return (op,), False
    if isinstance(op, AvgPool):
        return (SumPool(kernel=op.kernel, stride=op.stride),), False
    if isinstance(op, GlobalAvgPool):
        _, H, W = ann.shapes[node.inputs[0]]
        return (SumPool(kernel=(H, W), stride=(H, W)),), True
    if not isinstance(op, Flatten):
        _refuse(ann, node, f"the layer {op.op}", "a layer that spikes can pass")
    return (), True


def _refuse(
    ann: Network, node: Node, got: str, expected: str, do: str = ""
) -> NoReturn:
    where = f"network {ann.name}, node {node.name}"
    raise ConversionError(where=where, got=got, expected=expected, do=do)


def canonical_form(snn: SpikingNetwork) -> SpikingNetwork:
    """Normalise every threshold to 1 and let every projection act on unit spikes.

    ::

        W'         = (W theta_in) / (k^2 theta_out)    per channel, in this order
        b'         = b / theta_out
        v(0)'      = v(0) / theta_out
        theta_neg' = theta_neg / theta_out

    with k^2 the number of elements averaged by pooling, theta_in = 1 for the image and
    theta_out = 1 for the readout. In real arithmetic the spikes are the same; W' is
    rounded to float64, and the rounded network *is* the network from here on.

    Parameters
    ----------
    snn : SpikingNetwork
        What :func:`activations_to_neurons` returned.

    Returns
    -------
    SpikingNetwork
        The canonical network. `scale` keeps the old thresholds.
    """
    populations = []
    for p in snn.populations:
        projections = tuple(
            dataclasses.replace(
                q,
                op=q.op.normalised(
                    np.array(1.0) if q.source == INPUT else snn[q.source].scale,
                    q.divisor,
                    p.theta,
                ),
            )
            for q in p.projections
        )
        scaled = dataclasses.replace(p, projections=()).in_units_of(p.theta)
        populations.append(
            dataclasses.replace(scaled, projections=projections, theta=np.array(1.0))
        )
    return dataclasses.replace(snn, populations=tuple(populations), canonical=True)
