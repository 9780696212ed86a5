"""Results as :class:`pandas.DataFrame`, for notebooks and statistics.

:func:`steps` and :func:`populations` take what ``refsnn run --json`` wrote, of one run
or of many; :func:`published` has every published number beside ours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from refsnn.errors import FormatError
from refsnn.reproduce import declared, default_root, from_recorded

Result = Mapping[str, Any] | str | Path
"""A ``refsnn-result``, or the file that holds one."""

COUNTED = ("spikes", "negative", "synops")
"""What is counted of each population and step."""


def _loaded(result: Result) -> Mapping[str, Any]:
    """Return a result; read it where it is a file."""
    if isinstance(result, Mapping):
        where, found = "result", result
    else:
        where = str(result)
        try:
            found = json.loads(Path(result).read_text())
        except ValueError as error:
            raise FormatError(
                where=where,
                got=f"no JSON ({error})",
                expected="what `refsnn run --json FILE` wrote",
            ) from error
    about = found.get("format") if isinstance(found, Mapping) else None
    if about != "refsnn-result":
        raise FormatError(
            where=where,
            got=f"format {about!r}",
            expected="'refsnn-result', which `refsnn run --json FILE` writes",
        )
    return found


def _named(result: Mapping[str, Any]) -> dict[str, str]:
    """Say which run a row is of."""
    settings = ",".join(f"{key}={value}" for key, value in result["set"].items())
    return {
        "network": result["network"]["name"],
        "method": result["method"],
        "set": settings,
    }


def steps(*results: Result) -> pd.DataFrame:
    """Lay out accuracy, counts and energy: a row for each run and t.

    Parameters
    ----------
    *results : mapping, str or Path
        Results of runs (``refsnn-result``), or files of them.

    Returns
    -------
    pandas.DataFrame
        ``network``, ``method``, ``set`` (the options), ``t``, ``latency`` (t and the
        steps ahead of it, tau and rho), ``images``, ``correct``, ``accuracy`` and
        ``ann_accuracy`` (%; missing where the trained network did not run), ``spikes``
        and ``synops`` up to t, over all images and populations, observing steps
        included, ``synops_per_mac`` (against the trained network's
        multiply-accumulates), and the energy under every table in pJ an image, with
        its ratio to the trained network's. A method that converts for one T has that t
        alone.

    Raises
    ------
    FormatError
        If something else is given.
    """
    return pd.DataFrame([row for r in map(_loaded, results) for row in _steps(r)])


def _steps(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    images, ann, only = result["images"], result["ann"], result["converted_for"]
    stages = result.get("stages", {})
    ahead = stages.get("tau", 0) + stages.get("rho", 0)
    counted = populations(result)
    sums = counted.groupby(["observing", "t"])[list(COUNTED)].sum()
    observed = sums.loc[True].sum() if (True in sums.index) else 0
    total = sums.loc[False].cumsum() + observed
    rows = []
    for t, correct in enumerate(result["snn"]["correct"], start=1):
        if only and t != only:
            continue
        row = {
            **_named(result),
            "t": t,
            "latency": ahead + t,
            "images": images,
            "correct": correct,
            "accuracy": 100 * correct / images,
            "ann_accuracy": 100 * ann["correct"] / images if ann else None,
            "spikes": total.spikes[t] + total.negative[t],
            "synops": total.synops[t],
            "synops_per_mac": total.synops[t] / ann["macs"] if ann else None,
        }
        for name, of in result["energy"].items():
            whole = of["ann_pJ"]
            row[f"pJ {name}"] = of["snn_pJ"][t - 1] / images
            row[f"ratio {name}"] = of["snn_pJ"][t - 1] / whole if whole else None
        rows.append(row)
    return rows


def populations(*results: Result) -> pd.DataFrame:
    """Lay out what was counted: a row for each run, population and step.

    Parameters
    ----------
    *results : mapping, str or Path
        Results of runs (``refsnn-result``), or files of them.

    Returns
    -------
    pandas.DataFrame
        ``network``, ``method``, ``set``, ``population``, ``neurons``, ``observing``
        (whether the step is one of SRP's first stage), ``t``, then of that step alone
        and over all images ``spikes`` (positive), ``negative`` and ``synops``, and
        ``rate``, spikes of either sign a neuron and image.

    Raises
    ------
    FormatError
        If something else is given.
    """
    return pd.DataFrame(
        [
            {
                **_named(result),
                "population": name,
                "neurons": counts["neurons"],
                "observing": observing,
                "t": t,
                **dict(zip(COUNTED, found, strict=True)),
                "rate": (found[0] + found[1]) / (counts["neurons"] * result["images"]),
            }
            for result in map(_loaded, results)
            for observing, stage in ((True, "observing"), (False, "snn"))
            for name, counts in result.get(stage, {}).get("populations", {}).items()
            for t, found in enumerate(
                zip(*(counts[c] for c in COUNTED), strict=True), 1
            )
        ]
    )


def published(*names: str, root: Path | None = None) -> pd.DataFrame:
    """Put published numbers beside ours, from recorded integers: nothing is run.

    Parameters
    ----------
    *names : str
        Reproductions; all that there are by default.
    root : Path, optional
        Folder of the reproductions, as of :func:`refsnn.reproduce.default_root`.

    Returns
    -------
    pandas.DataFrame
        ``reproduction``, then the columns of a reproduction's ``NAME.csv``: paper,
        table, data set, architecture, method, T, ``published`` with its ``source`` and
        ``confidence``, ``ours`` with ``network``, ``run`` and ``images``, both losses
        against the trained networks, ``tolerance``, ``verdict``, and ``note``, which
        tells of reconstructions.

    Raises
    ------
    OptionError
        If there is no reproduction of a name.
    """
    folder = root or default_root()
    return pd.DataFrame(
        [
            {"reproduction": name, **row}
            for name in names or declared(folder)
            for row in from_recorded(folder, name)["rows"]
        ]
    )
