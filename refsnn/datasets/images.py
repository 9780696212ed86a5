"""Labelled images."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from refsnn.errors import DataError
from refsnn.io import load_images, need_images
from refsnn.numerics import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Images:
    """Labelled images; those that do not fit each other are refused.

    Attributes
    ----------
    name : str
        The data set.
    split : str
        ``train`` or ``test``.
    sha256 : str
        Hash of the bytes of the files they came from, in order; left out, of the
        pixels and labels themselves.
    images : ndarray of uint8, shape (n, C, H, W)
        Pixels; or an object with `shape` and `dtype` whose slices are such arrays.
    labels : ndarray of uint8 or uint16, shape (n,)
        Classes.
    classes : int or None
        How many classes the whole set has, if that is known.
    """

    name: str
    split: str
    sha256: str = ""
    images: Any
    labels: Array
    classes: int | None = None

    def __post_init__(self) -> None:
        need_images(self.images, self.labels)
        if not self.sha256:
            digest = hashlib.sha256(np.asarray(self.images).tobytes())
            digest.update(self.labels.tobytes())
            object.__setattr__(self, "sha256", digest.hexdigest())

    def head(self, limit: int | None) -> Images:
        """Return the first images.

        Parameters
        ----------
        limit : int or None
            How many; all for None.

        Returns
        -------
        Images
            They carry the hash of all.
        """
        if limit is None or limit >= len(self.labels):
            return self
        lazy = getattr(self.images, "head", None)
        images = lazy(limit) if lazy else self.images[:limit]
        return dataclasses.replace(self, images=images, labels=self.labels[:limit])


def load_own(folder: Path, split: str) -> Images:
    """Load images that somebody stored with :func:`refsnn.io.save_images`.

    Parameters
    ----------
    folder : Path
        Folder of ``train.h5`` and ``test.h5``; either may be missing.
    split : str
        ``train`` or ``test``.

    Returns
    -------
    Images
        The images and their labels.

    Raises
    ------
    DataError
        If the split's file is missing.
    FormatError
        If it is not what its format says.
    """
    path = folder / f"{split}.h5"
    if not path.is_file():
        raise DataError(
            where=f"data set images:{folder}, split {split}",
            got=f"no file {path}",
            expected="labelled images (refsnn-images)",
            do=f'Write them: refsnn.io.save_images(pixels, labels, "{path}").',
        )
    images, labels = load_images(path)
    name = f"images:{folder.name}"
    return Images(
        name=name, split=split, sha256=hash_of(path), images=images, labels=labels
    )


def hash_of(*paths: Path) -> str:
    """Hash the bytes of files, one after the other.

    Parameters
    ----------
    *paths : Path
        The files.

    Returns
    -------
    str
        SHA-256, in hexadecimal.
    """
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
