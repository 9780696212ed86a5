"""What is read from spikes: currents of a population without neurons, and counts."""

from __future__ import annotations

from refsnn.kernels.decisions import count_bits
from refsnn.kernels.events import add_lists, add_own, scratch
from refsnn.kernels.jobs import facts
from refsnn.kernels.lists import list_rows
from refsnn.kernels.pairs import exact
from refsnn.kernels.vectors import LANES


@exact
def read_out(  # type: ignore[no-untyped-def]  # typed by Numba
    registers, arena, tables, job, lists, taps, values, events, first, logits
):
    """Add up the currents of a population without neurons, step by step, in float64.

    `logits` has the shape (B, T, tiles lanes).
    """
    lanes = LANES * len(registers)
    v, at, _, _, _, _, _ = scratch(registers, (0,), values.weights, 1)
    row = 0
    while row < len(logits):
        rows = list_rows(arena, tables, job, lists, events, first, row, len(logits))
        for b in range(row, row + rows):
            for tile in range(job.tiles):
                one = facts(lists[0], job, tile) if len(lists) else (0, 0, 0, 0, 0)
                v[:] = 0
                for t in range(job.steps):
                    where = (b, 0, 0, tile)
                    add_lists(
                        *(registers, ((), ()), tables, job, lists, values),
                        *(first[b - row], events, v, at, where, t, one),
                    )
                    add_own(
                        registers, arena, tables, job, taps, values, v, at, where, t
                    )
                    logits[b, t, tile * lanes : (tile + 1) * lanes] = v[at : at + lanes]
        row += rows


@exact
def tally(arena, begin, fan_out, spikes, synops):  # type: ignore[no-untyped-def]  # typed by Numba
    """Count spikes, and each word's times its fan-out, at every step.

    `begin` says where each step of each image begins, shape (B, T).
    """
    B, T = begin.shape
    for b in range(B):
        for t in range(T):
            first, count, operations = begin[b, t], 0, 0
            for k in range(len(fan_out)):
                bits = count_bits(arena[first + k])
                count += bits
                operations += bits * fan_out[k]
            spikes[t] += count
            synops[t] += operations
