"""The training script: augmentation, resumption, export. Needs the extra torch."""

from __future__ import annotations

import importlib
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refsnn import architectures, datasets, io
from refsnn.datasets import Images

TRAIN = Path(__file__).parents[1] / "reproductions" / "train"
RECIPES = sorted((TRAIN / "recipes").glob("*.toml"))


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of the training folder."""
    monkeypatch.syspath_prepend(str(TRAIN))
    yield importlib.import_module
    for name in ("train", "augment", "recipe"):
        sys.modules.pop(name, None)


def test_crops_and_flips_keep_the_pixels(scripts: Any) -> None:
    augment = scripts("augment")
    rng = np.random.default_rng(0)
    images = rng.integers(1, 256, (40, 3, 32, 32), dtype=np.uint8)
    before = images.copy()
    out = augment.augmented(images, rng, policy=False)
    assert (images == before).all()
    shifts, flips = set(), set()
    padded = np.pad(images, ((0, 0), (0, 0), (4, 4), (4, 4)))
    for image, got in zip(padded, out, strict=True):
        found = [
            (i, j, flip)
            for i, j, flip in np.ndindex(9, 9, 2)
            if (image[:, i : i + 32, j : j + 32][..., :: 1 - 2 * flip] == got).all()
        ]
        assert len(found) == 1
        shifts.add(found[0][:2])
        flips.add(found[0][2])
    assert len(shifts) > 20
    assert flips == {0, 1}


def test_autoaugment_has_the_papers_25_subpolicies(scripts: Any) -> None:
    augment = scripts("augment")
    assert len(augment.POLICY) == 25
    known = {**augment.SIGNED, **augment.UNSIGNED}
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (3, 32, 32), dtype=np.uint8)
    names = {name for pair in augment.POLICY for name, _, _ in pair}
    assert names <= set(known)
    outs = [augment.autoaugment(image, rng) for _ in range(100)]
    assert {out.shape for out in outs} == {(3, 32, 32)}
    assert {out.dtype for out in outs} == {np.dtype(np.uint8)}
    assert len({out.tobytes() for out in outs}) > 30


def test_single_operations_by_hand(scripts: Any) -> None:
    augment = scripts("augment")
    pixels = np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3)
    picture = augment.Image.fromarray(pixels)
    invert = np.asarray(augment.UNSIGNED["invert"](picture, 0.3))
    assert (invert == 255 - pixels).all()
    solar = np.asarray(augment.UNSIGNED["solarize"](picture, 0.5))
    assert (solar == np.where(pixels < 128, pixels, 255 - pixels)).all()
    four = np.asarray(augment.UNSIGNED["posterize"](picture, 1))
    assert (four == pixels // 16 * 16).all()
    same = np.asarray(augment.SIGNED["contrast"](picture, 0))
    assert (same == pixels).all()
    away = np.asarray(augment.SIGNED["translate_x"](picture, 331 / 150))
    assert (away == 128).all()


def test_cutout_is_a_square_that_may_leave_the_image(scripts: Any) -> None:
    augment = scripts("augment")
    x = np.ones((50, 2, 10, 10), dtype=np.float32)
    out = augment.cutout(x, np.random.default_rng(2), 4)
    assert (x == 1).all()
    holes = (out == 0).sum(axis=(1, 2, 3)) // 2
    assert set(holes.tolist()) <= {4, 6, 8, 9, 12, 16}
    assert (out[:, 0] == out[:, 1]).all()


def test_wrong_recipes_are_refused(scripts: Any, tmp_path: Path) -> None:
    recipe = scripts("recipe")
    path, good = tmp_path / "mine.toml", RECIPES[0].read_text()
    path.write_text(good)
    assert recipe.read_recipe(path) == tomllib.loads(good)
    lines = [line for line in good.splitlines() if not line.startswith("seed")]
    lines = [line.replace("batch = 128", "batch = 12.5") for line in lines]
    path.write_text("\n".join(["learnig_rate = 3", *lines]))
    with pytest.raises(SystemExit) as end:
        recipe.read_recipe(path)
    said = str(end.value)
    for reason in ("learnig_rate: unknown", "seed: missing", "batch: got 12.5"):
        assert reason in said
    path.write_text(good.replace('activation = "', 'activation = "un'))
    with pytest.raises(SystemExit, match="expected one of clip, qcfs, relu"):
        recipe.read_recipe(path)
    path.write_text(good.replace('activation = "clip"', 'activation = ["clip"]'))
    with pytest.raises(SystemExit, match=r"activation: got \['clip'\]"):
        recipe.read_recipe(path)
    path.write_bytes(b"\xff")
    with pytest.raises(SystemExit, match="mine"):
        recipe.read_recipe(path)
    with pytest.raises(SystemExit, match=r"absent\.toml"):
        recipe.read_recipe(tmp_path / "absent.toml")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_name_what_exists(scripts: Any, path: Path) -> None:
    recipe = scripts("recipe").read_recipe(path)
    assert recipe["architecture"] in architectures.ARCHITECTURES
    assert recipe["data"] in datasets.DATASETS
    parts = path.stem.split("_")
    assert parts[:2] == [recipe["architecture"], recipe["data"]]
    assert parts[2] == f"{recipe['activation']}{recipe.get('levels', '')}"


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """CIFAR-10 of 96 drawn training and 20 test images."""

    def load(name: str, split: str) -> Images:
        rng = np.random.default_rng(len(split))
        count = {"train": 96, "test": 20}[split]
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
        return Images(
            name=name, split=split, sha256="0" * 64, images=images, labels=labels
        )

    monkeypatch.setattr(datasets, "load", load)


def test_a_resumed_training_is_the_uninterrupted_one(
    scripts: Any, few: None, tmp_path: Path
) -> None:
    torch = pytest.importorskip(
        "torch", reason="PyTorch is not installed: training is left out"
    )
    train = scripts("train")
    recipe = tomllib.loads((TRAIN / "recipes/resnet20_cifar10_qcfs4.toml").read_text())
    recipe |= {"epochs": 2, "batch": 32, "autoaugment": True, "cutout": 8}
    path = tmp_path / "net.pt"

    def fresh() -> Any:
        torch.manual_seed(0)
        return train.Training("net", recipe, "cpu")

    straight = fresh()
    losses = [straight.step(), straight.step()]
    first = fresh()
    assert first.step() == losses[0]
    first.save(path)
    second = fresh()
    second.resume(path)
    assert second.step() == losses[1]
    for a, b in zip(straight.net.parameters(), second.net.parameters(), strict=True):
        assert torch.equal(a, b)
    said = second.export(tmp_path / "net.h5")
    assert said.endswith("of 20 correct; 0 predictions unlike PyTorch's")
    ann = io.load_ann(tmp_path / "net.h5")
    assert ann.provenance["data"] == "cifar10"
    assert {node.op.op for node in ann.activations} == {"qcfs"}
    changed = train.Training("net", {**recipe, "seed": 1}, "cpu")
    with pytest.raises(SystemExit, match="another recipe"):
        changed.resume(path)
