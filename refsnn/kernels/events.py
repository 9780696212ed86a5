"""Event-driven populations: lists of events, sums in registers, spikes as bits.

Spikes live in one *arena* of words: (B, T, H, W, words) for each population, a bit a
channel. For each row of output pixels the events that it can see are listed once, step
by step, column by column; one column lists its kernel rows one behind the other. So the
window of a pixel is one stretch of one list, and an entry, less what its window begins
with, names the row of weights of (column, row, channel) of the kernel. The sums of a
pixel, for :data:`LANES` channels a register, are added to the membrane, which fires and
is reset at once: no current is ever stored. Where many channels stand behind one list,
several steps are listed together, by the steps in which a neuron spikes, and their sums
share rows, see :mod:`refsnn.kernels.shared`; then the sums of a few steps stand behind
the membrane. Where few channels see few words, these are copied in place of a list,
and sums of rows are looked up by them, see :mod:`refsnn.kernels.subsets`.

Nothing here depends on an order of terms. It is exact where a certificate says so of
sums that are added to the membrane one by one, and where a *filter* says so, see
:mod:`refsnn.engine.filter`.
"""

from __future__ import annotations

import numpy as np

from refsnn.kernels.decisions import (
    count_bits,
    fire,
    fire_both,
    keep_above,
    mark_near,
)
from refsnn.kernels.intrinsics import (
    add,
    add_masked,
    add_rows,
    move,
    subtract_masked,
    subtract_rows,
)
from refsnn.kernels.jobs import facts, word_of
from refsnn.kernels.lists import list_rows
from refsnn.kernels.pairs import exact, part
from refsnn.kernels.shared import add_shared, subtract_shared
from refsnn.kernels.subsets import WORD, add_looked_up
from refsnn.kernels.vectors import LANES


@part
def add_lists(  # type: ignore[no-untyped-def]  # typed by Numba
    registers, window, tables, job, lists, fast, first, events, v, at, where, t, one
):
    """Add the listed terms of a step to the membrane; return how many they were.

    `one` holds the facts of the first list.
    """
    _, _, j, tile = where
    R, n = len(registers), 0
    for p in range(len(lists)):
        windows, span, column, row, sign = facts(lists[p], job, tile) if p else one
        place = tables[windows + j]
        s, e = first[p, t, place], first[p, t, place + span]
        row = (row - place * column) * LANES * R
        if lists[p].sums >= 0:
            n += add_looked_up(
                *(v, at, fast.sums, lists[p].sums * WORD, events, s),
                *(lists[p].columns * lists[p].read_words, lists[p].kernel_rows),
                *(window[0], window[1], registers),
            )
            continue
        if sign > 0:
            add_rows(v, at, fast.weights, row, events, s, e, registers)
        else:
            subtract_rows(v, at, fast.weights, row, events, s, e, registers)
        n += e - s
    return n


@part
def share_lists(  # type: ignore[no-untyped-def]  # typed by Numba
    registers,
    block,
    tables,
    job,
    lists,
    fast,
    first,
    events,
    v,
    at,
    where,
    g,
    one,
    terms,
):
    """Add up the listed terms of the steps of a block, behind the membrane."""
    _, _, j, tile = where
    lanes, gap = LANES * len(registers), first.shape[2]
    sums = at + lanes
    begin = sums + lanes * len(block)  # zeros
    for k in range(len(block)):
        terms[k] = 0
    for p in range(len(lists)):
        windows, span, column, row, sign = facts(lists[p], job, tile) if p else one
        window = tables[windows + j]
        stretch = g * ((1 << len(block)) - 1) * gap + window
        row = (row - window * column) * lanes
        listed = (events, first[p], stretch, gap, span, terms)
        if sign > 0:
            add_shared(v, sums, v, begin, fast.weights, row, *listed, block, registers)
        else:
            subtract_shared(
                v, sums, v, begin, fast.weights, row, *listed, block, registers
            )
        begin = sums


