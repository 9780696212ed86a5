"""Labelled images by name, with the hash of the files they came from."""

from __future__ import annotations

import json
from pathlib import Path

from refsnn.datasets.cifar import (
    CIFAR10,
    CIFAR100,
    Cifar,
    Verdict,
    fetch_cifar,
    load_cifar,
    verify_cifar,
)
from refsnn.datasets.digits import digits_file, load_digits, weights_folder
from refsnn.datasets.imagenet import load_imagenet
from refsnn.datasets.images import Images, hash_of, load_own
from refsnn.errors import OptionError

__all__ = [
    "DATASETS",
    "SPLITS",
    "Images",
    "Verdict",
    "fetch",
    "hash_of",
    "load",
    "need_known",
    "variant",
    "verify",
    "weights_folder",
]

SPLITS = ("train", "test")

CIFARS: dict[str, Cifar] = {cifar.name: cifar for cifar in (CIFAR10, CIFAR100)}

DATASETS = {
    "digits": "8x8 handwritten digits, 1,347 to train and 450 to test; shipped",
    "cifar10": "32x32 colour images, 10 classes, 50,000 to train and 10,000 to test",
    "cifar100": "32x32 colour images, 100 classes, 50,000 to train and 10,000 to test",
    "images:DIR": "your own: DIR/train.h5 and DIR/test.h5 of refsnn.io.save_images",
    "imagenet:DIR": "a validation folder with one subfolder a class, as the test split",
}
"""What each data set is, by its name."""


def load(name: str, split: str) -> Images:
    """Load a split of a data set.

    Parameters
    ----------
    name : str
        A key of :data:`DATASETS`, with the folder in place of ``DIR``.
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
    if split not in SPLITS:
        raise OptionError(where="split", got=split, expected=" or ".join(SPLITS))
    need_known(name)
    if name == "digits":
        return load_digits(split)
    if name in CIFARS:
        return load_cifar(CIFARS[name], split)
    kind, _, folder = name.partition(":")
    load_folder = load_own if kind == "images" else load_imagenet
    return load_folder(Path(folder), split)


def need_known(name: str) -> None:
    """Refuse a name that is no data set's.

    Parameters
    ----------
    name : str
        The name; whether the set's files are there is not asked.

    Raises
    ------
    OptionError
        If there is no such data set.
    """
    kind, _, folder = name.partition(":")
    known = {"digits", *CIFARS}
    if name not in known and not (kind in ("images", "imagenet") and folder):
        expected = f"one of {', '.join(DATASETS)}"
        raise OptionError(where="data set", got=name or "no name", expected=expected)


def verify(name: str) -> list[Verdict]:
    """Say of each file of a data set whether it is the official one.

    Parameters
    ----------
    name : str
        ``digits``, ``cifar10`` or ``cifar100``.

    Returns
    -------
    list of Verdict
        One for each file.

    Raises
    ------
    OptionError
        If there is no such data set, or none with known hashes.
    """
    if name == "digits":
        manifest = json.loads((weights_folder() / "manifest.json").read_text())
        verdicts = []
        for split in SPLITS:
            path = digits_file(split)
            official = hash_of(path) == manifest["files"][path.name]["sha256"]
            verdict = "official" if official else "unknown"
            verdicts.append(
                Verdict(file=str(path), sha256=hash_of(path), verdict=verdict)
            )
        return verdicts
    return verify_cifar(_cifar(name))


def fetch(name: str, *, progressbar: bool = False) -> Path:
    """Download a data set's official archive and unpack it into the cache.

    Parameters
    ----------
    name : str
        ``cifar10`` or ``cifar100``.
    progressbar : bool
        Whether to show a progress bar on standard error.

    Returns
    -------
    Path
        The folder of its files.

    Raises
    ------
    OptionError
        If there is no such data set, or it cannot be downloaded.
    DataError
        If the download fails or has another hash.
    """
    return fetch_cifar(_cifar(name), progressbar=progressbar)


def variant(sha256: str) -> str:
    """Say how files differ from the official ones, if that is known.

    Parameters
    ----------
    sha256 : str
        Hash of an :class:`Images`.

    Returns
    -------
    str
        The difference; empty for official and for unknown files.
    """
    return "".join(cifar.variants.get(sha256, "") for cifar in CIFARS.values())


def _cifar(name: str) -> Cifar:
    if name not in CIFARS:
        raise OptionError(
            where="data set", got=name, expected=f"one of {', '.join(CIFARS)}"
        )
    return CIFARS[name]
