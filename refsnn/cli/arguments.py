"""Options that several commands take."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from refsnn.arithmetic import CARRIERS, MODES
from refsnn.run import ENGINES, IMPLS, SCHEDULES

Impl = StrEnum("Impl", {name: name for name in IMPLS})  # type: ignore[misc]  # made of IMPLS
Schedule = StrEnum("Schedule", {name: name for name in SCHEDULES})  # type: ignore[misc]  # made of SCHEDULES
Engine = StrEnum("Engine", {name: name for name in ENGINES})  # type: ignore[misc]  # made of ENGINES
Mode = StrEnum("Mode", {name: name for name in MODES})  # type: ignore[misc]  # made of MODES
Carrier = StrEnum("Carrier", {name: name for name in CARRIERS})  # type: ignore[misc]  # made of CARRIERS

MethodOption = Annotated[
    str | None,
    typer.Option(
        "--method", "-m", help="Conversion method; `refsnn methods` lists them."
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Option of the method, see `refsnn methods NAME`; repeatable.",
    ),
]
ModeOption = Annotated[
    Mode | None,
    typer.Option(
        "--mode", help="Arithmetic; by default exact where certified, else ordered."
    ),
]
EngineOption = Annotated[
    Engine,
    typer.Option(
        "--engine",
        help="Kernels of mode exact; auto: event-driven where they serve; dense: "
        "matrix products.",
    ),
]
CarrierOption = Annotated[
    Carrier | None,
    typer.Option("--carrier", help="Number type of sums and potentials in mode exact."),
]
LimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, help="First so many test images only.")
]
DataOption = Annotated[
    str | None,
    typer.Option("--data", help="Data set; by default the one named in the file."),
]
MaxPoolOption = Annotated[
    bool,
    typer.Option(
        "--max-pool-on-spikes",
        help="Take max pooling to mean the maximum of spikes; refused otherwise.",
    ),
]
JsonOption = Annotated[
    str | None,
    typer.Option("--json", metavar="F|-", help="Write JSON to a file, or - to stdout."),
]