@part
def add_own(registers, arena, tables, job, taps, fast, v, at, where, t):  # type: ignore[no-untyped-def]  # typed by Numba
    """Add the other terms of a step: the constant, the taps; return how many."""
    b, i, j, tile = where
    R, n = len(registers), 0
    if job.constant:
        fixed = b * job.constant_image + i * job.constant_row + j * job.constant_column
        add(v, at, fast.constant, fixed + tile * LANES * R, registers)
        n += 1
    for m in range(len(taps)):
        word = word_of(tables, job, taps[m], where, t)
        if word < 0:
            continue
        row = (tile * len(taps) + m) * LANES * R
        if taps[m].sign > 0:
            add_masked(v, at, fast.taps, row, arena, word + tile * R, registers)
        else:
            subtract_masked(v, at, fast.taps, row, arena, word + tile * R, registers)
        n += 1
    return n


@part
def decide(  # type: ignore[no-untyped-def]  # typed by Numba
    registers, arena, job, fast, v, at, counts, marks, where, t, n
):
    """Mark, fire, reset and count behind the charge of a step, `n` terms so far."""
    b, i, j, tile = where
    R = len(registers)
    lane, reach = tile * LANES * R, (n + 1) // 2
    if not job.filtered:
        reach = -1  # nothing is that near
    pixel = ((b * job.steps + t) * job.height + i) * job.width + j
    word = pixel * job.words + job.word + tile * R
    above = job.positive + word
    if job.negative >= 0:
        level = i * job.level_row + j * job.level_column + lane
        fire_both(
            *(v, at, fast.theta, lane, fast.level, level, reach, marks, j * R),
            *(counts, 0, job.least, arena, above, job.negative + word, registers),
        )
    else:
        fire(v, at, fast.theta, lane, reach, marks, j * R, arena, above, registers)
    if job.gate >= 0:
        pixel = (b * job.height + i) * job.width + j
        gate = job.gate + pixel * job.words + job.word + tile * R
        for r in range(R):
            arena[above + r] &= arena[gate + r]


