"""``refsnn compare``: where another simulator's spikes first differ, and why."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from refsnn import io
from refsnn.cli import arguments, common, results
from refsnn.compare import Comparison, Explanation, Fault, distance, explain
from refsnn.compare import compare as compared
from refsnn.doctor import norm_fault
from refsnn.errors import OptionError, printable
from refsnn.exchange.recordings import load_recording
from refsnn.margin import need_network_of
from refsnn.network import SpikingNetwork
from refsnn.restored import need_made_of
from refsnn.trace import Trace

FORMS = (".svg", ".png", ".pdf")


def compare(
    golden: Annotated[Path, typer.Argument(help="Trace (refsnn trace).")],
    other: Annotated[
        Path,
        typer.Argument(
            help="Recording of another simulator: a trace, or .npz of arrays "
            "(T, B, *S) named by population."
        ),
    ],
    net: Annotated[
        Path | None,
        typer.Option(
            "--net",
            help="Network of the trace: the reference is run again under other "
            "conventions and faults, until nothing differs.",
        ),
    ] = None,
    ann: Annotated[
        Path | None,
        typer.Option(
            "--ann", help="The trained network of --net: batch norms left out, too."
        ),
    ] = None,
    json: arguments.JsonOption = None,
    figure: Annotated[
        Path | None,
        typer.Option(
            "--figure", help="Heat map of the differences (.svg, .png, .pdf)."
        ),
    ] = None,
) -> None:
    """Show where a recording first differs from a trace, and what explains it.

    Samples and neurons count from 0, time steps from 1. Exit code 1 if a spike differs,
    explained or not, or a population was not compared; how far it is explained is the
    verdict of --json.
    """
    results.need_json_target(json)
    _need_figure(figure)
    trace = io.load_trace(golden)
    spikes = load_recording(other, trace)
    snn = io.load_snn(net) if net else None
    if snn is not None:
        need_network_of(trace, snn)
    more = _with_trained(snn, ann)
    found = compared(trace, spikes)
    if found.first is not None and snn is not None:
        first = dataclasses.replace(
            found.first, distance=distance(trace, snn, found.first)
        )
        found = dataclasses.replace(found, first=first)
    with common.progress("explaining") as told:
        why = explain(trace, spikes, snn, more=more, progress=told)
    results.write_json(_answer(found, why), json)
    if figure is not None and found.populations:
        _draw(found, figure)
    elif figure is not None:
        said = f"no figure {figure}: no population has the reference's shape"
        common.stderr.print(printable(said), markup=False)
    if json != "-":
        _print(trace, found, why, asked=snn is not None)
    if not found.identical:
        raise typer.Exit(1)


def _with_trained(snn: SpikingNetwork | None, ann: Path | None) -> list[Fault]:
    """Return the faults that take the trained network."""
    if ann is None:
        return []
    if snn is None:
        expected = "the trained network of --net"
        raise OptionError(where=f"--ann {ann}", got="no --net", expected=expected)
    trained = io.load_ann(ann)
    need_made_of(snn, trained)
    return [norm_fault(snn, trained)]


def _need_figure(figure: Path | None) -> None:
    """Refuse a figure that cannot be written, before anything is computed."""
    if figure is None:
        return
    if figure.suffix not in FORMS:
        expected = f"a name that ends in {', '.join(FORMS)}"
        raise OptionError(where="--figure", got=str(figure), expected=expected)
    io.need_target(figure, force=True)


def _answer(found: Comparison, why: Explanation | None) -> dict[str, Any]:
    return {
        "format": "refsnn-comparison",
        "version": 1,
        "identical": found.identical,
        "first": found.first and dataclasses.asdict(found.first),
        "populations": {n: steps.tolist() for n, steps in found.populations.items()},
        "missing": list(found.missing),
        "misshapen": {name: list(shape) for name, shape in found.misshapen.items()},
        "explanation": why
        and {
            "verdict": why.verdict,
            "name": why.name,
            "remaining": why.remaining,
            "why": why.why,
            "tried": list(why.tried),
        },
    }


def _draw(found: Comparison, figure: Path) -> None:
    from refsnn import plotting  # noqa: PLC0415 - matplotlib takes a second to import

    drawn = plotting.differences(found.populations)
    io.write_atomically(figure, plotting.rendered(drawn, figure.suffix[1:]))
    common.stderr.print(f"wrote {figure}", markup=False)


def _print(
    trace: Trace, found: Comparison, why: Explanation | None, *, asked: bool
) -> None:
    T, B = trace.T, len(trace.samples)
    spikes = sum(int(abs(p.spikes).sum()) for p in trace.populations.values())
    how = f", mode fixed, {trace.fixed}" if trace.fixed else ""
    common.show(f"{T} steps, {B} samples, {spikes:,} spikes in the trace{how}")
    for name in found.missing:
        common.show(f"{name} was not recorded")
    for name, shape in found.misshapen.items():
        want = trace.populations[name].spikes.shape
        common.show(f"{name} has the shape {shape} in place of {want}")
    if found.identical:
        common.show("identical: every spike of every population")
    if found.first is None:
        if not found.identical and not found.misshapen:
            common.show("no spike differs in what was recorded")
    else:
        rows = [
            (n, *(int(count) for count in steps), int(steps.sum()))
            for n, steps in found.populations.items()
        ]
        head = ("", *(f"t={t + 1}" for t in range(T)), "all")
        common.table("Differing spikes", head, rows)
        common.show("")
        common.show(_first(found))
    if why is not None:
        common.show(f"{why} ({len(why.tried)} candidates tried)")
        if why.verdict == "unexplained" and not asked:
            common.show("give the network (--net) to try conventions and faults too")


def _first(found: Comparison) -> str:
    """Say where the first difference is."""
    first = found.first
    if first is None:
        return ""
    line = (
        f"first: sample {first.sample}, step {first.step}, {first.layer}, neuron "
        f"{first.neuron} at {first.index}: {first.got} in place of {first.want}"
    )
    if first.distance is not None:
        side = "above" if first.distance > 0 else "below"
        away = f"{abs(first.distance):.6g} theta {side} the threshold"
        line += f", the potential {away if first.distance else 'equals the threshold'}"
    return line
