"""Keras models in HDF5, sequential or functional, read without Keras.

Channels come last in Keras and first here; a dense layer behind a flatten gets its
columns in the order of this package. A final softmax is left out: it changes no
prediction, and the spiking network's readout has none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from refsnn.activations import Activation, Clip, ReLU
from refsnn.errors import ConversionError, RefsnnError
from refsnn.exchange.reasons import Reason, need, refuse
from refsnn.io.tree import Tree, read
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
    MaxPool,
)
from refsnn.network import Network, Node
from refsnn.numerics import Array, Shape

Config = dict[str, Any]

MALFORMED = (KeyError, TypeError, ValueError, IndexError, AttributeError)
"""What a configuration raises that is not as Keras writes it."""


class _Walk:
    """The nodes of a model, and reasons for the layers it has not."""

    def __init__(self, tree: Tree, model: Config) -> None:
        self.arrays = tree.arrays
        self.layers = _layers(model)
        self.nodes: list[Node] = []
        self.shapes: dict[str, Shape] = {}
        self.names: dict[str, str] = {}  # of the node that stands for a layer
        self.flat: dict[str, Shape] = {}  # shape before a flatten, by node
        # what zero padding, no node of its own, stands in front of, and how wide it is
        self.padded: dict[str, tuple[str, Shape]] = {}
        self.reasons: list[str] = []
        self.kinds: list[str] = []  # of layers out of scope
        for kind, config, calls in self.layers:
            name = config["name"]
            try:
                need(len(calls) <= 1, "called more than once")
                self._visit(kind, config, calls[0] if calls else [])
            except (Reason, RefsnnError, *MALFORMED) as reason:
                if "?" not in {self.names.get(i) for call in calls for i in call}:
                    why = (
                        f"malformed, {reason!r}"
                        if type(reason) in MALFORMED
                        else reason
                    )
                    self.reasons.append(f"{name} ({kind}): {why}")
                    self.kinds.append(getattr(reason, "kind", ""))
                self.names[name] = "?"
        if self.nodes and not self.reasons:
            self._check_output()

    def _check_output(self) -> None:
        last = self.nodes[-1].name
        if self.names[self.layers[-1][1]["name"]] != last:
            self.reasons.append(f"{last}: the last node, but not the last layer's")
        if last in self.flat:
            self.reasons.append(f"{last}: an output of flattened features")

    def _visit(self, kind: str, config: Config, inputs: list[str]) -> None:
        sources = [self.names[i] for i in inputs]
        need("?" not in sources, "behind a layer without a counterpart")
        if kind == "InputLayer" or not self.nodes:
            shape: Any = config.get("batch_input_shape") or config.get("batch_shape")
            need(
                shape is not None and len(shape) == 4 and None not in shape[1:],
                f"the input shape {shape}, not (None, H, W, C)",
            )
            need(not self.nodes, "a second input")
            self._put("input", Input(), [], (shape[3], shape[1], shape[2]))
            sources = ["input"]
            if kind == "InputLayer":
                self.names[config["name"]] = "input"
                return
        need(kind in LAYERS, "no layer in scope", kind)
        need(config.get("data_format") != "channels_first", "channels first")
        last = LAYERS[kind](self, config, sources)
        self.names[config["name"]] = self._activated(config, last)

    def _activated(self, config: Config, source: str) -> str:
        """Add the activation that a layer's configuration names."""
        op = activation(config.get("activation", "linear"), self.is_last(config))
        name = _plain(config["name"])
        if name in self.shapes:  # a layer with an activation makes two nodes
            name = f"{name}_activation"
        return source if op is None else self.put(name, op, [source])

    def is_last(self, config: Config) -> bool:
        """Whether a layer is the model's last."""
        return bool(config["name"] == self.layers[-1][1]["name"])

    def put(self, name: str, op: Layer | Activation, sources: list[str]) -> str:
        """Add a node, and keep what its output's order was before a flatten."""
        need(
            not any(s in self.padded for s in sources),
            "zero padding in front of anything but a convolution",
        )
        orders = {self.flat.get(s) for s in sources}
        need(len(orders) == 1, "a sum of flattened features and others")
        shape = op.out_shape(*(self.shapes[s] for s in sources))
        if not isinstance(op, (Linear, Flatten)) and sources[0] in self.flat:
            self.flat[name] = self.flat[sources[0]]
        return self._put(name, op, sources, shape)

    def _put(
        self, name: str, op: Layer | Activation, sources: list[str], shape: Shape
    ) -> str:
        self.nodes.append(Node(name=name, op=op, inputs=tuple(sources)))
        self.shapes[name] = shape
        return name

    def weight(self, config: Config, shape: Shape, *names: str) -> Array:
        """Return a layer's tensor by its name in the file."""
        home, name = f"/model_weights/{config['name']}/", " or ".join(names)
        found = [
            array
            for path, array in self.arrays.items()
            if path.startswith(home)
            and path.rpartition("/")[2].removesuffix(":0") in names
        ]
        need(len(found) == 1, f"{len(found) or 'no'} tensors {name} in the file")
        need(found[0].shape == shape, f"{name} of shape {found[0].shape}, not {shape}")
        return found[0]

    def bias(self, config: Config, size: int) -> Array | None:
        """Return a layer's bias, if it has one."""
        used = config.get("use_bias", True)
        return self.weight(config, (size,), "bias") if used else None

    def ordered(self, values: Array, source: str) -> Array:
        """Put the last axis of a tensor, over flattened features, channels first."""
        if source not in self.flat:
            return values
        C, H, W = self.flat[source]
        folded = values.reshape(*values.shape[:-1], H, W, C)
        return np.moveaxis(folded, -1, -3).reshape(values.shape)


