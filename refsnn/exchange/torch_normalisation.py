"""Normalisation of the image that stands inside a PyTorch model, before its layers."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterator

import numpy as np
import torch
from torch import fx

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

PROBES = (0.0, 1.0, 2.0)
"""Images of one value each, which show gain and offset, and that there is no more."""

AGREEMENT = 1e-4
"""Largest difference between the gains that two probes show, relative to the gain."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Normalisation:
    """What a model does to its image x first: (x - mean) / std.

    Attributes
    ----------
    steps : tuple of torch.fx.Node
        What computes it, in order.
    constants : tuple of torch.fx.Node
        What computes its constants, and nothing else.
    mean, std : ndarray, shape (C,)
        In the units of the example.
    """

    steps: tuple[fx.Node, ...]
    constants: tuple[fx.Node, ...]
    mean: Array
    std: Array

    def behind(self, mean: Array, std: Array) -> tuple[Array, Array]:
        """Return mean and std of both normalisations together.

        ::

            ((p - mean) / std - m) / s = (p - (mean + std m)) / (std s)

        Parameters
        ----------
        mean, std : ndarray, shape (C,)
            The normalisation in front of the model, of pixels p divided by 255.

        Returns
        -------
        mean, std : ndarray, shape (C,)
            Of pixels divided by 255.
        """
        return mean + std * self.mean, std * self.std


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
    offset, *others = y.reshape(len(PROBES), shape[0], -1)
    gain, again = others[0] - offset, others[1] - others[0]
    same = np.abs(again - gain) <= AGREEMENT * np.abs(gain)
    if not same.all() or np.ptp(y, axis=(2, 3)).any() or not (gain > 0).all():
        return None
    gain, offset = gain[:, 0], offset[:, 0]
    constants = tuple(_constants(nodes, image, steps))
    return Normalisation(
        steps=steps, constants=constants, mean=-offset / gain, std=1 / gain
    )


def _computed(traced: fx.GraphModule, last: fx.Node, shape: Shape) -> Array:
    """Evaluate a model on the probes, up to a node."""
    run = fx.Interpreter(traced)
    images = torch.tensor(PROBES).reshape(-1, 1, 1, 1).expand(-1, *shape)
    run.args_iter = iter([images.contiguous()])
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
