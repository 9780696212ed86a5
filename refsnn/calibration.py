"""Parameter calibration: thresholds, biases and potentials that make up for errors.

Thresholds are searched for each layer, or channel, on training images. Biases and
initial potentials are then set layer by layer, in graph order, from the difference
between the trained network's activations (its own weights and inputs) and what the
neurons put out when every earlier population is calibrated already.

Sources: Li et al., Converting artificial neural networks to spiking neural networks via
parameter calibration, arXiv 2205.10121; the text was not available, the rules are those
of its released code and of reports on it, as each docstring says. All statistics are
sums of integers or exactly rounded, so they do not depend on the order of the images.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from fractions import Fraction

import numpy as np

from refsnn.arithmetic import Arithmetic
from refsnn.calibrate import BATCH, Progress, channel_maxima
from refsnn.network import INPUT, Network, Population, SpikingNetwork
from refsnn.numerics import Array, exact_sum, grid_integers
from refsnn.run import Simulation, implementation, run_ann

POINTS = 100
"""Candidates of the threshold search: 1, 2, ... hundredths of the maximum."""

FRACTION = 40
"""Bits behind the point to which activations are rounded before they are added."""

CHUNK = 16
"""Images simulated at once; no result depends on it."""


def clip_floor(x: Array, T: int, V: Array) -> Array:
    """Return the average output of T steps, for an even input.

    Parameters
    ----------
    x : ndarray, activation
        Average inputs.
    T : int
        Number of steps.
    V : ndarray, activation
        Threshold, broadcastable over `x`.

    Returns
    -------
    ndarray, activation
        (V/T) clip(floor(T x / V), 0, T).
    """
    output: Array = V / T * np.clip(np.floor(T * x / V), 0, T)
    return output


def mmse_thresholds(
    ann: Network,
    images: Array,
    T: int,
    *,
    channelwise: bool = False,
    impl: str = "kernel",
    progress: Progress | None = None,
) -> dict[str, Array]:
    """Search the thresholds that make the smallest squared error.

    ::

        theta = argmin over V of || ClipFloor(a, T, V) - a ||^2

    over activations a of all images, V in hundredths of the maximum (1 to 100), the
    larger one on ties. The paper's grid, as reported; the released code tries 95 points
    from the maximum down to 6 % of it.

    Parameters
    ----------
    ann : Network
        A trained network.
    images : ndarray of uint8, shape (n, C, H, W)
        Training images.
    T : int
        Number of steps.
    channelwise : bool
        Whether every channel has a threshold of its own.
    impl : str
        ``kernel`` or ``definition``.
    progress : callable, optional
        Told how far the work is.

    Returns
    -------
    dict of str to ndarray of float64, shape () or (C,)
        By activation; 0 where it is silent on every image. Squares are added within an
        image in memory order, and over images exactly.
    """
    largest = channel_maxima(ann, images, impl=impl)
    if not channelwise:
        largest = {name: np.asarray(peak.max()) for name, peak in largest.items()}
    squares: dict[str, list[Array]] = {name: [] for name in largest}

    def observe(name: str, value: Array) -> None:
        if name in largest:
            squares[name].extend(_squares(a, T, largest[name]) for a in value)

    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        run_ann(ann, ann.preprocess(batch), impl=impl, observe=observe)
        if progress:
            progress(start + len(batch), len(images))
    return {name: _best(largest[name], np.array(s)) for name, s in squares.items()}


def _squares(a: Array, T: int, largest: Array) -> Array:
    """Return the squared errors of one image for every candidate, (POINTS, ...)."""
    rows = a.reshape(largest.size if largest.ndim else 1, -1)
    tops = np.where(largest > 0, largest, 1.0).reshape(-1)
    channels = []
    for row, top in zip(rows, tops, strict=True):
        x = row[row != 0]  # silent ones have no error
        candidates = (top * (k / POINTS) for k in range(1, POINTS + 1))
        channels.append([((clip_floor(x, T, V) - x) ** 2).sum() for V in candidates])
    return np.array(channels).T


def _best(largest: Array, squares: Array) -> Array:
    """Choose the candidate with the smallest sum over images, the larger on ties."""
    _, points, channels = squares.shape
    best = np.zeros(channels)
    for c in range(channels):
        totals = [math.fsum(squares[:, k, c]) for k in range(points)]
        least = max(k for k in range(points) if totals[k] == min(totals))
        best[c] = (least + 1) / POINTS
    return np.asarray(largest * best.reshape(largest.shape))


def calibrate_parameters(
    snn: SpikingNetwork,
    ann: Network,
    images: Array,
    T: int,
    *,
    part: str,
    impl: str = "kernel",
    progress: Progress | None = None,
) -> SpikingNetwork:
    """Set the biases or the initial potentials of every population, in graph order.

    ::

        bias        b_c <- b_c + mean over images, rows, columns of (a - N/T)
        potential   v(0) <- T mean over images of (a - N/T), of the run with v(0) = 0

    with a the trained network's activation in units of theta and N the count of a run
    whose earlier populations are calibrated. Every population is set once.

    Parameters
    ----------
    snn : SpikingNetwork
        A canonical network, its currents shifted by 1/(2T).
    ann : Network
        The trained network, batch norms folded, with its own activations.
    images : ndarray of uint8, shape (n, C, H, W)
        Training images.
    T : int
        Number of steps.
    part : str
        ``bias`` or ``potential``.
    impl : str
        ``kernel`` or ``definition``.
    progress : callable, optional
        Told how many populations are done.

    Returns
    -------
    SpikingNetwork
        The calibrated network, computed in mode `ordered`.
    """
    x = snn.preprocess(images)
    trains: dict[str, Array] = {}
    last = {q.source: p.name for p in snn.populations for q in p.projections}
    for done, name in enumerate([p.name for p in snn.hidden]):
        target = _activations(ann, images, snn[name], impl)
        counts = _fired(snn, name, x, T, trains, impl).sum(axis=0, dtype=np.int64)
        snn = _with(snn, _set(snn[name], target, counts, T, part))
        trains[name] = _fired(snn, name, x, T, trains, impl)
        for source in {q.source for q in snn[name].projections} - {INPUT}:
            if last[source] == name:
                del trains[source]
        if progress:
            progress(done + 1, len(snn.hidden))
    return snn


def _with(snn: SpikingNetwork, changed: Population) -> SpikingNetwork:
    populations = tuple(
        changed if p.name == changed.name else p for p in snn.populations
    )
    return dataclasses.replace(snn, populations=populations)


def _activations(ann: Network, images: Array, p: Population, impl: str) -> Array:
    """Return a population's activations in the trained network, as integers.

    In units of theta times 2^-FRACTION, int64, shape (n, *S); dead channels are 0.
    """
    parts: list[Array] = []
    scale = p.over("scale")
    one = np.where(scale > 0, 2.0**FRACTION / np.where(scale > 0, scale, 1.0), 0.0)

    def observe(name: str, value: Array) -> None:
        if name == p.name:
            parts.append(grid_integers(value, one))

    for start in range(0, len(images), CHUNK):
        batch = ann.preprocess(images[start : start + CHUNK])
        run_ann(ann, batch, impl=impl, observe=observe)
    return np.concatenate(parts)


def _fired(
    snn: SpikingNetwork,
    name: str,
    x: Array,
    T: int,
    trains: Mapping[str, Array],
    impl: str,
) -> Array:
    """Run one population on the recorded spikes of its sources, (T, n, *S)."""
    ordered, chosen = Arithmetic(mode="ordered"), implementation(impl)
    sources = {q.source for q in snn[name].projections} - {INPUT}

    def chunks() -> Iterator[Array]:
        for first in range(0, len(x), CHUNK):
            some = slice(first, first + CHUNK)
            simulation = Simulation(snn, x[some], T, ordered, chosen, None)
            yield simulation.fire(name, T, {s: trains[s][:, some] for s in sources})

    return np.concatenate(list(chunks()), axis=1)


def _set(p: Population, target: Array, counts: Array, T: int, part: str) -> Population:
    """Assign what is missing between activations and counts; exact sums of integers."""
    missing = T * target - (counts << FRACTION)
    n = len(missing)
    if part == "potential":
        sums = missing.sum(axis=0)
        return dataclasses.replace(p, v0=_ratio(sums, n << FRACTION))
    axes = (0, *range(2, missing.ndim))
    rows = np.moveaxis(missing, 1, 0)
    sums = np.array([exact_sum(row) for row in rows], dtype=object)
    size = int(np.prod([missing.shape[a] for a in axes]))
    change = _ratio(sums, (size * T) << FRACTION)
    before = np.zeros(p.shape[0]) if p.bias is None else p.bias
    if before.ndim > 1:
        change = change.reshape(-1, *[1] * (before.ndim - 1))
    return dataclasses.replace(p, bias=before + change)


def _ratio(sums: Array, divisor: int) -> Array:
    """Divide integers, rounding once."""
    flat = [float(Fraction(int(s), divisor)) for s in sums.reshape(-1)]
    return np.array(flat).reshape(sums.shape)
