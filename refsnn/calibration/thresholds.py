"""Thresholds of parameter calibration: those that make the smallest squared error."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from refsnn.calibrate import Progress, channel_maxima, watch_ann
from refsnn.network import Network
from refsnn.numerics import Array

POINTS = 100
"""Candidates of the threshold search: 1, 2, ... hundredths of the maximum."""

CODE_POINTS = 95
"""Candidates of the released code: the maximum, and down in hundredths to 6 % of it."""

KEPT = 0.9
"""Share that a threshold of the released code keeps when it sees another batch."""


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


def squared_errors(x: Array, T: int, V: Array) -> Array:
    """Return how far the levels of T steps are from activations, for some thresholds.

    Parameters
    ----------
    x : ndarray of float64, shape (n,), activation
        Activations.
    T : int
        Number of steps.
    V : ndarray of float64, shape (K,), activation
        Thresholds.

    Returns
    -------
    ndarray of float64, shape (K,)
        sum over x of (ClipFloor(x, T, V) - x)^2, added one at a time in their order.
    """
    terms = (clip_floor(x[:, None], T, V) - x[:, None]) ** 2
    sums: Array = np.concatenate([np.zeros((1, len(V))), terms]).cumsum(axis=0)[-1]
    return sums


def _errors(impl: str) -> Callable[[Array, int, Array], Array]:
    """Return :func:`squared_errors`, compiled or as defined."""
    if impl == "definition":
        return squared_errors
    from refsnn.kernels import levels  # noqa: PLC0415 - loads Numba

    return levels.squared_errors


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
        image one by one in memory order, and over images exactly.
    """
    largest = channel_maxima(ann, images, impl=impl)
    if not channelwise:
        largest = {name: np.asarray(peak.max()) for name, peak in largest.items()}
    squares: dict[str, list[Array]] = {name: [] for name in largest}
    errors = _errors(impl)

    def observe(name: str, value: Array) -> None:
        if name in largest:
            squares[name].extend(_squares(a, T, largest[name], errors) for a in value)

    watch_ann(ann, images, observe, impl=impl, progress=progress)
    return {name: _best(largest[name], np.array(s)) for name, s in squares.items()}


def _squares(
    a: Array, T: int, largest: Array, errors: Callable[[Array, int, Array], Array]
) -> Array:
    """Return the squared errors of one image for every candidate, (POINTS, ...)."""
    rows = a.reshape(largest.size if largest.ndim else 1, -1)
    tops = np.where(largest > 0, largest, 1.0).reshape(-1)
    share = np.arange(1, POINTS + 1) / POINTS
    return np.stack(  # silent ones have no error
        [errors(x[x != 0], T, top * share) for x, top in zip(rows, tops, strict=True)],
        axis=1,
    )


def _best(largest: Array, squares: Array) -> Array:
    """Choose the candidate with the smallest sum over images, the larger on ties."""
    _, points, channels = squares.shape
    best = np.zeros(channels)
    for c in range(channels):
        totals = [math.fsum(squares[:, k, c]) for k in range(points)]
        least = max(k for k in range(points) if totals[k] == min(totals))
        best[c] = (least + 1) / POINTS
    return np.asarray(largest * best.reshape(largest.shape))


def moving_thresholds(
    ann: Network,
    images: Array,
    T: int,
    *,
    batch: int,
    search: bool = True,
    impl: str = "kernel",
    progress: Progress | None = None,
) -> dict[str, Array]:
    """Search thresholds batch by batch, as the released code does.

    ::

        V_i     = (1 - i/100) max a,  i = 0 ... 94       of one batch
        theta_b = argmin over V_i of mean (ClipFloor(a, T, V) - a)^2
        theta   = theta_1,  then  0.9 theta + 0.1 theta_b  for b = 2, 3, ...

    the first, which is the larger, on ties. Without the search theta_b = max a. One
    threshold for a layer.

    Parameters
    ----------
    ann : Network
        A trained network.
    images : ndarray of uint8, shape (n, C, H, W)
        Training images, in the order that the average moves over them.
    T : int
        Number of steps.
    batch : int
        Images of one batch.
    search : bool
        Whether to search; else the largest activation of each batch is taken.
    impl : str
        ``kernel`` or ``definition``.
    progress : callable, optional
        Told how far the work is.

    Returns
    -------
    dict of str to ndarray of float64, shape ()
        By activation. They depend on the order of the images.
    """
    names = {node.name for node in ann.activations}
    theta: dict[str, float] = {}
    errors = _errors(impl)

    def observe(name: str, value: Array) -> None:
        if name in names:
            found = _code_threshold(value, T, errors) if search else float(value.max())
            before = theta.get(name)
            kept = found if before is None else KEPT * before + (1 - KEPT) * found
            theta[name] = kept

    watch_ann(ann, images, observe, batch=batch, impl=impl, progress=progress)
    return {name: np.asarray(value) for name, value in theta.items()}


def _code_threshold(
    a: Array, T: int, errors: Callable[[Array, int, Array], Array]
) -> float:
    """Return the best candidate of one batch, the larger on ties; 0 if it is silent."""
    V = (1 - 0.01 * np.arange(CODE_POINTS)) * a.max()
    if not V[0] > 0:
        return 0.0
    return float(V[errors(a[a != 0], T, V).argmin()])  # silent ones have no error
