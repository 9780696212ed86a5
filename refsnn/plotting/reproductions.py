"""Figures of reproductions: published numbers beside ours, methods side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from refsnn.plotting.results import COLOURS, INK, STYLE, log_steps, new_figure

Curve = tuple[Sequence[float], Sequence[float]]
"""Values on the two axes."""


def beside_published(
    ours: Mapping[str, Curve], published: Mapping[str, Curve], trained: float
) -> Figure:
    """Draw accuracies against T, and the published ones as points.

    Parameters
    ----------
    ours : mapping of str to (steps, per cent)
        A line for each run, by the name that the legend shows.
    published : mapping of str to (steps, per cent)
        Points in the colour of the run of that name.
    trained : float
        Accuracy of the trained network, per cent.

    Returns
    -------
    Figure
        On a logarithmic axis of steps.
    """
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(2.8 + 0.22 * len(ours))
        axes.axhline(trained, color=INK, linestyle="--", linewidth=1)
        for index, (label, (steps, values)) in enumerate(ours.items()):
            look = _look(index)
            axes.plot(steps, values, label=label, markersize=3, **look)
            if label in published:
                axes.plot(
                    *published[label],
                    linestyle="none",
                    marker="x",
                    markersize=8,
                    color=look["color"],
                    label=f"{label}, published",
                )
        log_steps(axes, int(max(max(steps) for steps, _ in ours.values())))
        axes.set_xlabel("T (steps); dashed: the trained network")
        axes.set_ylabel("accuracy, %")
        figure.legend(loc="outside upper left", ncols=2, fontsize=8)
        return figure


def parts_of(rows: Mapping[str, Mapping[str, float]], unit: str) -> Figure:
    """Draw what something is made of, a stacked bar for each run.

    Parameters
    ----------
    rows : mapping of str to mapping of str to float
        Sizes by part, by the run's name.
    unit : str
        What the axis says.

    Returns
    -------
    Figure
        Horizontal bars in the order given; parts that are 0 everywhere are left out.
    """
    names = list(rows)
    parts = dict.fromkeys(part for sizes in rows.values() for part in sizes)
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(1.3 + 0.3 * len(names))
        left = np.zeros(len(names))
        for part, colour in zip(parts, cycle(COLOURS)):  # one colour in all figures
            sizes = np.array([row.get(part, 0.0) for row in rows.values()])
            if sizes.any():
                axes.barh(names, sizes, left=left, label=part, color=colour)
            left += sizes
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(unit)
        figure.legend(loc="outside upper left", ncols=3, fontsize=8)
        return figure


def energy_against_accuracy(
    ours: Mapping[str, Curve], trained: tuple[float, float], table: str
) -> Figure:
    """Draw the accuracy against the energy of an image, a point for each T.

    Parameters
    ----------
    ours : mapping of str to (microjoules, per cent)
        A line for each run, by the name that the legend shows.
    trained : tuple of float
        Energy and accuracy of the trained network.
    table : str
        The energy table's name.

    Returns
    -------
    Figure
        Energies on a logarithmic axis.
    """
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(2.8 + 0.15 * len(ours))
        for index, (label, curve) in enumerate(ours.items()):
            axes.plot(*curve, label=label, markersize=4, **_look(index))
        axes.plot(
            *([value] for value in trained),
            linestyle="none",
            marker="*",
            markersize=11,
            color=INK,
            label="trained network",
        )
        axes.set_xscale("log")
        for axis in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
            axis(StrMethodFormatter("{x:g}"))
        axes.tick_params(axis="x", which="both", labelsize=8, rotation=45)
        axes.set_xlabel(f"energy of an image, µJ ({table})")
        axes.set_ylabel("accuracy, %")
        figure.legend(loc="outside upper left", ncols=2, fontsize=8)
        return figure


def _look(index: int) -> dict[str, Any]:
    """Return colour, line and mark of a run, other ones for each."""
    turn = index // len(COLOURS)
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": ("-", "--", ":", "-.")[turn % 4],
        "marker": ("o", "s", "^", "D")[turn % 4],
    }
