"""``refsnn conform`` and ``refsnn vectors``: another simulator against the vectors."""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from refsnn.cli import arguments, common, results
from refsnn.conformance import (
    STATUSES,
    Score,
    agreed,
    find_adapter,
    names,
    stored,
    story,
    tally,
)
from refsnn.conformance import conform as conformed

app = typer.Typer(help="Write or check the conformance vectors.", no_args_is_help=True)


def conform(
    adapter: Annotated[
        str,
        typer.Argument(help="The adapter, package.module:Class.", metavar="ADAPTER"),
    ],
    quick: Annotated[
        bool, typer.Option("--quick", help="Only the small networks.")
    ] = False,
    json: arguments.JsonOption = None,
) -> None:
    """Run another simulator on the conformance vectors; the only pass is no difference.

    Exit code 1 if a vector fails, or passes that was expected to fail.
    """
    results.need_json_target(json)
    sys.path.insert(0, "")  # an adapter in the folder where the command is typed
    made = find_adapter(adapter)
    scores: list[Score] = []
    total = len(names(quick=quick))
    with common.progress("conform") as told:
        for score in conformed(made, quick=quick):
            scores.append(score)
            told(len(scores), total)
    scores = agreed(scores)
    counts = Counter(score.status for score in scores)
    answer: dict[str, Any] = {
        "format": "refsnn-conformance",
        "version": 1,
        "adapter": adapter,
        "counts": {status: counts[status] for status in STATUSES},
        "explained": tally(scores),
        "vectors": [dataclasses.asdict(score) for score in scores],
    }
    results.write_json(answer, json)
    if json != "-":
        _print(adapter, scores, counts)
    if counts["failed"] or counts["unexpected pass"]:
        raise typer.Exit(1)


def _print(adapter: str, scores: list[Score], counts: Counter[str]) -> None:
    for score in scores:
        common.show(f"{score.status:16} {score.name:18} {_why(score)}".rstrip())
    summary = ", ".join(f"{counts[s]} {s}" for s in STATUSES if counts[s])
    common.show("")
    common.show(f"{adapter}: {summary}")
    said = story(scores)
    if said:
        common.show(said)


def _why(score: Score) -> str:
    """Say in one line what went wrong, or what the vector is about."""
    parts = [score.reason] if score.reason else []
    if score.first is not None:
        first = score.first
        parts.append(
            f"{score.differing} spikes differ, first in sample {first.sample}, step "
            f"{first.step}, {first.layer} {first.index}: {first.got} in place of "
            f"{first.want}"
        )
    if score.explanation is not None:
        parts.append(str(score.explanation))
    if score.run:
        runs = {"again": "the same batch behind a reset", "alone": "a batch of one"}
        parts.insert(0, f"in {runs[score.run]}")
    return "; ".join(parts) or score.about


@app.command()
def write(
    folder: Annotated[Path, typer.Argument(help="Where to.", metavar="DIR")],
    force: Annotated[
        bool, typer.Option("--force", help="Replace existing files.")
    ] = False,
) -> None:
    """Write every vector: NAME.net.h5 (network) and NAME.h5 (trace)."""
    with common.progress("vectors"):
        files = stored.write(folder, force=force)
    size = sum(path.stat().st_size for path in files)
    common.show(f"wrote {len(files)} files, {size:,} bytes, to {folder}")


@app.command()
def check(
    folder: Annotated[
        Path, typer.Argument(help="Where they lie; the package's own by default.")
    ] = stored.FOLDER,
) -> None:
    """Compute every vector again and compare it with its file, spike by spike.

    Exit code 1 if one differs.
    """
    with common.progress("vectors"):
        wrong = stored.check(folder)
    bad = {name: what for name, what in wrong.items() if what}
    for name, what in bad.items():
        common.show(f"{name}: {what}")
    common.show(f"{len(wrong) - len(bad)} of {len(wrong)} vectors are as stored")
    if bad:
        raise typer.Exit(1)
