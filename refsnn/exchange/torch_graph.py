"""A PyTorch model as a refsnn network, through ``torch.fx``."""

from __future__ import annotations

import copy
import dataclasses
import operator
import re
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn import functional

from refsnn.activations import Activation
from refsnn.errors import ConversionError, RefsnnError
from refsnn.exchange.reasons import Reason, need, refuse
from refsnn.exchange.torch_activations import recognised
from refsnn.exchange.torch_layers import MODULES, At, Op, handler
from refsnn.layers import Conv2d, Input
from refsnn.network import Network, Node
from refsnn.numerics import Array, Shape
from refsnn.run import run_ann

TOLERANCE = 1e-5
"""Largest difference from the model's own logits, relative to the largest logit."""


class _Tracer(fx.Tracer):
    """Stops at the modules that have a counterpart."""

    def __init__(self, found: dict[nn.Module, Activation | str | None]) -> None:
        super().__init__()
        self.found = found

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        leaf = super().is_leaf_module(m, module_qualified_name)
        return leaf or type(m) in MODULES or self.found[m] is not None


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Strided:
    """Rows and columns taken at a stride, x[:, :, ::s, ::s], as option-A shortcuts do.

    With zero channels padded on, it is a 1x1 convolution of zeros and ones.
    """

    source: fx.Node
    stride: tuple[int, int]

    def convolution(self, channels: int, front: int = 0, back: int = 0) -> Conv2d:
        eye = np.eye(channels, dtype=np.float32)
        weight = np.pad(eye, ((front, back), (0, 0)))[:, :, None, None]
        return Conv2d(weight=weight, stride=self.stride)