@part
def fire_row(  # type: ignore[no-untyped-def]  # typed by Numba
    registers,
    window,
    block,
    arena,
    tables,
    job,
    lists,
    taps,
    fast,
    first,
    events,
    state,
    b,
    i,
    tile,
):
    """Take a row of pixels, some channels of them, through all steps.

    `state` is that of :func:`scratch`.
    """
    v, at, counts, zeros, marks, terms, words = state
    R, K = len(registers), len(block)
    lane = tile * LANES * R
    one = facts(lists[0], job, tile) if len(lists) else (0, 0, 0, 0, 0)
    for j in range(job.width):
        where = (b, i, j, tile)
        start = i * job.start_row + j * job.start_column + lane
        move(v, at, fast.start, b * job.start_image + start, registers)
        if job.negative >= 0:
            move(counts, 0, zeros, 0, registers)
        for r in range(R):
            marks[j * R + r] = 0
        n = 1
        for t in range(job.steps):
            how = (tables, job, lists, fast, first, events, v, at, where)
            if K == 1:
                n += add_lists(registers, window, *how, t, one)
            elif len(lists):
                if t % K == 0:
                    share_lists(registers, block, *how, t // K, one, terms)
                add(v, at, v, at + (1 + t % K) * LANES * R, registers)
                n += terms[t % K]
            n += add_own(registers, arena, tables, job, taps, fast, v, at, where, t)
            decide(registers, arena, job, fast, v, at, counts, marks, where, t, n)
        if job.keep >= 0:
            keep(registers, arena, job, fast, v, at, marks, where, n)
        if job.moves:
            mark_wrong(registers, arena, job, fast, v, at, marks, words, where, n)


@part
def keep(registers, arena, job, fast, v, at, marks, where, n):  # type: ignore[no-untyped-def]  # typed by Numba
    """Write as bits which neurons are kept behind the last step."""
    b, i, j, tile = where
    R = len(registers)
    lane = tile * LANES * R
    word = job.keep + ((b * job.height + i) * job.width + j) * job.words
    word += job.word + tile * R
    if job.filtered:
        reach = (n + 1) // 2
        mark_near(v, at, fast.tolerance, lane, reach, marks, j * R, registers)
    keep_above(v, at, fast.tolerance, lane, arena, word, registers)


@part
def mark_wrong(registers, arena, job, fast, v, at, marks, words, where, n):  # type: ignore[no-untyped-def]  # typed by Numba
    """Mark who may have spiked too often, ending below 0, or too seldom.

    Those end at the threshold or above, and did not spike at every step.
    """
    b, i, j, tile = where
    R = len(registers)
    lane = tile * LANES * R
    if job.filtered:
        near = (n + 1) // 2
        mark_near(v, at, fast.tolerance, lane, near, marks, j * R, registers)
        mark_near(v, at, fast.theta, lane, near, marks, j * R, registers)
    keep_above(v, at, fast.tolerance, lane, words, 0, registers)
    keep_above(v, at, fast.theta, lane, words, R, registers)
    pixels = job.height * job.width * job.words
    first = job.positive + b * job.steps * pixels
    first += (i * job.width + j) * job.words + job.word + tile * R
    for r in range(R):
        some, every = np.int64(0), np.int64(0xFFFF)
        for t in range(job.steps):
            fired = np.int64(arena[first + t * pixels + r])
            some |= fired
            every &= fired
        marks[j * R + r] |= (some & ~words[r]) | (words[R + r] & ~every)


@exact
def fire_again(  # type: ignore[no-untyped-def]
    window,
    block,
    arena,
    tables,
    job,
    lists,
    taps,
    true,
    first,
    events,
    where,
    lane,
    lanes,
):
    """Take one neuron through all steps in float64, and set its bits anew."""
    b, i, j, tile = where
    bit, own = np.uint16(1 << (lane % LANES)), lane + tile * lanes
    word = job.word + own // LANES
    start = b * job.start_image + i * job.start_row + j * job.start_column
    v = true.start[start + own]
    level = true.level[i * job.level_row + j * job.level_column + own]
    how = (window, block, arena, tables, job, lists, taps, true, first, events)
    N = 0
    for t in range(job.steps):
        v = charge_again(*how, where, lane, lanes, t, v)
        s = int(v >= true.theta[own])
        if job.negative >= 0 and v <= level and job.least < N:
            s = -1
        v -= s * true.theta[own]
        N += s
        pixel = ((b * job.steps + t) * job.height + i) * job.width + j
        passed = job.gate < 0
        if not passed:
            gate = (b * job.height + i) * job.width + j
            passed = arena[job.gate + gate * job.words + word] & bit != 0
        set_bit(arena, job.positive + pixel * job.words + word, bit, s > 0 and passed)
        if job.negative >= 0:
            set_bit(arena, job.negative + pixel * job.words + word, bit, s < 0)
    if job.keep >= 0:
        pixel = (b * job.height + i) * job.width + j
        kept = v >= true.tolerance[own]
        set_bit(arena, job.keep + pixel * job.words + word, bit, kept)


@part
def charge_again(  # type: ignore[no-untyped-def]  # typed by Numba
    window,
    block,
    arena,
    tables,
    job,
    lists,
    taps,
    true,
    first,
    events,
    where,
    lane,
    lanes,
    t,
    v,
):
    """Add everything that a neuron sees in a step to its potential, in float64."""
    b, i, j, tile = where
    bit, own = np.uint16(1 << (lane % LANES)), lane + tile * lanes
    if job.constant:
        fixed = b * job.constant_image + i * job.constant_row + j * job.constant_column
        v += true.constant[fixed + own]
    how = (tables, job, lists, true.weights, first, events, where, lane, lanes)
    v = listed_again(window, block, *how, t, v)
    for m in range(len(taps)):
        at = word_of(tables, job, taps[m], where, t)
        if at >= 0 and arena[at + own // LANES] & bit:
            row = tile * len(taps) + m
            v += taps[m].sign * true.taps[row * lanes + lane]
    return v


@part
def listed_again(  # type: ignore[no-untyped-def]  # typed by Numba
    window, block, tables, job, lists, weights, first, events, where, lane, lanes, t, v
):
    """Add the listed terms of a neuron and step to its potential: all patterns of t."""
    _, _, j, tile = where
    K = len(block)
    for p in range(len(lists)):
        windows, span, column, row, sign = facts(lists[p], job, tile)
        place = tables[windows + j]
        if lists[p].sums >= 0:
            words = (events, first[p, t, place])
            v = copied_again(lists[p], window, weights, row, lane, lanes, *words, v)
            continue
        row -= place * column
        begin = t // K * ((1 << K) - 1) - 1
        for pattern in range(1, 1 << K):
            if not pattern >> t % K & 1:
                continue
            borders = first[p, begin + pattern]
            for k in range(borders[place], borders[place + span]):
                v += sign * weights[(row + events[k]) * lanes + lane]
    return v


@part
def copied_again(one, window, weights, row, lane, lanes, words, first, v):  # type: ignore[no-untyped-def]  # typed by Numba
    """Add the terms of a neuron's window whose words were copied to its potential."""
    read, pitch = one.read_words, one.columns * one.read_words
    begin = lane // LANES * len(window[1])  # a register is a pixel
    row += begin * one.kernel_rows * LANES
    for column in range(begin // read, (begin + len(window[0])) // read):
        for p in range(one.kernel_rows):
            for w in range(read):
                word = np.int64(words[first + p * pitch + column * read + w])
                while word:
                    bit = count_bits((word & -word) - 1)  # the lowest one
                    v += weights[(row + bit) * lanes + lane]
                    word &= word - 1
                row += LANES
    return v


@part
def set_bit(arena, word, bit, value):  # type: ignore[no-untyped-def]  # typed by Numba
    """Set or clear a bit of a word."""
    if value:
        arena[word] |= bit
    else:
        arena[word] &= ~bit


@exact
def scratch(registers, block, like, width):  # type: ignore[no-untyped-def]  # typed by Numba
    """Make the state of a pixel.

    The membrane, which begins on a cache line; behind it, the sums of the steps of a
    block and as many zeros; where it begins; net counts, zeros, marks of a row, numbers
    of terms of the steps, words of comparisons.
    """
    lanes, K = LANES * len(registers), len(block)
    v = np.zeros(lanes * (1 + 2 * K) + 64, dtype=like.dtype)
    at = (-v.ctypes.data % 64) // v.itemsize
    counts, zeros = np.zeros((2, lanes), dtype=np.int32)
    marks = np.zeros(width * len(registers), dtype=np.uint16)
    words = np.zeros(2 * len(registers), dtype=np.uint16)
    return v, at, counts, zeros, marks, np.zeros(K, dtype=np.int64), words


@exact
def gather(  # type: ignore[no-untyped-def]  # typed by Numba
    registers,
    window,
    block,
    arena,
    tables,
    job,
    lists,
    taps,
    fast,
    true,
    events,
    first,
    row,
    end,
):
    """Take rows of pixels, counted over images, through all steps.

    Returns the number of neurons that were marked and computed again in float64.
    """
    lanes = LANES * len(registers)
    state = scratch(registers, block, fast.weights, job.width)
    marks, marked = state[4], 0
    while row < end:
        rows = list_rows(arena, tables, job, lists, events, first, row, end)
        for tile in range(job.tiles):
            for r in range(rows):
                b, i = (row + r) // job.height, (row + r) % job.height
                fire_row(
                    *(registers, window, block, arena, tables, job, lists, taps),
                    *(fast, first[r], events, state, b, i, tile),
                )
                if not job.filtered:
                    continue
                for k in range(len(marks)):
                    if marks[k] == 0:
                        continue
                    for bit in range(LANES):
                        if marks[k] >> bit & 1:
                            where = (b, i, k * LANES // lanes, tile)
                            fire_again(
                                *(window, block, arena, tables, job, lists, taps),
                                *(true, first[r], events, where),
                                *((k * LANES + bit) % lanes, lanes),
                            )
                            marked += 1
        row += rows
    return marked
