"""The vectors' traces, as they ship with the package."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path

import numpy as np

from refsnn import io
from refsnn.conformance.base import Vector
from refsnn.conformance.networks import vectors
from refsnn.errors import DataError, RefsnnError
from refsnn.io import content_sha256
from refsnn.recording import record
from refsnn.trace import Trace, images_sha256

FOLDER = Path(__file__).parent / "vectors"
"""Where the package keeps its traces."""


@cache
def stored(v: Vector) -> Trace:
    """Read the trace of a vector.

    Parameters
    ----------
    v : Vector
        The vector.

    Returns
    -------
    Trace
        Its trace.

    Raises
    ------
    DataError
        If it is of another network or other images than the vector's.
    """
    return _checked(v, FOLDER)


def _checked(v: Vector, folder: Path) -> Trace:
    """Read a trace and check that it is of the vector's network and images."""
    path = folder / f"{v.name}.h5"
    trace = io.load_trace(path)
    for what, got, expected in (
        ("network", trace.network_sha256, content_sha256(v.snn)),
        ("images", trace.input_sha256, images_sha256(v.images)),
    ):
        if got != expected:
            raise DataError(
                where=f"{path}, {what}",
                got=got,
                expected=expected,
                do="The vectors were made by another version (refsnn vectors write).",
            )
    return trace


def write(folder: Path, *, networks: bool = True, force: bool = False) -> list[Path]:
    """Write the vectors, computed by the definitions.

    Parameters
    ----------
    folder : Path
        Where to.
    networks : bool
        Whether the networks are written too, as ``NAME.net.h5``.
    force : bool
        Whether existing files are replaced.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    OptionError
        If a file exists and `force` is not given.
    """
    files = []
    folder.mkdir(parents=True, exist_ok=True)
    for v in vectors():
        path = folder / f"{v.name}.h5"
        trace = record(v.snn, v.images, v.T, impl="definition")
        versions = {"refsnn": trace.versions["refsnn"]}  # nothing of the machine
        trace = dataclasses.replace(trace, versions=versions)
        io.save_trace(trace, path, force=force)
        files.append(path)
        if networks:
            net = folder / f"{v.name}.net.h5"
            io.save(v.snn, net, force=force)
            files.append(net)
    return files


def check(folder: Path = FOLDER) -> dict[str, str]:
    """Compute every vector again and compare it with its file, spike by spike.

    Parameters
    ----------
    folder : Path
        Where the traces lie.

    Returns
    -------
    dict of str to str
        What is wrong, by vector; empty for those that are right.
    """
    wrong = {}
    for v in vectors():
        try:
            kept = _checked(v, folder)
        except (RefsnnError, OSError) as error:
            wrong[v.name] = str(error)
            continue
        again = record(v.snn, v.images, v.T)
        differ = [
            name
            for name, recorded in again.populations.items()
            if name not in kept.populations
            or not np.array_equal(recorded.spikes, kept.populations[name].spikes)
        ]
        if not np.array_equal(again.readout, kept.readout):
            differ.append("readout")
        wrong[v.name] = ", ".join(differ)
    return wrong
