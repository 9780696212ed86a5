"""Preparing a population for its event-driven kernel."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, cast

import numpy as np

from refsnn.engine.filter import ROOM, Numbers, numbers
from refsnn.engine.geometry import as_map
from refsnn.engine.layout import (
    LANES,
    in_lanes,
    in_tiles,
    narrowed,
    tiles_of,
    words_of,
)
from refsnn.engine.seen import NO_WINDOW, Seen, Window, fold_of, seen_by
from refsnn.network import FINEST, INPUT, Population, SpikingNetwork
from refsnn.neurons import DualThresholdIF, GatedIF, margins
from refsnn.numerics import Array, Shape, aligned
from refsnn.ranges import Ranges

LISTED = {"sums": -1} | dict.fromkeys(("before", "within", "behind"), 0)
"""Fields of the kernel's record that only sums that are looked up need."""

FAR = 2.0**ROOM
"""Threshold of lanes that no channel has."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """Channels of a population that one call of the kernel computes.

    Attributes
    ----------
    registers : tuple
        As many elements as registers in a tile.
    window : tuple of tuple
        Of sums that are looked up, see :data:`refsnn.engine.seen.Window`.
    additions : int
        Of a row of pixels and a step, were all that they see to spike.
    job, lists, taps : dict or list of dict
        Fields of the kernel's records; ``source`` is a name and a sign.
    tables : ndarray of int64
        What the records point into.
    fast, true : dict of str to ndarray
        The kernel's values, and those of float64 if they are filtered.
    """

    registers: tuple[int, ...]
    window: Window
    additions: int
    job: dict[str, int]
    lists: list[dict[str, Any]]
    taps: list[dict[str, Any]]
    tables: Array
    fast: dict[str, Array]
    true: dict[str, Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """A population, prepared.

    Attributes
    ----------
    population : Population
        The population.
    numbers : Numbers
        The numbers it is run in.
    shape : tuple of int
        (C, H, W).
    words : int
        Words of a pixel.
    fold : int
        Pixels taken together.
    moves : bool
        Whether its initial potentials are moved for each image.
    always : int
        Terms of a step whatever its sources do: its constant, channels of itself.
    terms : tuple of (str, int)
        Spikes that a window can see in a step, by source.
    few : bool
        Whether it is run in float64 for fear of doubts, and filtered integers would
        hold it too: they serve where few of its sources spike.
    parts : tuple of Part
        Its channels.
    """

    population: Population
    numbers: Numbers
    shape: Shape
    words: int
    fold: int
    moves: bool
    always: int
    terms: tuple[tuple[str, int], ...]
    few: bool
    parts: tuple[Part, ...]


def prepare(
    snn: SpikingNetwork,
    p: Population,
    r: Ranges,
    T: int,
    carrier: str,
    fine: int | None = None,
) -> Plan:
    """Prepare a population that has an event-driven kernel.

    Parameters
    ----------
    snn : SpikingNetwork
        Its network.
    p : Population
        The population, or the readout.
    r : Ranges
        What its operands can add up to.
    T : int
        Number of steps, at most.
    carrier : str
        Carrier of the run.
    fine : int, optional
        As :func:`refsnn.engine.filter.numbers` takes it.

    Returns
    -------
    Plan
        The population, prepared.
    """
    seen = [seen_by(snn, q) for q in p.projections if q.source != INPUT]
    shape = as_map(p.shape)
    cuts = _cuts(shape[0], seen)
    fold = fold_of(shape, seen) if p.neuron else 1
    always = 1 + sum(s.terms(fold) for s in seen if s.windows.by_channel)
    listed = [s for s in seen if not s.windows.by_channel]
    terms = tuple((s.source, s.terms(fold)) for s in listed)
    most = always + sum(number for _, number in terms)
    moves = snn.stages.rho > 0 and p.neuron is not None
    chosen = numbers(r, T, most, carrier, fine) if p.neuron else _exact(r.q)
    alone = p.fed_by_image or moves or not p.neuron or chosen.dtype is not np.float64
    few = not alone and numbers(r, T, most, carrier, 0).filtered
    layout = _Layout(p, shape, fold, chosen, moves=moves)
    parts = tuple(layout.part(seen, cut, len(cuts) > 1) for cut in cuts)
    return Plan(
        population=p,
        numbers=chosen,
        shape=shape,
        words=words_of(shape[0]),
        fold=fold,
        moves=moves,
        always=always,
        terms=terms,
        few=few,
        parts=parts,
    )


def _exact(q: Array) -> Numbers:
    """Return float64, in which potentials are what they are."""
    return Numbers(dtype=np.float64, q=np.zeros_like(q), filtered=False)


def sharing(few: Plan, plan: Plan) -> Plan:
    """Let neurons in doubt be computed again from a float64 plan, of which it is one.

    Parameters
    ----------
    few : Plan
        A population in filtered integers.
    plan : Plan
        The same in float64.

    Returns
    -------
    Plan
        The first, with the float64 values of the second where their tiles are as wide.
    """
    parts = (
        dataclasses.replace(one, true={**other.fast, "sums": np.zeros(0)})
        if (one.registers, one.job["tiles"]) == (other.registers, other.job["tiles"])
        else one
        for one, other in zip(few.parts, plan.parts, strict=True)
    )
    return dataclasses.replace(few, parts=tuple(parts))


def _cuts(channels: int, seen: list[Seen]) -> list[tuple[int, int]]:
    """Cut channels where groups end; zeros stand in the weights of larger parts."""
    step = LANES
    for s in seen:
        if not s.windows.by_channel:
            step = math.lcm(step, channels // s.windows.groups)
    grouped = any(s.windows.groups > 1 and not s.windows.by_channel for s in seen)
    if not grouped or channels % step:
        step = channels
    return [(first, first + step) for first in range(0, channels, step)]


class _Layout:
    """Lays out one population's parts.

    Parameters
    ----------
    p : Population
        The population.
    shape : tuple of int
        (C, H, W).
    fold : int
        Pixels taken together.
    chosen : Numbers
        The numbers.
    moves : bool
        Whether initial potentials are moved for each image.
    """

    def __init__(
        self, p: Population, shape: Shape, fold: int, chosen: Numbers, *, moves: bool
    ) -> None:
        self.p, self.shape, self.fold, self.chosen = p, shape, fold, chosen
        self.moves = moves
        self.exact = _exact(chosen.q)

    def part(self, seen: list[Seen], cut: tuple[int, int], whole: bool) -> Part:
        """Lay out some channels.

        Parameters
        ----------
        seen : list of Seen
            The projections.
        cut : tuple of int
            First channel, and the one behind the last.
        whole : bool
            Whether other parts follow behind the last channel.

        Returns
        -------
        Part
            The part.
        """
        channels = cut[1] - cut[0]
        tiles, registers = 1, self.fold
        if self.fold == 1:
            tiles, registers = tiles_of(-(-channels // LANES), whole=whole)
        self.cut, self.lanes = slice(*cut), tiles * registers * LANES
        self.pixel_a_register = tiles * registers == self.fold
        self.tables: list[Array] = []
        self.looked: list[Array] = []
        self.window, self.additions = NO_WINDOW, 0
        taps: list[dict[str, Any]] = []
        tap_rows: list[Array] = []
        lists: list[dict[str, Any]] = []
        kernels = np.zeros((0, channels * self.fold))
        for s in seen:
            if s.windows.by_channel:
                records, own = self._taps(s)
                taps += records
                tap_rows += own
            else:
                records, rows = self._list(s, len(kernels))
                lists += records
                kernels = np.concatenate([kernels, rows])
        if not self.looked:  # which hardly needs the rows
            lane = len(kernels) * np.dtype(self.chosen.dtype).itemsize
            tiles, registers = narrowed(tiles, registers, lane)
        values, strides = self._values(kernels, tap_rows, tiles, self.chosen)
        values["sums"] = self._sums()
        true = self._true(values, kernels, tap_rows, tiles)
        job = {**self._job(tiles, len(kernels), lists), **strides}
        return Part(
            registers=(0,) * registers,
            window=self.window,
            additions=self.additions * self.lanes // self.fold * self.shape[2],
            job=job,
            lists=lists,
            taps=taps,
            tables=self._flat_tables(),
            fast=values,
            true=true,
        )

    def _true(
        self, fast: dict[str, Array], kernels: Array, taps: list[Array], tiles: int
    ) -> dict[str, Array]:
        """Express in float64 what some neurons are computed again from."""
        if self.chosen.dtype is np.float64:
            return fast
        if self.chosen.filtered or self.moves:
            true, _ = self._values(kernels, taps, tiles, self.exact)
            return {**true, "sums": np.zeros(0)}
        return {name: np.zeros(1) for name in fast}

    def _flat_tables(self) -> Array:
        """Join the tables; the kernel wants one in any case."""
        if not self.tables:
            return np.zeros(1, dtype=np.int64)
        return np.concatenate([t.reshape(-1) for t in self.tables])

    def _job(
        self, tiles: int, rows: int, lists: list[dict[str, Any]]
    ) -> dict[str, int]:
        """Describe the part, but for its place in the arena and its strides."""
        C, H, W = self.shape
        neuron = self.p.neuron
        unguarded = isinstance(neuron, DualThresholdIF) and not neuron.guard
        return {
            "height": H,
            "width": W // self.fold,
            "words": words_of(C) * self.fold,
            "word": self.cut.start // LANES,
            "tiles": tiles,
            "rows": rows,
            "worst": sum(self._worst(one) for one in lists),
            "least": -(2**31) if unguarded else 0,
            "filtered": int(self.chosen.filtered),
            "constant": int(self.p.bias is not None or self.p.fed_by_image),
            "constant_image": 0,
            "start_image": 0,
            "moves": 0,
        }

    def _table(self, values: Array) -> int:
        """Store a table; return where it begins."""
        begin = sum(t.size for t in self.tables)
        self.tables.append(values.astype(np.int64))
        return begin

    @staticmethod
    def _worst(one: dict[str, Any]) -> int:
        sizes = ("columns", "column_taps", "kernel_rows", "row_taps", "read_words")
        return (LANES if one["sums"] < 0 else 1) * math.prod(
            int(one[name]) for name in sizes
        )

    def _list(self, s: Seen, first_row: int) -> tuple[list[dict[str, Any]], Array]:
        """Lay out a projection from several channels; with its rows of weights."""
        w, (dense, begin) = s.windows, self._dense(s)
        Q, P, lanes, members = dense.shape
        self.additions += Q * P * lanes
        words, span = lanes // LANES, Q + (self.fold - 1) * w.stride
        rows = np.zeros((span, P, lanes, self.fold, members))
        for f in range(self.fold):
            rows[f * w.stride : f * w.stride + Q, :, :, f] = dense
        record = {
            "height": s.shape[0],
            "width": s.shape[1],
            "words": s.words,
            "first_word": begin,
            "read_words": words,
            "kernel_rows": P,
            "row_taps": w.rows.shape[2],
            "columns": len(w.columns),
            "column_taps": w.columns.shape[1],
            "rows": self._table(w.rows),
            "listed": self._table(w.columns),
            "windows": self._table(w.first[:: self.fold]),
            "span": span,
            "first_row": first_row,
            **LISTED,
        }
        records = [{**record, "source": (s.source, n), "sign": n} for n in s.signs]
        alike = self.window in (NO_WINDOW, s.window)
        if self.pixel_a_register and self.p.neuron and alike and s.looks_up(words):
            records[0] |= self._looked_up(s, dense)  # of spikes +1: the others are few
        return records, rows.reshape(-1, self.fold * members)

    def _looked_up(self, s: Seen, dense: Array) -> dict[str, int]:
        """Describe a projection whose sums are looked up, and keep its rows."""
        words = sum(len(k) for k in self.looked) // LANES
        self.window = s.window
        self.looked.append(dense.swapaxes(0, 1).reshape(-1, dense.shape[-1]))
        return {**s.copied(), "sums": words}

    def _dense(self, s: Seen) -> tuple[Array, int]:
        """Lay out a kernel, shape (Q, P, lanes, channels), from a word of a pixel on.

        The lanes are those of all words that these channels read.
        """
        O, I, P, Q = s.windows.weight.shape
        members = np.arange(O)[self.cut] // (O // s.windows.groups) * I
        begin = int(members.min()) // LANES
        words = -(-(int(members.max()) + I) // LANES) - begin
        dense = np.zeros((Q, P, words * LANES, len(members)))
        for o, c in enumerate(members - begin * LANES):
            dense[:, :, c : c + I, o] = s.windows.weight[self.cut][o].transpose(2, 1, 0)
        return dense, begin

    def _sums(self) -> Array:
        """Lay out the sums of rows that are looked up."""
        from refsnn.kernels.subsets import subset_sums  # noqa: PLC0415 - loads Numba

        if not self.looked:
            return np.zeros(0, dtype=self.chosen.dtype)
        rows = np.concatenate(self.looked)
        own = dataclasses.replace(self.chosen, q=self.chosen.q[self.cut])
        return aligned(subset_sums(in_lanes(own.of(rows.T), LANES, 0)).reshape(-1))

    def _taps(self, s: Seen) -> tuple[list[dict[str, Any]], list[Array]]:
        """Lay out a projection of channels to themselves."""
        w, records, rows = s.windows, [], []
        P, Q = w.weight.shape[2:]
        for p, y, q, x in np.ndindex(P, w.rows.shape[2], Q, w.columns.shape[1]):
            record = {
                "height": s.shape[0],
                "width": s.shape[1],
                "words": s.words,
                "rows": self._table(w.rows[:, p, y]),
                "columns": self._table(w.columns[w.first + q, x][:: self.fold]),
            }
            for sign in s.signs:
                records.append({**record, "source": (s.source, sign), "sign": sign})
                rows.append(np.tile(w.weight[self.cut, 0, p, q], self.fold))
        return records, rows

    def _rows(self, kernels: Array, chosen: Numbers, tiles: int) -> Array:
        """Express rows of weights, shape (n, fold channels), in numbers and tiles."""
        n, channels = len(kernels), self.cut.stop - self.cut.start
        by_channel = np.moveaxis(kernels.reshape(n, self.fold, channels), -1, 0)
        own = dataclasses.replace(chosen, q=chosen.q[self.cut])
        lanes = in_lanes(own.of(by_channel), self.lanes // self.fold, 0)
        return in_tiles(lanes.reshape(n, self.lanes), tiles)

    def _values(
        self, kernels: Array, taps: list[Array], tiles: int, chosen: Numbers
    ) -> tuple[dict[str, Array], dict[str, int]]:
        """Express everything that a part adds and compares in some numbers."""
        p, neuron = self.p, cast(Any, self.p.neuron)
        grid = chosen.q if chosen.whole else p.grid
        if grid is not None and neuron is not None:
            neuron = neuron.on_grid(grid)
        one, strides = np.array(1.0), dict[str, tuple[int, int]]()
        dual, gated = isinstance(neuron, DualThresholdIF), isinstance(neuron, GatedIF)
        start, strides["start"] = self._placed(p.v0, chosen)
        level, strides["level"] = self._placed(
            neuron.theta_neg if dual else -one, chosen, fill=-FAR, down=True
        )
        bias = np.array(0.0) if p.bias is None or p.fed_by_image else p.bias
        constant, strides["constant"] = self._placed(bias, chosen)
        tolerance = neuron.tolerance if gated else np.array(0.0)
        below, above = margins(np.array(FINEST) if p.grid is None else p.grid)
        values = {
            "weights": self._rows(kernels, chosen, tiles),
            "taps": self._rows(np.reshape(taps, (len(taps), -1)), chosen, tiles)
            if taps
            else np.zeros(0, dtype=chosen.dtype),
            "theta": self._placed(one, chosen, fill=FAR)[0],
            "level": level,
            "start": start,
            "constant": constant,
            "tolerance": self._placed(tolerance, chosen, fill=FAR, down=True)[0],
            "below": self._placed(below, chosen)[0],
            "above": self._placed(above, chosen)[0],
        }
        named = {
            f"{name}_{axis}": stride
            for name, both in strides.items()
            for axis, stride in zip(("row", "column"), both, strict=True)
        }
        return values, named

    def _placed(
        self, value: Array, chosen: Numbers, *, fill: float = 0.0, down: bool = False
    ) -> tuple[Array, tuple[int, int]]:
        """Lay out a parameter; with its strides from row to row, column to column."""
        C, _, W = self.shape
        per_neuron = value.shape == self.p.shape and value.ndim == 3
        full = value if per_neuron else np.broadcast_to(value, (C,)).reshape(C, 1, 1)
        own = dataclasses.replace(chosen, q=chosen.q[self.cut])
        with np.errstate(invalid="ignore"):
            lanes = in_lanes(
                own.of(full[self.cut], down=down), self.lanes // self.fold, fill
            )
        if per_neuron:
            return aligned(lanes), (W // self.fold * self.lanes, self.lanes)
        return aligned(np.tile(lanes[0, 0], self.fold)), (0, 0)
