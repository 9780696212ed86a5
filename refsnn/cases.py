"""Cases of unevenness: counts that are not what the sum of the currents asks for.

Of Hao et al., AAAI 2023. Against a reference count n = clip(floor(S + v_ref), 0, T):
A: n = 0 < N, B: 0 < n < N, C: 0 < N < n, D: N = 0 < n; E: N < 0, of neurons without a
guard. Since S + v_ref = N + w with w = v(T) - v(0) + v_ref (in units of theta, without
the method's shift), case A is known by the neuron's own state:

    n = 0 < N   <=>   N > 0 and w < -(N - 1)

w < 0 alone is necessary for it and sufficient only where N = 1.
"""

from __future__ import annotations

import numpy as np

from refsnn.numerics import Array

CASES = ("A", "B", "C", "D", "E")


def count_cases(reference: Array, count: Array) -> dict[str, int]:
    """Count the cases of counts that should have been the reference.

    Parameters
    ----------
    reference, count : ndarray of int64
        n and N, in any common unit.

    Returns
    -------
    dict of str to int
        Neurons by case.
    """
    kinds = {
        "A": (reference == 0) & (count > 0),
        "B": (reference > 0) & (count > reference),
        "C": (count > 0) & (count < reference),
        "D": (count == 0) & (reference > 0),
        "E": count < 0,
    }
    return {name: int(kind.sum()) for name, kind in kinds.items()}


def count_condition(reference: Array, N: Array, w: Array, one: Array) -> dict[str, int]:
    """Test the condition of case A on every neuron.

    Parameters
    ----------
    reference, N : ndarray of int64
        n and N, in spikes.
    w : ndarray of int64
        Twice v(T) - v(0) + v_ref, in units of the grid.
    one : ndarray of int64
        theta in units of the grid, broadcastable.

    Returns
    -------
    dict of str to int
        ``below``: neurons with N > 0 and w < 0; ``exceptions``: neurons at which case A
        and its condition disagree, 0 if the condition is necessary and sufficient.
    """
    spiked = N > 0
    condition = spiked & (w < -2 * (N - 1) * one)
    in_case = (reference == 0) & spiked
    return {
        "below": int(np.count_nonzero(spiked & (w < 0))),
        "exceptions": int(np.count_nonzero(condition != in_case)),
    }
