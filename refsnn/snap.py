"""Snapping: rounding a canonical network to grids that a certificate holds for.

For float64 this changes nothing that has been measured (a converted ResNet-20: 0 of 754
million neuron-steps) and makes every sum exact, so conversion ends with it. For float32
and int32 it makes another network, with another name, whose accuracy is its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from refsnn.accumulators import ACCUMULATORS, READOUT, accumulator
from refsnn.certificate import certify
from refsnn.errors import ConversionError
from refsnn.grids import round_to_grids
from refsnn.network import INPUT, Population, SpikingNetwork, Stages
from refsnn.neurons import State, potentials
from refsnn.numerics import Array
from refsnn.ranges import ranges
from refsnn.run import run_snn

T_MAX = 1024
"""Steps that conversion certifies every network for, so that one serves every T."""

BATCH = 25
"""Images of a calibration run simulated at once; no result depends on it."""

SUFFIXES = {"float64": "", "float32": "-f32", "int32": "-i32"}
"""What snapping adds to a network's name."""


@np.errstate(over="ignore", invalid="ignore")  # what overflows needs too many bits
def snap(
    snn: SpikingNetwork,
    target: str = "float64",
    *,
    T: int = T_MAX,
    images: Array | None = None,
) -> SpikingNetwork:
    """Round a network to the finest grids, channel by channel, that are certified.

    Parameters
    ----------
    snn : SpikingNetwork
        A network in canonical form, not snapped before.
    target : str
        ``float64``, ``float32`` or ``int32``.
    T : int
        Number of steps to certify.
    images : ndarray of uint8, shape (n, C, H, W), optional
        If given, the range of the potentials is taken from a run of `snn` on these
        images, with one bit to spare, and is checked again in every trace and every
        run on that carrier; by default it is proved for every input.

    Returns
    -------
    SpikingNetwork
        The network, its certificate, and for float32 and int32 a name of its own. Its
        readout is certified in float64, statically, for `T_MAX` steps or more.

    Raises
    ------
    ConversionError
        If no grid is coarse enough: sums of 2^53 and more.
    """
    held = accumulator(target)
    T = max(T, snn.stages.tau)  # the observing steps are certified too
    reach = None if images is None else largest_potentials(snn, images, T)
    steps = max(T, T_MAX)
    grids = {
        p.name: np.full(p.shape[0], READOUT.bits if p.neuron is None else held.bits)
        for p in snn.populations
    }
    missing = {name: np.ones_like(q) for name, q in grids.items()}
    while any((lack > 0).any() for lack in missing.values()):
        snapped = round_to_grids(snn, grids)
        missing = {
            r.population.name: _missing(target, r, T, steps, reach)
            for r in ranges(snapped).values()
        }
        grids = {name: q - missing[name] for name, q in grids.items()}
        for name, q in grids.items():
            if (q < 0).any():
                raise ConversionError(
                    where=f"spiking network {snn.name}, population {name}",
                    got=f"sums that need more bits than {target} has",
                    expected="sums that some grid of 1 or finer holds",
                )
    return _certified(snn, snapped, target, T, images, reach)


def _missing(
    target: str, r: Any, T: int, steps: int, reach: Mapping[str, Array] | None
) -> Array:
    """Return how many bits each channel's grid is too fine."""
    name, shape = r.population.name, r.population.shape
    if r.population.neuron is None:
        held, size = READOUT, np.maximum(r.logits(steps), 1.0)
    else:
        held, size = ACCUMULATORS[target], r.sums()
        if reach is not None:
            size = np.maximum(size, 2.0 * reach[name])
        elif r.population.neuron.fires_at_theta:
            size = np.maximum(size, r.potentials(T))
    need = held.need(np.broadcast_to(size, shape) / r.g)
    lack: Array = need.reshape(shape[0], -1).max(axis=1) - held.bits
    return np.maximum(lack, 0)


def _certified(
    snn: SpikingNetwork,
    snapped: SpikingNetwork,
    target: str,
    T: int,
    images: Array | None,
    reach: Mapping[str, Array] | None,
) -> SpikingNetwork:
    """Store what the grids were fitted to."""
    recursion = None
    certificate: dict[str, Any] = {"accumulator": target, "T": T}
    if reach is not None and images is not None:
        held = accumulator(target)
        recursion = {}
        for name, r in ranges(snapped).items():
            if name in reach:
                steps = np.broadcast_to(2.0 * reach[name], r.P.shape) / r.g
                recursion[name] = int(held.need(steps).max())
        certificate.update(recursion=recursion, images=len(images))
    answer = certify(snapped, target, T=T, recursion=recursion)
    return dataclasses.replace(
        snapped,
        name=snn.name + SUFFIXES[target],
        certificate={**certificate, "static": answer.static, "bits": answer.bits},
        mode="exact" if answer.holds else "ordered",
    )


