"""From runs to a table of published numbers beside ours."""

from __future__ import annotations

import csv
import dataclasses
import io as text_io
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from refsnn import io
from refsnn.convert import METHODS
from refsnn.errors import DataError, RefsnnError
from refsnn.evaluate import energy
from refsnn.recording import versions
from refsnn.reproduce import jobs
from refsnn.reproduce.claims import decide
from refsnn.reproduce.declared import Reproduction, Run, load_declaration
from refsnn.reproduce.done import Done
from refsnn.reproduce.executors import executor
from refsnn.reproduce.facts import (
    TRUSTED,
    Published,
    Tolerances,
    load_published,
    load_tolerances,
)
from refsnn.reproduce.verdicts import Judged, Ours, judge

SHARD = 500
"""Images in a shard, unless told."""

Told = Callable[[int, int], None]


def reproduce(
    root: Path,
    name: str,
    out: Path,
    *,
    limit: int | None = None,
    shard: int = SHARD,
    how: str = "serial",
    scheduler: str | None = None,
    progress: Told | None = None,
) -> dict[str, Any]:
    """Run a reproduction and write its results.

    Parameters
    ----------
    root : Path
        The folder of the reproductions.
    name : str
        The script's name.
    out : Path
        Folder of results: ``NAME.json``, ``NAME.csv``, networks and shards; what is
        there is not done again.
    limit : int, optional
        First so many of the test images that are run.
    shard : int
        Images in a shard. No result depends on it.
    how, scheduler : optional
        As in :func:`refsnn.reproduce.executors.executor`.
    progress : callable, optional
        Told how many shards of how many are done.

    Returns
    -------
    dict
        JSON values: ``runs``, integers only; ``rows``; ``claims``.
    """
    clock = time.perf_counter()
    work = executor(how, scheduler)
    declaration = load_declaration(root, name)
    published, known = load_published(root), load_tolerances(root)
    done, missing, shards = _runs(root, declaration, out, limit, shard, work, progress)
    rows: list[Judged] = []
    for number, run in enumerate(declaration.runs):
        mine = [d for d in done if d.run is run]
        rows += _rows(run, mine, missing.get(number), published, known)
    answer = {
        "format": "refsnn-reproduction",
        "version": 1,
        "name": name,
        "title": declaration.title,
        "complete": not missing,
        **integers(declaration, done, limit),
        "rows": [layout(row) for row in rows],
        "claims": [
            dataclasses.asdict(claim) for claim in decide(declaration.claims, done)
        ],
        "energy": [_energy(d) for d in done],
        "seconds": round(time.perf_counter() - clock, 3),
        "shards": shards,
        "executor": how,
        "versions": versions(),
    }
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(answer, indent=1)
    io.write_atomically(out / f"{name}.json", text.encode())
    io.write_atomically(out / f"{name}.csv", table(answer["rows"]).encode())
    return answer


def _runs(
    root: Path,
    declaration: Reproduction,
    out: Path,
    limit: int | None,
    size: int,
    work: Callable[[list[jobs.Shard]], Iterable[str]],
    progress: Told | None,
) -> tuple[list[Done], dict[int, str], int]:
    """Convert and run everything; what cannot be is said, not skipped."""
    missing: dict[int, str] = {}
    conversions = []
    try:
        images = len(jobs.kept(declaration.data))
    except DataError as error:
        why = f"data set {declaration.data}: {error.do or error.expected}"
        return [], dict.fromkeys(range(len(declaration.runs)), why), 0
    images = images if limit is None else min(limit, images)
    for number, run in enumerate(declaration.runs):
        for T in run.conversions:
            try:
                conversions.append(jobs.converted(root, out, run, declaration.data, T))
            except RefsnnError as error:
                missing[number] = str(error)
    plan = [
        (c, jobs.shards(c, declaration.data, images, size, out)) for c in conversions
    ]
    todo = list({s.key: s for _, some in plan for s in some}.values())
    for count, _ in enumerate(work(todo), start=1):
        if progress:
            progress(count, len(todo))
    done = [
        Done(
            run=c.run,
            T=c.T,
            data=declaration.data,
            tally=jobs.total(some),
            ann=io.load_ann(c.ann),
            snn=io.load_snn(c.net),
            sha256=c.sha256,
            net_sha256=c.net_sha256,
        )
        for c, some in plan
    ]
    return done, missing, len(todo)


