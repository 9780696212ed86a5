"""``refsnn doctor``: what is wrong with a converted network, worst first."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from refsnn import io
from refsnn.cli import arguments, common, results
from refsnn.doctor import MADE, Case, Examination, broken, examine, layout, steps_of
from refsnn.run import need_steps

Break = StrEnum("Break", {name: name for name in MADE})  # type: ignore[misc]  # made of MADE


def doctor(
    ann: Annotated[Path, typer.Argument(help="Trained network (HDF5).")],
    net: Annotated[Path, typer.Argument(help="Converted network (HDF5).")],
    T: Annotated[
        int | None,
        typer.Option(
            "-T", "--steps", help="Number of time steps; by default its own, or 32."
        ),
    ] = None,
    data: arguments.DataOption = None,
    limit: arguments.LimitOption = None,
    fault: Annotated[
        Break | None, typer.Option("--break", help="Break the network first.")
    ] = None,
    json: arguments.JsonOption = None,
) -> None:
    """Say which faults a converted network has, and what each explains."""
    results.need_json_target(json)
    trained, converted = io.load_ann(ann), io.load_snn(net)
    steps = steps_of(converted, T)
    need_steps(steps)
    converted.need_steps(steps)
    images = common.test_images(common.data_name(trained, data), limit)
    case = Case(ann=trained, snn=converted, data=images, T=steps)
    case = broken(case, fault.value) if fault else case
    with common.progress("examining") as tell:
        found = examine(case, progress=tell)
    answer = {
        "format": "refsnn-doctor",
        "version": 1,
        "network": {"name": converted.name, "sha256": io.content_sha256(converted)},
        "broken": fault.value if fault else None,
        **layout(found),
    }
    results.write_json(answer, json)
    if json != "-":
        _print(converted.name, found)


def _print(name: str, found: Examination) -> None:
    """Print the findings, and the accuracy they are measured by."""
    common.show(
        f"{name}, T = {found.T}: {found.correct:,} of {found.images:,} correct, "
        f"trained network {found.ann_correct:,}"
    )
    if not found.findings and not found.unexplained:
        common.show("no findings")
    if found.findings:
        _print_findings(found)
    if found.unexplained:
        hidden = [f.cause for f in found.findings if f.explains is None]
        if not found.findings:
            common.show("none of the faults that are looked for was found")
        common.show("")
        common.show(
            f"{found.unexplained:,} predictions are lost besides, explained by none of "
            f"these{f', unless by {hidden[0]}' if hidden else ''}: the first layer "
            f"that departs from the trained network is {found.departs}."
        )


def _print_findings(found: Examination) -> None:
    """Print a table of the findings, and what each means."""
    common.show("")
    rows = [
        (
            f.cause,
            f"{f.number:.4g}",
            f.layer,
            "-" if f.explains is None else f"{f.explains:+,}",
        )
        for f in found.findings
    ]
    head = ("cause", "number", "layer", "explains")
    common.table("Findings, most damaging first", head, rows)
    for f in found.findings:
        common.show("")
        common.show(f"{f.cause}: the number is the {f.measures}.")
        common.show(f.suggestion)
    if len(found.findings) > 1:
        common.show("")
        common.show("Repair one and run again: a fault may hide what another explains.")
