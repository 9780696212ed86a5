"""All reproductions as one HTML page that needs nothing else."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from refsnn import plotting
from refsnn.accounting import ENERGY_TABLES
from refsnn.analysis import TERMS
from refsnn.cases import CASES
from refsnn.environment import versions
from refsnn.methods import METHODS
from refsnn.report import render
from refsnn.reproduce.claims import decide
from refsnn.reproduce.counted import COUNTS
from refsnn.reproduce.coverage import coverage
from refsnn.reproduce.declared import declared, load_declaration
from refsnn.reproduce.done import Done, done_of, identity
from refsnn.reproduce.facts import load_claims, load_tolerances
from refsnn.reproduce.operations import operations
from refsnn.reproduce.results import from_recorded
from refsnn.reproduce.terms import mean_size
from refsnn.reproduce.verdicts import VERDICTS

MARKS = (1, 2, 4, 8, 16, 32, 64)
"""The T that tables of layers show."""

TONES = {
    "reproduced": "good",
    "holds": "good",
    "reached by a reconstruction": "near",
    "trend": "near",
    "differs": "bad",
    "does not hold": "bad",
}
"""Classes of the verdicts in the page; others are quiet."""


def page(root: Path, answers: Sequence[dict[str, Any]]) -> str:
    """Lay out reproductions as a page.

    Parameters
    ----------
    root : Path
        The folder of the reproductions.
    answers : sequence of dict
        What :func:`refsnn.reproduce.reproduce` or
        :func:`refsnn.reproduce.from_recorded` returned: the page's tables and figures.

    Returns
    -------
    str
        HTML with its figures inside, which loads nothing. Published rows and claims are
        all there: of other reproductions by what is recorded of them.
    """
    given = {answer["name"] for answer in answers}
    rest = [from_recorded(root, n) for n in declared(root) if n not in given]
    covered = coverage(root, [*answers, *rest])
    counts = Counter(row["verdict"] for row in covered)
    return render(
        "reproductions.html",
        sections=[_section(root, answer) for answer in answers],
        covered=covered,
        counts={verdict: counts[verdict] for verdict in VERDICTS if counts[verdict]},
        claims=_claims(root, [*answers, *rest]),
        operations=operations(root),
        tables=ENERGY_TABLES,
        tolerances=load_tolerances(root),
        tones=TONES,
        count_names=COUNTS,
        case_names=CASES,
        versions=versions(),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Section:
    """What the page shows of a reproduction."""

    answer: dict[str, Any]
    beside: list[dict[str, Any]]
    steps: list[int]
    runs: list[dict[str, Any]]
    notes: list[str]
    figures: list[tuple[str, str, str]]  # name, SVG, caption
    energies: list[dict[str, Any]]
    layers: list[dict[str, Any]]
    cases: list[dict[str, Any]]
    hashes: dict[str, str]


def _section(root: Path, answer: dict[str, Any]) -> _Section:
    """Collect the tables and figures of a reproduction."""
    declaration = load_declaration(root, answer["name"])
    done = done_of(declaration, answer)
    took = {str(identity(run)): run for run in answer.get("took", ())}
    notes = list(dict.fromkeys(row["note"] for row in answer["rows"] if row["note"]))
    rows = [
        {**row, "mark": notes.index(row["note"]) + 1 if row["note"] else ""}
        for row in answer["rows"]
    ]
    alone = [row for row in rows if row["published"] is None]
    steps = {row["T"] for row in alone if isinstance(row["T"], int)}
    return _Section(
        answer=answer,
        beside=[row for row in rows if row["published"] is not None],
        steps=sorted(steps),
        runs=_runs(alone),
        notes=notes,
        figures=_drawn(done, answer["rows"]),
        energies=[
            {**_energies(d), "took": took.get(str(identity(d.found)))}
            for d in done
            if d.counts
        ],
        layers=[_layers(d) for d in done],
        cases=[_cases(d, e) for d in done for e in d.errors],
        hashes={d.run.network: d.found["sha256"] for d in done},
    )


def _runs(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Gather what no published row stands beside, a line for each run."""
    runs: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        empty: dict[str, Any] = {"trained": None, "accuracies": {}, "marks": []}
        empty["missing"] = True
        place = (row["run"], row["network"])
        mine = runs.setdefault(place, {"label": place[0], "network": place[1], **empty})
        if row["mark"] and row["mark"] not in mine["marks"]:
            mine["marks"].append(row["mark"])
        mine["missing"] &= row["verdict"] == "not run"
        if row["T"] == "ANN":
            mine["trained"] = row["ours"]
        else:
            mine["accuracies"][row["T"]] = row["ours"]
    return list(runs.values())


