"""A PyTorch model as a refsnn network, through ``torch.fx``."""

from __future__ import annotations

import copy
import dataclasses
import operator
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from refsnn.activations import Activation
from refsnn.errors import ConversionError, DomainError, RefsnnError, ShapeError
from refsnn.exchange.reasons import Reason, need, refuse
from refsnn.exchange.torch_activations import recognised, spiking_mode
from refsnn.exchange.torch_layers import MODULES, At, Op, handler
from refsnn.exchange.torch_normalisation import (
    Scale,
    normalisation,
    normalises,
    told,
)
from refsnn.layers import Conv2d, Input
from refsnn.network import Network, Node
from refsnn.network.model import channel_values
from refsnn.numerics import Array, Shape
from refsnn.run import run_ann

TOLERANCE = 1e-5
"""Largest difference from the model's own logits, relative to the largest logit."""

SCALES = (1, 10, 100)
"""Spreads of the inputs drawn beside the example, as multiples of the example's."""


class _Tracer(fx.Tracer):
    """Stops at the modules that have a counterpart."""

    def __init__(self, found: dict[nn.Module, Activation | str | None]) -> None:
        super().__init__()
        self.found = found

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        leaf = super().is_leaf_module(m, module_qualified_name)
        return leaf or type(m) in MODULES or self.found[m] is not None


class _Run(fx.Interpreter):
    """Notes shapes, and what each call reads that was changed in place before.

    Tensors that share memory share their version, so an alias is no way around.
    """

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.versions: dict[fx.Node, int] = {}

    def run_node(self, n: fx.Node) -> Any:
        read = [i for i in n.all_input_nodes if i in self.versions]
        changed = [i.name for i in read if self.env[i]._version != self.versions[i]]
        result = super().run_node(n)
        if isinstance(result, torch.Tensor):
            self.versions[n] = result._version
            n.meta.update(shape=tuple(result.shape), changed=changed)
        return result


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
        _Run(self.traced).run(example)
        self.inside = normalisation(self.traced, tuple(example.shape[1:]))
        self.nodes: list[Node] = []
        self.names: dict[fx.Node, str] = {}
        self.strided: dict[fx.Node, _Strided] = {}
        self.reasons = [
            f"{name or 'model'} ({type(module).__name__}): a forward hook"
            for name, module in model.named_modules()
            if _is_hooked(module)
        ]
        self.kinds: list[str] = []  # of layers out of scope
        for node in graph.nodes:
            try:
                if self._is_inside(node):
                    continue
                changed = ", ".join(node.meta.get("changed", ()))
                need(not changed, f"{changed} is changed in place and read again")
                self._visit(node)
            except (Reason, RefsnnError, TypeError) as reason:
                self.reasons.append(f"{self._label(node)}: {reason}")
                self.kinds.append(getattr(reason, "kind", ""))
                self.names[node] = "?"  # what follows is judged too

    def _label(self, node: fx.Node) -> str:
        if node.op == "call_module":
            kind = type(self.traced.get_submodule(str(node.target))).__name__
            return f"{node.target} ({kind})"
        return f"{node.name} ({getattr(node.target, '__name__', node.target)})"

    def _is_inside(self, node: fx.Node) -> bool:
        """Pass the image through a normalisation; one reason stands for all of it."""
        if self.inside is None:
            return False
        steps = self.inside.steps
        if node == steps[0]:
            names = ", ".join(step.name for step in steps)
            self.reasons.append(f"{names}: normalisation inside the model")
        if node in steps:
            self.names[node] = self.nodes[0].name
        return node in steps or node in self.inside.constants

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
            (output,) = node.args
            need(isinstance(output, fx.Node), "more than one output")
            shape = output.meta["shape"]
            need(len(shape) == 2, f"an output of shape {shape}, not (B, classes)")
            need(output in self.names, "an output that is no layer's")

    def _is_value(self, argument: Any) -> bool:
        """Whether an argument is the output of a layer, or the image."""
        return isinstance(argument, fx.Node) and (
            argument in self.names or argument in self.strided
        )

    def _module(self, node: fx.Node, module: nn.Module) -> None:
        given, named = _arguments(node)
        plain = not named and all(self._is_value(a) for a in given)
        need(plain, "called with other arguments than layers' outputs")
        need(
            not parametrize.is_parametrized(module),
            "parametrised weights (remove_parametrizations makes them plain)",
        )
        inputs = given
        if type(module) in MODULES:
            op = MODULES[type(module)](_at(node, inputs), module)
        else:
            found = self.found[module]
            need(
                found is not None,
                "computes no layer or activation in scope",
                type(module).__name__,
            )
            op = found if isinstance(found, Activation) else None
        self._append(node, str(node.target), op, inputs)

    def _call(self, node: fx.Node) -> None:
        translate = handler(node.target)
        given, named = _arguments(node)
        arguments = [self._constant(a) for a in given]
        inputs = tuple(a for a in arguments if self._is_value(a))
        rest = [a for a in arguments if not self._is_value(a)]
        kwargs = {name: self._constant(a) for name, a in named.items()}
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
            need(len(sources) == 1, "more than one input")
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