def largest_potentials(snn: SpikingNetwork, images: Array, T: int) -> dict[str, Array]:
    """Return the largest size of the potentials of each neuron in a run.

    Parameters
    ----------
    snn : SpikingNetwork
        A network in canonical form.
    images : ndarray of uint8, shape (n, C, H, W)
        Images.
    T : int
        Number of steps.

    Returns
    -------
    dict of str to ndarray of float64, shape (C, 1, 1) or (N,)
        Largest size of u over steps, images, rows and columns, by population.
    """
    if snn.stages.rho:
        raise ConversionError(
            where=f"spiking network {snn.name}, method {snn.method}",
            got="initial potentials that are moved for each image",
            expected="grids that hold for every input (no images; --static)",
        )
    if snn.stages.tau:  # the observing steps are those of the network without them
        plain = dataclasses.replace(snn, stages=Stages())
        observed = largest_potentials(plain, images, snn.stages.tau)
    peaks: dict[str, Array] = {}
    before: dict[str, Array] = {}

    def watch(
        population: Population, start: int, x: Array, s: Array, state: State
    ) -> None:
        p = population
        v = before[p.name] if start else np.broadcast_to(p.over("v0"), x.shape[1:])
        for u, _ in potentials(x, s, v, p.over("theta")):
            axes = (0, *range(2, u.ndim))
            peak = np.abs(u).max(axis=axes).reshape(-1, *[1] * (u.ndim - 2))
            peaks[p.name] = np.maximum(peaks.get(p.name, peak), peak)
        before[p.name] = state.v

    for first in range(0, len(images), BATCH):
        run_snn(snn, snn.preprocess(images[first : first + BATCH]), T, observe=watch)
    if snn.stages.tau:
        peaks = {name: np.maximum(peak, observed[name]) for name, peak in peaks.items()}
    return peaks


@dataclasses.dataclass(frozen=True, kw_only=True)
class Change:
    """What rounding did to a population.

    Attributes
    ----------
    grid : tuple of int
        Least and most bits behind the point among its channels.
    weight : float
        Largest change of a weight, in units of theta.
    neuron : float
        Largest change of a neuron's current that the changed weights and bias can
        cause at any step, in units of theta.
    relative : float
        Sum of the changes of all weights over the sum of their sizes.
    zeroed : int
        Weights that became 0.
    """

    grid: tuple[int, int]
    weight: float
    neuron: float
    relative: float
    zeroed: int


def changes(before: SpikingNetwork, after: SpikingNetwork) -> dict[str, Change]:
    """Compare the weights of a network before and after rounding.

    Parameters
    ----------
    before, after : SpikingNetwork
        Networks of one graph, `after` with grids.

    Returns
    -------
    dict of str to Change
        By population. Populations that only the image feeds keep their weights.
    """
    return {p.name: _change(before, p, after[p.name]) for p in before.populations}


def _change(snn: SpikingNetwork, old: Population, new: Population) -> Change:
    weight, change, size, zeroed = 0.0, 0.0, 0.0, 0
    current = np.zeros(old.shape)
    for was, now in zip(old.projections, new.projections, strict=True):
        delta = now.op.weight - was.op.weight
        weight = max(weight, float(np.abs(delta).max()))
        change += float(np.abs(delta).sum())
        size += float(np.abs(was.op.weight).sum())
        zeroed += int(np.count_nonzero((now.op.weight == 0) & (was.op.weight != 0)))
        if was.source != INPUT:
            shape = was.pooled_shape(snn.shape_of(was.source))
            taps = was.op.tap_sums(np.abs(delta), shape)
            current += taps * was.divisor
    if old.bias is not None and new.bias is not None:
        current += np.abs(new.over("bias") - old.over("bias"))
    grid = np.zeros(1, dtype=np.int64) if new.grid is None else new.grid
    return Change(
        grid=(int(grid.min()), int(grid.max())),
        weight=weight,
        neuron=float(current.max()),
        relative=change / size if size else 0.0,
        zeroed=zeroed,
    )
