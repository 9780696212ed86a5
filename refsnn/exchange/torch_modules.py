"""A refsnn network as a PyTorch module, to train it or to run it there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from refsnn.activations import QCFS, Clip, ReLU
from refsnn.errors import ConversionError
from refsnn.layers import (
    Add,
    AvgPool,
    BatchNorm,
    Conv2d,
    Flatten,
    GlobalAvgPool,
    Linear,
    MaxPool,
)
from refsnn.network import Network
from refsnn.numerics import Array, Shape


class _Clip(torch.autograd.Function):
    """Learned clip with the gradients of ``refsnn.activations.Clip``."""

    @staticmethod
    def forward(ctx: Any, z: torch.Tensor, lam: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(z, lam)
        return torch.minimum(functional.relu(z), lam.to(z.dtype))

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        (dh,) = grads
        z, lam = ctx.saved_tensors
        positive = _where_above(dh, z, 0)
        dz = _where_above(positive, lam - z, 0)
        return dz, (positive - dz).sum_to_size(lam.shape).to(lam.dtype)


class _QCFS(torch.autograd.Function):
    """QCFS with the gradients of ``refsnn.activations.QCFS.gradient_code``.

    Written out: with PyTorch's automatic derivative of the formula a training step of
    ResNet-20 takes 1.3 to 1.6 times as long.
    """

    @staticmethod
    def forward(
        ctx: Any, z: torch.Tensor, lam: torch.Tensor, levels: int
    ) -> torch.Tensor:
        level = (z * levels).div_(lam).add_(0.5).floor_()
        h = (level / levels).clamp_(0, 1).mul_(lam)
        ctx.save_for_backward(z, lam, level, h)
        ctx.levels = levels
        return h

    @staticmethod
    def backward(
        ctx: Any, *grads: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, None]:
        (dh,) = grads
        z, lam, level, h = ctx.saved_tensors
        inside = (-0.5, ctx.levels + 0.5)
        dz = torch.ops.aten.hardtanh_backward(dh, level, *inside)
        total = (dh * h).sum_to_size(lam.shape) - (dz * z).sum_to_size(lam.shape)
        return dz, (total / lam).to(lam.dtype), None


def _where_above(x: torch.Tensor, at: torch.Tensor, bound: float) -> torch.Tensor:
    """Keep x where `at` exceeds a bound, in a vectorised kernel; 0 elsewhere."""
    kept: torch.Tensor = torch.ops.aten.threshold_backward(x, at, bound)
    return kept


class ClipModule(nn.Module):
    """Learned clip, min(max(z, 0), lam), with the parameter `lam`."""

    def __init__(self, lam: Array) -> None:
        super().__init__()
        self.lam = nn.Parameter(torch.from_numpy(np.array(lam)))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        h: torch.Tensor = _Clip.apply(z, over(self.lam, z))
        return h


class QCFSModule(nn.Module):
    """QCFS with the parameter `lam`; the gradient goes straight through the floor."""

    def __init__(self, lam: Array, levels: int) -> None:
        super().__init__()
        self.lam = nn.Parameter(torch.from_numpy(np.array(lam)))
        self.levels = levels

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        h: torch.Tensor = _QCFS.apply(z, over(self.lam, z), self.levels)
        return h


def over(lam: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Shape a scalar or a value for each channel to broadcast over (B, C, ...).

    Parameters
    ----------
    lam : torch.Tensor, shape () or (C,)
        The parameter.
    z : torch.Tensor, shape (B, C, ...)
        Pre-activations.

    Returns
    -------
    torch.Tensor
        The parameter, broadcastable.
    """
    return lam.reshape(-1, *[1] * (z.ndim - 2)) if lam.ndim else lam


class AddModule(nn.Module):
    """Sum of its inputs, left to right."""

    def forward(self, *xs: torch.Tensor) -> torch.Tensor:
        total = xs[0]
        for x in xs[1:]:
            total = total + x
        return total