def _plain(name: str) -> str:
    return name.replace("/", ".").replace(" ", "_")


def _layers(model: Config) -> list[tuple[str, Config, list[list[str]]]]:
    """List (class, configuration, inputs of every call) of the layers, in order."""
    kind: Any = model.get("class_name")
    config: Any = model.get("config")
    if kind == "Sequential":
        layers = config["layers"] if isinstance(config, dict) else config
        names = [layer["config"]["name"] for layer in layers]
        before: list[list[str]] = [[], *([name] for name in names)]
        return [
            (layer["class_name"], layer["config"], [inputs])
            for layer, inputs in zip(layers, before, strict=False)
        ]
    if kind in {"Functional", "Model"} and isinstance(config, dict):
        return [
            (
                layer["class_name"],
                {**layer["config"], "name": layer["name"]},
                [list(_sources(call)) for call in layer.get("inbound_nodes", [])],
            )
            for layer in config["layers"]
        ]
    raise ConversionError(
        where="Keras model", got=f"a {kind} model", expected="Sequential or Functional"
    )


def _sources(inbound: Any) -> Iterator[str]:
    """Yield the layers that a layer reads, in the notation of Keras 2 or 3."""
    if isinstance(inbound, dict):
        history = inbound.get("keras_history") or inbound.get("config", {}).get(
            "keras_history"
        )
        if history:
            yield history[0]
        else:
            for value in inbound.get("args", []):
                yield from _sources(value)
    elif isinstance(inbound, list):
        old = len(inbound) >= 3 and isinstance(inbound[0], str)
        if old:
            yield inbound[0]
        else:
            for value in inbound:
                yield from _sources(value)


def activation(kind: Any, last: bool) -> Activation | None:
    """Translate an activation by its name.

    Parameters
    ----------
    kind : str or dict
        Its name in Keras, or a layer's class and settings.
    last : bool
        Whether it is the model's last.

    Returns
    -------
    Activation or None
        None for the identity, and for the last softmax.

    Raises
    ------
    Reason
        If there is no counterpart.
    """
    if isinstance(kind, dict):  # a layer, or a function by its registered name
        settings, kind = kind.get("config"), str(kind.get("class_name"))
        if kind == "ReLU" and isinstance(settings, dict):
            return _rectifier(settings)
        if kind == "function":
            kind = str(settings)
    if kind == "relu":
        return ReLU()
    if kind == "relu6":
        return Clip(lam=np.array(6, dtype=np.float32))
    known = kind == "linear" or (kind == "softmax" and last)
    need(known, f"the activation {kind}", kind)
    return None


def _rectifier(config: Config) -> ReLU | Clip:
    """Translate the settings of Keras' ReLU."""
    slope = config.get("negative_slope") or config.get("alpha") or 0
    need(not slope and not config.get("threshold"), "a slope or threshold")
    top = config.get("max_value")
    return ReLU() if top is None else Clip(lam=np.array(top, dtype=np.float32))


