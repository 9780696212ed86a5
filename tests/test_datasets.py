"""Data sets: files, hashes, verdicts, downloads."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import http.server
import json
import os
import tarfile
import threading
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nets import same
from refsnn import datasets, io
from refsnn.convert import convert
from refsnn.datasets import Images, cifar
from refsnn.datasets.imagenet import FolderImages, decoded
from refsnn.errors import DataError, OptionError
from refsnn.evaluate import ann_predictions, evaluate

REAL = pytest.mark.skipif(
    "REFSNN_DATA" not in os.environ,
    reason="REFSNN_DATA is not set: tests on the real CIFAR files are left out",
)
SMALL = {
    "data_batch_1.bin": 3,
    "data_batch_2.bin": 3,
    "test_batch.bin": 3,
}


def records(seed: int, count: int, label_bytes: int = 1) -> bytes:
    rng = np.random.default_rng(seed)
    raw = rng.integers(0, 256, (count, label_bytes + 3072), dtype=np.uint8)
    raw[:, :label_bytes] = rng.integers(0, 10, (count, label_bytes))
    return raw.tobytes()


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> cifar.Cifar:
    """A set of CIFAR-10's layout with three records a file, in $REFSNN_DATA."""
    files = {name: records(i, n) for i, (name, n) in enumerate(SMALL.items())}
    hashes = {name: hashlib.sha256(raw).hexdigest() for name, raw in files.items()}
    data = tmp_path / "data"
    folder = data / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for name, raw in files.items():
        (folder / name).write_bytes(raw)
    made = dataclasses.replace(
        cifar.CIFAR10,
        records={"train": 3, "test": 3},
        files={
            "train": {n: h for n, h in hashes.items() if n.startswith("data")},
            "test": {"test_batch.bin": hashes["test_batch.bin"]},
        },
        variants={},
    )
    monkeypatch.setitem(datasets.CIFARS, "cifar10", made)
    monkeypatch.setenv("REFSNN_DATA", str(data))
    monkeypatch.setattr(cifar, "cache", lambda: tmp_path / "cache")
    return made


def test_records_are_label_then_channel_major_pixels(small: cifar.Cifar) -> None:
    train = datasets.load("cifar10", "train")
    assert train.classes == 10
    assert train.images.shape == (6, 3, 32, 32)
    raw = np.frombuffer(records(0, 3) + records(1, 3), dtype=np.uint8)
    assert train.labels.tolist() == raw[::3073].tolist()
    # record 4, channel 2, row 5, column 7
    assert train.images[4, 2, 5, 7] == raw[4 * 3073 + 1 + 2 * 1024 + 5 * 32 + 7]
    assert train.sha256 == hashlib.sha256(records(0, 3) + records(1, 3)).hexdigest()
    assert len(train.head(2).labels) == 2
    assert train.head(2).sha256 == train.sha256


def test_only_the_split_that_is_needed_has_to_be_there(
    small: cifar.Cifar, tmp_path: Path
) -> None:
    (tmp_path / "data/cifar-10-batches-bin/data_batch_2.bin").unlink()
    assert len(datasets.load("cifar10", "test").labels) == 3
    with pytest.raises(DataError, match=r"split train.*refsnn data fetch cifar10"):
        datasets.load("cifar10", "train")
    verdicts = [v.verdict for v in datasets.verify("cifar10")]
    assert verdicts == ["official", "missing", "official"]


def test_pickles_are_never_opened(small: cifar.Cifar, tmp_path: Path) -> None:
    folder = tmp_path / "data/cifar-10-batches-bin"
    folder.rename(tmp_path / "data/cifar-10-batches-py")
    with pytest.raises(DataError, match=r"pickles, which can run code.*binary"):
        datasets.load("cifar10", "test")