class GlobalAvgPoolModule(nn.Module):
    """Mean over rows and columns."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(2, 3))


class PaddedConv2d(nn.Module):
    """Convolution whose zero padding differs before and after."""

    def __init__(self, padding: tuple[int, int, int, int], conv: nn.Conv2d) -> None:
        super().__init__()
        self.padding, self.conv = padding, conv

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        top, left, bottom, right = self.padding
        y: torch.Tensor = self.conv(functional.pad(x, (left, right, top, bottom)))
        return y


def _conv(op: Conv2d, shape: Shape) -> nn.Module:
    outputs, inputs, *kernel = op.weight.shape
    even = len(op.padding) == 2
    conv = nn.Conv2d(
        inputs * op.groups,
        outputs,
        tuple(kernel),
        stride=op.stride,
        padding=op.padding if even else 0,
        dilation=op.dilation,
        groups=op.groups,
        bias=op.bias is not None,
    )
    conv = _filled(conv, weight=op.weight, bias=op.bias)
    if even:
        return conv
    top, left, bottom, right = op.padding
    return PaddedConv2d((top, left, bottom, right), conv)


def _linear(op: Linear, shape: Shape) -> nn.Module:
    linear = nn.Linear(*op.weight.shape[::-1], bias=op.bias is not None)
    return _filled(linear, weight=op.weight, bias=op.bias)


def _batchnorm(op: BatchNorm, shape: Shape) -> nn.Module:
    kind = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
    return _filled(
        kind(len(op.gamma), eps=op.eps),
        weight=op.gamma,
        bias=op.beta,
        running_mean=op.mean,
        running_var=op.var,
    )


def _filled(module: Any, **arrays: Array | None) -> Any:
    """Put arrays into a module's parameters and buffers, in the arrays' own type."""
    for name, array in arrays.items():
        if array is not None:
            getattr(module, name).data = torch.from_numpy(np.array(array))
    return module


MODULES: dict[str, Callable[[Any, Shape], nn.Module]] = {
    Conv2d.op: _conv,
    Linear.op: _linear,
    BatchNorm.op: _batchnorm,
    ReLU.op: lambda op, _: nn.ReLU(),
    Clip.op: lambda op, _: ClipModule(op.lam),
    QCFS.op: lambda op, _: QCFSModule(op.lam, op.levels),
    AvgPool.op: lambda op, _: nn.AvgPool2d(op.kernel, op.stride),
    MaxPool.op: lambda op, _: nn.MaxPool2d(op.kernel, op.stride),
    GlobalAvgPool.op: lambda op, _: GlobalAvgPoolModule(),
    Flatten.op: lambda op, _: nn.Flatten(),
    Add.op: lambda op, _: AddModule(),
}
"""How each layer becomes a PyTorch module, given the shape of its output."""


class TorchNetwork(nn.Module):
    """A network's nodes as submodules, under the nodes' names.

    Parameters
    ----------
    network : Network
        The network.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        first, *nodes = network.nodes
        shapes = network.shapes
        self._first = first.name
        self._steps = [(node.name, node.inputs) for node in nodes]
        for node in sorted(nodes, key=lambda node: node.name.count(".")):
            if isinstance(node.op, Linear) and len(shapes[node.inputs[0]]) > 1:
                raise ConversionError(
                    where=f"network {network.name}, node {node.name}",
                    got="a linear layer that reads a map",
                    expected="one that reads features",
                    do="Put a flatten in front of it: the function is the same.",
                )
            module = MODULES[node.op.op](node.op, shapes[node.name])
            try:
                self._place(node.name, module)
            except KeyError as error:
                raise ConversionError(
                    where=f"network {network.name}, node {node.name}",
                    got=error.args[0],
                    expected="a name that a PyTorch module can have",
                    do="Rename the node.",
                ) from None

    def _place(self, name: str, module: nn.Module) -> None:
        """Set a submodule at a dotted path."""
        *path, last = name.split(".")
        parent: nn.Module = self
        for part in path:
            if part not in parent._modules:
                parent.add_module(part, nn.Module())
            parent = parent.get_submodule(part)
        parent.add_module(last, module)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values = {self._first: x}
        for name, inputs in self._steps:
            x = self.get_submodule(name)(*(values[i] for i in inputs))
            values[name] = x
        return x


def to_torch(network: Network) -> nn.Module:
    """Return a network as a PyTorch module, in training mode.

    Parameters
    ----------
    network : Network
        The network, trained or not. Its tensors are copied in their own types.

    Returns
    -------
    torch.nn.Module
        Takes the normalised image, shape (B, C, H, W), and returns the logits. Clips
        are parameters named ``lam``. :func:`refsnn.exchange.from_torch` takes it back.

    Raises
    ------
    ConversionError
        If a node has a name that modules use themselves, such as ``train``.
    """
    return TorchNetwork(network)
