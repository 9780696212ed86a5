"""COS on events: observing steps, and where they move initial potentials to.

Most neurons are neither wrong nor in doubt. The others are taken through the steps once
more in float64, as :func:`refsnn.neurons.offset` says.
"""

from __future__ import annotations

import numpy as np

from refsnn.kernels.events import charge_again, fire_row, scratch
from refsnn.kernels.lists import list_rows
from refsnn.kernels.pairs import exact
from refsnn.kernels.vectors import LANES


@exact
def moved_start(  # type: ignore[no-untyped-def]  # typed by Numba
    window, arena, tables, job, lists, taps, true, first, events, where, lane, lanes
):
    """Take one neuron through all steps in float64; return where it is to begin."""
    b, i, j, tile = where
    own = lane + tile * lanes
    start = b * job.start_image + i * job.start_row + j * job.start_column
    v0, theta = true.start[start + own], true.theta[own]
    how = (window, (0,), arena, tables, job, lists, taps, true, first, events)
    v, N, m_min, v_max = v0, 0, np.inf, -np.inf
    for t in range(job.steps):
        v = charge_again(*how, where, lane, lanes, t, v)
        if v >= theta:
            m_min = min(m_min, v)
            v -= theta
            N += 1
        else:
            v_max = max(v_max, v)
    if N > 0 and v < 0:
        return v0 - max(m_min - true.below[own], theta)
    if job.steps > N and v >= theta:
        return v0 + max(true.above[own] - v_max, theta)
    return v0


@exact
def move_starts(  # type: ignore[no-untyped-def]  # typed by Numba
    registers,
    window,
    arena,
    tables,
    job,
    lists,
    taps,
    fast,
    true,
    events,
    first,
    moved,
    row,
    end,
):
    """Take rows of pixels, counted over images, through the observing steps.

    `moved` holds initial potentials as `true.start` does, and gets the new ones.
    """
    lanes = LANES * len(registers)
    state = scratch(registers, (0,), fast.weights, job.width)
    marks = state[4]
    while row < end:
        rows = list_rows(arena, tables, job, lists, events, first, row, end)
        for tile in range(job.tiles):
            for r in range(rows):
                b, i = (row + r) // job.height, (row + r) % job.height
                fire_row(
                    *(registers, window, (0,), arena, tables, job, lists, taps),
                    *(fast, first[r], events, state, b, i, tile),
                )
                line = b * job.start_image + i * job.start_row + tile * lanes
                for k in range(len(marks)):
                    for bit in range(LANES):
                        if marks[k] >> bit & 1:
                            j, lane = k * LANES // lanes, (k * LANES + bit) % lanes
                            moved[line + j * job.start_column + lane] = moved_start(
                                *(window, arena, tables, job, lists, taps, true),
                                *(first[r], events, (b, i, j, tile), lane, lanes),
                            )
        row += rows
