"""Tables of a result, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from refsnn import captions
from refsnn.accounting import ENERGY_TABLES, counts, microjoules
from refsnn.cli.common import show, table


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
    _print_method(result)
    _print_accuracy(result, steps)
    _print_counts(result)
    _print_energy(result, steps)
    show("Digest of images, predictions, counts of spikes and operations, sha256:")
    show(f"  {result['digest']}")


def _print_method(result: dict[str, Any]) -> None:
    show(
        f"Network {result['network']['name']}, method {result['method']}, "
        f"{result['images']:,} test images of {result['data']['name']}"
    )
    for line in captions.about(result):
        show(f"  {line}")
    show(f"  Arithmetic: {_arithmetic(result)}")
    show("")


def _arithmetic(result: dict[str, Any]) -> str:
    """Say in a line in which numbers the network ran."""
    mode, carrier = result["mode"], result["carrier"]
    if mode == "exact":
        return f"exact on {carrier}, certified with {result['certificate']} bits"
    if mode == "ordered":
        return "ordered, float64, every sum in one stated order"
    fixed = result["fixed"]
    return (
        f"fixed, {fixed['format']} in {fixed['accumulator']} bits, overflow "
        f"{fixed['overflow']}; rounding changed weights by at most "
        f"{fixed['rounding']['max_weight_change']:.2g} of theta and zeroed "
        f"{fixed['rounding']['zeroed']:,} of {fixed['rounding']['weights']:,}"
    )


def _print_accuracy(result: dict[str, Any], steps: Sequence[int]) -> None:
    images, correct = result["images"], result["snn"]["correct"]
    rows: list[Sequence[object]] = [
        (
            f"SNN, {captions.latency(result, t)}",
            correct[t - 1],
            percent(correct[t - 1], images),
        )
        for t in steps
    ]
    if result["ann"]:
        ann = result["ann"]["correct"]
        rows.insert(0, ("ANN", ann, percent(ann, images)))
    table("Accuracy", ("", "correct", "accuracy"), rows)
    if result["converted_for"]:
        show(
            f"  {result['method']} converts for one T: at others it makes other "
            "networks, so convert for each"
        )
    show("")


def _print_counts(result: dict[str, Any]) -> None:
    rows = counts(result)
    total = (
        "total",
        sum(row[1] for row in rows),
        sum(row[2] for row in rows),
        sum(row[3] for row in rows),
        "",
        sum(row[5] for row in rows),
    )
    head = ("population", "neurons", "spikes", "negative", "rate", "operations")
    title = f"Spikes and synaptic operations in {result['T']} steps, all images"
    table(title, head, [*rows, total])
    show("  rate: spikes of both signs a neuron and step")
    show(
        "  multiply-accumulates of the constant first-layer current, once: "
        f"{result['snn']['first_layer_macs']:,}"
    )
    for line in captions.ahead(result):
        show(f"  {line}")
    show("")


def _print_energy(result: dict[str, Any], steps: Sequence[int]) -> None:
    rows = [("ANN", *microjoules(result, None))]
    rows += [
        (f"SNN, {captions.latency(result, t)}", *microjoules(result, t)) for t in steps
    ]
    title = "Energy estimate, uJ an image: counts x a named table"
    table(title, ("", *result["energy"]), rows)
    for name in result["energy"]:
        entry = ENERGY_TABLES[name]
        show(f"  {name}: {entry.source}; {entry.status}.")


def marks(result: dict[str, Any]) -> list[int]:
    """Choose the T to show: powers of two, and the last.

    Parameters
    ----------
    result : dict
        A ``refsnn-result``.

    Returns
    -------
    list of int
        Ascending; of a network that was converted for one T that alone.
    """
    T: int = result["T"]
    if result["converted_for"]:
        return [T]
    powers = [2**k for k in range(T.bit_length()) if 2**k <= T]
    return sorted({*powers[-6:], T})
