"""``refsnn data``: list, fetch and verify data sets."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from refsnn import datasets
from refsnn.cli import arguments, common, results
from refsnn.errors import DataError

CHECKED = ("digits", "cifar10", "cifar100")

app = typer.Typer(no_args_is_help=True, help="List, fetch and verify data sets.")


@app.command("list")
def list_data(json: arguments.JsonOption = None) -> None:
    """List the data sets and whether their files are there."""
    results.need_json_target(json)
    verdicts = {name: datasets.verify(name) for name in CHECKED}
    state = {
        name: "missing" if "missing" in {v.verdict for v in found} else "there"
        for name, found in verdicts.items()
    }
    results.write_json({"format": "refsnn-data", "version": 1, "sets": state}, json)
    if json != "-":
        for name, what in datasets.DATASETS.items():
            common.show(f"{name}: {what} ({state.get(name, 'a folder of yours')})")


@app.command("fetch")
def fetch(
    name: Annotated[str, typer.Argument(help="cifar10 or cifar100.")],
) -> None:
    """Download a data set's official archive, check its hash and unpack it.

    Parameters
    ----------
    name : str
        The data set.
    """
    common.keep_sockets()
    folder = datasets.fetch(name, progressbar=common.stderr.is_terminal)
    common.show(f"{name} is in {folder}")


@app.command("verify")
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(help="Data sets; all by default.")
    ] = None,
    json: arguments.JsonOption = None,
) -> None:
    """Say of every file whether it is official, a known variant or unknown.

    Exit code 1 if one is unknown, 2 if one of a named set is missing.
    """
    results.need_json_target(json)
    found = {name: datasets.verify(name) for name in names or CHECKED}
    listed = {name: [dataclasses.asdict(v) for v in vs] for name, vs in found.items()}
    results.write_json({"format": "refsnn-data", "version": 1, "sets": listed}, json)
    if json != "-":
        for verdicts in found.values():
            for v in verdicts:
                common.show(f"{v.verdict}: {v.file} {v.sha256}")
                if v.note:
                    common.show(f"  {v.note}")
    kinds = {v.verdict for verdicts in found.values() for v in verdicts}
    if names and "missing" in kinds:
        raise DataError(
            where="refsnn data verify",
            got="missing files",
            expected="all files of the sets that were named",
        )
    if "unknown" in kinds:
        raise typer.Exit(1)
