"""Biases and initial potentials, set from what neurons miss on average."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np

from refsnn.calibrate import Progress
from refsnn.calibration.walk import Walk
from refsnn.errors import OptionError
from refsnn.network import Network, Population, SpikingNetwork
from refsnn.numerics import Array, exact_sum, grid_integers

PARTS = ("bias", "potential")
"""What is calibrated."""

FRACTION = 40
"""Bits behind the point to which activations are rounded before they are added."""


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

    Raises
    ------
    OptionError
        If there is no such part, or potentials are calibrated already.
    """
    if part not in PARTS:
        raise OptionError(where="part", got=part, expected=" or ".join(PARTS))
    if part == "potential" and any(p.v0.any() for p in snn.hidden):
        raise OptionError(
            where=f"spiking network {snn.name}, calibration of potentials",
            got="v(0) other than 0",
            expected="the network before potentials are calibrated",
        )
    walk = Walk(snn, ann, images, T, impl=impl)
    for done, p in enumerate(snn.hidden):
        target = in_units(p, walk.activations(p.name))
        walk.settle(_set(p, target, walk.counts(p.name), T, part))
        if progress:
            progress(done + 1, len(snn.hidden))
    return walk.snn


def in_units(p: Population, a: Array) -> Array:
    """Express a population's activations as integers, in units of theta 2^-FRACTION.

    Parameters
    ----------
    p : Population
        The population.
    a : ndarray of float64, shape (n, *S), activation
        Activations of the trained network.

    Returns
    -------
    ndarray of int64, shape (n, *S)
        Rounded once; dead channels are 0.
    """
    scale = p.over("scale")
    one = np.where(scale > 0, 2.0**FRACTION / np.where(scale > 0, scale, 1.0), 0.0)
    return grid_integers(a, one)


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
