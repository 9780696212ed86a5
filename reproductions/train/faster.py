"""What makes training on a CPU faster; it computes the same, rounded at other places.

Activations are compiled, where there is a C++ compiler: one pass over memory for each
direction in place of up to seven (a QCFS of 8 million values in bfloat16 takes 9 in
place of 54 ms on one core). Between their operations they keep float32.

oneDNN's bfloat16 gradient of a convolution's weights goes along the rows of the
output; where these have 4 pixels it reaches a fifth of its speed at 32 (72 against 380
GMAC/s on one core with AMX, ResNet-18, batch 128). One matrix product for each weight
of the kernel goes along all pixels of the batch.
"""

from __future__ import annotations

import shutil
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from refsnn.activations import Clipped
from refsnn.network import Network

ROW = 4
"""Rows of as many pixels or fewer are small."""


class _Conv(torch.autograd.Function):
    """A convolution whose gradient of the weights is taken tap by tap."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, conv: nn.Conv2d
    ) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.conv = conv
        return functional.conv2d(x, weight, None, conv.stride, conv.padding)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, Any, None]:
        (dy,) = grads
        x, weight = ctx.saved_tensors
        stride, padding = ctx.conv.stride, ctx.conv.padding
        dx, _, _ = torch.ops.aten.convolution_backward(
            dy, x, weight, None, stride, padding, (1, 1), False, (0, 0), 1,
            (True, False, False),
        )  # fmt: skip
        vertical, horizontal = padding
        padded = functional.pad(x, (horizontal, horizontal, vertical, vertical))
        H, W = dy.shape[2:]
        flat = dy.permute(1, 0, 2, 3).reshape(dy.shape[1], -1)
        dw = torch.empty_like(weight)
        for i in range(weight.shape[2]):
            for j in range(weight.shape[3]):
                rows = slice(i, i + (H - 1) * stride[0] + 1, stride[0])
                columns = slice(j, j + (W - 1) * stride[1] + 1, stride[1])
                seen = padded[:, :, rows, columns].permute(0, 2, 3, 1)
                dw[:, :, i, j] = flat @ seen.reshape(-1, x.shape[1])
        return dx, dw, None


def _forward(conv: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    """Convolve a batch, shape (B, C, H, W)."""
    device = x.device.type
    if not torch.is_autocast_enabled(device):
        return nn.Conv2d.forward(conv, x)
    kind = torch.get_autocast_dtype(device)
    y: torch.Tensor = _Conv.apply(x.to(kind), conv.weight.to(kind), conv)
    return y


def faster(net: nn.Module, network: Network) -> None:
    """Change how a module computes, for training on a CPU.

    Parameters
    ----------
    net : torch.nn.Module
        What ``refsnn.exchange.to_torch`` made of the network.
    network : Network
        The network.
    """
    compiler = any(map(shutil.which, ("c++", "g++", "clang++")))
    for node in network.nodes:
        if not node.inputs:
            continue
        module = net.get_submodule(node.name)
        if isinstance(node.op, Clipped) and compiler:
            module.compile(dynamic=True)
        if (
            isinstance(module, nn.Conv2d)
            and module.bias is None
            and module.groups == 1
            and module.dilation == (1, 1)
            and network.shapes[node.name][-1] <= ROW
        ):
            module.forward = partial(_forward, module)  # type: ignore[method-assign]
