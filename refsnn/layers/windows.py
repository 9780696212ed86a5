"""Windows over maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from refsnn.numerics import Array


def taps(
    x: Array,
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int] = (1, 1),
) -> list[Array]:
    """Split windows into their elements.

    Parameters
    ----------
    x : ndarray, shape (..., H, W)
        Maps, padded.
    size : sequence of int
        H', W': number of windows.
    kernel : sequence of int
        P, Q: elements of a window.
    stride : sequence of int
        Steps from one window to the next.
    dilation : sequence of int
        Steps from one element of a window to the next.

    Returns
    -------
    list of ndarray, shape (..., H', W')
        For each position in the window, in (row, column) order, that element of
        every window; views.
    """
    (H, W), (s0, s1), (d0, d1) = size, stride, dilation
    return [
        x[
            ...,
            p * d0 : p * d0 + (H - 1) * s0 + 1 : s0,
            q * d1 : q * d1 + (W - 1) * s1 + 1 : s1,
        ]
        for p, q in np.ndindex(*kernel)
    ]
