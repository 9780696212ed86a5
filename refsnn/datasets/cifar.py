"""CIFAR-10 and CIFAR-100 from their official binary files.

A record is the label byte (CIFAR-100: the coarse label, then the fine one) and 3,072
bytes of channel-major RGB. A. Krizhevsky, Learning multiple layers of features from
tiny images, 2009; https://www.cs.toronto.edu/~kriz/cifar.html. The files for Python are
pickles, which can run code when they are opened: they are never read.
"""

from __future__ import annotations

import dataclasses
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pooch

from refsnn.datasets.images import Images, hash_of
from refsnn.errors import DataError
from refsnn.io import write_atomically

SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cifar:
    """Where a set comes from and what its files are.

    Attributes
    ----------
    name : str
        Name of the data set.
    url, sha256 : str
        The official archive and its hash.
    folder, pickles : str
        Folder of the binary files, and of the files for Python.
    classes : int
        Number of (fine) classes; labels are the last label byte.
    label_bytes : int
        Label bytes in front of the pixels.
    records : mapping of str to int
        Number of images in a file of each split.
    files : mapping of str to mapping
        By split: the files in order, each with the hash of the official one.
    variants : mapping of str to str
        Hashes of files that are known not to be the official ones, and how they differ.
    """

    name: str
    url: str
    sha256: str
    folder: str
    pickles: str
    classes: int
    label_bytes: int
    records: Mapping[str, int]
    files: Mapping[str, Mapping[str, str]]
    variants: Mapping[str, str]


REENCODED = (
    *(1259, 1369, 1422, 2245, 2737, 2935, 3695, 3718, 4085, 4496),
    *(5791, 5896, 6286, 7580, 7707, 7724, 7832, 8117, 8551, 9254),
)
"""Test images of CIFAR-10 that a copy in circulation re-encoded as JPEG."""

CIFAR10 = Cifar(
    name="cifar10",
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    folder="cifar-10-batches-bin",
    pickles="cifar-10-batches-py",
    classes=10,
    label_bytes=1,
    records={"train": 10_000, "test": 10_000},
    files={
        "train": {
            "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc094"
            "1787f1244f00a67874d45b261883ada5",
            "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784"
            "ccd871ecf2137de63f51ada8b3fa57ed",
            "data_batch_3.bin": "bbe8596564c0f86427f876058170b84d"
            "ac6670ddf06d79402899d93ceea26f67",
            "data_batch_4.bin": "014e562d6e23c72197cc727519169a60"
            "359f5eccd8945ad5a09d710285ff4e48",
            "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fb"
            "c7d6cd469eb67a1029a08a39453a9add",
        },
        "test": {
            "test_batch.bin": "8e2eb146ae340b09e24670f29cabc632"
            "6dba54da8789dab6768acf480273f65b",
        },
    },
    variants={
        "123ca0dad8f960344d9149742165d4215093c84c8c4bdc5922af93b614bdb501": (
            "the official order and labels, with "
            f"{len(REENCODED)} images re-encoded as JPEG: "
            + " ".join(map(str, REENCODED))
        )
    },
)

CIFAR100 = Cifar(
    name="cifar100",
    url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    sha256="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    folder="cifar-100-binary",
    pickles="cifar-100-python",
    classes=100,
    label_bytes=2,
    records={"train": 50_000, "test": 10_000},
    files={
        "train": {
            "train.bin": "f31298fc616915fa142368359df1c4ca"
            "2ae984d6915ca468b998a5ec6aeebf29",
        },
        "test": {
            "test.bin": "d8b1e6b7b3bee4020055f0699b111f60"
            "b1af1e262aeb93a0b659061746f8224a",
        },
    },
    variants={
        "acf8d9e1a7794a07e2493dfe0547b0a894cb70f711b600645bd2d458e67c22da": (
            "every image of the official train split, in another order"
        ),
        "eefa726243b1bdcf78f965a5a595f34157579e4c32715fe170691e6e72f45dee": (
            "every image of the official test split, in another order"
        ),
    },
)


def cache() -> Path:
    """Return the folder that fetched data sets go to.

    Returns
    -------
    Path
        The user's cache folder for refsnn.
    """
    return Path(pooch.os_cache("refsnn"))


def folders(cifar: Cifar) -> list[Path]:
    """List the folders in which a set is looked for.

    Parameters
    ----------
    cifar : Cifar
        The set.

    Returns
    -------
    list of Path
        Below ``$REFSNN_DATA`` if that is set, then below the cache.
    """
    given = os.environ.get("REFSNN_DATA")
    roots = [Path(given)] if given else []
    return [root / cifar.folder for root in (*roots, cache())]


