"""Published operation counts and energies, and the arithmetic they rest on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from refsnn.reproduce.facts import read_table

COLUMNS = [
    *("paper", "dataset", "arch", "method", "T", "quantity", "value", "unit"),
    *("energy_table", "source", "confidence", "checkable"),
]

PICOJOULE = {"fJ": 1e-3, "pJ": 1.0}


def operations(root: Path) -> list[dict[str, Any]]:
    """Check published operation counts and energies as far as they can be checked.

    Parameters
    ----------
    root : Path
        The folder of the reproductions.

    Returns
    -------
    list of dict
        The columns of ``published_operations.csv``, ``verdict`` and ``note``. A product
        that the row states or implies (operations times energy) is computed anew:
        ``reproduced`` if it has the published digits,
        rounded or cut off, else ``differs``. A count of
        operations itself needs the network and reads ``not run``.
    """
    rows: list[dict[str, Any]] = []
    for row in read_table(root, "published_operations.csv", COLUMNS):
        how = row["checkable"]
        verdict, note = "not run", how
        if how.startswith("arithmetic"):
            verdict, note = _arithmetic(row)
        rows.append({**row, "verdict": verdict, "note": note})
    return rows


def _arithmetic(row: dict[str, str]) -> tuple[str, str]:
    """Compute energies and efficiencies from operations, and compare their digits."""
    stated = re.search(r"([\d.]+) G x ([\d.]+) ([fp]J)", row["checkable"])
    table = re.search(r"([\d.]+) ([fp]J)", row["energy_table"])
    if table is None:
        return "not run", "its energy table has no number"
    count, each, unit = stated.groups() if stated else (row["value"], *table.groups())
    joule = float(count) * 1e9 * float(each) * PICOJOULE[unit] * 1e-12
    note = f"{count} G x {each} {unit} = {joule * 1e3:.4g} mJ"
    wanted: list[tuple[str, float]] = []
    if row["unit"] == "FPS/W":
        wanted.append((row["value"], 1 / joule))
        note += f", {1 / joule:.4g} images a joule"
    said = re.search(r"([\d.]+) mJ", row["checkable"])
    if said:
        wanted.append((said[1], joule * 1e3))
    if not wanted:
        return "not run", f"{note}; counting them needs {row['dataset']}"
    note += "; the product alone, the operations were not counted"
    agree = all(_has_digits(got, text) for text, got in wanted)
    return "reproduced" if agree else "differs", note


def _has_digits(value: float, text: str) -> bool:
    """Say whether a number, rounded or cut off, is a published one."""
    unit = 10.0 ** -len(text.partition(".")[2])
    over = (value - float(text)) / unit
    return -0.5 <= over < 1
