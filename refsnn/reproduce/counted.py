"""Counts of architectures, and one large image through an untrained network."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from refsnn import architectures
from refsnn.activations import QCFS
from refsnn.convert import convert
from refsnn.errors import RefsnnError
from refsnn.network import Network
from refsnn.reproduce.declared import Counted
from refsnn.reproduce.facts import read_table
from refsnn.run import run_snn

MEMORY = 8 * 10**9
"""Bytes that one image of 224 x 224 may take."""

UNITS = {"": 1, "M": 10**6, "G": 10**9}

COUNTS = ("parameters", "macs", "neurons")

COLUMNS = ["arch", "classes", "size", *COUNTS, "source"]


def count_all(
    wanted: Sequence[Counted], progress: Callable[[int, int], None] | None = None
) -> list[dict[str, Any]]:
    """Count architectures, and run one generated image where it is asked for.

    Parameters
    ----------
    wanted : sequence of Counted
        The architectures.
    progress : callable, optional
        Told how many of how many are counted.

    Returns
    -------
    list of dict
        Integers of each: ``parameters``, ``macs`` and ``neurons``; of those that were
        run ``spikes`` at every step, and ``measured``: ``seconds``, ``peak_bytes``.
    """
    found = []
    for count, one in enumerate(wanted, start=1):
        found.append(_counted(one))
        if progress:
            progress(count, len(wanted))
    return found


def _counted(c: Counted) -> dict[str, Any]:
    ann = _built(c)
    answer = {
        **dataclasses.asdict(c),
        "parameters": ann.parameters,
        "macs": ann.macs(),
        "neurons": sum(int(np.prod(ann.shapes[n.name])) for n in ann.activations),
    }
    if c.T:
        text = json.dumps(dataclasses.asdict(c))
        command = [sys.executable, "-c", f"import {__name__} as m; m.main()", text]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=False)  # noqa: S603 - this Python, this module
        if done.returncode:
            raise RefsnnError(
                where=f"{c.arch}, one image of {c.size} x {c.size}",
                got=f"a process that ended with {done.returncode}",
                expected="its counts",
                do="If nothing is printed above it was killed, as where memory ends: "
                f"it may take {MEMORY // 10**9} GB.",
            )
        answer |= json.loads(done.stdout)
    return answer


def _built(c: Counted) -> Network:
    """Build an architecture with QCFS activations (L = 4, lam = 1), untrained."""
    return architectures.build(
        c.arch,
        classes=c.classes,
        input_shape=(3, c.size, c.size),
        activation=QCFS(lam=np.array(1.0, dtype=np.float32), levels=4),
    )


def one_image(c: Counted) -> dict[str, Any]:
    """Run one generated image through an untrained network, converted by QCFS.

    Parameters
    ----------
    c : Counted
        The architecture.

    Returns
    -------
    dict
        ``spikes`` at every step, and ``measured``: the seconds of the run, without
        conversion, and the largest resident size of this process.
    """
    import resource  # noqa: PLC0415 - where there is none, nothing else needs it

    snn = convert(_built(c), "qcfs")
    image = np.random.default_rng(0).integers(0, 256, (1, 3, c.size, c.size))
    x = snn.preprocess(image.astype(np.uint8))
    clock = time.perf_counter()
    run = run_snn(snn, x, c.T)
    seconds = round(time.perf_counter() - clock, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024  # what ru_maxrss counts in
    return {
        "spikes": np.sum(list(run.spikes.values()), axis=0).tolist(),
        "measured": {"seconds": seconds, "peak_bytes": peak * unit},
    }


def judge_counts(
    root: Path, found: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Put published counts beside ours.

    Parameters
    ----------
    root : Path
        The folder of the reproductions.
    found : sequence of mapping
        What :func:`count_all` returned.

    Returns
    -------
    list of dict
        For each: ``published`` texts by count, ``verdict`` (``reproduced`` if every
        count has the published digits and the image stayed below 8 GB), ``note``.
    """
    rows = read_table(root, "published_counts.csv", COLUMNS)
    published = {(r["arch"], int(r["classes"]), int(r["size"])): r for r in rows}
    answers = []
    for c in found:
        row = published.get((c["arch"], c["classes"], c["size"]))
        texts = {key: row[key] if row else "" for key in COUNTS}
        wrong = [k for k, text in texts.items() if text and not agrees(text, c[k])]
        peak = c.get("measured", {}).get("peak_bytes", 0)
        notes = [f"{key} differ" for key in wrong]
        notes += ["more than 8 GB"] * (peak > MEMORY)
        verdict = "differs" if notes else "reproduced" if row else "nothing published"
        note = "; ".join([*notes, row["source"] if row else ""])
        answers.append({**c, "published": texts, "verdict": verdict, "note": note})
    return answers


def agrees(text: str, value: int) -> bool:
    """Say whether a number rounds to a published one.

    Parameters
    ----------
    text : str
        As published, such as ``21.79 M``.
    value : int
        Ours.

    Returns
    -------
    bool
        Whether it does, to its digits.
    """
    number, _, unit = text.partition(" ")
    digits = len(number.partition(".")[2])
    return abs(value / UNITS[unit] - float(number)) <= 0.5 * 10.0**-digits


def main() -> None:
    """Run an image through the architecture that the argument names; write JSON."""
    sys.stdout.write(json.dumps(one_image(Counted(**json.loads(sys.argv[1])))))