def _same(n: int, k: int, s: int, d: int) -> tuple[int, int]:
    """Return the padding before and after that keeps ceil(n / s) outputs."""
    total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
    return total // 2, total - total // 2


def _padding(config: Config, shape: Shape, kernel: Shape, given: Shape) -> Shape:
    stride, dilation = config["strides"], config.get("dilation_rate", (1, 1))
    if config["padding"] == "valid":
        return given
    need(config["padding"] == "same", f"the padding {config['padding']}")
    need(not any(given), "zero padding in front of padding 'same'")
    ends = [
        _same(n, k, s, d)
        for n, k, s, d in zip(shape[1:], kernel, stride, dilation, strict=True)
    ]
    (top, bottom), (left, right) = ends
    return top, left, bottom, right


def _convolution(walk: _Walk, config: Config, sources: list[str]) -> str:
    groups = config.get("groups", 1)
    inputs = walk.shapes[sources[0]][0] // groups
    shape = (*config["kernel_size"], inputs, config["filters"])
    weight = walk.weight(config, shape, "kernel").transpose(3, 2, 0, 1)
    return _conv(walk, config, sources, weight, groups)


def _depthwise(walk: _Walk, config: Config, sources: list[str]) -> str:
    P, Q = config["kernel_size"]
    C, M = walk.shapes[sources[0]][0], config["depth_multiplier"]
    kernel = walk.weight(config, (P, Q, C, M), "depthwise_kernel", "kernel")
    weight = kernel.transpose(2, 3, 0, 1).reshape(C * M, 1, P, Q)
    return _conv(walk, config, sources, weight, C)


def _conv(
    walk: _Walk, config: Config, sources: list[str], weight: Array, groups: int
) -> str:
    (source,) = sources
    node, given = walk.padded.get(source, (source, (0, 0, 0, 0)))
    op = Conv2d(
        weight=weight,
        bias=walk.bias(config, len(weight)),
        stride=config["strides"],
        padding=_padding(config, walk.shapes[node], weight.shape[2:], given),
        dilation=config.get("dilation_rate", (1, 1)),
        groups=groups,
    )
    return walk.put(_plain(config["name"]), op, [node])


def _dense(walk: _Walk, config: Config, sources: list[str]) -> str:
    (source,) = sources
    shape = walk.shapes[source]
    need(len(shape) == 1, "a dense layer over the last axis only")
    kernel = walk.weight(config, (*shape, config["units"]), "kernel")
    op = Linear(
        weight=walk.ordered(kernel.T, source), bias=walk.bias(config, config["units"])
    )
    return walk.put(_plain(config["name"]), op, sources)


def _batchnorm(walk: _Walk, config: Config, sources: list[str]) -> str:
    (source,) = sources
    axis = config["axis"]
    axis = axis[0] if isinstance(axis, list) else axis
    need(axis in {-1, len(walk.shapes[source])}, f"normalisation along axis {axis}")
    shape = walk.shapes[source][:1]
    mean = walk.weight(config, shape, "moving_mean")
    scale, center = config.get("scale", True), config.get("center", True)
    values = {
        "gamma": walk.weight(config, shape, "gamma") if scale else np.ones_like(mean),
        "beta": walk.weight(config, shape, "beta") if center else np.zeros_like(mean),
        "mean": mean,
        "var": walk.weight(config, shape, "moving_variance"),
    }
    ordered = {name: walk.ordered(value, source) for name, value in values.items()}
    op = BatchNorm(eps=config["epsilon"], **ordered)
    return walk.put(_plain(config["name"]), op, sources)


def _pool(kind: type[AvgPool] | type[MaxPool]) -> Any:
    def pool(walk: _Walk, config: Config, sources: list[str]) -> str:
        (source,) = sources
        kernel, stride = config["pool_size"], config["strides"] or config["pool_size"]
        sizes = zip(walk.shapes[source][1:], kernel, stride, strict=True)
        padded = [_same(n, k, s, 1) != (0, 0) for n, k, s in sizes]
        need(config["padding"] == "valid" or not any(padded), "padding in pooling")
        op = kind(kernel=kernel, stride=stride)
        return walk.put(_plain(config["name"]), op, sources)

    return pool


