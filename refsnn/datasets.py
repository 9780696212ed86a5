"""Labelled images by name, with the hash of the file they came from."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

from refsnn.errors import DataError, OptionError
from refsnn.io import load_images, need_images
from refsnn.numerics import Array

SPLITS = ("train", "test")


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
        Hash of the bytes of the file they came from.
    images : ndarray of uint8, shape (n, C, H, W)
        Pixels.
    labels : ndarray of uint8, shape (n,)
        Classes.
    """

    name: str
    split: str
    sha256: str
    images: Array
    labels: Array

    def __post_init__(self) -> None:
        need_images(self.images, self.labels)


def weights_folder() -> Path:
    """Find the folder of shipped networks and data.

    Returns
    -------
    Path
        ``weights`` inside the installed package, or beside it in a source checkout.

    Raises
    ------
    DataError
        If neither exists.
    """
    package = Path(__file__).parent
    folders = (package / "weights", package.parent / "weights")
    for folder in folders:
        if (folder / "manifest.json").is_file():
            return folder
    raise DataError(
        where=str(folders[0]),
        got="no such folder",
        expected="the networks and data that refsnn ships",
        do="Install refsnn again.",
    )


def _digits(split: str) -> Images:
    """Load 8x8 handwritten digits (UCI, CC BY 4.0), 1,347 to train and 450 to test."""
    path = weights_folder() / f"digits_{split}.h5"
    if not path.is_file():
        raise DataError(
            where=f"data set digits, split {split}",
            got=f"no file {path}",
            expected="the file that refsnn ships",
            do="Install refsnn again; the other split is never used in its place.",
        )
    images, labels = load_images(path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return Images(
        name="digits", split=split, sha256=sha256, images=images, labels=labels
    )


DATASETS = {"digits": _digits}
"""Loader of a split by the data set's name."""


def load(name: str, split: str) -> Images:
    """Load a split of a data set.

    Parameters
    ----------
    name : str
        A key of :data:`DATASETS`.
    split : str
        ``train`` or ``test``.

    Returns
    -------
    Images
        The images and their labels.

    Raises
    ------
    OptionError
        If there is no such data set or split.
    DataError
        If its files are missing or damaged.
    """
    if name not in DATASETS:
        expected = f"one of {', '.join(DATASETS)}"
        raise OptionError(where="data set", got=name or "no name", expected=expected)
    if split not in SPLITS:
        raise OptionError(where="split", got=split, expected=" or ".join(SPLITS))
    return DATASETS[name](split)
