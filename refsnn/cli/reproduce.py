"""``refsnn reproduce``: published numbers beside ours."""

from __future__ import annotations

import json as text
from collections import Counter
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from refsnn.cli import arguments, common, results
from refsnn.errors import OptionError, printable
from refsnn.io import write_atomically
from refsnn.reproduce import EXECUTORS, SHARD, VERDICTS, declared, default_root
from refsnn.reproduce import from_recorded as recalled
from refsnn.reproduce import recorded as kept
from refsnn.reproduce import reproduce as reproduced
from refsnn.reproduce.counted import COUNTS
from refsnn.reproduce.declared import load_declaration, need_declared
from refsnn.reproduce.facts import load_tolerances

UNTOLD = {
    "limit": None,
    "shard": SHARD,
    "how": "serial",
    "scheduler": None,
    "only": (),
    "again": False,
    "out": None,
}
"""How a run is made of which nothing is said."""

NAMES = {name: f"--{name}" for name in UNTOLD} | {"how": "--executor"}
"""Options by how a run is made."""

OUT = Path("reproduced")
"""Where results are written of which nothing is said."""

Executor = StrEnum("Executor", {name: name for name in EXECUTORS})  # type: ignore[misc]  # made of EXECUTORS


def reproduce(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Which; without it all are listed."),
    ] = None,
    root: Annotated[
        Path | None, typer.Option("--root", help="Folder of the declarations.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Results, figures, and finished shards, which are kept.",
            show_default=OUT.name,
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Compare every integer with the recorded ones.",
        ),
    ] = False,
    record: Annotated[
        bool, typer.Option("--record", help="Keep the integers as the recorded ones.")
    ] = False,
    from_recorded: Annotated[
        bool,
        typer.Option(
            "--from-recorded",
            help="Run nothing: judge the recorded integers. Without names: of all.",
        ),
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option("--report", help="Write DIR/report.html and DIR/result.json."),
    ] = None,
    limit: arguments.LimitOption = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="NETWORK/METHOD/T",
            help="Such runs alone, * for anything; with --record others stay recorded.",
        ),
    ] = None,
    again: Annotated[
        bool,
        typer.Option(
            "--again",
            help="Train weights again where a network is recorded; compared by a band "
            "if they differ.",
        ),
    ] = False,
    shard: Annotated[
        int, typer.Option("--shard", min=1, help="Images in a shard.")
    ] = SHARD,
    executor: Annotated[
        Executor, typer.Option("--executor", help="Where shards are done.")
    ] = Executor["serial"],
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", help="Address of a dask scheduler.")
    ] = None,
    json: arguments.JsonOption = None,
) -> None:
    """Run published experiments and show every number beside ours, with a verdict.

    What is done is not done again: after an interruption type the same command. Exit
    code 1 if --check finds a difference.
    """
    results.need_json_target(json)
    results.need_report_folder(report)
    folder = root or default_root()
    need_declared(folder)
    how = {
        "limit": limit,
        "shard": shard,
        "how": executor.value,
        "scheduler": scheduler,
        "only": only or (),
        "again": again,
    }
    if not names and not from_recorded:
        if report or check or record or {**how, "out": out} != UNTOLD:
            got, expected = "no name", "names, or --from-recorded for all"
            raise OptionError(where="reproduce", got=got, expected=expected)
        _list(folder, json)
        return
    _need_whole({**how, "out": out}, record, check, from_recorded)
    out, names = out or OUT, names or list(declared(folder))
    for declaration in [load_declaration(folder, name) for name in names]:
        declaration.need_matches(only or ())
    wanted = {name: kept.load(folder, name) for name in names if check}
    for written in _folders(folder, out, record=record, recalled=from_recorded):
        results.need_folder(written)
    answers, wrong = [], []
    for name in names:
        make = recalled if from_recorded else partial(_made, out, how)
        answers.append(answer := make(folder, name))
        if record:
            _keep(folder, answer, out)
        if name in wanted:
            wrong += _compared(folder, wanted[name], answer)
        if json != "-":
            _print(answer)
        _draw(out, folder, answer)
    results.write_json(_all(answers), json)
    _write_report(report, folder, answers)
    _print_check(wrong if check else None, json)


def _list(folder: Path, json: str | None) -> None:
    """Show what can be reproduced, and what it needs."""
    found = {name: load_declaration(folder, name) for name in declared(folder)}
    what = {name: {"title": d.title, "data": d.data} for name, d in found.items()}
    answer = {"format": "refsnn-declarations", "version": 1, "declarations": what}
    results.write_json(answer, json)
    if json == "-":
        return
    width = max(map(len, found))
    for name, one in found.items():
        data = f" (data set {one.data})" if one.data else ""
        common.show(f"{name:{width}}  {one.title}{data}")


def _made(out: Path, how: dict[str, Any], folder: Path, name: str) -> dict[str, Any]:
    """Run a reproduction, with a bar."""
    if how["how"] == "dask":
        common.keep_sockets()
    with common.progress(name) as told:
        return reproduced(folder, name, out, **how, progress=told)


