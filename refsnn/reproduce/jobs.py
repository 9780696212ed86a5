"""Work in shards: every shard a file of integers, so that none is done twice."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from functools import lru_cache, reduce
from pathlib import Path
from typing import Any

import numpy as np

from refsnn import datasets, io
from refsnn.calibration import forget
from refsnn.convert import convert, needs_images
from refsnn.datasets import Images
from refsnn.datasets.cifar import CIFAR10, REENCODED
from refsnn.environment import processor, source_sha256
from refsnn.errors import DataError
from refsnn.io import content_sha256
from refsnn.methods import METHODS
from refsnn.network import Network, SpikingNetwork
from refsnn.numerics import Array
from refsnn.reproduce import recorded
from refsnn.reproduce.declared import Run
from refsnn.reproduce.work import WORK
from refsnn.sums import added
from refsnn.trace import images_sha256

INEXACT: Mapping[str, tuple[int, ...]] = {CIFAR10.name: REENCODED}
"""Test images left out by data set: without those that a copy re-encoded, its results
are those of the official files."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conversion:
    """A converted network, ready to run.

    Attributes
    ----------
    run : Run
        The declaration.
    T : int
        Number of steps.
    ann, net : Path
        Files of the trained and of the converted network.
    sha256, net_sha256 : str
        Their content hashes.
    seconds : float or None
        What the conversion took; None if that is not known, as of one that was stopped
        and has gone on.
    recorded : bool
        Whether it is a recorded network, which was not converted here.
    """

    run: Run
    T: int
    ann: Path
    net: Path
    sha256: str
    net_sha256: str
    seconds: float | None = None
    recorded: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shard:
    """Some work on some test images.

    Attributes
    ----------
    what : str
        A key of :data:`refsnn.reproduce.work.WORK`.
    net, ann : str
        Files of the networks.
    data : str
        Data set.
    start, stop : int
        Range among the test images that are not left out.
    T : int
        Number of steps.
    source : str
        Hash of the code that is to do it.
    key : str
        Hash of everything that its integers depend on.
    file : str
        Where they are kept.
    """

    what: str
    net: str
    ann: str
    data: str
    start: int
    stop: int
    T: int
    source: str
    key: str
    file: str


def kept(name: str) -> Array:
    """Return the test images that are run.

    Parameters
    ----------
    name : str
        Data set.

    Returns
    -------
    ndarray of int64
        Their indices in the test split.
    """
    count = len(datasets.load(name, "test").labels)
    return np.setdiff1d(np.arange(count), np.array(INEXACT.get(name, ()), dtype=int))


def some_images(name: str, indices: Array) -> Images:
    """Return some test images.

    Parameters
    ----------
    name : str
        Data set.
    indices : ndarray of int
        Their indices in the test split.

    Returns
    -------
    Images
        The images; their hash is of themselves.
    """
    test = _test(name)
    images = np.ascontiguousarray(test.images[indices])
    sha256 = images_sha256(images)
    labels = test.labels[indices]
    return dataclasses.replace(test, images=images, labels=labels, sha256=sha256)


@lru_cache(maxsize=1)
def _test(name: str) -> Images:
    return datasets.load(name, "test")


def find_weights(root: Path, name: str) -> Path:
    """Find a trained network.

    Parameters
    ----------
    root : Path
        The folder of the reproductions, which lies beside ``weights``.
    name : str
        The file's name without its suffix.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    DataError
        If there is none, with how to make it.
    """
    folders = (root.absolute().parent / "weights", datasets.weights_folder())
    for folder in folders:
        if (folder / f"{name}.h5").is_file():
            return folder / f"{name}.h5"
    raise DataError(
        where=f"weights/{name}.h5",
        got="no such file",
        expected="a trained network",
        do=f"Train it: python reproductions/train/train.py "
        f"reproductions/train/recipes/{name}.toml",
    )


def _recorded(root: Path, run: Run, T: int, sha256: str) -> Path | None:
    """Return the recorded network, if there is one of this declaration."""
    path = recorded.network_of(root, run.network, run.method, run.whole, T)
    if not METHODS[run.method].trains or not path.is_file():
        return None
    snn = io.load_snn(path)
    own = (snn.method, snn.ann_sha256, snn.T, dict(snn.options))
    return path if own == (run.method, sha256, T, run.whole) else None