def _is_hooked(module: nn.Module) -> bool:
    """Whether hooks may change what a module computes.

    Those of ``torch.nn.utils`` (pruning, spectral norm) make the weight, and no more.
    """
    before = module._forward_pre_hooks.values()
    return bool(module._forward_hooks) or not all(
        type(hook).__module__.startswith("torch.nn.utils.") for hook in before
    )


def _shape(node: fx.Node) -> Shape:
    """Return S of a tensor that depends on the image; nothing for all else."""
    shape: Shape = node.meta.get("shape", ())
    return shape[1:]


def _at(node: fx.Node, inputs: tuple[fx.Node, ...]) -> At:
    need(bool(inputs), "no input that depends on the image")
    return At(shape=_shape(inputs[0]), out=_shape(node), inputs=len(inputs))


def from_torch(
    model: nn.Module,
    example: torch.Tensor,
    *,
    mean: Any,
    std: Any,
    name: str = "model",
    provenance: dict[str, Any] | None = None,
) -> Network:
    """Return a PyTorch model as a network.

    Parameters
    ----------
    model : torch.nn.Module
        The trained model. It is copied and evaluated; dropout is left out.
    example : torch.Tensor, shape (B, C, H, W)
        Normalised images; a few are enough. The network's logits must equal the
        model's on them and on drawn inputs of 1, 10 and 100 times their spread.
    mean, std : sequence of float, one for each channel
        Normalisation that the model expects, of pixels divided by 255: it sees
        (pixels / 255 - mean) / std. For pixels of 0 to 16 divided by 16, for
        instance, 0 and 16 / 255.
    name : str
        Name of the network.
    provenance : dict, optional
        Data, recipe, accuracy: JSON values, kept in files. ``data`` names the data set.

    Returns
    -------
    Network
        Nodes are named after the modules. Parameters keep their bits. Activations are
        recognised by what they compute, whatever their class: ReLU, a (learned) clip,
        QCFS with its clip and levels. Subsampled and zero-padded shortcuts (option A)
        become 1x1 convolutions of zeros and ones. A module that is called twice becomes
        two nodes, and its parameters count twice.

    Raises
    ------
    DomainError, ShapeError
        If the example holds no normalised images, or mean and std no numbers of
        channels.
    ConversionError
        With a reason for every layer that has no counterpart; or if the model cannot
        be traced (control flow that depends on values); or if the logits differ by
        more than 1e-5 of the largest one, both evaluated in float64.

    Warns
    -----
    UserWarning
        If mean and std are hardly those of pixels divided by 255.
    """
    where = f"model {name}"
    _need_images(where, model, example)
    mean = channel_values(where, "mean", np.asarray(mean), example.shape[1])
    std = channel_values(where, "std", np.asarray(std), example.shape[1])
    example = example.detach().cpu().clone()
    with torch.inference_mode(mode=False), torch.no_grad():
        model = _copied(where, model)
        walk = _walked(where, model, example.clone(), (mean, std))
    if walk.reasons:
        do = told(walk.inside.scale, (mean, std)) if walk.inside else ""
        do = f"{do} {_spiking(model)}".strip()
        refuse(where, walk.reasons, walk.kinds, do)
    last = walk.nodes[-1].name
    output = next(n for n in walk.traced.graph.nodes if n.op == "output").args[0]
    if walk.names[output] != last:
        refuse(where, [f"{last}: computed, but the output does not depend on it"])
    network = Network(
        name=name,
        input_shape=tuple(example.shape[1:]),
        classes=_shape(output)[0],
        mean=mean,
        std=std,
        nodes=tuple(walk.nodes),
        provenance=provenance or {},
    )
    _need_agreement(where, model, example.double().numpy(), network)
    network.warn_of_normalisation()
    return network


