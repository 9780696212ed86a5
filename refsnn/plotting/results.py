"""Figures of results, for reports and notebooks.

Every function returns a :class:`matplotlib.figure.Figure` that belongs to no window.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.ticker import MaxNLocator, PercentFormatter

from refsnn.numerics import Array

INK = "#767676"
"""Text and axes: readable on white and on black; pages replace it by their own ink."""

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's palette, told apart by colour-blind readers."""

STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.prop_cycle": cycler(color=COLOURS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "font.size": 10,
    "grid.alpha": 0.3,
    "grid.color": INK,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "svg.fonttype": "none",
    "svg.hashsalt": "refsnn",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def new_figure(height: float) -> tuple[Figure, Axes]:
    """Make a figure of one panel.

    Parameters
    ----------
    height : float
        Inches.

    Returns
    -------
    figure : Figure
        The figure.
    axes : Axes
        Its panel.
    """
    figure = Figure(figsize=(6.4, height), layout="constrained")
    return figure, figure.subplots()


def accuracy(result: Mapping[str, Any]) -> Figure:
    """Draw the accuracy at every t, and the trained network's beside it.

    Parameters
    ----------
    result : mapping
        A ``refsnn-result``.

    Returns
    -------
    Figure
        Accuracy against t, the latter on a logarithmic axis.
    """
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(3.2)
        correct = np.asarray(result["snn"]["correct"]) / result["images"]
        t = np.arange(1, len(correct) + 1)
        axes.plot(t, correct, marker="o", markersize=3, label="spiking network")
        if result["ann"]:
            ann = result["ann"]["correct"] / result["images"]
            axes.axhline(ann, color=COLOURS[1], linestyle="--", label="trained network")
        log_steps(axes, len(correct))
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        T = result["converted_for"]
        axes.set_xlabel("t (steps)" + (f", network converted for T = {T}" if T else ""))
        axes.set_ylabel("accuracy")
        axes.legend(loc="lower right")
        return figure


def spike_rates(result: Mapping[str, Any]) -> Figure:
    """Draw the spikes a neuron and step in every population.

    Parameters
    ----------
    result : mapping
        A ``refsnn-result``.

    Returns
    -------
    Figure
        Horizontal bars in graph order; negative spikes are stacked behind the others.
    """
    populations = result["snn"]["populations"]
    names = list(populations)
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(max(2.0, 0.8 + 0.22 * len(names)))
        left = np.zeros(len(names))
        for kind, label in (("spikes", "+1"), ("negative", "-1")):
            rates = np.array(
                [
                    sum(p[kind]) / (p["neurons"] * result["images"] * result["T"])
                    for p in populations.values()
                ]
            )
            if kind == "spikes" or rates.any():
                axes.barh(names, rates, left=left, label=label)
            left += rates
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("spikes a neuron and step")
        if len(axes.containers) > 1:
            axes.legend(title="spike")
        return figure


