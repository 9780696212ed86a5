"""PyTorch models become networks that compute the same. Needs the extra torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nets import random_net

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: models of PyTorch are left out"
)

from torch import nn  # noqa: E402 - behind the check above
from torch.nn import functional  # noqa: E402

from refsnn import architectures, io  # noqa: E402
from refsnn.activations import QCFS, Clip, ReLU  # noqa: E402
from refsnn.convert import need_fit  # noqa: E402
from refsnn.errors import ConversionError  # noqa: E402
from refsnn.exchange import from_torch, to_torch  # noqa: E402
from refsnn.exchange.torch_activations import recognised  # noqa: E402
from refsnn.run import run_ann  # noqa: E402

ACTIVATIONS = [
    ReLU(),
    Clip(lam=np.float32(3)),
    QCFS(lam=np.float32(2), levels=4),
    QCFS(lam=np.float32(1.3), levels=8),
]


class Quantised(nn.Module):
    """QCFS as published: clamp, floor with the shift 1/2, times the threshold."""

    def __init__(self, clip: float, levels: int, T: int = 0) -> None:
        super().__init__()
        self.thresh = nn.Parameter(torch.tensor([clip]))
        self.L, self.T = levels, T
        self.helper = nn.Module()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.T > 0:
            return torch.stack([x / self.T] * self.T)
        x = torch.clamp(x / self.thresh, 0, 1)
        return torch.floor(x * self.L + 0.5) / self.L * self.thresh


class TwoRectifiers(nn.Module):
    """The trainable clipping layer, written with two rectifiers."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Parameter(torch.tensor([4.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.up - functional.relu(self.up - functional.relu(x))


class Through(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.factor * x)


def test_activations_are_recognised_by_what_they_compute() -> None:
    found = recognised(Quantised(1.5, 4))
    assert isinstance(found, QCFS)
    assert (found.lam, found.levels) == (1.5, 4)
    clip = recognised(TwoRectifiers())
    assert isinstance(clip, Clip)
    assert clip.lam == 4
    assert recognised(Through()) == "identity"
    assert recognised(Scaled()) is None
    assert recognised(Quantised(1.5, 4, T=8)) is None  # in spiking mode
    assert recognised(nn.Softplus()) is None


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            Quantised(2.0, 4),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                nn.BatchNorm2d(outputs),
            )
        self.act = Quantised(2.5, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.residual(x) + self.shortcut(x))


class ResNet18(nn.Module):
    """ResNet-18 for CIFAR as described in the QCFS paper: 64-128-256-512."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 3, padding=1, bias=False),
            nn.BatchNorm2d(64),
            Quantised(2.0, 4),
        )
        blocks = []
        inputs = 64
        for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
            blocks += [Block(inputs, width, stride), Block(width, width, 1)]
            inputs = width
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(512, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.blocks(self.stem(x)))
        return self.fc(x.view(x.size(0), -1))


def trained(model: nn.Module) -> nn.Module:
    """Give batch norms statistics that are not those of the identity."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.bias):
                nn.init.normal_(tensor, 0, 0.3)
            for tensor in (module.running_var, module.weight):
                nn.init.uniform_(tensor, 0.5, 1.5)
    return model


def test_resnet18_with_qcfs() -> None:
    torch.manual_seed(0)
    model = trained(ResNet18())
    x = torch.randn(4, 3, 32, 32)
    ann = from_torch(model, x, name="resnet18")
    same = architectures.build("resnet18", classes=10)
    assert (ann.parameters, ann.macs()) == (same.parameters, same.macs())
    assert model.training  # the model itself is left as it was
    need_fit(ann, "qcfs")
    with torch.no_grad():
        want = model.double().eval()(x.double()).numpy()
    got = run_ann(ann, x.numpy())
    assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()
    assert {node.op.levels for node in ann.activations} == {4}


@pytest.mark.parametrize("act", ACTIVATIONS, ids=lambda act: act.op)
@pytest.mark.parametrize("name", ["resnet20-a", "resnet20", "mobilenet"])
def test_there_and_back_gives_equal_content(name: str, act: Any) -> None:
    shape = (3, 32, 32)
    ann = architectures.build(name, classes=10, activation=act, input_shape=shape)
    back = from_torch(
        to_torch(ann), torch.randn(2, *shape), name=name, provenance=ann.provenance
    )
    assert io.content_sha256(back) == io.content_sha256(ann)


@pytest.mark.parametrize("seed", range(3))
def test_random_networks_there_and_back(seed: int) -> None:
    ann = random_net(seed, lambda lam: Clip(lam=lam))
    x = torch.randn(2, *ann.input_shape, dtype=torch.float64)
    back = from_torch(to_torch(ann), x)
    assert [n.op.op for n in back.nodes] == [n.op.op for n in ann.nodes]
    assert (run_ann(back, x.numpy()) == run_ann(ann, x.numpy())).all()


class Functional(nn.Module):
    """Functions, a reused rectifier, an option-A shortcut, padding 'same'."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 4, padding="same")
        self.conv2 = nn.Conv2d(4, 8, 3, stride=2, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.weight = nn.Parameter(torch.randn(6, 8, 1, 1))
        self.fc = nn.Linear(6 * 2 * 2, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.conv1(x))
        y = self.conv2(functional.dropout(x, training=self.training))
        short = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2), "constant", 0)
        y += short
        x = self.relu(y)
        x = torch.clamp(functional.conv2d(x, self.weight), 0, 0.8)
        x = functional.avg_pool2d(x, 2)
        return self.fc(torch.flatten(x, 1))


@pytest.mark.filterwarnings("ignore:Using padding='same'")  # its cost in PyTorch
def test_functions_methods_and_option_a() -> None:
    torch.manual_seed(1)
    ann = from_torch(Functional(), torch.randn(3, 3, 8, 8))
    assert [node.op.op for node in ann.nodes] == [
        "input",
        "conv2d",
        "relu",
        "conv2d",
        "conv2d",
        "add",
        "relu",
        "conv2d",
        "clip",
        "avgpool",
        "flatten",
        "linear",
    ]
    assert ann["conv1"].op.padding == (1, 1, 2, 2)
    need_fit(ann, "max-norm")


class Unsuitable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")
        self.act = nn.GELU()
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        self.fc = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.act(self.conv(x)))
        return torch.sigmoid(self.fc(x.mean((2, 3))))


def test_every_layer_without_counterpart_is_listed() -> None:
    with pytest.raises(ConversionError) as error:
        from_torch(Unsuitable(), torch.randn(1, 3, 8, 8))
    text = str(error.value)
    assert "4 layers without a counterpart" in text
    for part in (
        "conv (Conv2d): padding mode reflect",
        "act (GELU): computes no layer or activation in scope",
        "pool (MaxPool2d): padding in pooling",
        "sigmoid (sigmoid): no layer in scope",
    ):
        assert part in text


class Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3)) if x.sum() > 0 else x.sum((2, 3))


def test_control_flow_on_values_is_refused() -> None:
    with pytest.raises(ConversionError, match=r"torch\.fx can trace"):
        from_torch(Branching(), torch.randn(1, 3, 4, 4))


@pytest.mark.filterwarnings("ignore:Using padding='same'")  # its cost in PyTorch
def test_a_wrong_translation_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from refsnn.exchange import torch_layers

    wrong = {**torch_layers.MODULES, nn.ReLU: lambda at, m: Clip(lam=np.array(0.1))}
    monkeypatch.setattr("refsnn.exchange.torch_graph.MODULES", wrong)
    with pytest.raises(ConversionError, match="logits that differ by"):
        from_torch(Functional(), torch.randn(2, 3, 8, 8))