def _flatten(walk: _Walk, config: Config, sources: list[str]) -> str:
    (source,) = sources
    name, shape = _plain(config["name"]), walk.shapes[source]
    if len(shape) == 1:
        return source
    walk.put(name, Flatten(), sources)
    if shape[1:] != (1, 1):  # one row and column have one order
        walk.flat[name] = shape
    return name


def _global(walk: _Walk, config: Config, sources: list[str]) -> str:
    return walk.put(_plain(config["name"]), GlobalAvgPool(), sources)


def _add(walk: _Walk, config: Config, sources: list[str]) -> str:
    return walk.put(_plain(config["name"]), Add(), sources)


def _relu(walk: _Walk, config: Config, sources: list[str]) -> str:
    return walk.put(_plain(config["name"]), _rectifier(config), sources)


def _zero_padding(walk: _Walk, config: Config, sources: list[str]) -> str:
    (source,) = sources
    need(source not in walk.padded, "two zero paddings in a row")
    name = _plain(config["name"])
    (top, bottom), (left, right) = config["padding"]
    C, H, W = walk.shapes[source]
    walk.shapes[name] = (C, H + top + bottom, W + left + right)
    walk.padded[name] = source, (top, left, bottom, right)
    return name


def _softmax(walk: _Walk, config: Config, sources: list[str]) -> str:
    need(walk.is_last(config), "a softmax that is not the last layer")
    return sources[0]


def _passed(walk: _Walk, config: Config, sources: list[str]) -> str:
    return sources[0]


LAYERS: dict[str, Callable[[_Walk, Config, list[str]], str]] = {
    "Conv2D": _convolution,
    "DepthwiseConv2D": _depthwise,
    "Dense": _dense,
    "BatchNormalization": _batchnorm,
    "Activation": _passed,
    "ReLU": _relu,
    "Add": _add,
    "AveragePooling2D": _pool(AvgPool),
    "MaxPooling2D": _pool(MaxPool),
    "GlobalAveragePooling2D": _global,
    "Flatten": _flatten,
    "ZeroPadding2D": _zero_padding,
    "Softmax": _softmax,
    "Dropout": _passed,
    "SpatialDropout2D": _passed,
    "ActivityRegularization": _passed,
}
"""Layers by their class; each adds its nodes and names the last."""


def from_keras(
    path: Path,
    *,
    name: str = "model",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    provenance: dict[str, Any] | None = None,
) -> Network:
    """Read a Keras model with its weights.

    Parameters
    ----------
    path : Path
        HDF5 as written by ``model.save("model.h5")``.
    name : str
        Name of the network.
    mean, std : sequence of float, one for each channel
        Normalisation that the model expects, of pixels scaled to 0..1; by default 0
        and 1. A model of raw pixels 0..255 has the std 1/255.
    provenance : dict, optional
        JSON values to keep.

    Returns
    -------
    Network
        Nodes are named after the layers.

    Raises
    ------
    ConversionError
        With a reason for every layer that has no counterpart.
    DataError, FormatError
        If the file is missing, no HDF5 or no Keras model.

    Warns
    -----
    UserWarning
        If mean and std are hardly those of pixels divided by 255.
    """
    tree = read(path, foreign=True)
    text = tree.attributes["/"].get("model_config")
    try:
        model = json.loads(str(text))
    except ValueError:
        model = None
    if not isinstance(model, dict):
        raise ConversionError(
            where=str(path),
            got="no attribute model_config" if text is None else "a damaged one",
            expected="a Keras model in HDF5, with its architecture",
            do="For a state dict give --arch.",
        )
    try:
        walk = _Walk(tree, model)
        channels = walk.shapes["input"][0]
    except MALFORMED as error:
        if isinstance(error, RefsnnError):
            raise
        raise ConversionError(
            where=str(path),
            got=f"a malformed model_config ({error!r})",
            expected="a model as Keras 2 or 3 writes it",
        ) from None
    refuse(f"Keras model {path}", walk.reasons, walk.kinds)
    classes = walk.shapes[walk.nodes[-1].name][0]
    network = Network(
        name=name,
        input_shape=walk.shapes["input"],
        classes=classes,
        mean=np.zeros(channels) if mean is None else np.asarray(mean),
        std=np.ones(channels) if std is None else np.asarray(std),
        nodes=tuple(walk.nodes),
        provenance=provenance or {},
    )
    network.warn_of_normalisation()
    return network
