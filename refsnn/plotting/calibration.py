"""Figures of calibration: mismatch, bound, losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from refsnn.plotting.results import COLOURS, STYLE, name_entries, new_figure


def activation_mismatch(propagations: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw how far neurons are from the trained network's activations.

    Parameters
    ----------
    propagations : mapping of str to mapping
        What :func:`refsnn.propagation.layout` returned, by the name that the legend
        shows: networks before and after calibration.

    Returns
    -------
    Figure
        Mean size of theta N/T - a of every population, in units of activations; a line
        for each network.
    """
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(3.6)
        for label, answer in propagations.items():
            gaps = {name: p["gap"] for name, p in answer["populations"].items()}
            axes.plot(
                list(gaps), list(gaps.values()), marker="o", markersize=3, label=label
            )
        _name_populations(axes)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("mean |theta N/T - a|")
        figure.legend(loc="outside upper center", ncols=2, fontsize=8)
        return figure


def loss_bound(propagation: Mapping[str, Any]) -> Figure:
    """Draw the second-order bound against the loss change that was measured.

    Parameters
    ----------
    propagation : mapping
        What :func:`refsnn.propagation.layout` returned.

    Returns
    -------
    Figure
        Against the populations whose errors are let in, on a logarithmic axis: the
        bound, the second-order value, and the size of the measured change.
    """
    populations = propagation["populations"]
    names, passed = list(populations), list(populations.values())
    bound = np.cumsum([p["bound"] for p in passed])
    second = np.array([p["together"] for p in passed])
    measured = np.abs(np.array([p["measured"] for p in passed]))
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(3.6)
        lines = zip(
            ("bound", "second order", "measured, size"),
            (bound, second, measured),
            strict=True,
        )
        for label, values in lines:
            axes.plot(names, values, marker="o", markersize=3, label=label)
        _name_populations(axes)
        axes.set_yscale("log")
        axes.set_ylabel("loss change, nats")
        axes.legend()
        return figure


def training_losses(losses: Mapping[str, Sequence[float]]) -> Figure:
    """Draw the loss of every layer whose weights are trained.

    Parameters
    ----------
    losses : mapping of str to sequence of float
        The loss of every iteration, by population.

    Returns
    -------
    Figure
        Means over a fiftieth of the iterations, divided by the first of them.
    """
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(3.6)
        for index, values in enumerate(losses.values()):
            width = max(1, len(values) // 50)
            whole = len(values) // width * width
            means = np.asarray(values)[:whole].reshape(-1, width).mean(axis=1)
            style = ("-", "--", ":", "-.")[index // len(COLOURS) % 4]
            t = width * (np.arange(len(means)) + 0.5)
            axes.plot(t, means / (means[0] or 1.0), label=str(index), linestyle=style)
        axes.set_xlabel("iteration")
        axes.set_ylabel("loss / first loss")
        legend = figure.legend(loc="outside right upper", fontsize=7)
        name_entries(legend, losses)
        return figure


def _name_populations(axes: Axes) -> None:
    """Write the populations' names below the axis, upright."""
    axes.tick_params(axis="x", rotation=90, labelsize=8)
