"""Tables of a result, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from refsnn.accounting import ENERGY_TABLES
from refsnn.cli.common import show, table
from refsnn.convert import METHODS


def percent(correct: int, images: int) -> str:
    """Return an accuracy as text.

    Parameters
    ----------
    correct, images : int
        Counts.

    Returns
    -------
    str
        Per cent with two decimals.
    """
    return f"{100 * correct / images:.2f} %"


def print_result(result: dict[str, Any], steps: Sequence[int]) -> None:
    """Print accuracy, spikes, operations and energy.

    Parameters
    ----------
    result : dict
        A ``refsnn-result``.
    steps : sequence of int
        The T to show.
    """
    images, T = result["images"], result["T"]
    method = METHODS.get(result["method"])
    show(
        f"Network {result['network']['name']}, method {result['method']}, "
        f"{images:,} test images of {result['data']['name']}"
    )
    if method:
        show(f"  {method.summary}")
        show(f"  Source: {method.citation}")
        if method.reconstruction:
            show(f"  Reconstruction: {method.reconstruction}")
    show("")
    correct = result["snn"]["correct"]
    rows: list[Sequence[object]] = [
        (f"SNN, T = {t}", correct[t - 1], percent(correct[t - 1], images))
        for t in steps
    ]
    if result["ann"]:
        ann = result["ann"]["correct"]
        rows.insert(0, ("ANN", ann, percent(ann, images)))
    table("Accuracy", ("", "correct", "accuracy"), rows)

    rows = []
    for name, counts in result["snn"]["populations"].items():
        spikes = sum(counts["spikes"]) + sum(counts["negative"])
        rate = spikes / (counts["neurons"] * images * T)
        negative = sum(counts["negative"])
        synops = sum(counts["synops"])
        rows.append((name, counts["neurons"], spikes, negative, f"{rate:.4f}", synops))
    total = [sum(int(str(row[i])) for row in rows) for i in (1, 2, 3, 5)]
    rows.append(("total", *total[:3], "", total[3]))
    head = ("population", "neurons", "spikes", "negative", "rate", "operations")
    table(f"Spikes and synaptic operations in {T} steps, all images", head, rows)
    show(
        f"Multiply-accumulates of the constant first-layer current, once: "
        f"{result['snn']['first_layer_macs']:,}"
    )
    show("")
    _print_energy(result, steps)


def _print_energy(result: dict[str, Any], steps: Sequence[int]) -> None:
    images = result["images"]
    rows = []
    for name, energy in result["energy"].items():
        ann = energy["ann_pJ"]
        cells = [f"{energy['snn_pJ'][t - 1] / images / 1e6:,.3f}" for t in steps]
        rows.append(
            (name, "-" if ann is None else f"{ann / images / 1e6:,.3f}", *cells)
        )
    head = ("table", "ANN", *(f"T = {t}" for t in steps))
    table("Energy estimate, uJ an image: counts x a named table", head, rows)
    for name in result["energy"]:
        entry = ENERGY_TABLES[name]
        show(f"  {name}: {entry.source}; {entry.status}.")


def marks(T: int) -> list[int]:
    """Choose the T to show: powers of two, and the last.

    Parameters
    ----------
    T : int
        Number of steps.

    Returns
    -------
    list of int
        Ascending.
    """
    powers = [2**k for k in range(T.bit_length()) if 2**k <= T]
    return sorted({*powers[-6:], T})
