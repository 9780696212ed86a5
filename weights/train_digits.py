"""Train the three digits networks that refsnn ships, and write the data they use.

Needs the extra ``torch``: ``pip install '.[torch]'``, then
``python weights/train_digits.py``. It replaces the files beside it and takes about a
minute on one core. The last epoch is kept: nothing is selected on the test split.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import sklearn
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional

import refsnn
from refsnn import io
from refsnn.activations import QCFS, Activation, Clip, ReLU
from refsnn.layers import Add, AvgPool, BatchNorm, Conv2d, Flatten, Input, Linear
from refsnn.network import Network, Node
from refsnn.run import run_ann

SEED = 2025
EPOCHS = 80
BATCH = 32
LEARNING_RATE = 0.05
WEIGHT_DECAY = 5e-4
LEVELS = 4
TEST_IMAGES = 450
DATA_LICENCE = "CC BY 4.0"
DATA_SOURCE = (
    "Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI Machine "
    "Learning Repository, doi:10.24432/C50P49; as scikit-learn ships it (pixels 0..16)"
)
RECIPE = (
    f"SGD, momentum 0.9, learning rate {LEARNING_RATE} with cosine decay, weight decay "
    f"{WEIGHT_DECAY}, batch {BATCH}, shifts of up to one pixel; weights/train_digits.py"
)


class TrainedQCFS(nn.Module):
    """QCFS with a learned clip (Bu et al., ICLR 2022), straight through the floor."""

    def __init__(self) -> None:
        super().__init__()
        self.lam = nn.Parameter(torch.tensor(4.0))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        level = z / self.lam * LEVELS + 0.5
        level = level + (level.floor() - level).detach()
        return self.lam * torch.clamp(level / LEVELS, 0, 1)

    def exported(self) -> Activation:
        return QCFS(lam=self.lam.detach().numpy(), levels=LEVELS)


class TrainedClip(nn.Module):
    """Learned clip without levels (TCL, Ho and Chang, DAC 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.lam = nn.Parameter(torch.tensor(4.0))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.minimum(functional.relu(z), self.lam)

    def exported(self) -> Activation:
        return Clip(lam=self.lam.detach().numpy())


class TrainedReLU(nn.ReLU):
    """Rectifier."""

    def exported(self) -> Activation:
        return ReLU()


ACTIVATIONS = {"qcfs": TrainedQCFS, "clip": TrainedClip, "relu": TrainedReLU}


class DigitsNet(nn.Module):
    """Convolution, one residual block, convolution, linear; two average poolings."""

    def __init__(self, activation: type[nn.Module]) -> None:
        super().__init__()

        def conv(inputs: int, outputs: int) -> nn.Conv2d:
            return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)

        self.conv1, self.bn1, self.act1 = conv(1, 16), nn.BatchNorm2d(16), activation()
        self.conv2, self.bn2, self.act2 = conv(16, 16), nn.BatchNorm2d(16), activation()
        self.conv3, self.bn3, self.act3 = conv(16, 16), nn.BatchNorm2d(16), activation()
        self.conv4, self.bn4, self.act4 = conv(16, 32), nn.BatchNorm2d(32), activation()
        self.fc = nn.Linear(32 * 2 * 2, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act1(self.bn1(self.conv1(x)))
        branch = self.bn3(self.conv3(self.act2(self.bn2(self.conv2(x)))))
        x = functional.avg_pool2d(self.act3(branch + x), 2)
        x = functional.avg_pool2d(self.act4(self.bn4(self.conv4(x))), 2)
        return self.fc(x.flatten(1))


def exported(net: DigitsNet, name: str, mean: float, std: float) -> Network:
    """Return the trained network as a refsnn graph."""

    def array(tensor: torch.Tensor) -> np.ndarray:
        return tensor.detach().numpy().copy()

    def unit(index: int) -> tuple[Conv2d, BatchNorm, Activation]:
        conv, bn, act = (
            getattr(net, f"{kind}{index}") for kind in ("conv", "bn", "act")
        )
        return (
            Conv2d(weight=array(conv.weight), padding=(1, 1)),
            BatchNorm(
                gamma=array(bn.weight),
                beta=array(bn.bias),
                mean=array(bn.running_mean),
                var=array(bn.running_var),
                eps=bn.eps,
            ),
            act.exported(),
        )

    (c1, b1, a1), (c2, b2, a2), (c3, b3, a3), (c4, b4, a4) = map(unit, range(1, 5))
    fc = Linear(weight=array(net.fc.weight), bias=array(net.fc.bias))
    layers = [
        ("input", Input(), ()),
        ("conv1", c1, ("input",)),
        ("bn1", b1, ("conv1",)),
        ("act1", a1, ("bn1",)),
        ("conv2", c2, ("act1",)),
        ("bn2", b2, ("conv2",)),
        ("act2", a2, ("bn2",)),
        ("conv3", c3, ("act2",)),
        ("bn3", b3, ("conv3",)),
        ("add3", Add(), ("bn3", "act1")),
        ("act3", a3, ("add3",)),
        ("pool3", AvgPool(kernel=(2, 2), stride=(2, 2)), ("act3",)),
        ("conv4", c4, ("pool3",)),
        ("bn4", b4, ("conv4",)),
        ("act4", a4, ("bn4",)),
        ("pool4", AvgPool(kernel=(2, 2), stride=(2, 2)), ("act4",)),
        ("flatten", Flatten(), ("pool4",)),
        ("fc", fc, ("flatten",)),
    ]
    return Network(
        name=name,
        input_shape=(1, 8, 8),
        classes=10,
        mean=np.array([mean]),
        std=np.array([std]),
        nodes=tuple(Node(name=n, op=op, inputs=inputs) for n, op, inputs in layers),
    )


def shifted(x: torch.Tensor) -> torch.Tensor:
    """Move each image by -1, 0 or 1 pixel in both directions."""
    padded = functional.pad(x, (1, 1, 1, 1), value=float(x.min()))
    rows, columns = torch.randint(0, 3, (2, len(x))).tolist()
    return torch.stack(
        [
            p[:, i : i + 8, j : j + 8]
            for p, i, j in zip(padded, rows, columns, strict=True)
        ]
    )


def train(net: DigitsNet, x: torch.Tensor, y: torch.Tensor) -> None:
    """Train in place for EPOCHS epochs."""
    optimiser = torch.optim.SGD(
        net.parameters(), lr=LEARNING_RATE, momentum=0.9, weight_decay=WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS)
    for _ in range(EPOCHS):
        net.train()
        for batch in torch.randperm(len(x)).split(BATCH):
            if len(batch) < BATCH:
                continue
            optimiser.zero_grad()
            loss = functional.cross_entropy(net(shifted(x[batch])), y[batch])
            loss.backward()
            optimiser.step()
        schedule.step()
    net.eval()


def file_sha256(path: Path) -> str:
    """Hash a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    """Write data, networks and manifest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    out: Path = parser.parse_args().out
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)

    digits = load_digits()
    images = digits.images.astype(np.uint8)[:, None]
    split = train_test_split(
        images,
        digits.target.astype(np.uint8),
        test_size=TEST_IMAGES,
        stratify=digits.target,
        random_state=SEED,
    )
    train_images, test_images, train_labels, test_labels = split
    files: dict[str, dict[str, object]] = {}
    data = {"train": (train_images, train_labels), "test": (test_images, test_labels)}
    for name, (x, y) in data.items():
        path = out / f"digits_{name}.h5"
        io.save_images(x, y, path, force=True)
        files[path.name] = {
            "sha256": file_sha256(path),
            "data": DATA_SOURCE,
            "images": len(x),
            "seed": SEED,
            "selection": "stratified split, sklearn.model_selection.train_test_split",
            "licence": DATA_LICENCE,
        }

    mean = float(train_images.mean() / 255)
    std = float(train_images.std() / 255)
    for kind, activation in ACTIVATIONS.items():
        torch.manual_seed(SEED)
        net = DigitsNet(activation)
        ann = exported(net, f"digits_{kind}", mean, std)
        x = torch.from_numpy(ann.preprocess(train_images))
        train(net, x, torch.from_numpy(train_labels.astype(np.int64)))
        ann = exported(net, f"digits_{kind}", mean, std)

        x_test = ann.preprocess(test_images)
        with torch.no_grad():
            foreign = net(torch.from_numpy(x_test)).argmax(1).numpy()
        ours = run_ann(ann, x_test).argmax(1)
        correct = int((ours == test_labels).sum())
        accuracy = correct / len(test_labels)
        print(
            f"{ann.name}: {correct} of {len(test_labels)} images ({accuracy:.2%}); "
            f"{int((ours != foreign).sum())} predictions differ from PyTorch's"
        )
        about = {
            "data": "digits",
            "recipe": RECIPE,
            "seed": SEED,
            "epochs": EPOCHS,
            "accuracy": round(accuracy, 6),
        }
        versions = {
            "refsnn": refsnn.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "scikit-learn": sklearn.__version__,
        }
        provenance = {
            **about,
            "script": "weights/train_digits.py",
            "versions": versions,
        }
        path = out / f"digits_{kind}.h5"
        ann = dataclasses.replace(ann, provenance=provenance)
        io.save(ann, path, force=True)
        files[path.name] = {
            "sha256": file_sha256(path),
            **about,
            "licence": "BSD-3-Clause",
            "selection": "last epoch; the test split was not looked at",
        }
    text = json.dumps({"files": files}, indent=2) + "\n"
    io.write_atomically(out / "manifest.json", text.encode())


if __name__ == "__main__":
    main()
