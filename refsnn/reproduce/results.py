"""From runs to a table of published numbers beside ours."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from refsnn import io
from refsnn.environment import versions
from refsnn.errors import DataError, RefsnnError
from refsnn.layers import BatchNorm
from refsnn.network import Network, SpikingNetwork
from refsnn.reproduce import jobs, recorded
from refsnn.reproduce.claims import decide
from refsnn.reproduce.counted import count_all, judge_counts
from refsnn.reproduce.declared import Reproduction, Run, load_declaration
from refsnn.reproduce.done import done_of
from refsnn.reproduce.executors import executor
from refsnn.reproduce.facts import load_claims, load_published, load_tolerances
from refsnn.reproduce.rows import layout, rows_of, table

SHARD = 500
"""Images in a shard, unless told."""

SUMS = {"propagation"}
"""Work whose sums are not of integers: it is never split."""

LOOKED_AT = 50
"""Images whose error terms are taken apart, and whose errors are followed."""

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
    only: Sequence[str] = (),
    again: bool = False,
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
    only : sequence of str
        Which runs, see :meth:`refsnn.reproduce.declared.Run.among`.
    again : bool
        Whether weights are trained again where a recorded network has them.
    progress : callable, optional
        Told how much of how much is done: of a conversion that takes long, then of the
        shards; of architectures that are counted.

    Returns
    -------
    dict
        JSON values: ``runs``, integers only; ``rows``; ``claims``; ``took``, seconds
        of every conversion and of its run.

    Raises
    ------
    OptionError
        If a pattern of `only` matches no run.
    """
    clock = time.perf_counter()
    work = executor(how, scheduler)
    declaration = load_declaration(root, name)
    declaration.need_matches(only)
    make = partial(jobs.converted, root, out, again=again, progress=progress)
    result, missing, of, shards = _run(
        make, declaration, only, out, limit, shard, work, progress
    )
    answer = {
        **judged(root, name, result, missing, of),
        "only": list(only),
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


def judged(
    root: Path,
    name: str,
    result: dict[str, Any],
    missing: dict[int, str],
    of: int | None = None,
) -> dict[str, Any]:
    """Judge a result: rows, claims and energies, from its integers alone.

    Parameters
    ----------
    root : Path
        The folder of the reproductions.
    name : str
        The script's name.
    result : dict
        Integers, as they are recorded.
    missing : dict of int to str
        What lacks to runs that were not made, by their place in the declaration.
    of : int, optional
        How many images there are; as many as were run by default.

    Returns
    -------
    dict
        JSON values: the integers, ``rows``, ``claims``, ``energy`` and
        ``architectures``.
    """
    declaration = load_declaration(root, name)
    published, known = load_published(root), load_tolerances(root)
    done = done_of(declaration, result, of)
    rows = []
    for number, run in enumerate(declaration.runs):
        mine = [d for d in done if d.run is run]
        beside = rows_of(run, mine, missing.get(number), published, known)
        rows += [layout(run, row) for row in beside]
    return {
        "format": "refsnn-reproduction",
        "version": 1,
        "name": name,
        "title": declaration.title,
        "complete": not missing,
        **result,
        "architectures": judge_counts(root, result.get("counted", [])),
        "rows": rows,
        "claims": [
            dataclasses.asdict(claim)
            for claim in decide(declaration.claims, done, load_claims(root), known)
        ],
        "energy": [
            {
                "run": d.run.label,
                "network": d.run.network,
                "T": d.T,
                "answered": list(d.answered),
                "tables": d.energy(),
            }
            for d in done
        ],
    }


def from_recorded(root: Path, name: str) -> dict[str, Any]:
    """Judge what was recorded, without running anything.

    Parameters
    ----------
    root : Path
        The folder of the reproductions.
    name : str
        The script's name.

    Returns
    -------
    dict
        As :func:`reproduce` returns; no data set and no network is read.
    """
    declaration = load_declaration(root, name)
    empty = {"data": {"name": declaration.data}}
    there = recorded.path_of(root, name).is_file()
    result = recorded.load(root, name) if there else empty
    made = {(d.run.label, d.run.network, d.T) for d in done_of(declaration, result)}
    missing = {}
    for number, run in enumerate(declaration.runs):
        if any((run.label, run.network, T) not in made for T in run.conversions):
            try:
                jobs.find_weights(root, run.network)
                missing[number] = f"not recorded; run it: refsnn reproduce {name}"
            except DataError as error:
                missing[number] = str(error)
    kept = {key: result[key] for key in (*recorded.KEPT, "took") if key in result}
    if declaration.counted and not there:
        missing[0] = f"not recorded; run it: refsnn reproduce {name}"
    return judged(root, name, kept, missing)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Planned:
    """Some shards of a conversion, and what for."""

    what: str
    conversion: jobs.Conversion
    T: int
    shards: list[jobs.Shard]


def _run(
    make: Callable[[Run, str, int], jobs.Conversion],
    declaration: Reproduction,
    only: Sequence[str],
    out: Path,
    limit: int | None,
    size: int,
    work: Callable[[list[jobs.Shard]], Iterable[str]],
    progress: Told | None,
) -> tuple[dict[str, Any], dict[int, str], int, int]:
    """Convert and run everything; what cannot be is said, not skipped."""
    missing: dict[int, str] = {}
    conversions = []
    if declaration.counted:
        counted = count_all(declaration.counted, progress)
        return {"data": {}, "runs": [], "counted": counted}, {}, 0, 0
    try:
        of = len(jobs.kept(declaration.data))
    except DataError as error:
        why = f"data set {declaration.data}: {error.do or error.expected}"
        numbers = range(len(declaration.runs))
        nothing = {"data": {"name": declaration.data}, "runs": []}
        return nothing, dict.fromkeys(numbers, why), 0, 0
    images = min(limit or of, declaration.images or of, of)
    for number, run in enumerate(declaration.runs):
        for T in run.conversions:
            if not run.among(T, only):
                missing[number] = f"not among {', '.join(only)} (--only)"
                continue
            try:
                conversions.append(make(run, declaration.data, T))
            except RefsnnError as error:
                missing[number] = str(error)
    planned = [p for c in conversions for p in _plan(declaration, c, images, size, out)]
    todo = list({s.key: s for p in planned for s in p.shards}.values())
    for count, _ in enumerate(work(todo), start=1):
        if progress:
            progress(count, len(todo))
    found = integers(declaration, conversions, planned, images)
    return {**found, "took": _took(planned)}, missing, of, len(todo)


def _plan(
    declaration: Reproduction, c: jobs.Conversion, images: int, size: int, out: Path
) -> list[_Planned]:
    """Say what is done with a conversion."""
    run = c.run
    wanted = [("ann", c.T, images), ("run", c.T, images)]
    steps = run.steps if run.conversions != run.steps else (c.T,)
    few = min(images, LOOKED_AT)
    for T in steps:
        if T in run.errors:
            wanted += [(f"errors {t}", T, few) for t in declaration.targets]
        if T in run.propagation:
            wanted.append(("propagation", T, few))
    return [
        _Planned(
            what=what,
            conversion=c,
            T=T,
            shards=jobs.shards(
                *(what, c, T, declaration.data, count),
                *(count if what in SUMS else size, out),
            ),
        )
        for what, T, count in wanted
    ]


def integers(
    declaration: Reproduction,
    conversions: list[jobs.Conversion],
    planned: list[_Planned],
    images: int,
) -> dict[str, Any]:
    """Lay out what a re-run has to equal: integers, hashes and indices.

    Parameters
    ----------
    declaration : Reproduction
        What was run.
    conversions : list of Conversion
        The networks that were run.
    planned : list
        What was done with them, in shards that are done.
    images : int
        How many of the images, the first ones.

    Returns
    -------
    dict
        ``data`` and ``runs``, each with ``counts`` of its networks, ``errors`` (error
        terms) and ``propagation`` (errors followed to the loss; not integers).
    """
    if not conversions:
        return {"data": {"name": declaration.data}, "runs": []}
    indices = jobs.kept(declaration.data)[:images]
    answer: dict[str, Any] = {
        "data": {
            "name": declaration.data,
            "images": len(indices),
            "left_out": list(jobs.INEXACT.get(declaration.data, ())),
            "sha256": jobs.some_images(declaration.data, indices).sha256,
        },
        "runs": [],
    }
    for c in conversions:
        mine = [p for p in planned if p.conversion is c]
        answer["runs"].append(_entry(c, mine, min(images, LOOKED_AT)))
    return answer


def _took(planned: list[_Planned]) -> list[dict[str, Any]]:
    """Say what every run took: no result, and never compared."""
    return [
        {
            "network": p.conversion.run.network,
            "method": p.conversion.run.method,
            "set": p.conversion.run.whole,
            "T": p.conversion.T,
            "convert_seconds": p.conversion.seconds,
            "run_seconds": jobs.seconds(p.shards),
            "processors": jobs.processors_of(p.shards),
            "recorded": p.conversion.recorded,
        }
        for p in planned
        if p.what == "run"
    ]


def _entry(c: jobs.Conversion, planned: list[_Planned], few: int) -> dict[str, Any]:
    """Lay out what was counted of a run."""
    sums = {(p.what, p.T): jobs.total(p.shards) for p in planned}
    ann, snn = jobs.networks(str(c.ann), str(c.net))
    return {
        "network": c.run.network,
        "sha256": c.sha256,
        "converted_sha256": c.net_sha256,
        "method": c.run.method,
        "set": dict(snn.options),
        "T": c.T,
        "counts": counts_of(ann, snn),
        "ann_correct": sums["ann", c.T]["correct"],
        **sums["run", c.T],
        "errors": [
            {
                "T": T,
                "target": what.removeprefix("errors "),
                "images": few,
                "grid": snn.finest_grid(),
                "populations": found,
            }
            for (what, T), found in sums.items()
            if what.startswith("errors ")
        ],
        "propagation": [
            {"T": T, **found}
            for (what, T), found in sums.items()
            if what == "propagation"
        ],
    }


def counts_of(ann: Network, snn: SpikingNetwork) -> dict[str, Any]:
    """Count what the networks of a run have, for one image.

    Parameters
    ----------
    ann : Network
        The trained network.
    snn : SpikingNetwork
        The converted network.

    Returns
    -------
    dict
        Integers: ``parameters``, ``ann_macs``, ``first_layer_macs``, ``batch_norms``,
        ``tau`` and ``rho`` steps ahead, ``neurons`` by population.
    """
    return {
        "parameters": ann.parameters,
        "ann_macs": ann.macs(),
        "first_layer_macs": snn.first_layer_macs(),
        "batch_norms": sum(isinstance(node.op, BatchNorm) for node in ann.nodes),
        "tau": snn.stages.tau,
        "rho": snn.stages.rho,
        "neurons": {p.name: p.neurons for p in snn.hidden},
    }