def _claims(root: Path, answers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return every claim with what each reproduction that decides it says."""
    facts, known = load_claims(root), load_tolerances(root)
    rows = []
    for name, fact in facts.items():
        found = [
            {**claim, "reproduction": answer["name"]}
            for answer in answers
            for claim in answer["claims"]
            if claim["id"] == name
        ]
        found = [c for c in found if c["verdict"] != "not run"] or found[:1]
        if not found:
            (claim,) = decide([name], [], facts, known)
            found = [{**dataclasses.asdict(claim), "reproduction": ""}]
        rows.append({**fact, "id": name, "found": found})
    return rows


def figures(root: Path, answer: dict[str, Any]) -> dict[str, str]:
    """Draw the figures of a reproduction.

    Parameters
    ----------
    root : Path
        The folder of the reproductions.
    answer : dict
        What :func:`refsnn.reproduce.reproduce` returned.

    Returns
    -------
    dict of str to str
        SVG by name: the network and what is shown.
    """
    done = done_of(load_declaration(root, answer["name"]), answer)
    return {name: svg for name, svg, _ in _drawn(done, answer["rows"])}


def _drawn(
    done: Sequence[Done], rows: Sequence[dict[str, Any]]
) -> list[tuple[str, str, str]]:
    """Draw everything about some runs, network by network."""
    by_network: dict[str, list[Done]] = {}
    for d in done:
        by_network.setdefault(d.run.network, []).append(d)
    return [
        (f"{network}-{kind}", plotting.svg(figure), caption)
        for network, some in by_network.items()
        for kind, figure, caption in _figures(network, some, rows)
    ]


def _figures(
    network: str, done: Sequence[Done], rows: Sequence[dict[str, Any]]
) -> list[tuple[str, Any, str]]:
    """Draw everything about the runs on one network."""
    first = done[0]
    trained, points = _percent(first), _published(done, rows)
    crosses = "; crosses are published" if points else ""
    figures = [
        (
            "accuracy",
            plotting.beside_published(_curves(done), points, trained),
            f"Accuracy against T on {network}{crosses}",
        )
    ]
    figures += _error_figures(network, done)
    counted = [d for d in done if d.counts]
    for name in ENERGY_TABLES if counted else ():
        ann_pJ = counted[0].energy()[name]["ann_pJ"]
        if ann_pJ is not None:
            point = (ann_pJ / counted[0].images / 1e6, trained)
            curves = _curves(counted, energy=name)
            figure = plotting.energy_against_accuracy(curves, point, name)
            caption = f"Energy against accuracy on {network}, {name}"
            figures.append((f"energy-{name}", figure, caption))
    return figures


def _percent(d: Done, T: int | None = None) -> float:
    return 100 * d.correct(T) / d.images


def _curves(
    done: Sequence[Done], energy: str = ""
) -> dict[str, tuple[list[float], list[float]]]:
    """Return accuracies of every run at the T it answers, or against its energies."""
    curves: dict[str, tuple[list[float], list[float]]] = {}
    for d in done:
        xs, ys = curves.setdefault(d.run.label, ([], []))
        spent = d.energy()[energy]["snn_pJ"] if energy else []
        for T in d.steps:
            xs.append(spent[T - 1] / d.images / 1e6 if energy else T)
            ys.append(_percent(d, T))
    return curves


def _published(
    done: Sequence[Done], rows: Sequence[dict[str, Any]]
) -> dict[str, tuple[list[float], list[float]]]:
    """Return the published accuracies beside every run."""
    points = {}
    for d in done:
        mine = [
            row
            for row in rows
            if (row["network"], row["run"]) == (d.run.network, d.run.label)
            and isinstance(row["T"], int)
            and row["published"] is not None
        ]
        if mine:
            xs = [float(row["T"]) for row in mine]
            points[d.run.label] = (xs, [row["published"] for row in mine])
    return points


def _error_figures(network: str, done: Sequence[Done]) -> list[tuple[str, Any, str]]:
    """Draw error terms and unevenness cases of every run, at its largest T."""
    last = {
        d.run.label: max(
            (e for e in d.errors if e["target"] == d.errors[-1]["target"]),
            key=lambda e: int(e["T"]),
        )
        for d in done
        if d.errors
    }
    if not last:
        return []
    names = {label: f"{label}, T = {e['T']}" for label, e in last.items()}
    terms = {
        names[label]: {term: mean_size(e, term) for term in TERMS}
        for label, e in last.items()
    }
    cases = {
        names[label]: {f"case {case}": _share(e, case) for case in CASES}
        for label, e in last.items()
    }
    target = {e["target"] for e in last.values()}
    images = {e["images"] for e in last.values()}
    of = f"{network}, {images.pop()} images, target {', '.join(sorted(target))}"
    sizes = plotting.parts_of(terms, "mean size, spikes a neuron")
    shares = plotting.parts_of(cases, "% of neurons")
    return [
        ("terms", sizes, f"Error terms: {of}"),
        ("cases", shares, f"Unevenness cases: {of}"),
    ]


def _share(errors: Mapping[str, Any], case: str) -> float:
    populations = errors["populations"].values()
    neurons: int = sum(p["neurons"] for p in populations)
    in_case: int = sum(p["cases"][case] for p in populations)
    return 100 * in_case / neurons


def _marks(d: Done) -> list[int]:
    """Return the T that a run's tables show: of a conversion for one T only that."""
    return [t for t in MARKS if t in d.answered and t < d.T] + [d.T]


def _title(d: Done) -> str:
    of = f" at T = {d.T}" if METHODS[d.run.method].depends_on_T else ""
    return f"{d.run.label}{of} on {d.run.network}"


def _crossing(d: Done, at: int | None) -> str:
    """Say where the energy reaches the trained network's, among the answered T."""
    if len(d.answered) == 1:
        return f"is {'1 or more' if at else 'below 1'} at T = {d.T}"
    return f"reaches 1 at T = {at}" if at else f"stays below 1 up to T = {d.T}"


def _energies(d: Done) -> dict[str, Any]:
    """Lay out the energies of a run, microjoules an image."""
    tables = d.energy()
    per_image = 1 / d.images / 1e6
    synops = d.each_step("synops").cumsum()
    ahead = d.each_step("synops", observing=True).sum()
    return {
        "title": _title(d),
        "first": d.counts["first_layer_macs"] if d.counts else 0,
        "tau": d.counts["tau"] if d.counts else 0,
        "ann": [
            table["ann_pJ"] and table["ann_pJ"] * per_image for table in tables.values()
        ],
        "macs": d.counts["ann_macs"] if d.counts else 0,
        "crosses": {
            name: _crossing(d, table["crosses_at"])
            for name, table in tables.items()
            if "crosses_at" in table
        },
        "rows": [
            {
                "T": t,
                "synops": int(synops[t - 1] + ahead) / d.images,
                "tables": [
                    {
                        "once": table["snn_pJ"][t - 1] * per_image,
                        "each": table["snn_each_pJ"][t - 1] * per_image,
                        "ratio": table["ratio"][t - 1] if "ratio" in table else None,
                    }
                    for table in tables.values()
                ],
            }
            for t in _marks(d)
        ],
    }


def _layers(d: Done) -> dict[str, Any]:
    """Lay out what every population did up to some T, and the energy of all steps."""
    marks, energies = _marks(d), d.energy_by_layer()
    rows = [
        {
            "name": name,
            "spikes": [sum(_both(p, t)) / d.images for t in marks],
            "synops": [sum(p["synops"][:t]) / d.images for t in marks],
        }
        for name, p in d.found["populations"].items()
    ]
    if energies:
        rows.insert(0, {"name": "", "spikes": [], "synops": []})
    for row in rows:
        spent = energies.get(row["name"], {}).values()
        row["energies"] = [pJ / d.images / 1e6 for pJ in spent]
    return {"title": _title(d), "marks": marks, "rows": rows, "T": d.T}


def _cases(d: Done, errors: Mapping[str, Any]) -> dict[str, Any]:
    """Lay out the shares of the unevenness cases in every population."""
    of = f"{d.run.label} at T = {errors['T']} on {d.run.network}"
    return {
        "title": f"{of}, {errors['images']} images, target {errors['target']}",
        "rows": [
            (name, [100 * p["cases"][case] / p["neurons"] for case in CASES])
            for name, p in errors["populations"].items()
        ],
    }


def _both(population: Mapping[str, Sequence[int]], t: int) -> list[int]:
    """Return the spikes of both signs of the first t steps."""
    return [*population["spikes"][:t], *population["negative"][:t]]
