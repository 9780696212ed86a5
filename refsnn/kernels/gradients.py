"""The loss of one layer's weight and its gradient: the fast twin of what calibration
defines, its sums in registers and in the order of the definition.

Averages of spikes are often zero, and a zero times a finite number adds nothing to a
sum: what all registers would multiply by zero is left out, by lists that are made once
for all steps of a convolution.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from refsnn.kernels.dense import (
    PIXELS,
    add_products,
    by_pixel,
    filled,
    in_tiles,
    laid,
)
from refsnn.kernels.intrinsics import add, move, operation
from refsnn.kernels.pairs import exact, part
from refsnn.kernels.vectors import LANES, Vectors
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
        self.terms = filled(self.offsets)
        if isinstance(op, Conv2d):
            self.seen = self._seen(self.planes, self.bases, self.pixels)

    def _seen(self, planes: Array, bases: Array, pixels: int) -> tuple[Seen, Seen]:
        """List what is not zero: the terms of each tile of pixels, and in turn."""
        both = (bases, self.offsets), (self.terms, bases[:pixels])
        ahead, back = (listed_seen(planes, self.groups, *one) for one in both)
        return ahead, back

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
        planes, rest, a = self.planes, self.rest, self.a
        if isinstance(self.op, Linear):
            planes, pixels = planes[some].reshape(1, -1), len(some)
            bases = filled(np.arange(pixels) * self.offsets.size)
            full = np.zeros((2, 1, bases.size, 1, self.lanes), dtype=rest.dtype)
            full[0, 0, :pixels], full[1, 0, :pixels] = rest[some, 0], a[some, 0]
            (rest, a), some = full, np.zeros(1, dtype=np.int64)
            lists = self._seen(planes, bases, pixels)
        else:
            bases, pixels, lists = self.bases, self.pixels, self.seen
        total = np.zeros_like(weights)
        squares = _add_gradients(
            *((0,) * PIXELS, some, planes, weights, rest, a),
            *(self.levels, (self.kind(self.T), self.kind(scale))),
            *(bases, pixels, self.offsets, self.terms, *lists, total),
        )
        by_tile = total.reshape(self.groups, -1, self.offsets.size, LANES)
        rows = by_tile.swapaxes(2, 3).reshape(self.groups, self.lanes, -1)
        return squares, rows[:, : self.group].reshape(weight.shape)


def _add_errors(v: Vectors, kinds: Any, values: Any, count: int) -> None:  # noqa: ARG001
    """Emit the errors of a register, their gradient and the sum of their squares."""
    g, to, sums, at, a, first, theta, step, lane, T, scale, squares = values
    places = (sums, at), (a, first), (theta, lane), (step, lane)
    z, want, top, height = (
        v.load(v.place(kind, *place), 0)
        for kind, place in zip((kinds[2], kinds[4], *kinds[6:8]), places, strict=True)
    )
    b, least, most = v.builder, v.zero(), v.same(T)
    name = f"llvm.floor.v{LANES}f{8 * v.bytes}"
    floor = b.module.declare_intrinsic(name, fnty=ir.FunctionType(v.type, [v.type]))
    n = b.call(floor, [v.operate("div", v.operate("mul", most, z), top)])
    n = b.select(v.compare("<", n, least), least, n)
    n = b.select(v.compare(">", n, most), most, n)
    error = v.operate("sub", v.operate("mul", height, n), want)
    inside = b.and_(v.compare(">=", z, least), v.compare("<=", z, top))
    slope = v.under(inside, v.operate("mul", v.same(scale), error))
    v.store(slope, v.place(kinds[0], g, to), 0)
    wide = Vectors(v.context, b, kinds[11].dtype)
    far = error if v.type == wide.type else b.fpext(error, wide.type)
    place = wide.place(kinds[11], squares, ir.Constant(at.type, 0))
    square = wide.operate("mul", far, far)
    wide.store(wide.operate("add", wide.load(place, 0), square), place, 0)


@operation("aiaiaiaaissa", _add_errors)
def add_errors(
    g: Array,
    to: int,
    v: Array,
    at: int,
    a: Array,
    first: int,
    theta: Array,
    step: Array,
    lane: int,
    T: Any,
    scale: Any,
    squares: Array,
) -> None:
    """Fill in the gradient by z of a pixel; add to the squares, lane by lane."""
    z, want, top, height = (
        values[begin : begin + LANES]
        for values, begin in ((v, at), (a, first), (theta, lane), (step, lane))
    )
    n = np.floor(T * z / top)
    n = np.where(n < 0, 0, n).astype(z.dtype)
    error = height * np.where(n > T, T, n).astype(z.dtype) - want
    inside = (z >= 0) & (z <= top)
    g[to : to + LANES] = np.where(inside, scale * error, 0)
    squares += error.astype(np.float64) ** 2


Seen = tuple[Array, Array]
"""What is seen, one stretch behind the other, and where those of each tile begin."""


def listed_seen(planes: Array, groups: int, places: Array, others: Array) -> Seen:
    """List what tiles of places see that is not zero; the rest adds nothing.

    Parameters
    ----------
    planes : ndarray, shape (M, n)
        Images, laid out.
    groups : int
        Groups of channels.
    places : ndarray of int64, shape (tiles PIXELS,)
        Places of a group's planes.
    others : ndarray of int64, shape (k,)
        What is seen of each, relative to it.

    Returns
    -------
    listed : ndarray of uint16 or uint32
        Which of `others`, counted from 0, show some place of a tile a number other than
        0, in order; tile by tile, of each image and group.
    starts : ndarray of int64, shape (M, groups, tiles + 1)
        Where the stretches begin, and where the last one ends.
    """
    tiles = places.size // PIXELS
    kind = np.uint16 if others.size <= 1 << 16 else np.uint32
    room = np.empty(tiles * others.size, dtype=kind)
    starts = np.zeros((len(planes), groups, tiles + 1), dtype=np.int64)
    found, behind = [room[:0]], 0
    for maps, own in zip(planes.reshape(len(planes), groups, -1), starts, strict=True):
        for x, begins in zip(maps, own, strict=True):
            begins[0] = behind
            behind = _list_seen(x, places, others, room, begins)
            found.append(room[: behind - begins[0]].copy())
    return np.concatenate(found), starts


@exact
def _list_seen(x, places, others, listed, starts):  # type: ignore[no-untyped-def]  # typed by Numba
    """List what the tiles of a group see; `starts` begins with the first stretch's."""
    used = 0
    for tile in range(places.size // PIXELS):
        for k in range(others.size):
            for r in range(tile * PIXELS, (tile + 1) * PIXELS):
                if x[places[r] + others[k]] != 0:
                    listed[used] = k
                    used += 1
                    break
        starts[tile + 1] = starts[0] + used
    return starts[0] + used


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
    ahead,
    back,
    total,
):
    """Walk over images, groups of channels and tiles; add to `total`.

    `levels` are theta and theta / T, shape (2, groups, lanes), `numbers` T and the
    scale; `ahead` and `back` list what tiles of pixels and of terms see, as
    :func:`listed_seen` does. Returns the sum of squared errors.
    """
    _, padded, groups, lanes = rest.shape
    v, squares = np.zeros(len(registers) * LANES, rest.dtype), np.zeros(LANES)
    g, shared = np.zeros(padded * LANES, rest.dtype), planes.shape[1] // groups
    begun, want, seen = rest.reshape(-1), a.reshape(-1), bases[:pixels]
    theta, step = levels[0].reshape(-1), levels[1].reshape(-1)
    pitch, (T, scale) = groups * lanes, numbers
    for m in some:
        for group in range(groups):
            x, ins, outs = (
                planes[m, group * shared :],
                ahead[1][m, group],
                back[1][m, group],
            )
            for lane in range(group * lanes, (group + 1) * lanes, LANES):
                row = lane * offsets.size
                for first in range(0, padded, len(registers)):
                    at = (m * padded + first) * pitch + lane
                    for r in range(len(registers)):
                        move(v, r * LANES, begun, at + r * pitch, (0,))
                    sides = weights, row, x, bases, first, offsets
                    _add_seen(registers, v, sides, ahead[0], ins)
                    for r in range(min(pixels - first, len(registers))):
                        add_errors(
                            *(g, (first + r) * LANES, v, r * LANES),
                            *(want, at + r * pitch, theta, step, lane),
                            *(T, scale, squares),
                        )
                for first in range(0, terms.size, len(registers)):
                    v[:] = 0
                    sides = g, 0, x, terms, first, seen
                    _add_seen(registers, v, sides, back[0], outs)
                    for r in range(min(offsets.size - first, len(registers))):
                        add(total, row + (first + r) * LANES, v, r * LANES, (0,))
    return squares.sum()


@part
def _add_seen(registers, v, sides, listed, starts):  # type: ignore[no-untyped-def]  # typed by Numba
    """Add the products that a tile sees, of all that some tiles see."""
    weights, row, x, bases, first, offsets = sides
    tile = first // len(registers)
    add_products(
        *(v, 0, weights, row, x, bases, first, offsets),
        *(listed, starts[tile], starts[tile + 1], registers),
    )
