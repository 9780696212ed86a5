"""Training scripts: recipes, augmentation, resumption, export, taking networks in."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refsnn import architectures, datasets, environment, io
from refsnn.activations import QCFS, Clip
from refsnn.datasets import Images
from refsnn.errors import OptionError
from refsnn.evaluate import ann_predictions
from refsnn.layers import Flatten, Input, Linear
from refsnn.network import Network, Node

TRAIN = Path(__file__).parents[1] / "reproductions" / "train"
RECIPES = sorted((TRAIN / "recipes").glob("*.toml"))

compiles = pytest.mark.filterwarnings("ignore")  # PyTorch's compiler warns of itself


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of the training folder."""
    monkeypatch.syspath_prepend(str(TRAIN))
    yield importlib.import_module
    for name in ("train", "augment", "recipe", "ship", "door", "machine", "faster"):
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
    odd = augment.cutout(x, np.random.default_rng(2), 3)
    assert (odd == 0).sum(axis=(1, 2, 3)).max() == 2 * 9


def test_wrong_recipes_are_refused(scripts: Any, tmp_path: Path) -> None:
    recipe = scripts("recipe")
    path = tmp_path / "mine.toml"
    good = (TRAIN / "recipes/resnet20_cifar10_clip.toml").read_text()
    path.write_text(good)
    assert recipe.read_recipe(path) == tomllib.loads(good)
    lines = [line for line in good.splitlines() if not line.startswith("seed")]
    lines = [line.replace("batch = 128", "batch = 12.5") for line in lines]
    path.write_text("\n".join(["learnig_rate = 3", *lines]))
    with pytest.raises(OptionError) as end:
        recipe.read_recipe(path)
    said = str(end.value)
    for reason in ("learnig_rate: unknown", "seed: missing", "batch: got 12.5"):
        assert reason in said
    path.write_text(good.replace('activation = "', 'activation = "un'))
    with pytest.raises(OptionError, match="expected one of clip, qcfs, relu"):
        recipe.read_recipe(path)
    path.write_text(good.replace('activation = "clip"', 'activation = ["clip"]'))
    with pytest.raises(OptionError, match=r"activation: got \['clip'\]"):
        recipe.read_recipe(path)
    few = good.replace("batch = 128", "batch = 50000")
    path.write_text(re.sub(r"epochs = \d+", "epochs = 5", few))
    with pytest.raises(OptionError, match="fewer than 6 steps in all"):
        recipe.read_recipe(path)
    path.write_bytes(b"\xff")
    with pytest.raises(OptionError, match="mine"):
        recipe.read_recipe(path)
    with pytest.raises(OptionError, match=r"absent\.toml"):
        recipe.read_recipe(tmp_path / "absent.toml")


def test_numbers_that_no_training_can_use_are_refused_together(
    scripts: Any, tmp_path: Path
) -> None:
    recipe = scripts("recipe")
    path = tmp_path / "mine.toml"
    good = tomllib.loads((TRAIN / "recipes/resnet20_cifar10_qcfs4.toml").read_text())

    def refused(**changes: object) -> str:
        lines = {**good, **changes}.items()
        texts = [
            f"{k} = {v if v == v else 'nan'}" if isinstance(v, (int, float)) else ""
            for k, v in lines
        ]
        texts = [t.replace("True", "true").replace("False", "false") for t in texts]
        texts += [f'{k} = "{v}"' for k, v in lines if isinstance(v, str)]
        path.write_text("\n".join(texts))
        with pytest.raises(OptionError) as end:
            recipe.read_recipe(path)
        return str(end.value)

    said = refused(
        epochs=0,
        batch=0,
        seed=-1,
        lam=-4.0,
        levels=0,
        learning_rate=0.0,
        weight_decay=-1.0,
        cutout=-2,
    )
    for reason in (
        "epochs: got 0, expected at least 1",
        "batch: got 0, expected at least 1",
        "seed: got -1, expected at least 0",
        "lam: got -4.0, expected a number above 0",
        "levels: got 0, expected at least 1",
        "learning_rate: got 0.0, expected a number above 0",
        "weight_decay: got -1.0, expected a number not below 0",
        "cutout: got -2, expected at least 0",
    ):
        assert reason in said
    for name, value in [("lam", float("nan")), ("learning_rate", float("inf"))]:
        assert f"{name}: got {value}, expected a number above 0" in refused(
            **{name: value}
        )
    assert "at most 50,000" in refused(batch=50_001)


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


