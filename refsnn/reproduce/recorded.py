"""Recorded results: what a re-run has to equal, integer by integer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from refsnn import io
from refsnn.errors import DataError

KEPT = ("name", "data", "runs")
"""What is recorded of a result."""


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
        If something of it was not run.
    """
    if not answer["complete"] or not answer["runs"]:
        raise DataError(
            where=answer["name"],
            got="a result in which something was not run",
            expected="all of it",
        )
    path = path_of(root, answer["name"])
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {key: answer[key] for key in KEPT}
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
    again = {key: answer[key] for key in KEPT}
    return list(_walk(answer["name"], kept, json.loads(json.dumps(again))))


def _walk(path: str, want: Any, got: Any) -> Iterator[str]:
    if isinstance(want, dict) and isinstance(got, dict):
        for key in sorted({*want, *got}):
            yield from _walk(f"{path}/{key}", want.get(key), got.get(key))
    elif isinstance(want, list) and isinstance(got, list) and len(want) == len(got):
        for index, pair in enumerate(zip(want, got, strict=True)):
            yield from _walk(f"{path}[{index}]", *pair)
    elif want != got:
        yield f"{path}: recorded {_short(want)}, now {_short(got)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