def _need_images(where: str, model: object, example: object) -> None:
    """Refuse a model that is no module, and an example that is no batch of images."""
    for what, given, cls, expected in (
        ("model", model, nn.Module, "a torch.nn.Module"),
        ("example", example, torch.Tensor, "a torch.Tensor (B, C, H, W)"),
    ):
        if not isinstance(given, cls):
            kind = type(given)
            got = f"a {kind.__module__}.{kind.__qualname__} as {what}"
            raise DomainError(where=where, got=got, expected=expected)
    images: Any = example
    got = f"an example of {images.dtype}, shape {tuple(images.shape)}"
    expected = "normalised float32 images (B, C, H, W)"
    if not images.is_floating_point():
        do = "Pixels 0..255 become such: ((pixels / 255) - mean) / std."
        raise DomainError(where=where, got=got, expected=expected, do=do)
    if images.ndim != 4 or not images.numel():
        do = "Add the axis of the batch: example[None]." * (images.ndim == 3)
        raise ShapeError(where=where, got=got, expected=expected, do=do)


def _spiking(model: nn.Module) -> str:
    """Name the modules that are activations but for a switch to spikes."""
    modes = {name: spiking_mode(module) for name, module in model.named_modules()}
    names = ", ".join(f"{name} ({mode})" for name, mode in modes.items() if mode)
    return f"In spiking mode: {names}; with 0 each is an activation." if names else ""


def _copied(where: str, model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model).cpu().eval()
    except (RuntimeError, TypeError) as error:
        raise ConversionError(
            where=where,
            got=f"a model that cannot be copied ({_first_line(error)})",
            expected="weights that are parameters or buffers of their own",
            do="Pruned or normalised weights become plain ones by prune.remove, "
            "remove_weight_norm or remove_spectral_norm of torch.nn.utils.",
        ) from error


def _walked(where: str, model: nn.Module, example: torch.Tensor, scale: Scale) -> _Walk:
    takes = f"a model that takes the example, {example.dtype} {tuple(example.shape)}"
    with _refused(where, takes, lambda: _fitting(model, example)):
        model(example.clone())
    traced = "a model that torch.fx can trace"
    with _refused(where, traced, lambda: _untraced(model, example, scale)):
        return _Walk(model, example)


def _untraced(model: nn.Module, example: torch.Tensor, scale: Scale) -> str:
    """Say what cannot be traced, and which module might do without."""
    do = "Control flow that depends on values cannot be traced."
    for name, module in model.named_modules():
        inside = normalises(module, example.shape[1])
        if inside is not None:
            kind = type(module).__name__
            return f"{do} {name} ({kind}) normalises. {told(inside, scale)}"
    return do


@contextmanager
def _refused(where: str, expected: str, do: Callable[[], str]) -> Iterator[None]:
    """Turn what a model raises into a refusal."""
    try:
        yield
    except ConversionError:
        raise
    except Exception as error:  # code of others
        cause = error.__cause__ or error
        got = f"{type(cause).__name__}: {_first_line(cause)}"
        raise ConversionError(
            where=where, got=got, expected=expected, do=do()
        ) from error


def _fitting(model: nn.Module, example: torch.Tensor) -> str:
    """Say which example a model would take."""
    kinds = {p.dtype for p in model.parameters() if p.is_floating_point()}
    if not kinds or example.dtype in kinds:
        do = "Give images (B, C, H, W) of the size that it was made for."
        return f"{do} {_spiking(model)}".strip()
    names = " or ".join(sorted(str(kind) for kind in kinds))
    return (
        f"Give images (B, C, H, W) of the model's dtype, {names}, or make both "
        "float32: model.float(), example.float()."
    )


def _arguments(node: fx.Node) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return what a call is given; PyTorch names the first argument `input`."""
    named = dict(node.kwargs)
    if "input" in named and not node.args:
        return (named.pop("input"),), named
    return node.args, named


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0]


def _need_agreement(
    where: str, model: nn.Module, example: Array, network: Network
) -> None:
    """Compare logits on the example and on drawn inputs, in float64 on both sides."""
    model.double()
    for module in model.modules():  # tensors that are neither parameters nor buffers
        for name, value in vars(module).items():
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                setattr(module, name, value.double())
    for x in (example, *_drawn(example)):
        with torch.no_grad():
            want: Array = model(torch.from_numpy(x.copy())).numpy()
        difference = float(np.abs(run_ann(network, x) - want).max())
        if not difference <= TOLERANCE * float(np.abs(want).max()):
            raise ConversionError(
                where=where,
                got=f"logits that differ by {difference:.3g} from the model's",
                expected=f"a difference of at most {TOLERANCE} of the largest",
                do="Does it change a tensor in place (x += y) and read it again, or "
                "drop out in evaluation? If not, please report it.",
            )


def _drawn(example: Array) -> Iterator[Array]:
    """Draw inputs around the example's mean, of growing spread."""
    rng = np.random.default_rng(0)
    spread = example.std() or 1.0
    for scale in SCALES:
        yield example.mean() + scale * spread * rng.standard_normal(example.shape)
