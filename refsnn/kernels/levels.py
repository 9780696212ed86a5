"""Twins of what calibration computes with the levels that T steps can put out."""

from __future__ import annotations

import numpy as np

from refsnn.kernels.pairs import exact
from refsnn.numerics import Array


def squared_errors(x: Array, T: int, V: Array) -> Array:
    """Twin of :func:`refsnn.calibration.thresholds.squared_errors`.

    Parameters
    ----------
    x : ndarray of float64, shape (n,), activation
        Activations.
    T : int
        Number of steps.
    V : ndarray of float64, shape (K,), activation
        Candidates.

    Returns
    -------
    ndarray of float64, shape (K,)
        Sums of squared errors.
    """
    total = np.zeros(len(V))
    _squared_errors(np.ascontiguousarray(x), float(T), V, V / T, total)
    return total


@exact
def _squared_errors(x, T, V, step, total):  # type: ignore[no-untyped-def]  # typed by Numba
    for i in range(len(x)):
        value = x[i]
        scaled = T * value
        for k in range(len(V)):
            n = np.floor(scaled / V[k])
            n = 0.0 if n < 0.0 else n
            n = T if n > T else n
            error = step[k] * n - value
            total[k] += error * error
