"""``refsnn margin``: where rounding to float32 could decide a spike."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from refsnn import io
from refsnn.cli import arguments, common, results
from refsnn.errors import OptionError
from refsnn.exchange.recordings import load_recording
from refsnn.margin import Verdict, judge, risks


def margin(
    file: Annotated[Path, typer.Argument(help="Converted network (HDF5).")],
    trace: Annotated[Path, typer.Argument(help="Trace of it (refsnn trace).")],
    other: Annotated[
        Path | None,
        typer.Option(
            "--other",
            help="Recording of another implementation, to be judged: a trace, or .npz "
            "of arrays (T, B, *S) named by population.",
        ),
    ] = None,
    fed: Annotated[
        bool,
        typer.Option(
            "--fed", help="Each population of --other got the reference's spikes."
        ),
    ] = False,
    json: arguments.JsonOption = None,
) -> None:
    """Report where float32 rounding could decide a spike, and judge another's spikes.

    Exit code 1 if a difference is no rounding.
    """
    results.need_json_target(json)
    if fed and other is None:
        expected = "--other with the spikes to judge"
        raise OptionError(where="--fed", got="no --other", expected=expected)
    network, golden = io.load_snn(file), io.load_trace(trace)
    with common.progress("margin"):
        found = risks(network, golden)
        judged = {}
        if other is not None:
            judged = judge(network, golden, load_recording(other, golden), fed=fed)
    answer: dict[str, Any] = {
        "format": "refsnn-margin",
        "version": 1,
        "network": {"name": network.name, "sha256": golden.network_sha256},
        "populations": {name: dataclasses.asdict(risk) for name, risk in found.items()},
        "verdicts": {name: dataclasses.asdict(v) for name, v in judged.items()},
    }
    results.write_json(answer, json)
    if json != "-":
        rows = [
            (name, r.steps, r.at_risk, r.neurons_at_risk, f"{r.largest_error:.2g}")
            for name, r in found.items()
        ]
        head = ("", "neuron-steps", "at risk", "neurons at risk", "largest error")
        common.table("Spikes that float32 rounding could change", head, rows)
        if judged:
            common.show("")
            _print(judged)
    if any(verdict.errors for verdict in judged.values()):
        raise typer.Exit(1)


def _print(judged: dict[str, Verdict]) -> None:
    rows = [
        (name, v.differing, v.rounding, v.errors, v.unjudged)
        for name, v in judged.items()
    ]
    head = ("", "spikes", "rounding", "errors", "behind others")
    common.table("Differing spikes, and neurons by their first one", head, rows)
    common.show("")
    first = next((v.first for v in judged.values() if v.first), None)
    if first is None:
        common.show("rounding explains every difference that was judged")
        return
    near = f"{first.distance:.3g} from the threshold" if not first.why else first.why
    common.show(
        f"error: population {first.population}, sample {first.sample}, step "
        f"{first.step}, neuron {first.neuron}: {first.got} in place of {first.want}, "
        f"{near}, rounding reaches {first.error:.3g}"
    )
