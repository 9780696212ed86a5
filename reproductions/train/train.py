"""Train a network by a recipe and export it for refsnn.

``python reproductions/train/train.py reproductions/train/recipes/NAME.toml --out DIR``
needs the extra ``torch`` and the data set (``refsnn data fetch``). It writes
``DIR/NAME.pt``, a checkpoint after every epoch from which the same command goes on,
``DIR/NAME.log`` and, at the end, ``DIR/NAME.h5``. The last epoch is exported: nothing
is selected on the test split.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from augment import augmented, cutout
from door import guarded
from faster import faster
from machine import has_bfloat16, machine
from recipe import CLASSES, read_recipe
from rich.console import Console
from rich.progress import track
from torch import nn
from torch.nn import functional

import refsnn
from refsnn import architectures, datasets, io
from refsnn.activations import QCFS, Activation, Clip, ReLU
from refsnn.datasets import Images
from refsnn.evaluate import ann_predictions
from refsnn.exchange import from_torch, to_torch
from refsnn.network import Network

NORMALISATION = {  # mean and std of the train splits, as the released codes have them
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
}

UNLIKE = 0.005
"""Share of the test images that refsnn and PyTorch may predict differently."""


def activation(recipe: dict[str, Any]) -> Activation:
    """Make the untrained activation of a recipe."""
    kind = recipe["activation"]
    if kind == "relu":
        return ReLU()
    lam = np.float32(recipe["lam"])
    return Clip(lam=lam) if kind == "clip" else QCFS(lam=lam, levels=recipe["levels"])


def untrained(name: str, recipe: dict[str, Any]) -> Network:
    """Build the network of a recipe."""
    mean, std = NORMALISATION[recipe["data"]]
    network = architectures.build(
        recipe["architecture"],
        classes=CLASSES[recipe["data"]],
        input_shape=architectures.CIFAR,
        activation=activation(recipe),
        mean=mean,
        std=std,
        seed=recipe["seed"],
    )
    return replace(network, name=name)


class Batches:
    """Augmented batches of an epoch, prepared one ahead of their use."""

    def __init__(self, network: Network, train: Images, recipe: dict[str, Any]) -> None:
        self.network, self.train, self.recipe = network, train, recipe

    def __call__(self, epoch: int) -> Any:
        """Yield the batches of an epoch; they depend on the seed and the epoch only."""
        batch = self.recipe["batch"]
        order = np.random.default_rng([self.recipe["seed"], epoch])
        order = order.permutation(len(self.train.labels))
        starts = range(0, len(order) - batch + 1, batch)
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(self._batch, epoch, order[:batch])
            for start in starts:
                ready = future.result()
                following = order[start + batch : start + 2 * batch]
                future = pool.submit(self._batch, epoch, following)
                yield ready

    def _batch(self, epoch: int, index: np.ndarray) -> tuple[Any, Any]:
        rng = np.random.default_rng([self.recipe["seed"], epoch, *index[:4]])
        images = augmented(
            self.train.images[index], rng, policy=self.recipe["autoaugment"]
        )
        x = self.network.preprocess(images)
        if self.recipe["cutout"]:
            x = cutout(x, rng, self.recipe["cutout"])
        labels = torch.from_numpy(self.train.labels[index].astype(np.int64))
        return torch.from_numpy(x), labels


def logits_of(net: nn.Module, network: Network, data: Images, device: str) -> Any:
    """Evaluate a module in float32."""
    net.eval()
    parts = []
    with torch.no_grad():
        for start in range(0, len(data.labels), 500):
            x = network.preprocess(data.images[start : start + 500])
            parts.append(net(torch.from_numpy(x).to(device)).cpu().numpy())
    return np.concatenate(parts)


class Training:
    """A network in training; `step` is one epoch, `save` and `resume` a checkpoint."""

    def __init__(self, name: str, recipe: dict[str, Any], device: str) -> None:
        self.recipe, self.device = recipe, device
        self.bfloat16 = has_bfloat16(device)
        self.network = untrained(name, recipe)
        self.train = datasets.load(recipe["data"], "train")
        self.test = datasets.load(recipe["data"], "test")
        self.batches = Batches(self.network, self.train, recipe)
        self.net = to_torch(self.network).to(device)
        self.net = self.net.to(memory_format=torch.channels_last)
        if device == "cpu":
            faster(self.net, self.network)
        self.optimiser = torch.optim.SGD(
            self.net.parameters(),
            lr=recipe["learning_rate"],
            momentum=0.9,
            weight_decay=recipe["weight_decay"],
            nesterov=True,
            fused=True,
        )
        self.steps = len(self.train.labels) // recipe["batch"]
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser,
            recipe["learning_rate"],
            total_steps=recipe["epochs"] * self.steps,
            pct_start=0.2,
            cycle_momentum=False,
        )
        self.epoch, self.seconds = 0, 0.0
        self.machines: list[dict[str, Any]] = []

    def step(self) -> float:
        """Train an epoch; return the mean loss."""
        clock = time.perf_counter()
        gpu = torch.cuda.get_device_name() if self.device == "cuda" else None
        here = machine(torch.get_num_threads(), gpu, self.bfloat16)
        if here not in self.machines:
            self.machines.append(here)
        self.net.train()
        total = 0.0
        count = 0
        watched = track(
            self.batches(self.epoch),
            description=f"epoch {self.epoch + 1}",
            total=self.steps,
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        for x, y in watched:
            images = x.to(self.device, memory_format=torch.channels_last)
            with torch.autocast(self.device, torch.bfloat16, self.bfloat16):
                logits = self.net(images)
            loss = functional.cross_entropy(logits.float(), y.to(self.device))
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            self.optimiser.step()
            self.schedule.step()
            total += loss.item()
            count += 1
        self.epoch += 1
        self.seconds += time.perf_counter() - clock
        return total / count

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        state = {
            "net": self.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "epoch": self.epoch,
            "seconds": self.seconds,
            "machines": self.machines,
            "recipe": self.recipe,
        }
        whole = BytesIO()
        torch.save(state, whole)
        io.write_atomically(path, whole.getvalue())

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint of the same recipe."""
        state = torch.load(path, weights_only=True, map_location=self.device)
        if state["recipe"] != self.recipe:
            sys.exit(f"{path} was made by another recipe; choose another --out")
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.epoch, self.seconds = state["epoch"], state["seconds"]
        self.machines = state.get("machines", [])  # older checkpoints have none

    def export(self, path: Path) -> dict[str, Any]:
        """Write the network, compare its predictions with PyTorch's, tell of both."""
        net = to_torch(self.network)
        net.load_state_dict(self.net.state_dict())
        example = torch.from_numpy(self.network.preprocess(self.test.images[:4]))
        mean, std = self.network.mean, self.network.std
        ann = from_torch(net, example, name=self.network.name, mean=mean, std=std)
        foreign = logits_of(net, ann, self.test, "cpu").argmax(axis=1)
        ours = ann_predictions(ann, self.test)
        about = {
            "data": self.recipe["data"],
            "data_sha256": {d.split: d.sha256 for d in (self.train, self.test)},
            "recipe": self.recipe,
            "script": "reproductions/train/train.py",
            "selection": "last epoch; the test split was not looked at",
            "correct": int((ours == self.test.labels).sum()),
            "images": len(ours),
            "unlike_pytorch": int((ours != foreign).sum()),
            "hours": round(self.seconds / 3600, 3),
            "machine": self.machines,
            "versions": {"refsnn": refsnn.__version__, "torch": torch.__version__},
        }
        io.save(replace(ann, provenance=about), path, force=True)
        return about


