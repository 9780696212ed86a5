"""What took long is kept in a folder, so that an interrupted conversion goes on."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import re
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from refsnn.environment import source_sha256
from refsnn.io import write_atomically
from refsnn.numerics import Array

NAME = 32
"""Hexadecimal digits of a file's name."""


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
        Everything that the array depends on, but for the source of this package and
        the version of NumPy: arrays, records of them, plain values.
    make : callable
        Makes the array.

    Returns
    -------
    ndarray
        The same bits either way. A file that cannot be read is made again.

    Raises
    ------
    OSError
        If the folder cannot be made, before the array is, or the file written.
    """
    if folder is None:
        return make()
    digest = hashlib.sha256(f"{source_sha256()} {np.__version__} ".encode())
    _add(digest, inputs)
    file = folder / f"{digest.hexdigest()[:NAME]}.npy"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return np.asarray(np.load(file, allow_pickle=False))
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        made = make()
    written = io.BytesIO()
    np.save(written, made, allow_pickle=False)
    folder.mkdir(parents=True, exist_ok=True)  # another process may have done with it
    write_atomically(file, written.getvalue())
    return made


def forget(folder: Path) -> None:
    """Remove what :func:`kept` wrote, and the folder unless it holds something else.

    Parameters
    ----------
    folder : Path
        The folder; nothing happens if there is none.
    """
    for file in folder.glob("*.npy"):
        if re.fullmatch(rf"[0-9a-f]{{{NAME}}}", file.stem):
            file.unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


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
