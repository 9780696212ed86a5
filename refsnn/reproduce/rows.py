"""Published rows beside our results, each with its verdict."""

from __future__ import annotations

import csv
import dataclasses
import io
from typing import Any

from refsnn.convert import METHODS
from refsnn.reproduce.declared import Run
from refsnn.reproduce.done import Done
from refsnn.reproduce.facts import TRUSTED, Published, Tolerances
from refsnn.reproduce.verdicts import Judged, Ours, judge


def rows_of(
    run: Run,
    done: list[Done],
    missing: str | None,
    published: list[Published],
    known: Tolerances,
) -> list[Judged]:
    """Put the published rows of a run beside ours.

    Parameters
    ----------
    run : Run
        The declaration.
    done : list of Done
        What was made of it.
    missing : str or None
        What of it could not be made, and how to get it.
    published : list of Published
        All published rows.
    known : Tolerances
        The tolerances.

    Returns
    -------
    list of Judged
        Its rows in the file's order, then what no published row stands beside. A row
        whose T is not the only one that may be meant is judged at each.
    """
    rows = [
        p
        for p in published
        if run.rows and p.matches(run.rows) and p.confidence in TRUSTED
    ]
    trained = {(p.paper, p.table): p.accuracy for p in rows if p.T == "ANN"}
    ours = _results(run, done)
    judged = []
    for row, T in ((p, T) for p in rows for T in p.steps):
        if T in ours:
            mine = ours[T]
            if T != row.T:
                note = "; ".join(filter(None, (f"ours at T = {T}", mine.note)))
                mine = dataclasses.replace(mine, note=note)
            judged.append(judge(row, mine, trained.get((row.paper, row.table)), known))
        elif T == row.T:
            steps = ", ".join(map(str, run.steps))
            own = (
                f"the row is of T = {row.T}, the declaration runs {steps}: add the T "
                "of ours to its steps, and to the row's column `used`"
            )
            note = missing or own
            judged.append(
                Judged(published=row, ours=None, verdict="not run", note=note)
            )
    return judged + _beyond(run, rows, ours, missing)


def _results(run: Run, done: list[Done]) -> dict[str, Ours]:
    """Return our results of a run, by T as the papers write it."""
    ours: dict[str, Ours] = {}
    for d in done:
        ours["ANN"] = _ours(d, d.correct())
        for T in d.steps:
            mine = _ours(d, d.correct(T))
            ours[str(T)] = dataclasses.replace(
                mine,
                reconstruction=METHODS[run.method].reconstruction,
                note="; ".join(filter(None, (mine.note, _ahead(d)))),
            )
    return ours


def _beyond(
    run: Run, rows: list[Published], ours: dict[str, Ours], missing: str | None
) -> list[Judged]:
    """Say what no published row stands beside: results, and what could not be run."""
    covered = {T for row in rows for T in row.steps}
    judged = [
        Judged(
            published=_unpublished(run, T),
            ours=mine,
            verdict="nothing published",
            note="; ".join(filter(None, (mine.note, mine.reconstruction))),
        )
        for T, mine in ours.items()
        if T not in covered
    ]
    if missing and not rows:
        judged += [
            Judged(
                published=_unpublished(run, str(T)),
                ours=None,
                verdict="not run",
                note=missing,
            )
            for T in run.steps
            if str(T) not in ours
        ]
    return judged


def _ours(d: Done, correct: int) -> Ours:
    return Ours(
        correct=correct,
        images=d.images,
        ann_correct=d.correct(),
        note="; ".join(filter(None, (_of(d), d.run.note))),
    )


def _of(d: Done) -> str:
    """Say how many images a result is of, if not of all."""
    return "" if d.images == d.of else f"{d.images} of {d.of} images only"


def _ahead(d: Done) -> str:
    """Say how many steps stand before the T of a result."""
    tau = (d.counts or {}).get("tau", 0)
    return f"T behind {tau} observing steps: {tau} + T in all" if tau else ""


def _unpublished(run: Run, T: str) -> Published:
    return Published(
        paper="",
        table="",
        dataset=run.rows.get("dataset", ""),
        arch="",
        method="",
        params="",
        T=T,
        accuracy=float("nan"),
        source="",
        confidence="",
        used="",
    )


def layout(run: Run, row: Judged) -> dict[str, Any]:
    """Lay out a verdict as JSON.

    Parameters
    ----------
    run : Run
        What stands beside the row.
    row : Judged
        The verdict.

    Returns
    -------
    dict
        Its columns.
    """
    p, ours = row.published, row.ours
    known = p.confidence != ""
    return {
        "paper": p.paper,
        "table": p.table,
        "dataset": p.dataset,
        "arch": p.arch,
        "method": p.method,
        "T": int(p.T) if p.T.isdigit() else p.T,
        "params": p.params,
        "used": p.used,
        "published": p.accuracy if known else None,
        "confidence": p.confidence,
        "source": p.source,
        "network": run.network,
        "run": run.label,
        "ours": ours and round(ours.accuracy, 4),
        "difference": round(ours.accuracy - p.accuracy, 4) if ours and known else None,
        "loss_published": row.loss_published and round(row.loss_published, 4),
        "loss_ours": ours and round(ours.loss, 4),
        "tolerance": row.tolerance and round(row.tolerance, 4),
        "images": ours and ours.images,
        "verdict": row.verdict,
        "note": row.note,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Lay out rows as CSV.

    Parameters
    ----------
    rows : list of dict
        What :func:`layout` returned.

    Returns
    -------
    str
        The text, with a line of names.
    """
    buffer = io.StringIO()
    if rows:
        writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return buffer.getvalue()
