"""Activation modules of others, recognised by what they compute.

The QCFS, SRP and COS repositories have a class each with the clip in a parameter
(``thresh`` or ``up``) and the levels in a number (``L`` or ``t``); the calibration code
puts an identity where a layer was taken out; the trainable clipping layer is written as
two rectifiers. No class or attribute is known by its name here: the numbers that a
module holds are tried as clip and levels, and a candidate is taken if the module
computes that activation on drawn values of every channel, and at the ties.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from refsnn.activations import QCFS, Activation, Clip, ReLU
from refsnn.numerics import Array

PROBES = (2, 25, 20)
"""Samples, rows and columns of the values tried in each channel, all of them distinct:
near the clip, and up to a million times beyond."""

AGREEMENT = 1e-9
"""Largest difference in float64, relative to the clip and the value."""


def array(tensor: torch.Tensor) -> Array:
    """Return a tensor's values as an array of float32 or float64.

    Parameters
    ----------
    tensor : torch.Tensor
        Any tensor; narrower floating types are widened exactly.

    Returns
    -------
    ndarray
        A copy.
    """
    wide = tensor.detach().cpu()
    if wide.dtype not in (torch.float32, torch.float64):
        wide = wide.to(torch.float32)
    return wide.numpy().copy()


def recognised(module: nn.Module) -> Activation | str | None:
    """Say which activation a module of another project computes.

    Parameters
    ----------
    module : torch.nn.Module
        A module that has no counterpart by its class.

    Returns
    -------
    Activation, "identity" or None
        The activation; ``"identity"`` for a module that returns its input; None if it
        is neither. PyTorch's own modules, and any with two parameters, are neither.
    """
    numbers = _numbers(module)
    if numbers is None:
        return None
    probe = copy.deepcopy(module).double().eval()
    for candidate, scale in _candidates(module, numbers):
        if _computes(probe, candidate, scale):
            return candidate or "identity"
    return None


def _numbers(module: nn.Module) -> list[torch.Tensor] | None:
    """Return what may be a clip; None for what is taken for no activation."""
    numbers = [*module.parameters(), *module.buffers()]
    plain = type(module).__module__.startswith("torch.nn")
    return None if plain or len(numbers) > 1 else numbers


def spiking_mode(module: nn.Module) -> str:
    """Say which number or switch keeps a module from computing an activation.

    Parameters
    ----------
    module : torch.nn.Module
        Any module.

    Returns
    -------
    str
        Such as ``T = 8``, if with 0 (or False) in its place :func:`recognised` knows
        the module, and else does not: so the QCFS, SRP and COS repositories, and the
        calibration code, switch to spikes. Empty otherwise.
    """
    if _numbers(module) is None or recognised(module) is not None:
        return ""
    for name, value in vars(module).items():
        if name == "training" or type(value) not in (int, bool) or value <= 0:
            continue
        off = copy.deepcopy(module)
        vars(off)[name] = type(value)(0)
        if recognised(off) is not None:
            return f"{name} = {value}"
    return ""


def _candidates(
    module: nn.Module, numbers: list[torch.Tensor]
) -> Iterator[tuple[Activation | None, Array]]:
    """Yield activations with the module's own numbers, and the scale of each."""
    one = np.ones(1)
    yield None, one
    yield ReLU(), one
    clips = [array(number).reshape(-1) for number in numbers]
    held = [v for v in vars(module).values() if type(v) in (int, float) and v > 0]
    clips += [np.array([value], dtype=np.float64) for value in held]
    levels = sorted({v for v in held if type(v) is int})
    for clip in clips:
        if not (clip > 0).all():
            continue
        lam = clip[0] if clip.size == 1 else clip
        yield Clip(lam=lam), clip
        for L in levels:
            yield QCFS(lam=lam, levels=L), clip


def _computes(probe: nn.Module, candidate: Activation | None, scale: Array) -> bool:
    """Compare a module with an activation, or with the identity, on drawn values."""
    scale = scale.astype(np.float64)[:, None, None]
    z = _values(scale)
    if isinstance(candidate, QCFS):
        _put_ties(z, scale, candidate.levels)
    want = candidate(z) if candidate else z
    try:
        with torch.no_grad():
            got: Any = probe(torch.from_numpy(z.copy())).numpy()
        return got.shape == z.shape and bool(
            (np.abs(got - want) <= AGREEMENT * (scale + np.abs(want))).all()
        )
    except Exception:  # noqa: BLE001 - code of others, tried out; it is no activation then
        return False


def _values(scale: Array) -> Array:
    """Draw values for each channel, of three channels where they share a clip."""
    rng = np.random.default_rng(0)
    samples, rows, columns = PROBES
    channels = 3 if scale.size == 1 else scale.size
    z = scale * rng.uniform(-1.5, 2.5, (samples, channels, rows, columns))
    z[:, :, ::2] *= 10 ** rng.uniform(-3, 6, z[:, :, ::2].shape)  # a clip far away
    return z


def _put_ties(z: Array, lam: Array, L: int) -> None:
    """Replace some values by (k + 1/2) lam / L, which QCFS rounds up.

    Only those are taken that remain ties in floating point, however a module writes
    the quotient.
    """
    last = z[-1].reshape(z.shape[1], -1)
    tie = np.arange(min(L, last.shape[1])) + 0.5
    lam = lam[:, 0]
    at = lam * tie / L
    exact = (at / lam * L == tie) & (at * L / lam == tie) & (at / (lam / L) == tie)
    part = last[:, : tie.size]
    part[...] = np.where(exact, at, part)
