"""Where another simulator's spikes first differ from a trace."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from refsnn.errors import DataError
from refsnn.margin import need_network_of
from refsnn.network import Population, SpikingNetwork
from refsnn.neurons import State
from refsnn.numerics import Array, Shape
from refsnn.profile import REFSNN
from refsnn.run import run_snn
from refsnn.trace import Trace


@dataclasses.dataclass(frozen=True, kw_only=True)
class First:
    """The first spike that differs: lowest sample, then step, layer, neuron.

    Attributes
    ----------
    layer : str
        The population; populations come in graph order.
    sample : int
        Index along the samples of the trace.
    step : int
        Time step, from 1.
    neuron : int
        Flat index within the population, channel by channel, row by row.
    index : tuple of int
        The same as channel, row and column, or as the neuron's number.
    want, got : int
        The trace's spike and the other's.
    distance : float or None
        How far the reference's potential after the charge lay above the threshold, in
        units of theta; negative below. See :func:`distance`.
    """

    layer: str
    sample: int
    step: int
    neuron: int
    index: tuple[int, ...]
    want: int
    got: int
    distance: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a comparison of two recordings came to.

    Attributes
    ----------
    identical : bool
        Whether no spike differs, in any population of the trace.
    first : First or None
        The first difference.
    populations : dict of str to ndarray of int64, shape (T,)
        Differing spikes at every step, of every population that was compared.
    missing : tuple of str
        Populations of the trace that the other recording lacks.
    misshapen : dict of str to tuple
        Shapes of arrays that cannot be compared as they are, by population.
    """

    identical: bool
    first: First | None
    populations: dict[str, Array]
    missing: tuple[str, ...]
    misshapen: dict[str, Shape]

    @property
    def differing(self) -> int:
        """Number of differing spikes."""
        return sum(int(steps.sum()) for steps in self.populations.values())


def compare(golden: Trace, other: Mapping[str, Array]) -> Comparison:
    """Find where a recording first differs from a trace.

    Parameters
    ----------
    golden : Trace
        The reference.
    other : mapping of str to ndarray of int8, shape (T, B, *S)
        The other simulator's spikes, by population.

    Returns
    -------
    Comparison
        The first difference and all counts. A population whose array has another shape
        is listed, not compared.

    Raises
    ------
    DataError
        If a population of `other` is not in the trace, or none of the trace is in it.
    """
    unknown = [name for name in other if name not in golden.populations]
    if unknown or not other:
        raise DataError(
            where="recording",
            got=f"populations {', '.join(unknown) or 'none'}",
            expected=f"some of {', '.join(golden.populations)}",
        )
    want = {
        name: recorded.spikes
        for name, recorded in golden.populations.items()
        if name in other
    }
    misshapen = {
        name: np.shape(other[name])
        for name, spikes in want.items()
        if np.shape(other[name]) != spikes.shape
    }
    differs = {
        name: spikes != other[name]
        for name, spikes in want.items()
        if name not in misshapen
    }
    missing = tuple(name for name in golden.populations if name not in other)
    first = first_difference(differs)
    if first is not None:
        at = (first.step - 1, first.sample, *first.index)
        first = dataclasses.replace(
            first, want=int(want[first.layer][at]), got=int(other[first.layer][at])
        )
    return Comparison(
        identical=first is None and not missing and not misshapen,
        first=first,
        populations={name: _per_step(d) for name, d in differs.items()},
        missing=missing,
        misshapen=misshapen,
    )


def first_difference(differs: Mapping[str, Array]) -> First | None:
    """Find the first difference: lowest sample, then step, then layer, then neuron.

    Parameters
    ----------
    differs : mapping of str to ndarray of bool, shape (T, B, *S)
        By population, in graph order.

    Returns
    -------
    First or None
        Its place; the two spikes are left 0.
    """
    best: tuple[int, int, int, int] | None = None
    names = list(differs)
    for layer, name in enumerate(names):
        d = differs[name]
        flat = d.reshape(*d.shape[:2], -1).any(axis=-1).T  # (B, T)
        if not flat.any():
            continue
        sample, step = (int(i) for i in np.argwhere(flat)[0])
        neuron = int(np.argmax(d[step, sample].reshape(-1)))
        place = (sample, step, layer, neuron)
        best = min(best, place) if best else place
    if best is None:
        return None
    sample, step, layer, neuron = best
    shape = differs[names[layer]].shape[2:]
    index = tuple(int(i) for i in np.unravel_index(neuron, shape))
    return First(
        layer=names[layer],
        sample=sample,
        step=step + 1,
        neuron=neuron,
        index=index,
        want=0,
        got=0,
    )


def _per_step(differs: Array) -> Array:
    counts: Array = differs.reshape(len(differs), -1).sum(axis=1, dtype=np.int64)
    return counts


def distance(golden: Trace, snn: SpikingNetwork, first: First) -> float | None:
    """Repeat the reference's potential at a difference.

    Parameters
    ----------
    golden : Trace
        The trace.
    snn : SpikingNetwork
        The network it is of.
    first : First
        A place in it.

    Returns
    -------
    float or None
        u - theta after the charge of that step, in units of theta; None under other
        conventions than refsnn's, or if the method moves initial potentials.

    Raises
    ------
    DataError
        If the network is another.
    """
    need_network_of(golden, snn)
    if snn.stages.rho or snn.profile != REFSNN:
        return None
    x = {
        name: recorded.input_current[first.sample : first.sample + 1]
        for name, recorded in golden.populations.items()
        if recorded.input_current is not None
    }
    seen: list[float] = []

    def watch(
        population: Population,
        start: int,  # noqa: ARG001 - an observer is told everything
        x: Array,  # noqa: ARG001
        s: Array,
        state: State,
    ) -> None:
        if population.name == first.layer:
            after, spike = state.v[(0, *first.index)], s[(0, 0, *first.index)]
            seen.append(float(after) + int(spike))

    run_snn(snn, x, golden.T, schedule="step", observe=watch, **golden.numbers)
    return seen[first.step - 1] - 1.0
