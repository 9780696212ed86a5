"""Published numbers and claims, each with its source."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from refsnn.errors import DataError, OptionError

TRUSTED = ("V", "T")
"""Confidences of rows that are reproduced: seen in the source, or a reprint. Re-runs by
others (R) inform the tolerances only."""

COLUMNS = [
    *("paper", "table", "dataset", "arch", "method", "params", "T", "acc"),
    *("source", "confidence", "used"),
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Published:
    """A published accuracy.

    Attributes
    ----------
    paper, table, dataset, arch, method, params : str
        As in the paper.
    T : str
        Number of steps, ``ANN`` for the trained network, or what the paper writes.
    accuracy : float
        Per cent.
    source : str
        Where the number was read.
    confidence : str
        ``V``: seen in the source, ``T``: a reprint, ``R``: a re-run by others.
    used : str
        Parameters that we use where the paper does not give them.
    """

    paper: str
    table: str
    dataset: str
    arch: str
    method: str
    params: str
    T: str
    accuracy: float
    source: str
    confidence: str
    used: str

    @property
    def steps(self) -> tuple[str, ...]:
        """Every T that may be meant: the column's, and those of `used`."""
        return (
            self.T,
            *(T for T in re.findall(r"\bT=(\d+)", self.used) if T != self.T),
        )

    def matches(self, wanted: Mapping[str, str]) -> bool:
        """Say whether a row is one of those that a declaration asks for.

        Parameters
        ----------
        wanted : mapping of str to str
            Values by attribute.

        Returns
        -------
        bool
            Whether all agree.
        """
        return all(getattr(self, name) == value for name, value in wanted.items())


def load_published(root: Path) -> list[Published]:
    """Read ``published.csv``.

    Parameters
    ----------
    root : Path
        The folder of the reproductions.

    Returns
    -------
    list of Published
        In the file's order.

    Raises
    ------
    DataError
        If a column is missing or an accuracy is no percentage.
    """
    rows = []
    for number, row in enumerate(read_table(root, "published.csv", COLUMNS), start=2):
        try:
            accuracy = float(row["acc"])
        except ValueError:
            accuracy = -1.0
        if not 0 <= accuracy <= 100:
            where = f"{root / 'published.csv'}, line {number}"
            expected = "an accuracy of 0 to 100"
            raise DataError(where=where, got=row["acc"], expected=expected)
        fields = {name: row[name] for name in COLUMNS if name != "acc"}
        rows.append(Published(accuracy=accuracy, **fields))
    return rows


def load_claims(root: Path) -> dict[str, dict[str, str]]:
    """Read ``claims.csv``.

    Parameters
    ----------
    root : Path
        The folder of the reproductions.

    Returns
    -------
    dict of str to dict
        ``paper``, ``claim``, ``source`` and ``how_it_is_decided`` by name.
    """
    columns = ["id", "paper", "claim", "source", "how_it_is_decided"]
    return {row["id"]: row for row in read_table(root, "claims.csv", columns)}


def read_table(root: Path, name: str, columns: list[str]) -> list[dict[str, str]]:
    """Read a table of facts.

    Parameters
    ----------
    root : Path
        The folder of the reproductions.
    name : str
        The file.
    columns : list of str
        Columns that it must have.

    Returns
    -------
    list of dict
        Its rows.

    Raises
    ------
    DataError
        If the file or a column is missing.
    """
    path = root / name
    if not path.is_file():
        expected = "the suite's tables; give their folder (--root)"
        raise DataError(where=str(path), got="no file", expected=expected)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    lacking = [c for c in columns if not rows or rows[0].get(c) is None]
    if lacking:
        got = f"no column {', '.join(lacking)}"
        raise DataError(where=str(path), got=got, expected=", ".join(columns))
    return rows


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tolerances:
    """How far two honest runs of one method may lie apart.

    Attributes
    ----------
    points : mapping of int to float
        s(T), percentage points, by the number of steps from which it holds.
    ann : float
        The same for the trained network.
    quantile : float
        Two-sided confidence of the sampling part.
    source : str
        The re-runs that s comes from.
    """

    points: Mapping[int, float]
    ann: float
    quantile: float
    source: str

    def s(self, T: int | None) -> float:
        """Return s(T).

        Parameters
        ----------
        T : int or None
            Number of steps; None for the trained network.

        Returns
        -------
        float
            Percentage points, of the next smaller T that is listed.
        """
        if T is None:
            return self.ann
        return self.points[max(t for t in self.points if t <= T)]


def load_tolerances(root: Path) -> Tolerances:
    """Read ``tolerances.json``.

    Parameters
    ----------
    root : Path
        The folder of the reproductions.

    Returns
    -------
    Tolerances
        The tolerances.

    Raises
    ------
    OptionError
        If the file has not what it needs.
    """
    path = root / "tolerances.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        points = {int(T): float(s) for T, s in found["points"].items()}
        return Tolerances(
            points=points,
            ann=float(found["ann"]),
            quantile=float(found["quantile"]),
            source=str(found["source"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        expected = "points by T (1 among them), ann, quantile and source"
        raise OptionError(where=str(path), got=repr(error), expected=expected) from None