def raster(trains: Mapping[str, Array]) -> Figure:
    """Draw which neurons spike when, for one image.

    Parameters
    ----------
    trains : mapping of str to ndarray of int8, shape (T, n)
        Spikes of some neurons of each population.

    Returns
    -------
    Figure
        One panel a population; a mark is a spike, or several of one step, a red one a
        negative spike.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 0.6 + 1.2 * len(trains)), layout="constrained")
        panels = figure.subplots(len(trains), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (name, s) in zip(panels, trains.items(), strict=True):
            for sign, colour in ((1, COLOURS[0]), (-1, COLOURS[1])):
                t, neuron = np.nonzero(np.sign(s) == sign)
                axes.plot(t + 1, neuron, "|", color=colour, markersize=4)
            axes.set_ylim(-1, s.shape[1])
            axes.set_yticks([])
            axes.set_ylabel(name, rotation=0, ha="right", va="center")
            axes.grid(visible=False)
            axes.set_xlim(0.5, len(s) + 0.5)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        panels[-1].set_xlabel("step")
        return figure


def membranes(potentials: Mapping[str, Array]) -> Figure:
    """Draw how the potentials behind the last step are distributed.

    Parameters
    ----------
    potentials : mapping of str to ndarray
        Potentials of each population, thresholds 1.

    Returns
    -------
    Figure
        Shares of neurons in bins of 0.1, on a logarithmic axis; what lies outside
        -2..3 is in the end bins.
        Potentials from 0 to 1 leave no spike out or over.
    """
    edges = np.linspace(-2, 3, 51)
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(3.2)
        axes.axvspan(0, 1, color=INK, alpha=0.15, linewidth=0)
        for index, v in enumerate(potentials.values()):
            counts, _ = np.histogram(np.clip(v, -2, np.nextafter(3, 0)), edges)
            style = ("-", "--", ":")[index // len(COLOURS) % 3]
            axes.stairs(counts / v.size, edges, label=str(index), linestyle=style)
        axes.set_xlabel("potential v(T) / threshold")
        axes.set_ylabel("share of neurons")
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
        legend = axes.legend(fontsize=8, ncols=1 + len(potentials) // 9)
        name_entries(legend, potentials)
        return figure


def name_entries(legend: Legend, names: Iterable[str]) -> None:
    """Give the entries of a legend names that may begin with an underscore.

    Parameters
    ----------
    legend : Legend
        The legend, made with other labels: such a one would have been left out.
    names : iterable of str
        The names.
    """
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(name)


def operations(result: Mapping[str, Any], steps: Sequence[int]) -> Figure:
    """Draw the energy at some t as a share of the trained network's.

    Parameters
    ----------
    result : mapping
        A ``refsnn-result`` with its trained network.
    steps : sequence of int
        The t to show.

    Returns
    -------
    Figure
        One line for each energy table that knows the trained network's energy.
    """
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(3.0)
        for name, table in result["energy"].items():
            if table["ann_pJ"]:
                share = [table["snn_pJ"][t - 1] / table["ann_pJ"] for t in steps]
                axes.plot(steps, share, marker="o", markersize=4, label=name)
        axes.axhline(1, color=INK, linestyle="--", linewidth=1)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(list(steps))
        axes.set_xticklabels([str(t) for t in steps])
        axes.minorticks_off()
        axes.set_xlabel("t (steps)")
        axes.set_ylabel("energy / trained network's")
        axes.legend()
        return figure


def differences(populations: Mapping[str, Array]) -> Figure:
    """Draw where two recordings differ, as a heat map of populations and steps.

    Parameters
    ----------
    populations : mapping of str to ndarray of int, shape (T,)
        Differing spikes at every step, by population in graph order, as
        :attr:`refsnn.compare.Comparison.populations` has them.

    Returns
    -------
    Figure
        Cells without a difference are left empty.
    """
    counts = np.array(list(populations.values()))
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(1.2 + 0.28 * len(counts))
        shown = np.ma.masked_equal(counts, 0)
        norm = LogNorm(vmin=1, vmax=max(10, int(counts.max(initial=1))))
        edges = np.arange(counts.shape[1] + 1) + 0.5  # step t in the middle
        rows = np.arange(len(counts) + 1)
        image = axes.pcolormesh(edges, rows, shown, cmap="viridis", norm=norm)
        axes.set_yticks(rows[:-1] + 0.5, list(populations))
        axes.grid(visible=False)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.invert_yaxis()
        axes.set_xlabel("step")
        figure.colorbar(image, ax=axes, label="differing spikes")
        return figure


def rendered(figure: Figure, form: str) -> bytes:
    """Return a figure as the bytes of a file, on white.

    Parameters
    ----------
    figure : Figure
        A figure of this module.
    form : str
        A format that Matplotlib writes: ``svg``, ``png``, ``pdf``.

    Returns
    -------
    bytes
        The file.
    """
    buffer = io.BytesIO()
    with mpl.rc_context({**STYLE, "savefig.facecolor": "white"}):
        figure.savefig(buffer, format=form, dpi=150)
    return buffer.getvalue()


def log_steps(axes: Axes, longest: int) -> None:
    """Put steps on a logarithmic axis with plain numbers.

    Parameters
    ----------
    axes : Axes
        The panel.
    longest : int
        The largest number of steps.
    """
    axes.set_xscale("log", base=2)
    axes.set_xticks(marks := [2**k for k in range(longest.bit_length())])
    axes.set_xticklabels([str(mark) for mark in marks])
    axes.minorticks_off()


def svg(figure: Figure) -> str:
    """Return a figure as an SVG element that takes the ink of the page around it.

    Parameters
    ----------
    figure : Figure
        A figure of this module.

    Returns
    -------
    str
        The element, without the XML declaration; the same bytes for equal figures.
    """
    with mpl.rc_context(STYLE):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :].replace(INK, "currentColor")
