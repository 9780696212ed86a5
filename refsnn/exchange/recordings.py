"""Spikes that other simulators recorded."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from refsnn import io
from refsnn.errors import DataError, printable
from refsnn.numerics import Array


def load_recording(path: str | os.PathLike[str]) -> dict[str, Array]:
    """Read spikes from a trace file or an ``.npz``.

    Parameters
    ----------
    path : path-like
        A file of the format ``refsnn-trace``, or an ``.npz`` of arrays (T, B, *S) whose
        names are populations. Nothing is unpickled.

    Returns
    -------
    dict of str to ndarray of int8, shape (T, B, *S)
        By population.

    Raises
    ------
    DataError
        If the file is neither, or an array holds no spikes.
    """
    file = Path(path)
    if not zipfile.is_zipfile(file):
        trace = io.load_trace(file)
        return {name: recorded.spikes for name, recorded in trace.populations.items()}
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return recording({name: arrays[name] for name in arrays.files})
    except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(
            where=str(file),
            got=printable(error),
            expected="an .npz of arrays (T, B, *S), one for each population",
        ) from None


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
    monitor: Any, names: Mapping[str, str], *, steps: int | None = None
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
        Number of steps, if one record holds several batches one behind another.

    Returns
    -------
    dict of str to ndarray of int8, shape (T, B, *S)
        By population. A record of all steps at once, (T, B, *S), is taken as it is.
    """
    return recording({names[layer]: _stacked(monitor[layer], steps) for layer in names})


def _stacked(records: Iterable[Any] | Any, steps: int | None) -> Array:
    """Join the records of one layer to (T, B, *S)."""
    parts = [as_array(part) for part in records]
    if len(parts) == 1 and steps != 1:
        return parts[0]  # all steps in one record
    if steps is None or len(parts) == steps:
        return np.stack(parts)
    rounds = [np.stack(parts[i : i + steps]) for i in range(0, len(parts), steps)]
    return np.concatenate(rounds, axis=1)


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