@compiles
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
    about = second.export(tmp_path / "net.h5")
    assert (about["images"], about["unlike_pytorch"]) == (20, 0)
    (here,) = about["machine"]
    assert here["processor"]
    assert (here["threads"], here["gpu"]) == (torch.get_num_threads(), None)
    assert here["products"] == ("bfloat16" if straight.bfloat16 else "float32")
    ann = io.load_ann(tmp_path / "net.h5")
    assert ann.provenance == about
    assert ann.provenance["data"] == "cifar10"
    assert {node.op.op for node in ann.activations} == {"qcfs"}
    changed = train.Training("net", {**recipe, "seed": 1}, "cpu")
    with pytest.raises(SystemExit, match="another recipe"):
        changed.resume(path)
    refuses_what_pytorch_predicts_otherwise(train)


def test_gradients_over_small_maps_are_those_of_the_convolution(scripts: Any) -> None:
    torch = pytest.importorskip(
        "torch", reason="PyTorch is not installed: training is left out"
    )
    faster = scripts("faster")
    rng = np.random.default_rng(0)

    def integers(*shape: int) -> Any:  # whose sums are exact
        drawn = rng.integers(-8, 9, shape).astype(np.float64)
        return torch.from_numpy(drawn).requires_grad_()

    for kernel, stride, padding in (
        (3, 1, 1),
        (3, 2, 1),
        (1, 2, 0),
        ((3, 2), (2, 1), (1, 0)),
    ):
        conv = torch.nn.Conv2d(5, 7, kernel, stride, padding, bias=False)
        x, weight = integers(2, 5, 4, 6), integers(*conv.weight.shape)
        got = faster._Conv.apply(x, weight, conv)
        want = torch.nn.functional.conv2d(x, weight, None, stride, padding)
        assert torch.equal(got, want)
        dy = integers(*want.shape).detach()
        pairs = zip(
            torch.autograd.grad(got, (x, weight), dy),
            torch.autograd.grad(want, (x, weight), dy),
            strict=True,
        )
        assert all(torch.equal(a, b) for a, b in pairs)


@compiles
def test_modules_made_faster_compute_the_same(scripts: Any) -> None:
    torch = pytest.importorskip(
        "torch", reason="PyTorch is not installed: training is left out"
    )
    from refsnn.exchange import to_torch

    faster = scripts("faster")
    for activation in (QCFS(lam=np.float32(2), levels=4), Clip(lam=np.float32(2))):
        ann = architectures.build("resnet18", classes=10, activation=activation)
        net = to_torch(ann)
        faster.faster(net, ann)
        small = [m for m in net.modules() if "forward" in vars(m)]
        assert {tuple(m.weight.shape[:2]) for m in small} == {(512, 256), (512, 512)}
        assert len(small) == 5  # of 4 x 4 pixels: four of 3 x 3 and a shortcut
        module = net.get_submodule(ann.activations[0].name)
        assert module._compiled_call_impl is not None
        z = np.arange(-96, 96, dtype=np.float32).reshape(2, 2, 6, 8) / 32  # ties too
        given = torch.from_numpy(z).requires_grad_()
        h = module(given)
        h.backward(torch.ones_like(h))
        gradient = getattr(activation, "gradient_code", activation.gradient)
        dz, dlam = gradient(z)
        assert np.array_equal(h.detach().numpy(), activation(z))
        assert np.array_equal(given.grad.numpy(), dz)
        assert np.isclose(module.lam.grad.item(), dlam.sum(), rtol=1e-5)


