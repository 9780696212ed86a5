"""Which spikes a row of neurons sees, and which row of weights each of them adds.

Every projection is a convolution over what its pooling leaves: a linear map is one
whose kernel is the whole map. Behind sums over windows a spike is listed once for every
window that holds it. Columns of the input that share a remainder by the dilation stand
side by side, so a window is one stretch of a list whatever stride and dilation are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from refsnn.layers import Conv2d, Identity, Linear
from refsnn.layers.pooling import Pool
from refsnn.network import Projection
from refsnn.numerics import Array, Shape


@dataclasses.dataclass(frozen=True, kw_only=True)
class Windows:
    """The windows of a projection.

    Attributes
    ----------
    weight : ndarray, shape (O, I, P, Q)
        The kernel.
    groups : int
        Groups of channels.
    rows : ndarray of int64, shape (H', P, A)
        Rows of the source that an output row's kernel rows see, -1 in the padding.
    columns : ndarray of int64, shape (K, A')
        Columns of the source behind each column of a list, -1 in the padding.
    first : ndarray of int64, shape (W',)
        First column of the list in each output column's window, which has Q of them.
    stride : int
        Columns from one window to the next, if list and map have the same columns; 0
        if they do not.
    """

    weight: Array
    groups: int
    rows: Array
    columns: Array
    first: Array
    stride: int

    @property
    def by_channel(self) -> bool:
        """Whether every channel sees its own alone."""
        return self.weight.shape[1] == 1 and self.groups == len(self.weight)


def as_map(shape: Shape) -> Shape:
    """Write a shape as channels, rows and columns.

    Parameters
    ----------
    shape : tuple of int
        (C, H, W) or (N,).

    Returns
    -------
    tuple of int
        (C, H, W) or (N, 1, 1).
    """
    return (shape[0], 1, 1) if len(shape) == 1 else shape


def windows(q: Projection, source: Shape) -> Windows | None:
    """Lay out a projection as windows.

    Parameters
    ----------
    q : Projection
        The projection.
    source : tuple of int
        S of its source.

    Returns
    -------
    Windows or None
        None for maxima of spikes, and for identities that flatten a map: they have no
        such layout.
    """
    conv = None if q.maxima else _as_convolution(q, source)
    if conv is None:
        return None
    _, height, width = as_map(q.pooled_shape(source))
    _, H, W = conv.out_shape((conv.weight.shape[1] * conv.groups, height, width))
    (top, _), (left, _) = conv.pads
    P, Q = conv.weight.shape[2:]
    taps = [_taps(q.pool, axis) for axis in (0, 1)]
    i = np.arange(H)[:, None] * conv.stride[0] + np.arange(P) * conv.dilation[0] - top
    seen = np.arange(W)[:, None] * conv.stride[1] + np.arange(Q) * conv.dilation[1]
    used = np.unique(seen)
    order = used[np.lexsort((used // conv.dilation[1], used % conv.dilation[1]))]
    place = np.zeros(used.max() + 1, dtype=np.int64)
    place[order] = np.arange(len(order))
    dense = conv.dilation[1] == 1 and len(used) == len(place)
    return Windows(
        weight=conv.weight,
        groups=conv.groups,
        rows=_sources(i, height, *taps[0]),
        columns=_sources(order - left, width, *taps[1]),
        first=place[seen[:, 0]],
        stride=conv.stride[1] if dense else 0,
    )


def _as_convolution(q: Projection, source: Shape) -> Conv2d | None:
    """Write a linear map as a convolution."""
    op, pooled = q.op, as_map(q.pooled_shape(source))
    if isinstance(op, Conv2d):
        return op
    if isinstance(op, Linear):
        return Conv2d(weight=op.weight.reshape(-1, *pooled))
    if isinstance(op, Identity) and not (op.flatten and max(pooled[1:]) > 1):
        channels = len(op.weight)
        return Conv2d(weight=op.weight.reshape(channels, 1, 1, 1), groups=channels)
    return None


def _taps(pools: Sequence[Pool], axis: int) -> tuple[int, Array]:
    """Return the stride of pooled elements, and which elements each adds up."""
    stride, taps = 1, np.zeros(1, dtype=np.int64)
    for pool in pools:
        inner = np.arange(pool.kernel[axis]) * stride
        taps = (inner[:, None] + taps).reshape(-1)
        stride *= pool.stride[axis]
    return stride, taps


def _sources(index: Array, size: int, stride: int, taps: Array) -> Array:
    """Return the elements of the source behind pooled ones, -1 in the padding."""
    inside = (index >= 0) & (index < size)
    found = np.where(inside, index, 0)[..., None] * stride + taps
    return np.where(inside[..., None], found, -1)