class _Walk:
    """The nodes of a traced model, and reasons for those it has not."""

    def __init__(self, model: nn.Module, example: torch.Tensor) -> None:
        # before tracing: while torch.fx traces, no module can be called
        self.found = {module: recognised(module) for module in model.modules()}
        graph = _Tracer(self.found).trace(model)
        self.traced = fx.GraphModule(model, graph)
        ShapeProp(self.traced).propagate(example)
        self.nodes: list[Node] = []
        self.names: dict[fx.Node, str] = {}
        self.strided: dict[fx.Node, _Strided] = {}
        self.reasons: list[str] = []
        for node in graph.nodes:
            try:
                self._visit(node)
            except (Reason, RefsnnError, TypeError) as reason:
                self.reasons.append(f"{self._label(node)}: {reason}")
                self.names[node] = "?"  # what follows is judged too

    def _label(self, node: fx.Node) -> str:
        if node.op == "call_module":
            kind = type(self.traced.get_submodule(str(node.target))).__name__
            return f"{node.target} ({kind})"
        return f"{node.name} ({getattr(node.target, '__name__', node.target)})"

    def _visit(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            need(not self.nodes, "a second input")
            self._append(node, "input", Input(), ())
        elif node.op == "call_module":
            self._module(node, self.traced.get_submodule(str(node.target)))
        elif node.op in {"call_function", "call_method"} and _shape(node):
            if node.target is operator.getitem:
                self._subsample(node)
            elif node.target is functional.pad:
                self._pad_channels(node)
            else:
                self._call(node)
        elif node.op == "output":
            need(isinstance(node.args[0], fx.Node), "more than one output")
            need(node.args[0] in self.names, "an output that is no layer's")

    def _module(self, node: fx.Node, module: nn.Module) -> None:
        inputs = tuple(a for a in node.args if isinstance(a, fx.Node))
        if type(module) in MODULES:
            op = MODULES[type(module)](_at(node, inputs), module)
        else:
            found = self.found[module]
            need(
                found is not None,
                "computes no layer or activation in scope (one in spiking mode, such "
                "as T > 0, is none)",
            )
            op = found if isinstance(found, Activation) else None
        self._append(node, str(node.target), op, inputs)

    def _call(self, node: fx.Node) -> None:
        translate = handler(node.target)
        arguments = [self._constant(a) for a in node.args]
        inputs = tuple(a for a in arguments if isinstance(a, fx.Node) and _shape(a))
        rest = [a for a in arguments if not isinstance(a, fx.Node)]
        kwargs = {name: self._constant(a) for name, a in node.kwargs.items()}
        op = translate(_at(node, inputs), *rest, **kwargs)
        self._append(node, self._path(node), op, inputs)

    def _constant(self, argument: Any) -> Any:
        """Return the tensor behind an attribute of the model, all else as it is."""
        if isinstance(argument, fx.Node) and argument.op == "get_attr":
            value: Any = self.traced
            for part in str(argument.target).split("."):
                value = getattr(value, part)
            return value
        return argument

    def _subsample(self, node: fx.Node) -> None:
        source, index = node.args
        need(isinstance(index, tuple) and len(index) == 4, f"the index {index}")
        steps = [(i.start, i.stop, i.step) for i in index if isinstance(i, slice)]
        whole = [start in {None, 0} and stop is None for start, stop, _ in steps]
        need(len(steps) == 4 and all(whole), f"the index {index}")
        by = [step or 1 for *_, step in steps]
        need(by[:2] == [1, 1], f"the index {index}")
        need(isinstance(source, fx.Node), "a constant")
        self.strided[node] = _Strided(source=source, stride=(by[2], by[3]))

    def _pad_channels(self, node: fx.Node) -> None:
        source, pad = node.args[0], tuple(node.args[1])
        given = {"mode": "constant", "value": None, **node.kwargs}
        given.update(zip(("mode", "value"), node.args[2:], strict=False))
        zeros = given["mode"] == "constant" and given["value"] in {None, 0}
        need(zeros and len(pad) == 6 and not any(pad[:4]), f"padding by {pad}")
        need(isinstance(source, fx.Node), "a constant")
        strided = self.strided.get(source) or _Strided(source=source, stride=(1, 1))
        op = strided.convolution(_shape(source)[0], *pad[4:])
        self._append(node, self._path(node), op, (strided.source,))

    def _append(
        self, node: fx.Node, name: str, op: Op, inputs: tuple[fx.Node, ...]
    ) -> None:
        """Add a layer, or pass the input on where there is none."""
        sources = tuple(self._source(i) for i in inputs)
        if op is None:
            (self.names[node],) = sources
            return
        taken = {n.name for n in self.nodes}
        unique, count = name, 1
        while unique in taken:
            count += 1
            unique = f"{name}_{count}"
        self.nodes.append(Node(name=unique, op=op, inputs=sources))
        self.names[node] = unique

    def _source(self, node: fx.Node) -> str:
        """Return the name of the layer behind a traced node."""
        if node in self.strided and node not in self.names:
            strided = self.strided[node]
            op = strided.convolution(_shape(node)[0])
            self._append(node, self._path(node), op, (strided.source,))
        return self.names[node]

    def _path(self, node: fx.Node) -> str:
        """Name a call after the module it stands in."""
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        kind = re.sub(r"_\d+$", "", node.name)
        at = stack[-1][0] if stack else ""
        return f"{at}.{kind}" if at else kind


def _shape(node: Any) -> Shape:
    """Return S of a tensor that depends on the image; nothing for all else."""
    meta = node.meta.get("tensor_meta")
    return tuple(meta.shape[1:]) if hasattr(meta, "shape") else ()


def _at(node: fx.Node, inputs: tuple[fx.Node, ...]) -> At:
    need(bool(inputs), "no input that depends on the image")
    return At(shape=_shape(inputs[0]), out=_shape(node), inputs=len(inputs))


def from_torch(
    model: nn.Module,
    example: torch.Tensor,
    *,
    name: str = "model",
    mean: Any = None,
    std: Any = None,
    provenance: dict[str, Any] | None = None,
) -> Network:
    """Return a PyTorch model as a network.

    Parameters
    ----------
    model : torch.nn.Module
        The trained model. It is copied and evaluated; dropout is left out.
    example : torch.Tensor, shape (B, C, H, W)
        Normalised images, on which the network's logits must equal the model's.
    name : str
        Name of the network.
    mean, std : sequence of float, one for each channel
        Normalisation that the model expects, of pixels scaled to 0..1; 0 and 1 by
        default.
    provenance : dict, optional
        Data, recipe, accuracy: JSON values, kept in files. ``data`` names the data set.

    Returns
    -------
    Network
        Nodes are named after the modules. Parameters keep their bits. Activations are
        recognised by what they compute, whatever their class: ReLU, a (learned) clip,
        QCFS with its clip and levels. Subsampled and zero-padded shortcuts (option A)
        become 1x1 convolutions of zeros and ones.

    Raises
    ------
    ConversionError
        With a reason for every layer that has no counterpart; or if the model cannot
        be traced (control flow that depends on values); or if the logits differ by
        more than 1e-5 of the largest one, both evaluated in float64.
    """
    where = f"model {name}"
    model = copy.deepcopy(model).cpu().eval()
    example = example.detach().cpu()
    try:
        walk = _Walk(model, example)
    except ConversionError:
        raise
    except Exception as error:  # code of others, traced
        cause = error.__cause__ or error
        text = (str(cause).splitlines() or [""])[0]
        raise ConversionError(
            where=where,
            got=f"{type(cause).__name__}: {text}",
            expected="a model that torch.fx can trace and that takes the example",
            do="Control flow that depends on values cannot be traced.",
        ) from error
    refuse(where, walk.reasons)
    channels = example.shape[1]
    last = walk.nodes[-1].name
    output = next(n for n in walk.traced.graph.nodes if n.op == "output")
    if walk.names[output.args[0]] != last:
        refuse(where, [f"{last}: computed, but the output does not depend on it"])
    network = Network(
        name=name,
        input_shape=tuple(example.shape[1:]),
        classes=int(np.prod(_shape(output.args[0]))),
        mean=np.zeros(channels) if mean is None else np.asarray(mean),
        std=np.ones(channels) if std is None else np.asarray(std),
        nodes=tuple(walk.nodes),
        provenance=provenance or {},
    )
    _need_agreement(where, model, example, network)
    return network


def _need_agreement(
    where: str, model: nn.Module, example: torch.Tensor, network: Network
) -> None:
    """Compare logits on the example, in float64 on both sides."""
    with torch.no_grad():
        want: Array = model.double()(example.double()).numpy()
    got = run_ann(network, example.double().numpy())
    difference = float(np.abs(got - want).max())
    if not difference <= TOLERANCE * max(1.0, float(np.abs(want).max())):
        raise ConversionError(
            where=where,
            got=f"logits that differ by {difference:.3g} from the model's",
            expected=f"a difference of at most {TOLERANCE} of the largest",
            do="Please report this model: its translation is wrong.",
        )