def find(cifar: Cifar, split: str) -> list[Path]:
    """Find the files of a split.

    Parameters
    ----------
    cifar : Cifar
        The set.
    split : str
        ``train`` or ``test``.

    Returns
    -------
    list of Path
        The files, in order.

    Raises
    ------
    DataError
        If no folder holds all of them.
    """
    for folder in folders(cifar):
        paths = [folder / name for name in cifar.files[split]]
        if all(path.is_file() for path in paths):
            return paths
    got = (
        f"no {', '.join(cifar.files[split])} in {' or '.join(map(str, folders(cifar)))}"
    )
    pickled = [f for p in folders(cifar) if (f := p.with_name(cifar.pickles)).exists()]
    if pickled:
        got = f"{pickled[0]}, pickles, which can run code and are never opened"
    raise DataError(
        where=f"data set {cifar.name}, split {split}",
        got=got,
        expected="the official binary files",
        do=f"Run `refsnn data fetch {cifar.name}`, or unpack {cifar.url} and set "
        "REFSNN_DATA to the folder that holds it.",
    )


def _somewhere(cifar: Cifar, name: str) -> Path | None:
    """Find a file by itself."""
    paths = [folder / name for folder in folders(cifar)]
    return next((path for path in paths if path.is_file()), None)


def load_cifar(cifar: Cifar, split: str) -> Images:
    """Load a split.

    Parameters
    ----------
    cifar : Cifar
        The set.
    split : str
        ``train`` or ``test``.

    Returns
    -------
    Images
        The images and their (fine) labels.

    Raises
    ------
    DataError
        If the files are missing or have another length or unknown labels.
    """
    paths = find(cifar, split)
    parts = []
    for path in paths:
        raw = np.fromfile(path, dtype=np.uint8)
        width = cifar.label_bytes + PIXELS
        if raw.size != cifar.records[split] * width:
            raise DataError(
                where=str(path),
                got=f"{raw.size} bytes",
                expected=f"{cifar.records[split]} records of {width} bytes",
                do=f"Run `refsnn data fetch {cifar.name}`.",
            )
        parts.append(raw.reshape(-1, width))
    records = np.concatenate(parts)
    labels = records[:, cifar.label_bytes - 1].copy()
    if labels.max() >= cifar.classes:
        raise DataError(
            where=str(paths[0].parent),
            got=f"the label {labels.max()} in record {labels.argmax()}",
            expected=f"labels below {cifar.classes}",
        )
    images = records[:, cifar.label_bytes :].reshape(-1, *SHAPE)
    return Images(
        name=cifar.name,
        split=split,
        sha256=hash_of(*paths),
        images=np.ascontiguousarray(images),
        labels=labels,
        classes=cifar.classes,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a file is.

    Attributes
    ----------
    file : str
        The file.
    sha256 : str
        Its hash; empty if it is missing.
    verdict : str
        ``official``, ``known variant``, ``unknown`` or ``missing``.
    note : str
        How a variant differs.
    """

    file: str
    sha256: str
    verdict: str
    note: str = ""


def verify_cifar(cifar: Cifar) -> list[Verdict]:
    """Say of each file of a set whether it is the official one.

    Parameters
    ----------
    cifar : Cifar
        The set.

    Returns
    -------
    list of Verdict
        One for each file, train first.
    """
    verdicts = []
    for split, files in cifar.files.items():
        paths: list[Path | None]
        try:
            paths, why = [*find(cifar, split)], ""
        except DataError as error:
            paths, why = [_somewhere(cifar, name) for name in files], str(error.got)
        verdicts += [
            _verdict(cifar, name, official, path, why)
            for (name, official), path in zip(files.items(), paths, strict=True)
        ]
    return verdicts


def fetch_cifar(cifar: Cifar, *, progressbar: bool = False) -> Path:
    """Download a set's official archive, check its hash and unpack its files.

    Parameters
    ----------
    cifar : Cifar
        The set.
    progressbar : bool
        Whether to show a progress bar on standard error.

    Returns
    -------
    Path
        The folder of the files.

    Raises
    ------
    DataError
        If it cannot be downloaded or has another hash.
    """
    folder = cache() / cifar.folder
    try:
        archive = pooch.retrieve(
            cifar.url,
            known_hash=f"sha256:{cifar.sha256}",
            fname=cifar.url.rpartition("/")[2],
            path=cache(),
            progressbar=progressbar,
        )
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive) as tar:
            for name in [n for files in cifar.files.values() for n in files]:
                member = tar.extractfile(f"{cifar.folder}/{name}")
                if member is not None:
                    write_atomically(folder / name, member.read())
    except (OSError, ValueError, KeyError, tarfile.TarError) as error:
        raise DataError(
            where=f"data set {cifar.name}",
            got=f"{type(error).__name__}: {error}",
            expected=f"the archive {cifar.url} with the SHA-256 {cifar.sha256}",
            do="Download it by hand, unpack it and set REFSNN_DATA to the folder.",
        ) from None
    return folder


def _verdict(
    cifar: Cifar, name: str, official: str, path: Path | None, why: str
) -> Verdict:
    """Say whether a file is the official one; of one that is not there, why."""
    if path is None:
        return Verdict(file=name, sha256="", verdict="missing", note=why)
    sha256 = hash_of(path)
    note = cifar.variants.get(sha256, "")
    verdict = "known variant" if note else "unknown"
    if sha256 == official:
        verdict = "official"
    return Verdict(file=str(path), sha256=sha256, verdict=verdict, note=note)
