"""Recorded results: what a re-run has to equal, integer by integer."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from refsnn import io
from refsnn.errors import DataError
from refsnn.reproduce.done import LATER, identity

KEPT = ("name", "data", "runs", "counted")
"""What is recorded of a result."""

UNEQUAL = {"measured"}
"""Keys of what two runs need not agree in: seconds and memory."""

CLOSE = 1e-6
"""Relative difference within which numbers that are not integers are equal: sums of
losses, whose last bits depend on the machine."""


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


def record(root: Path, answer: dict[str, Any]) -> Path:
    """Keep the integers of a result.

    Parameters
    ----------
    root : Path
        The folder of the reproductions.
    answer : dict
        What :func:`refsnn.reproduce.reproduce` returned.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    DataError
        If nothing of it was run. What could not be run is not recorded.
    """
    if not answer["runs"] and not answer.get("counted"):
        got, expected = "a result in which nothing was run", "some of it"
        raise DataError(where=answer["name"], got=got, expected=expected)
    path = path_of(root, answer["name"])
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {key: answer[key] for key in KEPT if answer.get(key)}
    text = json.dumps(kept, indent=1, sort_keys=True) + "\n"
    io.write_atomically(path, text.encode())
    return path


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
        expected = "recorded results (refsnn reproduce --record)"
        raise DataError(where=str(path), got=str(error), expected=expected) from None
    return found


def differences(kept: dict[str, Any], answer: dict[str, Any]) -> list[str]:
    """Compare a re-run with what was recorded.

    Parameters
    ----------
    kept : dict
        What :func:`load` returned.
    answer : dict
        The re-run.

    Returns
    -------
    list of str
        Every place that differs, with both values; empty if all are equal.
    """
    again = json.loads(
        json.dumps({key: answer[key] for key in KEPT if answer.get(key)})
    )
    name, made = answer["name"], {str(identity(r)): r for r in again.pop("runs", [])}
    found = list(_walk(name, {**kept, "runs": 0}, {**again, "runs": 0}))
    for index, run in enumerate(kept.get("runs", [])):
        path, now = f"{name}/runs[{index}]", made.get(str(identity(run)))
        if now is None:
            found.append(f"{path}: recorded {run['network']} {run['method']}, now none")
            continue
        lacking = [key for key in LATER if key not in run]
        found += _walk(path, run, {k: v for k, v in now.items() if k not in lacking})
    return found


def unrecorded(kept: dict[str, Any], answer: dict[str, Any]) -> list[str]:
    """Say what a re-run has that was not recorded, and so was not compared.

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
        if mine is None or parts:
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