def _exported(about: dict[str, Any], report: Callable[..., None]) -> None:
    """Report an export; leave if refsnn does not compute what PyTorch does."""
    unlike, images = about["unlike_pytorch"], about["images"]
    report(
        export=f"{about['correct']} of {images} correct; {unlike} predictions unlike "
        "PyTorch's"
    )
    if unlike > UNLIKE * images:
        sys.exit(
            f"{unlike} of {images} predictions of the exported network are unlike "
            f"PyTorch's, more than {UNLIKE:.1%}: do not use it. It is not the network "
            "that was trained, or rounding decides too much in it."
        )


def main() -> None:
    """Train, evaluate once at the end, export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path, help="a TOML file, see README.md here")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of checkpoint, log and network"
    )
    parser.add_argument(
        "--epochs", type=int, help="stop after so many in this call; it can go on"
    )
    given = parser.parse_args()
    if given.epochs is not None and given.epochs < 1:
        parser.error(f"--epochs {given.epochs}: expected at least 1")
    recipe = read_recipe(given.recipe)
    name = given.recipe.stem
    given.out.mkdir(parents=True, exist_ok=True)
    checkpoint = given.out / f"{name}.pt"
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(recipe["seed"])
    training = Training(name, recipe, device)
    if checkpoint.exists():
        training.resume(checkpoint)
    last = min(recipe["epochs"], training.epoch + (given.epochs or recipe["epochs"]))
    with (given.out / f"{name}.log").open("a") as log:

        def report(**line: Any) -> None:
            text = json.dumps({"epoch": training.epoch, **line})
            print(text, flush=True)
            print(text, file=log, flush=True)

        while training.epoch < last:
            loss = training.step()
            training.save(checkpoint)
            report(loss=round(loss, 4), hours=round(training.seconds / 3600, 3))
        if training.epoch == recipe["epochs"]:
            _exported(training.export(given.out / f"{name}.h5"), report)


if __name__ == "__main__":
    guarded(main)
