"""The digits that refsnn ships."""

from __future__ import annotations

from pathlib import Path

from refsnn.datasets.images import Images, hash_of
from refsnn.errors import DataError
from refsnn.io import load_images


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
    package = Path(__file__).parents[1]
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


def digits_file(split: str) -> Path:
    """Find the file of a split.

    Parameters
    ----------
    split : str
        ``train`` or ``test``.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    DataError
        If it is missing.
    """
    path = weights_folder() / f"digits_{split}.h5"
    if not path.is_file():
        raise DataError(
            where=f"data set digits, split {split}",
            got=f"no file {path}",
            expected="the file that refsnn ships",
            do="Install refsnn again; the other split is never used in its place.",
        )
    return path


def load_digits(split: str) -> Images:
    """Load 8x8 handwritten digits (UCI, CC BY 4.0), 1,347 to train and 450 to test.

    Parameters
    ----------
    split : str
        ``train`` or ``test``.

    Returns
    -------
    Images
        The images and their labels.
    """
    path = digits_file(split)
    images, labels = load_images(path)
    return Images(
        name="digits", split=split, sha256=hash_of(path), images=images, labels=labels
    )
