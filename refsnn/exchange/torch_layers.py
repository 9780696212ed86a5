"""PyTorch's modules, functions and methods, and the layers they are."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from refsnn.activations import Activation, Clip, ReLU
from refsnn.exchange.reasons import Reason, need
from refsnn.exchange.torch_activations import array
from refsnn.exchange.torch_modules import (
    AddModule,
    GlobalAvgPoolModule,
    PaddedConv2d,
)
from refsnn.layers import (
    Add,
    AvgPool,
    BatchNorm,
    Conv2d,
    Flatten,
    GlobalAvgPool,
    Layer,
    Linear,
    MaxPool,
)
from refsnn.numerics import Array, Shape

Op = Layer | Activation | None
"""A layer, or None where the input is passed on."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class At:
    """Where a call stands.

    Attributes
    ----------
    shape : tuple of int
        S of the first input.
    out : tuple of int
        S of the output.
    inputs : int
        Number of inputs that depend on the image.
    """

    shape: Shape
    out: Shape
    inputs: int


def _pair(value: Any) -> tuple[Any, Any]:
    values = value if isinstance(value, (tuple, list)) else (value,)
    first, second = values if len(values) == 2 else values * 2
    return first, second


def _conv2d(
    at: At,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Op:
    """Translate ``torch.nn.functional.conv2d``."""
    dilation = _pair(dilation)
    if padding == "same":
        reach = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        before = [n // 2 for n in reach]
        padding = [*before, *(n - b for n, b in zip(reach, before, strict=True))]
    elif padding == "valid":
        padding = (0, 0)
    else:
        padding = _pair(padding)
    return Conv2d(
        weight=array(weight),
        bias=None if bias is None else array(bias),
        stride=_pair(stride),
        padding=tuple(padding),
        dilation=dilation,
        groups=groups,
    )


def _conv_module(at: At, m: nn.Conv2d) -> Op:
    need(m.padding_mode == "zeros", f"padding mode {m.padding_mode}, not zeros")
    return _conv2d(at, m.weight, m.bias, m.stride, m.padding, m.dilation, m.groups)


def _padded_conv(at: At, m: PaddedConv2d) -> Op:
    conv: Any = _conv_module(at, m.conv)
    padded: Conv2d = dataclasses.replace(conv, padding=m.padding)
    return padded


def _linear(at: At, weight: torch.Tensor, bias: torch.Tensor | None = None) -> Op:
    need(len(at.shape) == 1, f"a linear layer over the last axis of {at.shape} only")
    return Linear(weight=array(weight), bias=None if bias is None else array(bias))


def _batchnorm(at: At, m: Any) -> Op:
    need(m.running_mean is not None, "no running statistics")
    one = torch.ones_like(m.running_mean)
    return BatchNorm(
        gamma=array(one if m.weight is None else m.weight),
        beta=array(0 * one if m.bias is None else m.bias),
        mean=array(m.running_mean),
        var=array(m.running_var),
        eps=m.eps,
    )


def _clamp(
    at: At,
    min: float | torch.Tensor | None = None,
    max: float | torch.Tensor | None = None,
    *,
    inplace: bool = False,
) -> Op:
    zero = min is not None and not _bound(at, min).any()
    need(zero, f"a lower bound of {min}, not 0")
    return ReLU() if max is None else Clip(lam=_bound(at, max))


def _bound(at: At, value: float | torch.Tensor) -> Array:
    """Return a bound as a scalar or as a value for each channel."""
    if not isinstance(value, torch.Tensor):
        return np.array(value, dtype=np.float32)
    C, *inner = at.shape
    one = (1,) * len(inner)
    bound = array(value)
    need(
        bound.size == 1 or bound.shape in {(C, *one), (1, C, *one)},
        f"a bound of shape {bound.shape}, not one for each of {C} channels",
    )
    return bound.reshape(() if bound.size == 1 else (C,))


def _windows(at: At, kernel: Any, stride: Any, padding: Any, ceil: bool) -> Any:
    kernel = _pair(kernel)
    stride = kernel if stride is None or stride == () else _pair(stride)
    need(_pair(padding) == (0, 0), "padding in pooling")
    whole = all(
        (n - k) % s == 0 for n, k, s in zip(at.shape[1:], kernel, stride, strict=True)
    )
    need(not ceil or whole, "ceil_mode with an incomplete window")
    return {"kernel": kernel, "stride": stride}


def _avg_pool(
    at: At,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Op:
    need(divisor_override is None, "divisor_override")
    return AvgPool(**_windows(at, kernel_size, stride, padding, ceil_mode))


def _max_pool(
    at: At,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Op:
    need(_pair(dilation) == (1, 1), "dilation in pooling")
    need(not return_indices, "return_indices")
    return MaxPool(**_windows(at, kernel_size, stride, padding, ceil_mode))


def _adaptive_avg_pool(at: At, output_size: Any) -> Op:
    sizes = zip(at.shape[1:], _pair(output_size), strict=True)
    size = tuple(n if k is None else k for n, k in sizes)
    if size == (1, 1):
        return GlobalAvgPool()
    if size == at.shape[1:]:
        return None
    windows = [divmod(n, k) for n, k in zip(at.shape[1:], size, strict=True)]
    need(not any(rest for _, rest in windows), f"{at.shape[1:]} to {size}: unequal")
    window = (windows[0][0], windows[1][0])
    return AvgPool(kernel=window, stride=window)


def _mean(at: At, dim: Any = None, keepdim: bool = False) -> Op:
    axes = {d % 4 for d in dim} if isinstance(dim, (tuple, list)) else None
    need(len(at.shape) == 3 and axes == {2, 3}, f"a mean over axes {dim}")
    return GlobalAvgPool()


def _reshaped(at: At, *args: Any, **kwargs: Any) -> Op:
    need(at.out == (int(np.prod(at.shape)),), f"a reshape of {at.shape} to {at.out}")
    return Flatten() if len(at.shape) > 1 else None


def _add(at: At, *constants: Any, alpha: float = 1) -> Op:
    need(at.inputs == 2 and not constants and alpha == 1, "more than a plain sum")
    return Add()


def _relu(at: At, inplace: bool = False) -> Op:
    return ReLU()


def _relu6(at: At, inplace: bool = False) -> Op:
    return Clip(lam=np.array(6, dtype=np.float32))


def _passed(at: At, *args: Any, **kwargs: Any) -> Op:
    return None


MODULES: dict[type[nn.Module], Callable[[At, Any], Op]] = {
    nn.Conv2d: _conv_module,
    PaddedConv2d: _padded_conv,
    nn.Linear: lambda at, m: _linear(at, m.weight, m.bias),
    nn.BatchNorm2d: _batchnorm,
    nn.BatchNorm1d: _batchnorm,
    nn.ReLU: lambda at, m: _relu(at),
    nn.ReLU6: lambda at, m: _relu6(at),
    nn.Hardtanh: lambda at, m: _clamp(at, m.min_val, m.max_val),
    nn.AvgPool2d: lambda at, m: _avg_pool(
        at,
        m.kernel_size,
        m.stride,
        m.padding,
        m.ceil_mode,
        divisor_override=m.divisor_override,
    ),
    nn.MaxPool2d: lambda at, m: _max_pool(
        at,
        m.kernel_size,
        m.stride,
        m.padding,
        m.dilation,
        m.ceil_mode,
        m.return_indices,
    ),
    nn.AdaptiveAvgPool2d: lambda at, m: _adaptive_avg_pool(at, m.output_size),
    GlobalAvgPoolModule: lambda at, m: _mean(at, (2, 3)),
    nn.Flatten: lambda at, m: _reshaped(at),
    AddModule: lambda at, m: Add(),
    nn.Identity: _passed,
    nn.Dropout: _passed,
    nn.Dropout2d: _passed,
}
"""Modules by their class."""

FUNCTIONS: dict[Any, Callable[..., Op]] = {
    torch.conv2d: _conv2d,
    functional.linear: _linear,
    functional.relu: _relu,
    torch.relu: _relu,
    functional.relu6: _relu6,
    functional.hardtanh: lambda at, min_val=-1.0, max_val=1.0, inplace=False: _clamp(
        at, min_val, max_val, inplace=inplace
    ),
    torch.clamp: _clamp,
    operator.add: _add,
    operator.iadd: _add,
    torch.add: _add,
    torch.flatten: _reshaped,
    torch.reshape: _reshaped,
    torch.squeeze: _reshaped,
    torch.mean: _mean,
    functional.avg_pool2d: _avg_pool,
    functional.max_pool2d: _max_pool,
    torch.max_pool2d: _max_pool,
    functional.adaptive_avg_pool2d: _adaptive_avg_pool,
    functional.dropout: _passed,
    "relu": _relu,
    "relu_": _relu,
    "clamp": _clamp,
    "clamp_": _clamp,
    "add": _add,
    "add_": _add,
    "flatten": _reshaped,
    "view": _reshaped,
    "reshape": _reshaped,
    "squeeze": _reshaped,
    "mean": _mean,
    "contiguous": _passed,
    "clone": _passed,
    "detach": _passed,
}
"""Functions, and methods of tensors by their names."""


def handler(target: Any) -> Callable[..., Op]:
    """Return what translates a function or method.

    Parameters
    ----------
    target : callable or str
        The function, or a method's name.

    Returns
    -------
    callable
        From :class:`At` and the arguments that do not depend on the image.

    Raises
    ------
    Reason
        If it is no layer in scope.
    """
    if target not in FUNCTIONS:
        raise Reason("no layer in scope", getattr(target, "__name__", str(target)))
    return FUNCTIONS[target]