def _keep(folder: Path, answer: dict[str, Any], out: Path) -> None:
    """Record a result, and say what is left out of the record."""
    for line in kept.left_out(folder, answer):
        common.stderr.print(printable(line), markup=False)
    common.stderr.print(f"recorded {kept.record(folder, answer, out)}", markup=False)


def _compared(
    folder: Path, before: dict[str, Any], answer: dict[str, Any]
) -> list[str]:
    """Compare a result with the recorded one; say what could not be."""
    for line in kept.unrecorded(before, answer):
        common.stderr.print(printable(line), markup=False)
    return kept.differences(folder, before, answer, load_tolerances(folder))


def _draw(out: Path, folder: Path, answer: dict[str, Any]) -> None:
    """Write the figures of a reproduction that was run."""
    if "seconds" not in answer:
        return
    from refsnn.reproduce import page  # noqa: PLC0415 - matplotlib takes a second

    with common.progress(f"figures of {answer['name']}"):
        for stem, svg in page.figures(folder, answer).items():
            write_atomically(out / f"{answer['name']}-{stem}.svg", svg.encode())


def _write_report(
    folder: Path | None, root: Path, answers: list[dict[str, Any]]
) -> None:
    """Write everything as a page and as JSON."""
    if folder is None:
        return
    from refsnn.reproduce import page  # noqa: PLC0415 - matplotlib takes a second

    with common.progress("report"):
        results.write_page(folder, page.page(root, answers), _all(answers))


def _need_whole(how: dict[str, Any], record: bool, check: bool, recalled: bool) -> None:
    """Refuse to record, compare or recall a part, and to recall what is run."""
    expected = "all images"
    if (record or check or recalled) and how["limit"] is not None:
        got = "--limit with --record, --check or --from-recorded"
        raise OptionError(where="reproduce", got=got, expected=expected)
    if recalled and (record or check):
        expected = "a run, with --record or --check"
        raise OptionError(where="reproduce", got="--from-recorded", expected=expected)
    if recalled and how != UNTOLD:
        told = ", ".join(NAMES[key] for key in how if how[key] != UNTOLD[key])
        expected = "a run: recorded results are judged as they are"
        raise OptionError(
            where="reproduce", got=f"--from-recorded with {told}", expected=expected
        )


def _folders(folder: Path, out: Path, *, record: bool, recalled: bool) -> list[Path]:
    """Return the folders that results are written to."""
    return [out] * (not recalled) + [folder / "recorded"] * record


def _print_check(wrong: list[str] | None, json: str | None) -> None:
    """Say what differs from the recorded results; exit with 1 if something does."""
    if wrong is None:  # nothing was compared
        return
    for place in wrong:
        common.stderr.print(printable(place), markup=False)
    if json != "-":
        equal = "all integers are equal, other numbers within 1e-6"
        verdict = f"{len(wrong)} places differ" if wrong else equal
        common.show(f"against the recorded results: {verdict}")
    if wrong:
        raise typer.Exit(1)


def _all(answers: list[dict[str, Any]]) -> dict[str, Any]:
    rows = [row for answer in answers for row in answer["rows"]]
    claims = [claim for answer in answers for claim in answer["claims"]]
    return {
        "format": "refsnn-reproductions",
        "version": 1,
        "rows": text.loads(text.dumps(rows)),
        "claims": claims,
    }


def _print_counts(answer: dict[str, Any]) -> None:
    """Print the architectures that were counted."""
    rows = [
        (
            f"{row['arch']}, {row['classes']} classes, {row['size']} x {row['size']}",
            *(row[name] for name in COUNTS),
            f"{row['measured']['peak_bytes'] / 1e9:.2f} GB" if row["T"] else "",
            row["verdict"],
        )
        for row in answer["architectures"]
    ]
    if rows:
        common.table(answer["title"], ("", *COUNTS, "peak memory", "verdict"), rows)


def _print(answer: dict[str, Any]) -> None:
    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.2f}"

    head = ("", "T", "published", "ours", "loss", "our loss", "tolerance", "verdict")
    for network in dict.fromkeys(row["network"] for row in answer["rows"]):
        rows = [
            (
                f"{row['paper']} {row['method']} {row['arch']}".strip() or row["run"],
                str(row["T"]),
                number(row["published"]),
                number(row["ours"]),
                number(row["loss_published"]),
                number(row["loss_ours"]),
                number(row["tolerance"]),
                row["verdict"],
            )
            for row in answer["rows"]
            if row["network"] == network
        ]
        common.table(f"{answer['title']}: {network}", head, rows)
    _print_counts(answer)
    for note in dict.fromkeys(row["note"] for row in answer["rows"] if row["note"]):
        common.show(f"  {note}")
    for claim in answer["claims"]:
        common.show(f"{claim['id']} {claim['verdict']}: {claim['evidence']}")
    counts = Counter(r["verdict"] for r in answer["rows"] + answer["architectures"])
    common.show(", ".join(f"{counts[v]} {v}" for v in VERDICTS if counts[v]))
    if "seconds" in answer:
        common.show(f"{answer['seconds']} s, {answer['shards']} shards")