def integers(
    declaration: Reproduction, done: list[Done], limit: int | None
) -> dict[str, Any]:
    """Lay out what a re-run has to equal: integers, hashes and indices.

    Parameters
    ----------
    declaration : Reproduction
        What was run.
    done : list of Done
        The runs.
    limit : int or None
        First so many images.

    Returns
    -------
    dict
        ``data`` and ``runs``.
    """
    if not done:
        return {"data": {"name": declaration.data}, "runs": []}
    indices = jobs.kept(declaration.data)[:limit]
    some = jobs.some_images(declaration.data, indices)
    return {
        "data": {
            "name": declaration.data,
            "images": len(indices),
            "left_out": list(jobs.INEXACT.get(declaration.data, ())),
            "sha256": some.sha256,
        },
        "runs": [
            {
                "network": d.run.network,
                "sha256": d.sha256,
                "converted_sha256": d.net_sha256,
                "method": d.run.method,
                "set": dict(d.snn.options),
                "T": d.T,
                "ann_correct": d.tally.ann_correct,
                "correct": d.tally.correct.tolist(),
                "populations": {
                    p.name: {
                        "spikes": d.tally.spikes[p.name].tolist(),
                        "negative": d.tally.negative[p.name].tolist(),
                        "synops": d.tally.synops[p.name].tolist(),
                    }
                    for p in d.snn.hidden
                },
                "observing": {
                    what: {name: counts.tolist() for name, counts in by_name.items()}
                    for what, by_name in d.tally.observing.items()
                },
            }
            for d in done
        ],
    }


def _rows(
    run: Run,
    done: list[Done],
    missing: str | None,
    published: list[Published],
    known: Tolerances,
) -> list[Judged]:
    """Put the published rows of a run beside ours."""
    rows = [
        row
        for row in published
        if run.rows and row.matches(run.rows) and row.confidence in TRUSTED
    ]
    ann = next((row.accuracy for row in rows if row.T == "ANN"), None)
    ours: dict[str, Ours] = {}
    for d in done:
        ours["ANN"] = _ours(d, d.tally.ann_correct)
        for T in d.steps:
            ours[str(T)] = dataclasses.replace(
                _ours(d, int(d.tally.correct[T - 1])),
                reconstruction=METHODS[run.method].reconstruction,
            )
    judged = []
    for row in rows:
        if row.T in ours:
            judged.append(judge(row, ours[row.T], ann, known))
        else:
            note = missing or f"T = {row.T} is not among the steps that are run"
            judged.append(
                Judged(published=row, ours=None, verdict="not run", note=note)
            )
    if missing and not rows:
        judged += [
            Judged(
                published=_unpublished(run, str(T)),
                ours=None,
                verdict="not run",
                note=missing,
            )
            for T in run.steps
        ]
    covered = {row.T for row in rows}
    judged += [
        Judged(
            published=_unpublished(run, T),
            ours=mine,
            verdict="nothing published",
            note=mine.reconstruction,
        )
        for T, mine in ours.items()
        if T not in covered and (T != "ANN" or not rows)
    ]
    return judged


def _ours(d: Done, correct: int) -> Ours:
    return Ours(
        correct=correct,
        images=d.tally.images,
        ann_correct=d.tally.ann_correct,
        note="; ".join(filter(None, (_of(d), d.run.note))),
    )


def _of(d: Done) -> str:
    """Say how many images a result is of, if not of all."""
    whole = len(jobs.kept(d.data))
    return "" if d.tally.images == whole else f"{d.tally.images} of {whole} images only"


def _unpublished(run: Run, T: str) -> Published:
    return Published(
        paper="",
        table="",
        dataset=run.rows.get("dataset", ""),
        arch=run.network,
        method=run.label,
        params="",
        T=T,
        accuracy=float("nan"),
        source="",
        confidence="",
        used="",
    )


def layout(row: Judged) -> dict[str, Any]:
    """Lay out a verdict as JSON.

    Parameters
    ----------
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
    buffer = text_io.StringIO()
    if rows:
        writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return buffer.getvalue()


def _energy(d: Done) -> dict[str, Any]:
    """Return the energies of a run under every table, and SNN over ANN at every t."""
    tables = energy(d.snn, d.tally, d.ann_macs)
    for table in tables.values():
        if table["ann_pJ"] is None:  # a table of spikes alone
            continue
        ratios = [pJ / table["ann_pJ"] for pJ in table["snn_pJ"]]
        table["ratio"] = [round(ratio, 6) for ratio in ratios]
        crossing = [t for t, ratio in enumerate(ratios, start=1) if ratio >= 1]
        table["crosses_at"] = crossing[0] if crossing else None
    return {"run": d.run.label, "network": d.run.network, "T": d.T, "tables": tables}
