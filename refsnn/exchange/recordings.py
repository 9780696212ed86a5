"""Spikes that other simulators recorded."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from refsnn import io
from refsnn.errors import DataError, printable
from refsnn.numerics import Array
from refsnn.trace import Trace

_UNREADABLE = (
    *(ValueError, OSError, KeyError, EOFError, MemoryError),
    *(RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error),
)
"""What damaged, encrypted and oversized archives raise."""


def load_recording(
    path: str | os.PathLike[str], like: Trace | None = None
) -> dict[str, Array]:
    """Read spikes from a trace file or an ``.npz``.

    Parameters
    ----------
    path : path-like
        A file of the format ``refsnn-trace``, or an ``.npz`` of arrays (T, B, *S) whose
        names are populations. Nothing is unpickled.
    like : Trace, optional
        What the recording has to be of: its populations, and, of a trace, which says
        so, its images.

    Returns
    -------
    dict of str to ndarray of int8, shape (T, B, *S)
        By population.

    Raises
    ------
    DataError
        If the file is neither, an array holds no spikes, or it is of something else.
    """
    file = Path(path)
    found = _archived(file) if zipfile.is_zipfile(file) else _traced(file, like)
    strange = [name for name in found if like and name not in like.populations]
    if like is not None and (strange or not found):
        raise DataError(
            where=str(file),
            got=f"populations {', '.join(strange)}" if strange else "no population",
            expected=f"some of {', '.join(like.populations)}",
        )
    return found


def _traced(file: Path, like: Trace | None) -> dict[str, Array]:
    """Read spikes from a trace file."""
    trace = io.load_trace(file)
    if like is not None and trace.input_sha256 != like.input_sha256:
        raise DataError(
            where=str(file),
            got=f"a trace of other images, {trace.input_sha256}",
            expected=f"one of the images {like.input_sha256}",
        )
    return {name: recorded.spikes for name, recorded in trace.populations.items()}


def _archived(file: Path) -> dict[str, Array]:
    """Read spikes from an ``.npz``."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except _UNREADABLE as error:
        raise DataError(
            where=str(file),
            got=printable(error) or type(error).__name__,
            expected="an .npz of arrays (T, B, *S), one for each population",
        ) from None
    return recording(found)


def recording(arrays: Mapping[str, Any]) -> dict[str, Array]:
    """Turn arrays of spikes into a recording.

    Parameters
    ----------
    arrays : mapping of str to array_like, shape (T, B, *S)
        Spikes by population: NumPy arrays, or tensors that NumPy can read.

    Returns
    -------
    dict of str to ndarray of int8
        The same numbers.

    Raises
    ------
    DataError
        If a value is no small integer: spikes scaled by a threshold, or potentials.
    """
    return {str(name): _spikes(str(name), a) for name, a in arrays.items()}


def from_monitor(
    monitor: Any,
    names: Mapping[str, str],
    *,
    steps: int | None = None,
    multistep: bool = False,
) -> dict[str, Array]:
    """Read what a monitor of SpikingJelly recorded, or lists of snnTorch.

    Parameters
    ----------
    monitor : object
        A ``spikingjelly.activation_based.monitor.OutputMonitor``, or a mapping from
        names to lists of tensors (B, *S), one a step, as snnTorch's loops collect
        them. Anything whose ``monitor[name]`` is such a list.
    names : mapping of str to str
        The population of each layer's name.
    steps : int, optional
        Number of steps; needed if several batches were recorded one behind another.
    multistep : bool
        Whether a record holds all steps of a batch, (T, B, *S): SpikingJelly's step
        mode ``m``.

    Returns
    -------
    dict of str to ndarray of int8, shape (T, B, *S)
        By population, batches joined.

    Raises
    ------
    DataError
        If a layer was not recorded, or the records are not whole batches.
    """
    return recording(
        {names[name]: _stacked(monitor, name, steps, multistep) for name in names}
    )


def _stacked(monitor: Any, layer: str, steps: int | None, multistep: bool) -> Array:
    """Join the records of one layer to (T, B, *S)."""
    where = f"recording, layer {layer}"
    try:
        parts = [as_array(part) for part in monitor[layer]]
    except (KeyError, IndexError, TypeError) as error:
        got = f"{type(error).__name__}: {printable(error)}"
        expected = "a list of what it emitted"
        raise DataError(where=where, got=got, expected=expected) from None
    whole = 1 if multistep else len(parts) if steps is None else steps
    if not parts or whole < 1 or len(parts) % whole:
        got, expected = f"{len(parts)} records", f"a multiple of {whole} steps"
        raise DataError(where=where, got=got, expected=expected)
    try:
        if multistep:
            return np.concatenate(parts, axis=1)
        rounds = [np.stack(parts[i : i + whole]) for i in range(0, len(parts), whole)]
        return np.concatenate(rounds, axis=1)
    except ValueError as error:
        got, expected = printable(error), "records of one shape, batches apart"
        raise DataError(where=where, got=got, expected=expected) from None


def as_array(value: Any) -> Array:
    """Return a NumPy array of what another framework holds.

    Parameters
    ----------
    value : array_like or tensor
        Numbers; a tensor may need a gradient, or lie on a device.

    Returns
    -------
    ndarray
        The numbers, perhaps in the same memory.
    """
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)


def _spikes(name: str, value: Any) -> Array:
    """Return spikes as int8, or refuse what are none."""
    array = as_array(value)
    where = f"recording, population {name}"
    if array.dtype.kind not in "biuf" or array.ndim < 3:
        got = f"type {array.dtype}, shape {array.shape}"
        raise DataError(where=where, got=got, expected="numbers, (T, B, *S)")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DataError(where=where, got="NaN or infinity", expected="spikes")
    small = array.astype(np.int8)
    if not (small == array).all():
        at = tuple(int(i) for i in np.argwhere(small != array)[0])
        raise DataError(
            where=f"{where}, index {at}",
            got=repr(array[at].item()),
            expected="spikes: whole numbers from -128 to 127",
            do="Divide spikes that are scaled by their threshold.",
        )
    return small
