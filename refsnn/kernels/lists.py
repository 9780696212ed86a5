"""Lists of events: the rows of weights that windows add, for the kernels of events."""

from __future__ import annotations

import numpy as np

from refsnn.kernels.decisions import append_set_bits
from refsnn.kernels.intrinsics import copy
from refsnn.kernels.pairs import part
from refsnn.kernels.vectors import LANES

LIST = np.dtype(
    [
        (name, np.int64)
        for name in (
            "source",  # where the spikes begin in the arena
            "sign",  # of these spikes
            "height",
            "width",
            "words",  # of a pixel
            "first_word",  # that this projection reads
            "read_words",
            "kernel_rows",
            "row_taps",  # rows of the source in one row behind the pooling
            "columns",  # of the list
            "column_taps",
            "rows",  # in `tables`: (output row, kernel row, tap) -> row or -1
            "listed",  # in `tables`: (column, tap) -> column or -1
            "windows",  # in `tables`: output column -> first column of its window
            "span",  # columns of a window
            "first_row",  # of its weights
            "sums",  # words before it whose sums are looked up, or -1: it is listed
            "before",  # of those: words of padding
            "within",  # words of a row of the source, from its first on
            "behind",  # words of padding
        )
    ]
)
"""A projection whose events are listed, or the words that hold them."""


@part
def list_row(arena, tables, one, steps, b, i, events, used, first):  # type: ignore[no-untyped-def]  # typed by Numba
    """List the events of a row of pixels behind `used` others; return how many.

    Of sums that are looked up they are words.
    """
    if one.sums >= 0:
        return copy_words(arena, tables, one, steps, b, i, events, used, first)
    if one.row_taps == 1 and one.column_taps == 1:
        return list_plain(arena, tables, one, steps, b, i, events, used, first)
    columns, pixels = one.columns, one.height * one.width * one.words
    taps, height = one.column_taps, one.kernel_rows * one.read_words * LANES
    rows = one.rows + i * one.kernel_rows * one.row_taps
    step = one.source + b * steps * pixels + one.first_word
    along = (one.kernel_rows, one.row_taps, one.width * one.words, one.read_words)
    for t in range(steps):
        for column in range(columns):
            first[t, column] = used
            listed = one.listed + column * taps
            for tap in range(listed, listed + taps):
                x = tables[tap]
                if x >= 0:
                    begin = step + x * one.words
                    used = list_column(
                        *(arena, tables, rows, along, begin, events, used),
                        column * height,
                    )
        first[t, columns] = used
        step += pixels
    return used


@part
def list_plain(arena, tables, one, steps, b, i, events, used, first):  # type: ignore[no-untyped-def]  # typed by Numba
    """List a row without pooling, whose kernel rows inside follow at one distance."""
    P, columns, words, read = one.kernel_rows, one.columns, one.words, one.read_words
    width, pixels = one.width * words, one.height * one.width * words
    rows, listed = one.rows + i * P, one.listed
    low, high = 0, P
    while low < P and tables[rows + low] < 0:
        low += 1
    while high > low and tables[rows + high - 1] < 0:
        high -= 1
    begin = tables[rows + low] * width if high > low else 0
    gap = tables[rows + low + 1] * width - begin if high > low + 1 else 0
    step = one.source + b * steps * pixels + one.first_word + begin
    for t in range(steps):
        base = low * read * LANES
        for column in range(columns):
            first[t, column] = used
            x = tables[listed + column]
            if x >= 0:
                used = list_words(
                    *(arena, step + x * words, read, high - low, gap),
                    *(events, used, base),
                )
            base += P * read * LANES
        first[t, columns] = used
        step += pixels
    return used


@part
def copy_words(arena, tables, one, steps, b, i, events, used, first):  # type: ignore[no-untyped-def]  # typed by Numba
    """Copy the words of a row and its padding: for each step, row by kernel row."""
    P, width = one.kernel_rows, one.width * one.words
    rows = one.rows + i * P
    step = one.source + b * steps * one.height * width
    for t in range(steps):
        for column in range(one.columns + 1):
            first[t, column] = used + column * one.words
        for p in range(rows, rows + P):
            y = tables[p]
            used = clear(events, used, one.before)
            if y >= 0:
                for w in range(0, one.within, 2 * LANES):
                    copy(events, used + w, arena, step + y * width + w, (0, 0))
                used += one.within
            else:
                used = clear(events, used, one.within)
            used = clear(events, used, one.behind)
        step += one.height * width
    return used


@part
def clear(events, used, number):  # type: ignore[no-untyped-def]  # typed by Numba
    """Append words without spikes."""
    for w in range(used, used + number):
        events[w] = 0
    return used + number


@part
def list_words(arena, word, words, rows, gap, events, used, base):  # type: ignore[no-untyped-def]  # typed by Numba
    """List the set bits of some words, and of those rows behind them, two by two."""
    if words == 1:
        for _ in range(rows // 2):
            used = append_set_bits(events, used, arena, word, gap, base)
            word += 2 * gap
            base += 2 * LANES
        if rows % 2:
            used = append_set_bits(events, used, arena, word, 0, base)
        return used
    for _ in range(rows):
        for w in range(word, word + words - 1, 2):
            used = append_set_bits(events, used, arena, w, 1, base)
            base += 2 * LANES
        if words % 2:
            last = word + words - 1
            used = append_set_bits(events, used, arena, last, 0, base)
            base += LANES
        word += gap
    return used


@part
def list_column(arena, tables, rows, along, begin, events, used, base):  # type: ignore[no-untyped-def]  # typed by Numba
    """List the events of the rows that a kernel sees in one column of the source."""
    kernel_rows, row_taps, width, words = along
    for _ in range(kernel_rows):
        for tap in range(rows, rows + row_taps):
            y = tables[tap]
            if y >= 0:
                word = begin + y * width
                used = list_words(arena, word, words, 1, 0, events, used, base)
        rows += row_taps
        base += words * LANES
    return used


@part
def list_rows(arena, tables, job, lists, events, first, row, end):  # type: ignore[no-untyped-def]  # typed by Numba
    """List the events of as many rows of pixels as there is room for; return them."""
    rows, used = 0, 0
    while rows < len(first) and row + rows < end:
        if used + job.worst + 2 * LANES > len(events):  # stores are two words wide
            break
        b, i = (row + rows) // job.height, (row + rows) % job.height
        for p in range(len(lists)):
            used = list_row(
                *(arena, tables, lists[p], job.listed, b, i, events, used),
                first[rows, p],
            )
        rows += 1
    return rows
