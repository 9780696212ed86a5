"""The loss of one layer's weight and its gradient: the fast twin of what calibration
defines, its sums in registers and in the order of the definition.
"""

from __future__ import annotations

import numpy as np

from refsnn.kernels.dense import (
    PIXELS,
    add_products,
    by_pixel,
    filled,
    in_tiles,
    laid,
)
from refsnn.kernels.pairs import exact, part
from refsnn.kernels.vectors import LANES
from refsnn.layers import Conv2d, Linear, LinearMap
from refsnn.numerics import Array


class Task:
    """A layer's task, laid out once for all steps of its training.

    A fully connected map is a convolution of one map whose pixels are the images.

    Parameters
    ----------
    op : Conv2d or Linear
        The map.
    x, rest, a, theta : ndarray
        As in :class:`refsnn.calibration.weights.Layer`.
    T : int
        Number of steps.
    """

    def __init__(
        self, op: LinearMap, x: Array, rest: Array, a: Array, theta: Array, T: int
    ) -> None:
        self.op, self.T, self.kind = op, T, x.dtype.type
        self.groups = op.groups if isinstance(op, Conv2d) else 1
        self.group = len(op.weight) // self.groups
        if isinstance(op, Conv2d):
            planes, self.bases, self.offsets = laid(op, x, x.dtype)
            self.planes = planes.reshape(len(x), -1)
            self.pixels = int(np.prod(a.shape[2:]))
        else:
            self.planes = x.reshape(len(x), -1)
            self.offsets = np.arange(self.planes.shape[1])
            rest, a = (value.reshape(*value.shape[:2], 1, 1) for value in (rest, a))
        self.lanes = -(-self.group // LANES) * LANES
        self.rest, self.a = (self._in_lanes(value) for value in (rest, a))
        top = np.ones((self.groups, self.lanes), dtype=x.dtype)
        by_channel = np.broadcast_to(theta.reshape(-1), len(op.weight))
        top[:, : self.group] = by_channel.reshape(self.groups, self.group)
        self.levels = np.stack([top, top / self.kind(T)])

    def _in_lanes(self, maps: Array) -> Array:
        pixels = -(-int(np.prod(maps.shape[2:])) // PIXELS) * PIXELS
        if not isinstance(self.op, Conv2d):
            pixels = 1
        full = np.zeros((len(maps), pixels, self.groups, self.lanes), dtype=maps.dtype)
        view = by_pixel(maps, self.groups)
        full[:, : view.shape[1], :, : self.group] = view
        return full

    def __call__(self, weight: Array, some: Array, scale: float) -> tuple[float, Array]:
        """Return what some images add to the squared error and to its gradient.

        Parameters
        ----------
        weight : ndarray
            The weight.
        some : ndarray of int
            The images.
        scale : float
            What the gradient is multiplied by.

        Returns
        -------
        squares : float
            Sum of squared errors, in float64.
        gradient : ndarray, the shape of the weight
            In the type of the activations.
        """
        weights = in_tiles(weight, self.groups, self.kind)
        planes, rest, a, bases, pixels = self.planes, self.rest, self.a, None, 0
        if isinstance(self.op, Linear):
            planes, pixels = planes[some].reshape(1, -1), len(some)
            bases = filled(np.arange(pixels) * self.offsets.size)
            full = np.zeros((2, 1, bases.size, 1, self.lanes), dtype=rest.dtype)
            full[0, 0, :pixels], full[1, 0, :pixels] = rest[some, 0], a[some, 0]
            (rest, a), some = full, np.zeros(1, dtype=np.int64)
        else:
            bases, pixels = self.bases, self.pixels
        total = np.zeros_like(weights)
        squares = _add_gradients(
            *((0,) * PIXELS, some, planes, weights, rest, a),
            *(self.levels, (self.kind(self.T), self.kind(scale))),
            *(bases, pixels, self.offsets, filled(self.offsets), total),
        )
        by_tile = total.reshape(self.groups, -1, self.offsets.size, LANES)
        rows = by_tile.swapaxes(2, 3).reshape(self.groups, self.lanes, -1)
        return squares, rows[:, : self.group].reshape(weight.shape)


@exact
def _add_gradients(  # type: ignore[no-untyped-def]  # typed by Numba
    registers,
    some,
    planes,
    weights,
    rest,
    a,
    levels,
    numbers,
    bases,
    pixels,
    offsets,
    terms,
    total,
):
    """Walk over images, groups of channels and tiles; add to `total`.

    `levels` are theta and theta / T, shape (2, groups, lanes), `numbers` T and the
    scale. Returns the sum of squared errors.
    """
    _, padded, groups, lanes = rest.shape
    v, squares = np.zeros(len(registers) * LANES, rest.dtype), np.zeros(LANES)
    g, shared = np.zeros(padded * LANES, rest.dtype), planes.shape[1] // groups
    begun, want, seen = rest.reshape(-1), a.reshape(-1), bases[:pixels]
    theta, step = levels[0].reshape(-1), levels[1].reshape(-1)
    pitch = groups * lanes
    for m in some:
        for group in range(groups):
            x = planes[m, group * shared :]
            for lane in range(group * lanes, (group + 1) * lanes, LANES):
                row, at = lane * offsets.size, m * padded * pitch + lane
                for first in range(0, padded, len(registers)):
                    one = first, at + first * pitch, pitch, lane, row
                    _ahead(registers, v, weights, x, bases, offsets, begun, one)
                    count = min(pixels - first, len(registers))
                    _errors(v, want, theta, step, numbers, g, squares, one, count)
                _back(registers, v, g, x, terms, offsets.size, seen, total, row)
    return squares.sum()


@part
def _ahead(registers, v, weights, x, bases, offsets, begun, one):  # type: ignore[no-untyped-def]  # typed by Numba
    """Sum up what some pixels see, on what else is added to them.

    `one` is the first of them, where its values begin, how far pixels are from each
    other, its first channel, and where that one's weights begin.
    """
    first, at, pitch, _, row = one
    for r in range(len(registers)):
        for k in range(LANES):
            v[r * LANES + k] = begun[at + r * pitch + k]
    add_products(v, 0, weights, row, x, bases, first, offsets, registers)


@part
def _errors(v, a, theta, step, numbers, g, squares, one, count):  # type: ignore[no-untyped-def]  # typed by Numba
    """Fill in the gradient by z of some pixels; add to the squares, lane by lane."""
    (T, scale), (first, at, pitch, lane, _) = numbers, one
    zero = T - T  # of the same type
    for r in range(count):
        for k in range(LANES):
            z = v[r * LANES + k]
            n = np.floor(T * z / theta[lane + k])
            n = zero if n < zero else n
            n = T if n > T else n
            error = step[lane + k] * n - a[at + r * pitch + k]
            inside = z >= zero and z <= theta[lane + k]
            g[(first + r) * LANES + k] = scale * error if inside else zero
            squares[k] += np.float64(error) * np.float64(error)


@part
def _back(registers, v, g, x, terms, count, seen, total, row):  # type: ignore[no-untyped-def]  # typed by Numba
    """Add an image's gradient by some channels' weights to `total`."""
    for first in range(0, terms.size, len(registers)):
        v[:] = 0
        add_products(v, 0, g, 0, x, terms, first, seen, registers)
        for k in range(min(len(registers), count - first) * LANES):
            total[row + first * LANES + k] += v[k]
