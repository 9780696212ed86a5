"""What took long is kept in a folder, so that an interrupted conversion goes on."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from refsnn.environment import source_sha256
from refsnn.io import write_atomically
from refsnn.numerics import Array


def kept(
    folder: Path | None, inputs: tuple[Any, ...], make: Callable[[], Array]
) -> Array:
    """Return an array that was made before of the same inputs, or make and keep it.

    Parameters
    ----------
    folder : Path or None
        Where arrays are kept, by the hash of what they were made of; made when the
        first one is. None keeps nothing.
    inputs : tuple
        Everything that the array depends on, but for the source of this package:
        arrays, records of them, plain values.
    make : callable
        Makes the array.

    Returns
    -------
    ndarray
        The same bits either way. A file that cannot be read is made again.
    """
    if folder is None:
        return make()
    digest = hashlib.sha256(source_sha256().encode())
    _add(digest, inputs)
    file = folder / f"{digest.hexdigest()[:32]}.npy"
    try:
        return np.asarray(np.load(file, allow_pickle=False))
    except (OSError, ValueError, EOFError):
        made = make()
    written = io.BytesIO()
    np.save(written, made, allow_pickle=False)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(file, written.getvalue())
    return made


def _add(digest: Any, value: Any) -> None:
    """Add a value to a hash: its type, its shape, its content."""
    if isinstance(value, np.ndarray):
        digest.update(f"{value.dtype.str} {value.shape} ".encode())
        digest.update(np.ascontiguousarray(value))
        return
    parts: tuple[Any, ...] = ()
    if dataclasses.is_dataclass(value):
        parts = tuple(getattr(value, f.name) for f in dataclasses.fields(value))
    elif isinstance(value, tuple):
        parts = value
    own = type(value).__qualname__ if parts else repr(value)
    digest.update(f"{own} {len(parts)} ".encode())
    for part in parts:
        _add(digest, part)
