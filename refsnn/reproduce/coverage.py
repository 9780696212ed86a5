"""Every published row with what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from refsnn.errors import DataError
from refsnn.reproduce.facts import Published, load_published, read_table

MATCHED = ("paper", "dataset", "arch", "method", "confidence")
"""Columns of ``left_out.csv`` that say which rows are meant: patterns, empty: all."""

PLACE = ("paper", "table", "dataset", "arch", "method", "params", "T")
"""What tells two published rows apart."""


def coverage(root: Path, answers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Say of every published row what became of it.

    Parameters
    ----------
    root : Path
        The folder of the reproductions.
    answers : sequence of dict
        Results of the reproductions.

    Returns
    -------
    list of dict
        A row for each row of ``published.csv``, in its order: the columns of the
        source, ``ours``, ``verdict``, ``note`` and ``reproduction``. A row that no
        reproduction asks for has the first rule of ``left_out.csv`` that fits it.

    Raises
    ------
    DataError
        If none fits.
    """
    judged: dict[tuple[str, ...], dict[str, Any]] = {}
    for answer in answers:
        for row in answer["rows"]:
            place = tuple(str(row[key]) for key in PLACE)
            if place not in judged or judged[place]["ours"] is None:
                judged[place] = {**row, "reproduction": answer["name"]}
    rules = read_table(root, "left_out.csv", [*MATCHED, "verdict", "reason"])
    rows = []
    for p in load_published(root):
        columns = {key: getattr(p, key) for key in PLACE}
        found = judged.get(tuple(columns.values())) or _left_out(p, rules)
        became = {key: found.get(key) for key in ("ours", "verdict", "note")}
        rows.append(
            {
                **columns,
                "published": p.accuracy,
                "confidence": p.confidence,
                "source": p.source,
                **became,
                "reproduction": found.get("reproduction", ""),
            }
        )
    return rows


def _left_out(p: Published, rules: Sequence[dict[str, str]]) -> dict[str, Any]:
    """Return the verdict and reason of the first rule that fits a row."""
    for rule in rules:
        if all(fnmatchcase(getattr(p, key), rule[key] or "*") for key in MATCHED):
            return {"verdict": rule["verdict"], "note": rule["reason"], "ours": None}
    raise DataError(
        where=f"left_out.csv: {p.paper}, {p.table}, {p.dataset}, {p.arch}, {p.method}",
        got="a published row that no reproduction asks for",
        expected="a rule that says why",
    )
