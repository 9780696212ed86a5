"""Recorded results: what a re-run has to equal, integer by integer."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from refsnn import io
from refsnn.errors import DataError, FormatError
from refsnn.io import content_sha256
from refsnn.methods import METHODS
from refsnn.reproduce.declared import Reproduction, load_declaration
from refsnn.reproduce.done import LATER, identity
from refsnn.reproduce.facts import Tolerances
from refsnn.reproduce.verdicts import tolerance

KEPT = ("name", "data", "runs", "counted")
"""What is recorded of a result."""

UNEQUAL = {"measured", "took"}
"""Keys of what two runs need not agree in: seconds and memory."""

UNTRAINED = ("sha256", "ann_correct", "counts")
"""Keys of a run that no training of weights changes."""

CLOSE = 1e-6
"""Relative difference within which numbers that are not integers are equal: sums of
losses, whose last bits depend on the machine."""

LARGEST = 8_000_000
"""Bytes up to which a trained network is kept beside its integers. A larger one is
trained again where it is checked, and compared by a band if its bits differ."""


def path_of(root: Path, name: str) -> Path:
    """Return the file of recorded results.

    Parameters
    ----------
    root : Path
        The folder of the reproductions.
    name : str
        The reproduction.

    Returns
    -------
    Path
        The file.
    """
    return root / "recorded" / f"{name}.json"


def record(root: Path, answer: dict[str, Any], out: Path) -> Path:
    """Keep the integers of a result, and trained networks of at most `LARGEST` bytes.

    Parameters
    ----------
    root : Path
        The folder of the reproductions.
    answer : dict
        What :func:`refsnn.reproduce.reproduce` returned. Of runs that are not among
        it, be it that they could not be made, what is recorded of the same images
        stays, but for what :func:`left_out` names.
    out : Path
        Folder of results, with the converted networks.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    DataError
        If nothing of it was run. What could not be run is not recorded.
    """
    need_results(answer)
    path = path_of(root, answer["name"])
    path.parent.mkdir(parents=True, exist_ok=True)
    _keep_networks(root, answer, out)
    kept = {key: answer[key] for key in KEPT if answer.get(key)}
    took = {"took": answer["took"]} if answer.get("took") else {}
    if not answer["complete"] and path.is_file():
        before = load(root, answer["name"])
        if json.loads(json.dumps(kept["data"])) != before["data"]:
            got, expected = "results of other images", "those of the recorded runs"
            raise DataError(where=kept["name"], got=got, expected=expected)
        stay = [identity(run) for run, why in _others(root, before, answer) if not why]
        kept["runs"] = _joined(before, kept, "runs", stay)
        took = {"took": _joined(before, took, "took", stay)}
    text = json.dumps({**kept, **took}, indent=1) + "\n"  # populations in graph order
    io.write_atomically(path, text.encode())
    return path


def need_results(answer: dict[str, Any]) -> None:
    """Refuse a result in which nothing was run.

    Parameters
    ----------
    answer : dict
        What :func:`refsnn.reproduce.reproduce` returned.

    Raises
    ------
    DataError
        If nothing of it was run, with what lacks.
    """
    if not answer["runs"] and not answer.get("counted"):
        notes = [row["note"] for row in answer["rows"] if row["verdict"] == "not run"]
        raise DataError(
            where=answer["name"],
            got="a result in which nothing was run",
            expected="some of it",
            do="; ".join(dict.fromkeys(notes)),
        )


def _joined(
    before: dict[str, Any], now: dict[str, Any], key: str, stay: list[Any]
) -> list[dict[str, Any]]:
    """Return what is recorded under a key of runs that stay, and of new ones."""
    others = [run for run in before.get(key, []) if identity(run) in stay]
    mine = json.loads(json.dumps(now.get(key, [])))
    return sorted([*others, *mine], key=lambda run: [*map(str, identity(run))])


def _others(
    root: Path, before: dict[str, Any], answer: dict[str, Any]
) -> Iterator[tuple[dict[str, Any], str]]:
    """Go through recorded runs that a result has not; say why one cannot stay."""
    declaration = load_declaration(root, answer["name"])
    mine = json.loads(json.dumps(answer["runs"]))
    new = {str(identity(run)) for run in mine}
    networks = {run["network"]: run["sha256"] for run in mine}
    for run in before.get("runs", []):
        if str(identity(run)) in new:
            continue
        if not _is_declared(run, declaration):
            yield run, "no longer declared as it is"
        elif networks.get(run["network"], run["sha256"]) != run["sha256"]:
            yield run, "of another trained network of that name"
        else:
            yield run, ""


def _is_declared(
    run: dict[str, Any], declaration: Reproduction, only: Sequence[str] = ()
) -> bool:
    """Say whether a recorded run is one of a declaration, and asked for."""
    return any(
        identity(run) == one.identity(T) and one.among(T, only)
        for one in declaration.runs
        for T in one.conversions
    )


def left_out(root: Path, answer: dict[str, Any]) -> list[str]:
    """Name what is recorded and cannot stay beside a result.

    Parameters
    ----------
    root : Path
        The folder of the reproductions.
    answer : dict
        What :func:`refsnn.reproduce.reproduce` returned.

    Returns
    -------
    list of str
        A line each: what is no longer declared, or of another trained network.
    """
    if not path_of(root, answer["name"]).is_file():
        return []
    before = load(root, answer["name"])
    return [
        f"{run['network']}, {run['method']}, T = {run['T']}: recorded, but {why}; "
        "left out"
        for run, why in _others(root, before, answer)
        if why
    ]


def _keep_networks(root: Path, answer: dict[str, Any], out: Path) -> None:
    """Copy the networks whose weights were trained, except large ones."""
    trained = {
        run["converted_sha256"]: run
        for run in answer["runs"]
        if METHODS[run["method"]].trains
    }
    for file in (out / "networks").glob("*.h5") if trained else ():
        try:
            run = trained.get(content_sha256(io.load_snn(file)))
        except (DataError, FormatError):  # of another run, of an older version
            continue
        if not run:
            continue
        target = network_of(root, *identity(run))
        if file.stat().st_size > LARGEST:
            target.unlink(missing_ok=True)
        else:
            io.write_atomically(target, file.read_bytes())


def network_of(
    root: Path, network: str, method: str, options: Mapping[str, Any], T: int
) -> Path:
    """Return the file of a recorded network, of a method that trains weights.

    Parameters
    ----------
    root : Path
        The folder of the reproductions.
    network, method : str
        The trained network and the method.
    options : mapping
        All options of the method.
    T : int
        Number of steps.

    Returns
    -------
    Path
        The file, there or not; its name ends with a hash of the options.
    """
    text = json.dumps(dict(options), sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return root / "recorded" / f"{network}-{method}-T{T}-{digest}.h5"


def load(root: Path, name: str) -> dict[str, Any]:
    """Read recorded results.

    Parameters
    ----------
    root : Path
        The folder of the reproductions.
    name : str
        The reproduction.

    Returns
    -------
    dict
        ``name``, ``data``, ``runs``.

    Raises
    ------
    DataError
        If nothing is recorded.
    """
    path = path_of(root, name)
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        got = getattr(error, "strerror", None) or str(error)
        if isinstance(error, FileNotFoundError):
            got = "no recorded results"
        expected = "what refsnn reproduce --record writes"
        raise DataError(where=str(path), got=got, expected=expected) from None
    return found


def differences(
    root: Path, kept: dict[str, Any], answer: dict[str, Any], known: Tolerances
) -> list[str]:
    """Compare a re-run with what was recorded.

    Parameters
    ----------
    root : Path
        The folder of the reproductions.
    kept : dict
        What :func:`load` returned.
    answer : dict
        The re-run. If it was of some runs only, others are not compared.
    known : Tolerances
        What two accuracies may differ by if weights were trained again.

    Returns
    -------
    list of str
        Every place that differs, with both values; empty if all are equal.

    Raises
    ------
    DataError
        If nothing was run.
    """
    need_results(answer)
    again = json.loads(
        json.dumps({key: answer[key] for key in KEPT if answer.get(key)})
    )
    name, made = answer["name"], {str(identity(r)): r for r in again.pop("runs", [])}
    found = list(_walk(name, {**kept, "runs": 0}, {**again, "runs": 0}))
    for index, run in enumerate(kept.get("runs", [])):
        path, now = f"{name}/runs[{index}]", made.get(str(identity(run)))
        if now is None:
            what = f"{run['network']} {run['method']} T = {run['T']}"
            only = answer.get("only")
            if not only or _is_declared(run, load_declaration(root, name), only):
                found.append(f"{path}: recorded {what}, now none")
            continue
        if trained_again(run, now, answer):
            same = [key for key in UNTRAINED if key in run]
            both = ({key: r[key] for key in same} for r in (run, now))
            found += _walk(path, *both)
            found += _beyond_band(path, run, now, kept["data"]["images"], known)
            continue
        lacking = [key for key in LATER if key not in run]
        found += _walk(path, run, {k: v for k, v in now.items() if k not in lacking})
    return found


def trained_again(
    run: dict[str, Any], now: dict[str, Any], answer: dict[str, Any]
) -> bool:
    """Say whether a run's weights were trained anew, to others than the recorded ones.

    Parameters
    ----------
    run, now : dict
        The recorded run and the new one.
    answer : dict
        The re-run, which says what was converted, and what recorded.

    Returns
    -------
    bool
        Whether the method trains, the networks differ, and none was recorded.
    """
    other = run["converted_sha256"] != now["converted_sha256"]
    found = [
        took["recorded"]
        for took in json.loads(json.dumps(answer.get("took", [])))
        if identity(took) == identity(run)
    ]
    return other and METHODS[run["method"]].trains and not any(found)


def _beyond_band(
    path: str,
    run: dict[str, Any],
    now: dict[str, Any],
    images: int,
    known: Tolerances,
) -> list[str]:
    """Compare accuracies of networks that were trained twice."""
    old, new = run["correct"][-1], now["correct"][-1]
    allowed = tolerance(100 * old / images, 100 * new / images, images, run["T"], known)
    if 100 * abs(new - old) / images <= allowed:
        return []
    return [f"{path}: recorded {old} correct, trained again {new}, beyond the band"]


def unrecorded(kept: dict[str, Any], answer: dict[str, Any]) -> list[str]:
    """Say what of a re-run was not compared, or not integer by integer.

    Parameters
    ----------
    kept : dict
        What :func:`load` returned.
    answer : dict
        The re-run.

    Returns
    -------
    list of str
        Runs, and parts of runs.
    """
    there = {str(identity(run)): run for run in kept.get("runs", [])}
    lines = []
    for run in answer["runs"]:
        mine = there.get(str(identity(json.loads(json.dumps(run)))))
        parts = [key for key in LATER if mine is not None and key not in mine]
        what = f"{run['network']} {run['method']} {run['set']} T = {run['T']}"
        if mine is not None and trained_again(mine, run, answer):
            lines.append(f"trained again, compared by a band: {what}")
        elif mine is None or parts:
            lines.append(f"not recorded: {', '.join(parts) or 'the run'} of {what}")
    return lines


def _walk(path: str, want: Any, got: Any) -> Iterator[str]:
    if isinstance(want, dict) and isinstance(got, dict):
        for key in sorted({*want, *got} - UNEQUAL):
            yield from _walk(f"{path}/{key}", want.get(key), got.get(key))
    elif isinstance(want, list) and isinstance(got, list) and len(want) == len(got):
        for index, pair in enumerate(zip(want, got, strict=True)):
            yield from _walk(f"{path}[{index}]", *pair)
    elif isinstance(want, float) and isinstance(got, float):
        if not math.isclose(want, got, rel_tol=CLOSE):
            yield f"{path}: recorded {want}, now {got}"
    elif want != got:
        yield f"{path}: recorded {_short(want)}, now {_short(got)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
