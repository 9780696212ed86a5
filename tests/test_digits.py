"""The shipped networks and data: what the manifest says, and the recorded results."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from refsnn import datasets, io
from refsnn.convert import convert
from refsnn.errors import OptionError
from refsnn.evaluate import evaluate, result
from refsnn.run import run_ann

WEIGHTS = datasets.weights_folder()
MANIFEST = json.loads((WEIGHTS / "manifest.json").read_text())["files"]
NETWORKS = ("digits_qcfs", "digits_clip", "digits_relu")
METHODS = {"digits_qcfs": "qcfs", "digits_clip": "max-norm", "digits_relu": "max-norm"}
RECORDED = Path(__file__).with_name("recorded")


def test_the_manifests_list_every_file() -> None:
    """Those of the package, and the larger networks of the repository."""
    folder = Path(__file__).parents[1] / "weights"
    larger = json.loads((folder / "networks.json").read_text())["files"]
    files = {path.name for path in folder.glob("*.h5")}
    assert files == {*MANIFEST, *larger}
    for name, entry in larger.items():
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        assert digest == entry["sha256"]
        about = io.load_ann(folder / name).provenance
        assert about["correct"] == entry["correct"]
        assert about["data_sha256"] == entry["data_sha256"]


@pytest.mark.parametrize("name", MANIFEST)
def test_files_are_those_of_the_manifest(name: str) -> None:
    digest = hashlib.sha256((WEIGHTS / name).read_bytes()).hexdigest()
    assert digest == MANIFEST[name]["sha256"]
    assert MANIFEST[name]["licence"]


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_accurate_and_as_recorded(name: str) -> None:
    ann = io.load_ann(WEIGHTS / f"{name}.h5")
    test = datasets.load("digits", "test")
    predictions = run_ann(ann, ann.preprocess(test.images)).argmax(axis=1)
    accuracy = float((predictions == test.labels).mean())
    assert accuracy >= 0.97
    entry = MANIFEST[f"{name}.h5"]
    assert round(accuracy, 6) == entry["accuracy"] == ann.provenance["accuracy"]
    assert {"recipe", "seed", "data", "epochs", "selection"} <= entry.keys()
    ops = [node.op.op for node in ann.nodes]
    for op in ("conv2d", "batchnorm", "avgpool", "add", name.removeprefix("digits_")):
        assert op in ops


def test_the_split_is_stratified_and_disjoint() -> None:
    train, test = (datasets.load("digits", split) for split in datasets.SPLITS)
    assert (train.images.shape, test.images.shape) == (
        (1347, 1, 8, 8),
        (450, 1, 8, 8),
    )
    assert max(train.images.max(), test.images.max()) == 16
    counts = [np.bincount(data.labels, minlength=10) for data in (train, test)]
    assert (np.abs(counts[0] / 1347 - counts[1] / 450) < 1 / 450).all()
    everything = [image.tobytes() for d in (train, test) for image in d.images]
    assert len(set(everything)) == 1797


def test_unknown_names_are_refused() -> None:
    with pytest.raises(OptionError, match="one of digits"):
        datasets.load("mnist", "test")
    with pytest.raises(OptionError, match="train or test"):
        datasets.load("digits", "validation")


@pytest.mark.parametrize("name", NETWORKS)
def test_results_equal_the_recorded_ones(name: str) -> None:
    """Every integer, on any machine: mode `ordered` leaves nothing to chance.

    A change of these files is a change of values and belongs into CHANGELOG.md.
    """
    ann = io.load_ann(WEIGHTS / f"{name}.h5")
    train = datasets.load("digits", "train").images
    snn = convert(ann, METHODS[name], images=train)
    test = datasets.load("digits", "test")
    tally = evaluate(snn, test, 8, ann=ann)
    got = result(snn, test, tally, sha256=io.content_sha256(snn), seconds=0.0, ann=ann)
    for key in ("seconds", "versions", "impl", "schedule", "energy"):
        del got[key]
    want = json.loads((RECORDED / f"{name}.json").read_text())
    assert got == want