def refuses_what_pytorch_predicts_otherwise(train: Any) -> None:
    """Five of 1,000 are 0.5 %, six are more."""
    lines: list[str] = []

    def report(export: str) -> None:
        lines.append(export)

    about = {"correct": 900, "images": 1000, "unlike_pytorch": 5}
    train._exported(about, report)
    with pytest.raises(SystemExit, match=r"6 of 1000 .* more than 0\.5%") as end:
        train._exported({**about, "unlike_pytorch": 6}, report)
    assert isinstance(end.value.code, str)  # printed by the interpreter, exit code 1
    assert lines[0] == "900 of 1000 correct; 5 predictions unlike PyTorch's"
    assert len(lines) == 2


def ended(
    script: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any, *arguments: object
) -> tuple[Any, str]:
    """Run a script as its file does; return its exit code and what it complained of."""
    monkeypatch.setattr(sys, "argv", [f"{script.__name__}.py", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        script.guarded(script.main)
    return end.value.code, capsys.readouterr().err


def test_what_training_cannot_use_is_said_in_one_line(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path
) -> None:
    pytest.importorskip(
        "torch", reason="PyTorch is not installed: training is left out"
    )
    train = scripts("train")
    monkeypatch.setenv("REFSNN_DATA", str(tmp_path / "none"))
    recipe = TRAIN / "recipes/resnet20_cifar10_qcfs4.toml"
    code, said = ended(train, monkeypatch, capsys, recipe, "--out", tmp_path)
    assert code == 2
    assert said.startswith("train.py: error: ")
    assert said.count("\n") == 1
    code, said = ended(train, monkeypatch, capsys, "none.toml", "--out", tmp_path)
    assert code == 2
    assert "none.toml" in said
    more = (recipe, "--out", tmp_path, "--epochs", 0)
    code, said = ended(train, monkeypatch, capsys, *more)
    assert code == 2
    assert "--epochs 0: expected at least 1" in said


def test_products_in_bfloat16_need_a_processor_that_has_them(
    scripts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip(
        "torch", reason="PyTorch is not installed: training is left out"
    )
    machine = scripts("machine")
    for has, want in (
        ({"avx2": True}, False),
        ({"avx512_f": True, "avx512_bf16": False}, False),
        ({"avx512_bf16": True}, True),
        ({"amx_bf16": True}, True),
    ):
        own = {"raising": False}  # older releases have none
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda has=has: has, **own)
        assert machine.has_bfloat16("cpu") == want
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert not machine.has_bfloat16("cpu")
    assert machine.machine(3, "Loom", True)["products"] == "bfloat16"
    about = machine.machine(1, None, False)
    assert (about["threads"], about["products"]) == (1, "float32")
    assert about["processor"] == environment.processor()


def linear(weight: np.ndarray, shape: tuple[int, int, int]) -> Network:
    """One linear layer of the pixels."""
    return Network(
        name="linear",
        input_shape=shape,
        classes=len(weight),
        mean=np.zeros(shape[0]),
        std=np.ones(shape[0]),
        nodes=(
            Node(name="input", op=Input()),
            Node(name="flat", op=Flatten(), inputs=("input",)),
            Node(name="out", op=Linear(weight=weight), inputs=("flat",)),
        ),
    )


def test_weights_are_rounded_to_integers_times_a_power_of_two(scripts: Any) -> None:
    """Four bits, -8 to 7. Largest 1 = 2^0: it lies below 2^1, so the unit is 2^1 / 8 =
    1/4: 0.3 is 1.2 units, 1; -0.7 is -2.8, -3; 1 is 4. Largest 0.99 < 2^0: the unit is
    1/8, 0.99 is 7.92 units, which 8 is none of: 7; -0.99 is -8; 0.0625, half a unit, 0.
    """
    ship = scripts("ship")

    def rounded(*weights: float) -> list[float]:
        ann = linear(np.array([weights], dtype=np.float32), (len(weights), 1, 1))
        got = ship.rounded(ann, 4).nodes[-1].op.weight
        assert got.dtype == np.float32
        return got[0].tolist()

    assert rounded(0.3, -0.7, 1.0) == [0.25, -0.75, 1.0]
    assert rounded(0.99, -0.99, 0.0625, 0.0) == [0.875, -1.0, 0.0, 0.0]


@pytest.fixture
def shipping(
    scripts: Any, few: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Any:
    """The script, with an empty folder of weights."""
    ship = scripts("ship")
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "networks.json").write_text('{"files": {}}')
    monkeypatch.setattr(ship, "WEIGHTS", folder)
    monkeypatch.setattr(ship, "INEXACT", {"cifar10": (3, 4)})
    return ship


ABOUT = {
    "data": "cifar10",
    "data_sha256": {"train": "0" * 64, "test": "0" * 64},
    "recipe": {"seed": 7, "epochs": 50},
    "hours": 1.5,
    "selection": "last epoch",
}
"""What the first networks say of themselves."""


def small(about: dict[str, Any]) -> Network:
    weight = np.random.default_rng(5).normal(0, 1, (10, 3 * 32 * 32))
    ann = linear(weight.astype(np.float32), (3, 32, 32))
    return dataclasses.replace(ann, provenance=about)


def test_a_network_is_taken_in_with_what_is_known_of_it(
    shipping: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path
) -> None:
    path = tmp_path / "resnet20_cifar10_qcfs4.h5"
    listed = shipping.WEIGHTS / "networks.json"

    def shipped(about: dict[str, Any], *more: str) -> dict[str, Any]:
        io.save(small(about), path, force=True)
        monkeypatch.setattr(sys, "argv", ["ship.py", str(path), *more])
        shipping.main()
        entry = json.loads(listed.read_text())["files"][path.name]
        written = shipping.WEIGHTS / path.name
        assert entry["sha256"] == hashlib.sha256(written.read_bytes()).hexdigest()
        about = io.load_ann(written).provenance
        assert about["correct"] == entry["correct"]
        return entry

    entry = shipped(ABOUT)
    right = ann_predictions(small(ABOUT), datasets.load("cifar10", "test"))
    right = right == datasets.load("cifar10", "test").labels
    assert (entry["correct"], entry["images"]) == (right.sum(), 20)
    exact = (right.sum() - right[[3, 4]].sum(), 18)
    assert (entry["correct_exact"], entry["images_exact"]) == exact
    assert (entry["seed"], entry["epochs"], entry["hours"]) == (7, 50, 1.5)
    assert not {"machine", "unlike_pytorch", "bits", "origin"} & entry.keys()
    manifest = json.loads(listed.read_text())
    manifest["files"][path.name]["machine"] = "an old one"
    listed.write_text(json.dumps(manifest))
    assert shipped(ABOUT)["machine"] == "an old one"
    here = [{"processor": "Abacus", "threads": 2, "gpu": None}]
    entry = shipped({**ABOUT, "machine": here, "unlike_pytorch": 0}, "--bits", "6")
    assert (entry["machine"], entry["unlike_pytorch"]) == (here, 0)
    assert (entry["bits"], entry["correct_before"]) == (6, right.sum())


def test_what_cannot_be_taken_in_is_said_in_one_line(
    shipping: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path
) -> None:
    path = tmp_path / "resnet20_cifar10_qcfs4.h5"
    path.write_text("no network")
    code, said = ended(shipping, monkeypatch, capsys, path)
    assert code == 2
    assert said.startswith("ship.py: error: ")
    assert said.count("\n") == 1
    assert ended(shipping, monkeypatch, capsys, tmp_path / "absent.h5")[0] == 2
    io.save(small({}), path, force=True)
    code, said = ended(shipping, monkeypatch, capsys, path)
    assert code == 2
    assert "give --data" in said
    code, said = ended(shipping, monkeypatch, capsys, path, "--data", "cifar10")
    assert code == 2
    assert "--origin" in said
    code, said = ended(shipping, monkeypatch, capsys, path, "--bits", 1)
    assert code == 2
    assert "expected at least 2" in said