@pytest.mark.parametrize("change", ["length", "label"])
def test_damaged_files_are_refused(
    small: cifar.Cifar, tmp_path: Path, change: str
) -> None:
    path = tmp_path / "data/cifar-10-batches-bin/test_batch.bin"
    raw = bytearray(path.read_bytes())
    raw[3073] = 10
    path.write_bytes(raw[:-1] if change == "length" else raw)
    match = (
        r"3 records of 3073 bytes" if change == "length" else r"label 10 in record 1"
    )
    with pytest.raises(DataError, match=match):
        datasets.load("cifar10", "test")


def test_verdicts(small: cifar.Cifar, tmp_path: Path, refsnn) -> None:
    path = tmp_path / "data/cifar-10-batches-bin/test_batch.bin"
    assert {v.verdict for v in datasets.verify("cifar10")} == {"official"}
    raw = bytearray(path.read_bytes())
    raw[5] ^= 1
    path.write_bytes(raw)
    assert datasets.verify("cifar10")[-1].verdict == "unknown"
    said = refsnn("data", "verify", "cifar10")
    assert said.code == 1
    assert "unknown: " in said.out
    known = {hashlib.sha256(raw).hexdigest(): "one bit flipped"}
    small = dataclasses.replace(small, variants=known)
    datasets.CIFARS["cifar10"] = small
    last = datasets.verify("cifar10")[-1]
    assert (last.verdict, last.note) == ("known variant", "one bit flipped")
    assert datasets.variant(last.sha256) == "one bit flipped"
    assert datasets.variant("0" * 64) == ""


