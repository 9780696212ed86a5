"""Normalisation of the image that stands inside a PyTorch model, before its layers."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterator

import numpy as np
import torch
from torch import fx, nn

from refsnn.numerics import Array, Shape

FUNCTIONS = {
    *(operator.add, operator.sub, operator.mul, operator.truediv),
    *(operator.iadd, operator.isub, operator.imul, operator.itruediv),
    *(torch.add, torch.sub, torch.subtract, torch.mul, torch.multiply),
    *(torch.div, torch.divide, torch.true_divide),
}
METHODS = {name + end for name in ("add", "sub", "mul", "div") for end in ("", "_")}
PASSED = {"clone", "contiguous", "float"}
"""Methods that may stand between."""

PROBES = (0.0, 1.0, -1.0)
"""Images of one value each, which show gain and offset, and that there is no more."""

AGREEMENT = 1e-4
"""Largest difference between the gains that two probes show, relative to the gain."""


Scale = tuple[Array, Array]
"""Mean and std, of shape (C,) each."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Normalisation:
    """What a model does to its image x first: (x - mean) / std.

    Attributes
    ----------
    steps : tuple of torch.fx.Node
        What computes it, in order.
    constants : tuple of torch.fx.Node
        What computes its constants, and nothing else.
    scale : tuple of ndarray, shape (C,)
        Mean and std in the units of the example.
    """

    steps: tuple[fx.Node, ...]
    constants: tuple[fx.Node, ...]
    scale: Scale


def told(inside: Scale, before: Scale) -> str:
    """Say how a normalisation inside a model is given instead.

    ::

        ((p - mean) / std - m) / s = (p - (mean + std m)) / (std s)

    Parameters
    ----------
    inside : tuple of ndarray, shape (C,)
        Mean m and std s inside the model.
    before : tuple of ndarray, shape (C,)
        Mean and std in front of it, of pixels p divided by 255.

    Returns
    -------
    str
        What to do.
    """
    m, s = inside
    mean, std = before
    texts = [
        ", ".join(f"{number:.6g}" for number in numbers)
        for numbers in (mean + std * m, std * s)
    ]
    return (
        f"Give the normalisation as mean=[{texts[0]}], std=[{texts[1]}] (of pixels "
        "divided by 255), and pass the model without it, and examples behind it."
    )


def normalisation(traced: fx.GraphModule, shape: Shape) -> Normalisation | None:
    """Find the arithmetic with constants that a model begins with.

    Parameters
    ----------
    traced : torch.fx.GraphModule
        The traced model.
    shape : tuple of int
        (C, H, W) of its image.

    Returns
    -------
    Normalisation or None
        None if there is no such arithmetic, or it is no normalisation of channels.
    """
    nodes = list(traced.graph.nodes)
    image = next(node for node in nodes if node.op == "placeholder")
    steps = tuple(_steps(image))
    if not any(_is_arithmetic(node) for node in steps):
        return None
    y = _computed(traced, steps[-1], shape)
    scale = _scale(y)
    if scale is None:
        return None
    constants = tuple(_constants(nodes, image, steps))
    return Normalisation(steps=steps, constants=constants, scale=scale)


def normalises(module: nn.Module, channels: int) -> Scale | None:
    """Say which normalisation a module computes that cannot be traced.

    Parameters
    ----------
    module : torch.nn.Module
        A module of others.
    channels : int
        C of the image.

    Returns
    -------
    tuple of ndarray, shape (C,), or None
        Mean and std; None if it computes something else or leaves images as they are,
        or is one of PyTorch's.
    """
    if type(module).__module__.startswith("torch.nn"):
        return None
    images = _images((channels, 2, 2))
    try:
        seen = module(images)
        return None if torch.equal(seen, images) else _scale(seen.double().numpy())
    except Exception:  # noqa: BLE001 - code of others, tried out
        return None


def _images(shape: Shape) -> torch.Tensor:
    """Return an image of each probe's value, shape (3, C, H, W)."""
    value = torch.tensor(PROBES).reshape(-1, 1, 1, 1)
    return value.expand(-1, *shape).contiguous()


def _scale(y: Array) -> Scale | None:
    """Read mean and std from what the probes became, (3, C, H, W)."""
    if y.ndim != 4 or np.ptp(y, axis=(2, 3)).any():
        return None
    offset, above, below = y[:, :, 0, 0]
    gain = above - offset
    same = np.abs(offset - below - gain) <= AGREEMENT * np.abs(gain)
    if not same.all() or not (gain > 0).all():
        return None
    return -offset / gain, 1 / gain


def _computed(traced: fx.GraphModule, last: fx.Node, shape: Shape) -> Array:
    """Evaluate a model on the probes, up to a node."""
    run = fx.Interpreter(traced)
    run.args_iter = iter([_images(shape)])
    for node in traced.graph.nodes:
        run.env[node] = run.run_node(node)
        if node is last:
            break
    values: Array = run.env[last].double().numpy()
    return values


def _steps(node: fx.Node) -> Iterator[fx.Node]:
    """Follow the image as long as it is only computed with, by one step at a time."""
    while len(node.users) == 1:
        (step,) = node.users
        if step.args.count(node) != 1 or not (_is_arithmetic(step) or _passes(step)):
            return
        yield step
        node = step


def _is_arithmetic(node: fx.Node) -> bool:
    return (node.op == "call_function" and node.target in FUNCTIONS) or (
        node.op == "call_method" and node.target in METHODS
    )


def _passes(node: fx.Node) -> bool:
    return node.op == "call_method" and node.target in PASSED


def _constants(
    nodes: list[fx.Node], image: fx.Node, steps: tuple[fx.Node, ...]
) -> Iterator[fx.Node]:
    """Yield what only the steps read, and does not depend on the image."""
    seen, own = {image}, set(steps)
    for node in nodes:
        if seen.intersection(node.all_input_nodes):
            seen.add(node)
    for node in reversed(nodes):
        if node not in seen and node.users and own.issuperset(node.users):
            own.add(node)
            yield node