def converted(
    root: Path,
    out: Path,
    run: Run,
    data: str,
    T: int,
    ann_file: Path | None = None,
    *,
    again: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Conversion:
    """Convert a network, or find it converted.

    What a method has trained is shared as a file: if it is recorded, that is run.

    Parameters
    ----------
    root, out : Path
        Folders of the reproductions and of results.
    run : Run
        The declaration.
    data : str
        Data set, whose training split methods look at.
    T : int
        Number of steps.
    ann_file : Path, optional
        The trained network; by default found by its name.
    again : bool
        Whether weights are trained again where a recorded network has them.
    progress : callable, optional
        Told how much of how much of the conversion is done.

    Returns
    -------
    Conversion
        The networks' files.
    """
    file = ann_file or find_weights(root, run.network)
    ann = io.load_ann(file)
    sha256 = content_sha256(ann)
    shared = None if again else _recorded(root, run, T, sha256)
    known: dict[str, Any] = {"run": run, "T": T, "ann": file, "sha256": sha256}
    if shared:
        own = content_sha256(io.load_snn(shared))
        return Conversion(**known, net=shared, net_sha256=own, recorded=True)
    options = run.settings
    looks = needs_images(run.method, options)
    train = datasets.load(data, "train") if looks else None
    identity = [
        *(source_sha256(), sha256, run.method, options),
        T if run.conversions == run.steps else 0,
        train.sha256 if train else "",
    ]
    name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    net = out / "networks" / f"{name[:24]}.h5"
    if not net.is_file():
        clock = time.perf_counter()
        net.parent.mkdir(parents=True, exist_ok=True)
        images = train.images if train else None
        how: dict[str, Any] = {"options": options, "progress": progress}
        how["statistics"] = out / "statistics"
        folder = net.with_suffix(".layers")
        whole = not folder.is_dir()
        snn = convert(ann, run.method, T=T, images=images, folder=folder, **how)
        if whole:
            _keep_seconds(net, time.perf_counter() - clock)
        io.save(snn, net, force=True)
    forget(net.with_suffix(".layers"))
    own = content_sha256(io.load_snn(net))
    return Conversion(**known, net=net, net_sha256=own, seconds=_seconds(net))


def _keep_seconds(net: Path, seconds: float) -> None:
    """Note beside a network what its conversion took."""
    io.write_atomically(net.with_suffix(".seconds"), f"{seconds:.3f}".encode())


def _seconds(net: Path) -> float | None:
    try:
        return float(net.with_suffix(".seconds").read_text())
    except (OSError, ValueError):
        return None


def shards(
    what: str,
    conversion: Conversion,
    T: int,
    data: str,
    images: int,
    size: int,
    out: Path,
) -> list[Shard]:
    """Split some work into shards of test images.

    Parameters
    ----------
    what : str
        A key of :data:`refsnn.reproduce.work.WORK`.
    conversion : Conversion
        The network.
    T : int
        Number of steps.
    data : str
        Data set.
    images : int
        How many of the images that are run, the first ones.
    size : int
        Images in a shard.
    out : Path
        Folder of results.

    Returns
    -------
    list of Shard
        In order.
    """
    indices = kept(data)[:images]
    of_snn = {"network": conversion.net_sha256, "T": T} if what != "ann" else {}
    made = []
    for start in range(0, len(indices), size):
        stop = min(start + size, len(indices))
        some = some_images(data, indices[start:stop])
        identity = {
            "what": what,
            "ann": conversion.sha256,
            "images": some.sha256,
            "labels": hashlib.sha256(some.labels.tobytes()).hexdigest(),
            "source": source_sha256(),
            **of_snn,
        }
        key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        made.append(
            Shard(
                what=what,
                net=str(conversion.net),
                ann=str(conversion.ann),
                data=data,
                start=start,
                stop=stop,
                T=T,
                source=source_sha256(),
                key=key,
                file=str(out / "shards" / f"{key[:32]}.json"),
            )
        )
    return made


def do(shard: Shard) -> str:
    """Do a shard, if it is not done, and keep its sums.

    Parameters
    ----------
    shard : Shard
        The shard.

    Returns
    -------
    str
        The file, whole or not there at all.

    Raises
    ------
    DataError
        If the code here is not the code that asks.
    """
    path = Path(shard.file)
    if read(shard) is None:
        if source_sha256() != shard.source:
            raise DataError(
                where=f"shard {shard.key[:12]}, the code of refsnn",
                got=f"hash {source_sha256()[:12]} where it is to be done",
                expected=f"{shard.source[:12]}, as of who asks for it",
                do="Give workers the same code, and do not edit it during a run; then "
                "type the same command again.",
            )
        images = some_images(shard.data, kept(shard.data)[shard.start : shard.stop])
        ann, snn = networks(shard.ann, shard.net)
        clock = time.perf_counter()
        sums = WORK[shard.what](snn, ann, images, shard.T)
        took = round(time.perf_counter() - clock, 3)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"sums": sums, "seconds": took, "processor": processor()}
        text = json.dumps({"key": shard.key, **content})
        io.write_atomically(path, text.encode())
    return shard.file


@lru_cache(maxsize=2)
def networks(ann: str, net: str) -> tuple[Network, SpikingNetwork]:
    """Read the two networks of a shard.

    Parameters
    ----------
    ann, net : str
        Their files.

    Returns
    -------
    tuple
        The trained and the converted network.
    """
    return io.load_ann(ann), io.load_snn(net)


def read(shard: Shard) -> dict[str, Any] | None:
    """Read a shard's sums.

    Parameters
    ----------
    shard : Shard
        The shard.

    Returns
    -------
    dict or None
        None if it is not done, or its file is not of this shard.
    """
    try:
        content = json.loads(Path(shard.file).read_text())
        sums: dict[str, Any] = content["sums"]
        return sums if content["key"] == shard.key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def seconds(done: list[Shard]) -> float:
    """Add up what shards took.

    Parameters
    ----------
    done : list of Shard
        Shards that are done.

    Returns
    -------
    float
        Seconds in their processes, each on as many threads as the executor gives it.
    """
    return round(sum(float(content["seconds"]) for content in _contents(done)), 3)


def processors_of(done: list[Shard]) -> list[str]:
    """Name the processors that did some shards.

    Parameters
    ----------
    done : list of Shard
        Shards that are done.

    Returns
    -------
    list of str
        In alphabetical order.
    """
    return sorted({str(content["processor"]) for content in _contents(done)})


def _contents(done: list[Shard]) -> list[dict[str, Any]]:
    """Read the files of shards that are done."""
    return [json.loads(Path(shard.file).read_text()) for shard in done]


def total(done: list[Shard]) -> dict[str, Any]:
    """Add up shards that are done.

    Parameters
    ----------
    done : list of Shard
        The shards.

    Returns
    -------
    dict
        Their sum; no sharding changes the integers of it.

    Raises
    ------
    DataError
        If one is missing.
    """
    parts = []
    for shard in done:
        sums = read(shard)
        if sums is None:
            raise DataError(
                where=shard.file, got="no such shard", expected="a finished one"
            )
        parts.append(sums)
    return reduce(added, parts)