def served(folder: Path) -> http.server.ThreadingHTTPServer:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.mark.parametrize("good", [True, False])
def test_fetch_checks_the_archive_before_anything_is_unpacked(
    small: cifar.Cifar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, good: bool
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.add(tmp_path / "data/cifar-10-batches-bin", "cifar-10-batches-bin")
    (site / "archive.tar.gz").write_bytes(buffer.getvalue())
    server = served(site)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    url = f"http://127.0.0.1:{server.server_port}/archive.tar.gz"
    there = dataclasses.replace(small, url=url, sha256=digest if good else "0" * 64)
    monkeypatch.setitem(datasets.CIFARS, "cifar10", there)
    monkeypatch.delenv("REFSNN_DATA")
    try:
        if not good:
            with pytest.raises(DataError, match=r"SHA-256 0000"):
                datasets.fetch("cifar10")
            assert not (tmp_path / "cache/cifar-10-batches-bin").exists()
            return
        folder = datasets.fetch("cifar10")
    finally:
        server.shutdown()
        server.server_close()
    assert folder == tmp_path / "cache/cifar-10-batches-bin"
    assert {v.verdict for v in datasets.verify("cifar10")} == {"official"}
    assert len(datasets.load("cifar10", "train").labels) == 6


def test_unknown_names_are_refused() -> None:
    for name in ("cifar", "imagenet", "imagenet:", ""):
        with pytest.raises(OptionError, match="one of digits, cifar10"):
            datasets.load(name, "test")
    with pytest.raises(OptionError, match="one of cifar10"):
        datasets.fetch("digits")


def test_own_images(tmp_path: Path, refsnn) -> None:
    test = datasets.load("digits", "test").head(20)
    io.save_images(test.images, test.labels, tmp_path / "test.h5")
    name = f"images:{tmp_path}"
    mine = datasets.load(name, "test")
    assert same(mine.images, test.images)
    assert same(mine.labels, test.labels)
    with pytest.raises(DataError, match=r"(?s)train\.h5.*refsnn\.io\.save_images"):
        datasets.load(name, "train")
    network = datasets.weights_folder() / "digits_qcfs.h5"
    how = ("--method", "qcfs", "-T", 4, "--json", "-")
    counts = []
    for data in (["digits", "--limit", "20"], [name]):
        said = refsnn("run", network, "--data", *data, *how)
        assert said.code == 0
        counts.append(json.loads(said.out)["snn"])
    assert counts[0] == counts[1]


def test_images_in_memory_have_a_hash() -> None:
    test = datasets.load("digits", "test").head(20)
    how = {"name": "mine", "split": "test", "labels": test.labels}
    mine = Images(images=test.images, **how)
    assert len(mine.sha256) == 64
    assert mine.sha256 == Images(images=test.images.copy(), **how).sha256
    assert mine.sha256 != Images(images=test.images ^ 1, **how).sha256


def test_imagenet_folder(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for kind, count in (("n02", 1), ("n01", 2)):
        (tmp_path / kind).mkdir()
        for index in range(count):
            pixels = rng.integers(0, 256, (300, 512, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / kind / f"{index}.png")
    (tmp_path / "n01" / "notes.txt").write_text("no image")
    (tmp_path / "n01" / "._0.png").write_bytes(b"what one system adds")
    (tmp_path / ".ipynb_checkpoints").mkdir()
    data = datasets.load(f"imagenet:{tmp_path}", "test")
    assert data.labels.tolist() == [0, 0, 1]
    assert data.classes == 2
    assert isinstance(data.images, FolderImages)
    assert data.images.shape == (3, 3, 224, 224)
    assert data.images[1:3].shape == (2, 3, 224, 224)
    assert data.head(1).images.shape == (1, 3, 224, 224)
    with pytest.raises(DataError, match="validation folder only"):
        datasets.load(f"imagenet:{tmp_path}", "train")
    with pytest.raises(DataError, match="no class folders"):
        datasets.load(f"imagenet:{tmp_path / 'n01'}", "test")


def test_data_of_other_classes_are_refused() -> None:
    ann = io.load_ann(datasets.weights_folder() / "digits_qcfs.h5")
    snn = convert(ann, "qcfs")
    data = datasets.load("digits", "test").head(3)
    labels = np.array([0, 10, 1], dtype=np.uint8)
    for wrong, got in (
        (dataclasses.replace(data, labels=labels), "the label 10"),
        (dataclasses.replace(data, classes=11), "11 classes"),
        (dataclasses.replace(data, classes=9), "9 classes"),
    ):
        for run in (lambda d: evaluate(snn, d, 1), lambda d: ann_predictions(ann, d)):
            with pytest.raises(
                OptionError, match=f"got {got}; expected the 10 classes"
            ):
                run(wrong)
    assert evaluate(snn, dataclasses.replace(data, classes=10), 1).images == 3


def test_imagenet_images_are_resized_to_256_and_cropped_in_the_middle(
    tmp_path: Path,
) -> None:
    """At 256 rows nothing is resized: the crop is rows 16..239, columns 38..261."""
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (256, 300, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    want = pixels[16:240, 38:262].transpose(2, 0, 1)
    assert (decoded(tmp_path / "a.png") == want).all()
    grey = Image.fromarray(np.full((600, 512), 77, dtype=np.uint8))
    grey.save(tmp_path / "grey.png")
    assert (decoded(tmp_path / "grey.png") == 77).all()
    (tmp_path / "b.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="an image"):
        decoded(tmp_path / "b.png")


@REAL
@pytest.mark.parametrize(("name", "classes"), [("cifar10", 10), ("cifar100", 100)])
def test_real_sets_are_complete(name: str, classes: int) -> None:
    for split, count in (("train", 50_000), ("test", 10_000)):
        data = datasets.load(name, split)
        assert data.images.shape == (count, 3, 32, 32)
        assert np.bincount(data.labels).tolist() == [count // classes] * classes
    assert {v.verdict for v in datasets.verify(name)} <= {"official", "known variant"}


@REAL
def test_statistics_of_the_train_splits_are_the_published_ones() -> None:
    want = {
        "cifar10": (0.49139968, 0.48215841, 0.44653091),
        "cifar100": (0.50707516, 0.48654887, 0.44091784),
    }
    for name, mean in want.items():
        images = datasets.load(name, "train").images
        got = images.mean(axis=(0, 2, 3)) / 255
        assert np.allclose(got, mean, rtol=0, atol=5e-9)
