"""Event-driven populations in mode ``ordered``: what integers decide, and the rest.

The first kernel is that of :mod:`refsnn.kernels.events` but for the neurons it marks:
it names them instead of computing them again. The others compute the currents of some
neurons term by term in the order of the definition, and set their bits.
"""

from __future__ import annotations

import numpy as np

from refsnn.kernels.events import fire_row, scratch
from refsnn.kernels.lists import list_rows
from refsnn.kernels.pairs import exact, part
from refsnn.kernels.vectors import LANES


@exact
def gather_doubtful(  # type: ignore[no-untyped-def]  # typed by Numba
    registers,
    window,
    arena,
    tables,
    job,
    lists,
    taps,
    fast,
    events,
    first,
    rows,
    doubtful,
):
    """Take rows of pixels, counted over images, through all steps.

    `doubtful` gets a bit for every neuron that was marked, in words as spikes have.
    """
    R = len(registers)
    block = (0,)
    state = scratch(registers, block, fast.weights, job.width)
    marks, row = state[4], 0
    while row < rows:
        listed = list_rows(arena, tables, job, lists, events, first, row, rows)
        for tile in range(job.tiles):
            for r in range(listed):
                b, i = (row + r) // job.height, (row + r) % job.height
                fire_row(
                    *(registers, window, block, arena, tables, job, lists, taps),
                    *(fast, first[r], events, state, b, i, tile),
                )
                line = (b * job.height + i) * job.width * job.words
                for k in range(len(marks)):
                    word = line + k // R * job.words + job.word + tile * R + k % R
                    doubtful[word] = marks[k]
        row += listed


@exact
def add_at(current, sites, words, weight, width, rows, columns, first):  # type: ignore[no-untyped-def]  # typed by Numba
    """Add the terms of a projection to the currents of some neurons, in order.

    `current` has the shape (T, K), `sites` (K, 4): image, channel, row, column. `words`
    are the spikes of the source, (B, T, H, W, words); the others are those of
    :class:`refsnn.engine.geometry.Windows`, `width` the channels of a group. All steps
    go along side by side; what is silent adds a zero, which changes no bit.
    """
    T, K = current.shape
    _, I, P, Q = weight.shape
    taps = P, Q, rows.shape[2], columns.shape[1]
    seen = np.zeros((words.shape[4], *taps, T), dtype=words.dtype)
    total, count = np.zeros(T), np.zeros(T, dtype=np.int32)
    for k in range(K):
        b, o, i, j = sites[k]
        see(seen, words, b, rows[i], columns, first[j])
        total[:] = current[:, k]
        begin = o // width * I
        for c in range(begin, begin + I):
            for p in range(P):
                for q in range(Q):
                    tap = seen[c // LANES, p, q].reshape(-1, T)
                    add_steps(total, count, tap, c % LANES, weight[o, c - begin, p, q])
        current[:, k] = total


@part
def see(seen, words, b, rows, columns, first):  # type: ignore[no-untyped-def]  # typed by Numba
    """Bring the words of a window together, the steps of each behind each other."""
    size, P, Q, A, Z, T = seen.shape
    for p in range(P):
        for q in range(Q):
            for a in range(A):
                for z in range(Z):
                    y, x = rows[p, a], columns[first + q, z]
                    for w in range(size):
                        for t in range(T):
                            word = words[b, t, y, x, w] if y >= 0 and x >= 0 else 0
                            seen[w, p, q, a, z, t] = word


@part
def add_steps(total, count, tap, bit, weight):  # type: ignore[no-untyped-def]  # typed by Numba
    """Add one weight to the sums of all steps, as often as its pixels spike."""
    count[:] = 0
    for n in range(len(tap)):
        for t in range(len(total)):
            count[t] += tap[n, t] >> bit & 1
    for t in range(len(total)):
        total[t] += weight * count[t]


@exact
def set_at(words, sites, s):  # type: ignore[no-untyped-def]  # typed by Numba
    """Set the bits of some neurons, in words (B, T, H, W, words), to s, (T, K)."""
    T, K = s.shape
    for k in range(K):
        b, c, i, j = sites[k]
        for t in range(T):
            word = words[b, t, i, j, c // LANES]
            bit = s[t, k] << (c % LANES)
            words[b, t, i, j, c // LANES] = word & ~(1 << (c % LANES)) | bit


@exact
def counts_of(words, counts):  # type: ignore[no-untyped-def]  # typed by Numba
    """Add up spikes, (B, T, H, W, words), over steps, to (B, H, W, channels)."""
    B, T, H, W, size = words.shape
    for b in range(B):
        for t in range(T):
            for i in range(H):
                for j in range(W):
                    for w in range(size):
                        word = words[b, t, i, j, w]
                        own = counts[b, i, j, w * LANES : (w + 1) * LANES]
                        for c in range(len(own)):
                            own[c] += word >> c & 1
