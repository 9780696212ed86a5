"""The ImageNet validation set as a folder of class folders."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from refsnn.datasets.images import Images, hash_of
from refsnn.errors import DataError
from refsnn.numerics import Array, Shape

RESIZE = 256
CROP = 224
SUFFIXES = {".jpeg", ".jpg", ".png"}


class FolderImages:
    """Images that are decoded when a slice of them is taken.

    Parameters
    ----------
    paths : sequence of Path
        The files.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths

    @property
    def shape(self) -> Shape:
        """(n, 3, 224, 224)."""
        return (len(self.paths), 3, CROP, CROP)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: slice) -> Array:
        paths = self.paths[index]
        if not paths:
            return np.empty((0, 3, CROP, CROP), dtype=np.uint8)
        return np.stack([decoded(path) for path in paths])

    def head(self, limit: int) -> FolderImages:
        """Return the first images, not decoded yet.

        Parameters
        ----------
        limit : int
            How many.

        Returns
        -------
        FolderImages
            They.
        """
        return FolderImages(self.paths[:limit])


def decoded(path: Path) -> Array:
    """Read an image: the shorter side resized to 256, the middle 224x224 cropped.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    ndarray of uint8, shape (3, 224, 224)
        RGB. The longer side becomes int(256 long / short) and the filter is bilinear
        with antialiasing (Pillow), as the published networks were evaluated.

    Raises
    ------
    DataError
        If the file is no image.
    """
    try:
        with Image.open(path) as file:
            image = file.convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DataError(where=str(path), got=error, expected="an image") from None
    width, height = image.size
    short = min(width, height)
    size = (int(RESIZE * width / short), int(RESIZE * height / short))
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = (round((n - CROP) / 2) for n in size)
    image = image.crop((left, top, left + CROP, top + CROP))
    return np.asarray(image).transpose(2, 0, 1)


def load_imagenet(folder: Path, split: str) -> Images:
    """Index a validation folder; classes are its subfolders in alphabetical order,
    hidden ones apart.

    Parameters
    ----------
    folder : Path
        Has one subfolder of images for each class.
    split : str
        ``test`` only: what needs training images cannot be done with this set.

    Returns
    -------
    Images
        Decoded on demand. The hash is over ``path NUL sha256 NUL`` of every file.

    Raises
    ------
    DataError
        If the folder has no class folders with images, or the train split is asked for.
    """
    where = f"data set imagenet, split {split}"
    if split != "test":
        raise DataError(
            where=where,
            got="a validation folder only",
            expected="a method that needs no training images",
        )
    classes = [p for p in _visible(folder) if p.is_dir()]
    files = [
        (path, label)
        for label, kind in enumerate(classes)
        for path in _visible(kind)
        if path.suffix.lower() in SUFFIXES
    ]
    if not files:
        raise DataError(
            where=where,
            got=f"no class folders with images in {folder}",
            expected="one folder a class, such as n01440764, with its images",
        )
    digest = hashlib.sha256()
    for path, _ in files:
        name = path.relative_to(folder).as_posix()
        digest.update(f"{name}\0{hash_of(path)}\0".encode())
    return Images(
        name="imagenet",
        split=split,
        sha256=digest.hexdigest(),
        images=FolderImages([path for path, _ in files]),
        labels=np.array([label for _, label in files], dtype=np.uint16),
        classes=len(classes),
    )


def _visible(folder: Path) -> list[Path]:
    """List what a folder holds, in order, without what is hidden."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if not p.name.startswith("."))
