"""PyTorch models become networks that compute the same. Needs the extra torch."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
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
from refsnn.errors import ConversionError, DataError, RefsnnError  # noqa: E402
from refsnn.exchange import from_torch as imported  # noqa: E402
from refsnn.exchange import read_state_dict, to_torch  # noqa: E402
from refsnn.exchange.torch_activations import recognised  # noqa: E402
from refsnn.exchange.torch_modules import ClipModule, QCFSModule  # noqa: E402
from refsnn.layers import Input, Linear  # noqa: E402
from refsnn.network import Network, Node  # noqa: E402
from refsnn.run import run_ann  # noqa: E402


def from_torch(model: nn.Module, example: Any, **how: Any) -> Any:
    """Import a model of pixels as they are, unless said otherwise."""
    C = example.shape[1]
    return imported(model, example, **{"mean": np.zeros(C), "std": np.ones(C), **how})


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


class Computes(nn.Module):
    """Any function of the input, a clip in a parameter or as a number, and levels."""

    def __init__(self, function: Callable, clip: Any, levels: int = 4) -> None:
        super().__init__()
        self.function, self.clip, self.L = function, clip, levels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x, self.clip, self.L)


def rounded(x: torch.Tensor, clip: Any, L: int) -> torch.Tensor:
    return clip * torch.clamp(torch.floor(x / clip * L + 0.5) / L, 0, 1)


@pytest.mark.parametrize("levels", [3, 4, 6, 32])
@pytest.mark.parametrize("clip", [1.5, 0.1, 2.71828, 8.0])
def test_qcfs_is_recognised_however_it_is_written(clip: float, levels: int) -> None:
    parameter = nn.Parameter(torch.tensor([clip]))
    for module, lam in (
        (Quantised(clip, levels), np.float32(clip)),
        (Computes(rounded, parameter, levels), np.float32(clip)),
        (Computes(rounded, clip, levels), clip),
    ):
        found = recognised(module)
        assert isinstance(found, QCFS)
        assert (found.lam, found.levels) == (lam, levels)


def test_activations_are_recognised_by_what_they_compute() -> None:
    for module, lam in (
        (TwoRectifiers(), 4),
        (Computes(lambda x, clip, L: x.clamp(0, clip), 0.1), 0.1),
        (Computes(lambda x, clip, L: x.relu().clamp(max=clip), 6), 6),
    ):
        clip = recognised(module)
        assert isinstance(clip, Clip)
        assert clip.lam == lam
    bounds = nn.Parameter(torch.tensor([1.0, 2.0, 0.5, 3.0]).reshape(1, 4, 1, 1))
    found = recognised(Computes(lambda x, clip, L: x.relu().minimum(clip), bounds))
    assert isinstance(found, Clip)
    assert found.lam.tolist() == [1.0, 2.0, 0.5, 3.0]
    assert recognised(Through()) == "identity"
    assert recognised(Scaled()) is None
    assert recognised(Quantised(1.5, 4, T=8)) is None  # in spiking mode
    assert recognised(nn.Softplus()) is None


UNLIKE = {
    "halves to even": lambda x, clip, L: (
        clip * torch.clamp(torch.round(x / clip * L) / L, 0, 1)
    ),
    "halves down": lambda x, clip, L: (
        clip * torch.clamp(torch.ceil(x / clip * L - 0.5) / L, 0, 1)
    ),
    "samples reversed": lambda x, clip, L: x.flip(0),
    "channels reversed": lambda x, clip, L: x.flip(1),
    "rows reversed": lambda x, clip, L: x.flip(2),
    "columns reversed": lambda x, clip, L: x.flip(3),
    "a running sum of rows": lambda x, clip, L: x.cumsum(2),
    "a running sum of columns": lambda x, clip, L: x.cumsum(3),
    "a softmax over samples": lambda x, clip, L: x * x.softmax(0),
    "a softmax over channels": lambda x, clip, L: x * x.softmax(1),
    "a softmax over columns": lambda x, clip, L: x * x.softmax(3),
    "rectified, channels reversed": lambda x, clip, L: x.relu().flip(1),
}


@pytest.mark.parametrize("clip", [1.0, 1.3])
@pytest.mark.parametrize("name", UNLIKE)
def test_what_computes_something_else_is_not_recognised(name: str, clip: float) -> None:
    parameter = nn.Parameter(torch.tensor([clip]))
    assert recognised(Computes(UNLIKE[name], parameter)) is None


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


def classifier(*layers: nn.Module) -> nn.Module:
    """A convolution, layers that keep its shape, and a linear layer."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), *layers, nn.Flatten(), nn.Linear(256, 2)
    )


ANOTHER = "train with ReLU or a clip"
NORMED = "train with batch normalisation"
OUT_OF_SCOPE = {
    "gelu": (nn.GELU(), ANOTHER),
    "silu": (nn.SiLU(), ANOTHER),
    "leaky": (nn.LeakyReLU(), ANOTHER),
    "prelu": (nn.PReLU(), ANOTHER),
    "group norm": (nn.GroupNorm(2, 4), NORMED),
    "instance norm": (nn.InstanceNorm2d(4), NORMED),
    "softmax": (nn.Softmax(1), "leave it out, the largest logit is the same"),
    "transposed": (nn.ConvTranspose2d(4, 4, 1), None),
    "function": (Computes(lambda x, *_: functional.silu(x), 1.0), ANOTHER),
    "sigmoid": (Computes(lambda x, *_: x.sigmoid(), 1.0), ANOTHER),
    "norm": (Computes(lambda x, *_: functional.group_norm(x, 2), 1.0), NORMED),
}


@pytest.mark.parametrize("name", OUT_OF_SCOPE)
def test_layers_out_of_scope_have_remedies(name: str) -> None:
    layer, remedy = OUT_OF_SCOPE[name]
    with pytest.raises(ConversionError) as error:
        from_torch(classifier(layer), torch.randn(1, 3, 8, 8))
    text = str(error.value)
    assert "1 layers without a counterpart" in text
    assert "layers that are input, conv2d, linear, batchnorm, relu, clip" in text
    for sentence in {ANOTHER, NORMED, "the largest logit"} - {remedy}:
        assert (sentence in text) == (sentence in (remedy or ""))
    assert (remedy or "add only") in text
    assert "spiking mode" not in text


def test_spiking_mode_is_named_where_it_is_on() -> None:
    for layer, want in (
        (Quantised(1.5, 4, T=8), r"1 \(T = 8\)"),
        (SpikeOrRectify(), r"1 \(use_spike = True\)"),
    ):
        model = classifier(layer, nn.ReLU(), Quantised(1.5, 4))
        message = f"In spiking mode: {want}; with 0 each is an activation"
        for size in (8, 9):  # the model takes the first, not the second
            with pytest.raises(ConversionError, match=message):
                from_torch(model, torch.randn(1, 3, size, size))


class SpikeOrRectify(nn.Module):
    """A switch, as in the calibration code."""

    def __init__(self) -> None:
        super().__init__()
        self.use_spike = True

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x > 0).to(x.dtype) if self.use_spike else x.relu()


class Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3)) if x.sum() > 0 else x.sum((2, 3))


TRACED = "Control flow that depends on values cannot be traced"


def test_control_flow_on_values_is_refused() -> None:
    with pytest.raises(ConversionError, match=rf"torch\.fx can trace.*{TRACED}"):
        from_torch(Branching(), torch.randn(1, 3, 4, 4))


IMAGES = torch.rand(2, 3, 8, 8)
UNUSABLE = {
    "numpy": (classifier(), IMAGES.numpy(), "numpy.ndarray as example.*a torch.Tensor"),
    "no module": ({"weight": 1}, IMAGES, r"builtins.dict as model.*a torch.nn.Module"),
    "pixels": (classifier(), IMAGES.to(torch.uint8), "uint8.*normalised float32 image"),
    "no batch": (classifier(), IMAGES[0], r"shape \(3, 8, 8\).*example\[None\]"),
    "no image": (classifier(), IMAGES[:0], r"shape \(0, 3, 8, 8\)"),
    "half": (classifier().half(), IMAGES, r"model's dtype, torch.float16, or"),
    "double": (classifier().double(), IMAGES, r"model's dtype, torch.float64, or"),
    "other size": (
        classifier(),
        torch.rand(2, 3, 9, 8),
        "of the size that it was made",
    ),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_unusable_examples_are_refused(name: str) -> None:
    model, example, message = UNUSABLE[name]
    with pytest.raises(RefsnnError, match=message) as error:
        imported(model, example, mean=[0.5] * 3, std=[0.2] * 3)
    assert TRACED not in str(error.value)


def test_a_normalisation_of_pixels_to_255_is_warned_of() -> None:
    std = [51.6] * 3
    with pytest.warns(UserWarning, match=r"51\.6.* divide those of pixels 0 to 255 by"):
        from_torch(classifier(nn.ReLU()), IMAGES, std=std)


def test_a_model_of_half_precision_is_taken() -> None:
    model = classifier(nn.ReLU()).half()
    ann = from_torch(model, IMAGES.half())
    assert (ann["0"].op.weight == model[0].weight.detach().numpy()).all()


class Normalised(nn.Module):
    """Normalises by any function, then classifies."""

    def __init__(self, function: Callable, mean: Any, std: Any) -> None:
        super().__init__()
        self.function = function
        shape = (1, 3, 1, 1)
        self.register_buffer("mean", torch.tensor(mean).reshape(shape))
        self.register_buffer("std", torch.tensor(std).reshape(shape))
        self.net = classifier(nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(self.function(self, x))


USUAL = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
INSIDE = {
    "buffers": (lambda m, x: (x - m.mean) / m.std, USUAL),
    "in place": (lambda m, x: x.clone().sub_(m.mean).div_(m.std), USUAL),
    "indexed": (lambda m, x: (x - m.mean[:, :, :1]) / m.std.view(3, 1, 1), USUAL),
    "folded": (lambda m, x: x * (1 / m.std) + -m.mean / m.std, USUAL),
    "numbers": (lambda m, x: torch.sub(x.float(), 0.5).mul(4), ([0.5] * 3, [0.25] * 3)),
    "from the left": (lambda m, x: 4 * (-0.5 + x), ([0.5] * 3, [0.25] * 3)),
    "two": (lambda m, x: (2 * x - 1 - m.mean) / m.std, None),
}


@pytest.mark.parametrize("name", INSIDE)
def test_normalisation_inside_the_model_is_told_as_mean_and_std(name: str) -> None:
    function, want = INSIDE[name]
    model = Normalised(function, *USUAL)
    with pytest.raises(ConversionError) as error:
        from_torch(model, torch.rand(2, 3, 8, 8))
    text = str(error.value)
    assert "1 layers without a counterpart: " in text
    assert ": normalisation inside the model;" in text
    found = re.findall(r"\[([^]]*)\]", text)
    mean, std = (np.array([float(n) for n in part.split(",")]) for part in found)
    usual = np.array(USUAL)
    two = ((1 + usual[0]) / 2, usual[1] / 2)
    np.testing.assert_allclose((mean, std), want or two, rtol=1e-5)
    # behind pixels that are normalised before: the printed numbers give the same logits
    with pytest.raises(ConversionError) as error:
        from_torch(model, torch.randn(2, 3, 8, 8), mean=[0.1] * 3, std=[0.5] * 3)
    found = re.findall(r"\[([^]]*)\]", str(error.value))
    mean, std = (np.array([float(n) for n in part.split(",")]) for part in found)
    pixels = torch.rand(2, 3, 8, 8)
    ann = from_torch(model.net, pixels, mean=mean, std=std)
    x = ((pixels.numpy() - ann.mean[:, None, None]) / ann.std[:, None, None]).astype(
        "f4"
    )
    with torch.no_grad():
        want = model((pixels - 0.1) / 0.5).numpy()
    np.testing.assert_allclose(run_ann(ann, x), want, atol=1e-4)


class Careful(nn.Module):
    """Looks at its input before it normalises, as transforms of images do."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not isinstance(x, torch.Tensor):
            raise TypeError("no tensor")
        return (x - torch.tensor(USUAL[0])[:, None, None]) / 0.25


def test_normalisation_that_cannot_be_traced_is_told_too() -> None:
    first = (Through(), Computes(lambda x, *_: 2 * x.relu(), 1.0), Branching())
    with pytest.raises(ConversionError, match=rf"{TRACED}.$"):
        from_torch(nn.Sequential(*first), IMAGES)
    model = nn.Sequential(Careful(), classifier(nn.ReLU()))
    want = rf"{TRACED}. 0 \(Careful\) normalises. Give .* mean=\[0.485, 0.456, 0.406\]"
    with pytest.raises(ConversionError, match=rf"{want}, std=\[0.25, 0.25, 0.25\]"):
        from_torch(model, IMAGES)


OTHERS = {
    "a negative gain": lambda m, x: (m.mean - x) / m.std,
    "a quotient": lambda m, x: 1 / (x + 3),
    "a bound": lambda m, x: (x - m.mean).clamp(-9, 9),
    "a picture": lambda m, x: x - torch.linspace(0, 1, 8),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_arithmetic_on_the_image_is_no_normalisation(name: str) -> None:
    with pytest.raises(ConversionError) as error:
        from_torch(Normalised(OTHERS[name], *USUAL), torch.rand(2, 3, 8, 8))
    assert ("Give the normalisation" in str(error.value)) == (name == "a bound")


@pytest.mark.filterwarnings("ignore:Using padding='same'")  # its cost in PyTorch
@pytest.mark.parametrize("example", ["drawn", "zero", "one", "small"])
@pytest.mark.parametrize("wrong", [0.1, 20.0])
def test_a_wrong_translation_would_be_noticed(
    monkeypatch: pytest.MonkeyPatch, wrong: float, example: str
) -> None:
    """Even beyond the example's range, and in logits of any size."""
    from refsnn.exchange import torch_layers

    torch.manual_seed(2)
    shape = (2, 3, 8, 8)
    x = {
        "drawn": torch.randn(shape),
        "zero": torch.zeros(shape),
        "one": torch.ones(shape),
        "small": torch.randn(shape),
    }[example]
    model = Functional()
    if example == "small":
        model.fc.weight.data *= 1e-9
        model.fc.bias.data *= 0
    ann = from_torch(model, x)
    assert [n.op.op for n in ann.nodes].count("relu") == 2
    op = Clip(lam=np.array(wrong))
    changed = {**torch_layers.MODULES, nn.ReLU: lambda at, m: op}
    monkeypatch.setattr("refsnn.exchange.torch_graph.MODULES", changed)
    with pytest.raises(ConversionError, match="logits that differ by"):
        from_torch(model, x)


class Net(nn.Module):
    """A convolution, any function of its output (and of the module), a linear layer."""

    def __init__(self, function: Callable, **parts: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.fc = nn.Linear(8 * 8 * 8, 4)
        self.function = function
        for name, part in parts.items():
            if isinstance(part, torch.Tensor):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.flatten(self.function(self, self.conv(x)), 1))


class Capped(nn.Module):
    def forward(self, x: torch.Tensor, cap: float | None = None) -> torch.Tensor:
        return x.relu() if cap is None else x.clamp(0, cap)


CAPPED = Capped()
CHANNELS = torch.linspace(1, 4, 8)
REFUSED = {
    "keyword": (
        Net(lambda m, x: m.act(x, cap=3.0), act=CAPPED),
        "act (Capped): called with other arguments than layers' outputs",
    ),
    "number": (
        Net(lambda m, x: m.act(x, 3.0), act=CAPPED),
        "act (Capped): called with other arguments than layers' outputs",
    ),
    "bound of columns": (
        Net(
            lambda m, x: torch.clamp(x, m.low, m.top),
            low=torch.tensor(0.0),
            top=CHANNELS,
        ),
        "clamp (clamp): a bound of shape (8,), not one for each of 8 channels",
    ),
    "lower bounds": (
        Net(lambda m, x: torch.clamp(x, m.low), low=-CHANNELS[:, None, None]),
        "clamp (clamp): a lower bound of",
    ),
    "a computed number": (
        Net(lambda m, x: torch.clamp(x, 0, x.max())),
        "clamp (clamp): ",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_arguments_that_a_layer_has_no_place_for(name: str) -> None:
    model, message = REFUSED[name]
    with pytest.raises(ConversionError) as error:
        from_torch(model, 0.1 * torch.randn(2, 3, 8, 8))
    assert f"1 layers without a counterpart: {message}" in str(error.value)


IN_PLACE = {
    "relu_": lambda m, x: x.relu_() + x,
    "function": lambda m, x: functional.relu(x, inplace=True) + x,
    "module": lambda m, x: m.act(x) + x,
    "clamp_": lambda m, x: x.clamp_(0, 1) + x,
    "add_": lambda m, x: x.add_(x.relu()) + x,
    "an argument": lambda m, x: x.clamp_(0, 1).add_(x.relu()),
    "a view": lambda m, x: torch.flatten(x, 1).relu_() + torch.flatten(x, 1),
}


@pytest.mark.parametrize("name", [*IN_PLACE])
def test_what_is_changed_in_place_is_not_read_again(name: str) -> None:
    model = Net(IN_PLACE[name], act=nn.ReLU6(inplace=True))
    x = torch.randn(2, 3, 8, 8)
    with pytest.raises(
        ConversionError, match="conv is changed in place and read again"
    ):
        from_torch(model, x)


def test_what_is_changed_in_place_may_have_been_read_before() -> None:
    model = Net(lambda m, x: m.act(x.relu().add_(x)).relu_(), act=nn.ReLU(True))
    ann = from_torch(model, torch.randn(2, 3, 8, 8))
    assert [n.op.op for n in ann.nodes[2:-2]] == ["relu", "add", "relu", "relu"]


def test_neither_model_nor_example_is_changed() -> None:
    model = nn.Sequential(
        nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(12, 3)
    ).double()
    x = torch.randn(2, 3, 2, 2, dtype=torch.float64)
    before = x.clone()
    with torch.inference_mode():
        from_torch(model, x)
    assert torch.equal(x, before)
    assert model.training


def test_bounds_of_channels_are_clips() -> None:
    low = torch.zeros(8, 1, 1)
    for top, want in ((CHANNELS[:, None, None], CHANNELS), (torch.tensor(2.0), 2.0)):
        net = Net(lambda m, x: torch.clamp(x, m.low, m.top), low=low, top=top)
        net.top = nn.Parameter(net._buffers.pop("top"))
        (node,) = from_torch(net, torch.randn(2, 3, 8, 8)).activations
        assert np.array_equal(node.op.lam, np.asarray(want, dtype=np.float32))


def test_tensors_that_are_neither_parameters_nor_buffers() -> None:
    def function(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(torch.relu(input=x), m.kernel, padding=1)

    net = Net(function)
    net.kernel = torch.randn(8, 8, 3, 3)
    ann = from_torch(net, torch.randn(2, 3, 8, 8))
    assert ann["conv2d"].op.weight.dtype == np.float32
    assert len(ann.activations) == 1


def test_a_linear_layer_of_maps_is_refused() -> None:
    nodes = (
        Node(name="input", op=Input()),
        Node(name="fc", op=Linear(weight=np.ones((3, 4))), inputs=("input",)),
    )
    about = {"mean": np.zeros(1), "std": np.ones(1), "classes": 3}
    ann = Network(name="n", input_shape=(1, 1, 4), nodes=nodes, **about)
    with pytest.raises(ConversionError, match="Put a flatten in front"):
        to_torch(ann)


def test_strides_of_one_number() -> None:
    net = Net(
        lambda m, x: functional.conv2d(x, m.weight, None, (1,), padding=[1]),
        weight=torch.randn(8, 8, 3, 3),
    )
    ann = from_torch(net, torch.randn(2, 3, 8, 8))
    assert ann["conv2d"].op.padding == (1, 1)


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
def test_weights_made_by_hooks() -> None:
    """Hooks are refused; those that only make the weight may stay."""
    utils, x = nn.utils, torch.randn(2, 3, 8, 8)
    for hook in ("register_forward_hook", "register_forward_pre_hook"):
        model = Net(lambda m, x: x.relu())
        getattr(model.conv, hook)(lambda *_: None)
        with pytest.raises(ConversionError, match=r"conv \(Conv2d\): a forward hook"):
            from_torch(model, x)
    model = Net(lambda m, x: x.relu())
    utils.spectral_norm(model.conv)
    assert from_torch(model, x)["conv"].op.weight.shape == (8, 3, 3, 3)
    model = Net(lambda m, x: x.relu())
    utils.weight_norm(model.conv)
    with pytest.raises(ConversionError, match=r"cannot be copied.*remove_weight_norm"):
        from_torch(model, x)
    utils.remove_weight_norm(model.conv)
    assert from_torch(model, x)["conv"].op.weight.shape == (8, 3, 3, 3)
    utils.parametrizations.weight_norm(model.conv)
    with pytest.raises(ConversionError, match="remove_parametrizations"):
        from_torch(model, x)


def test_the_recipe_for_npz_files_takes_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    (recipe,) = re.findall(r"```py\n(sd = .*?)```", readme, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    state = nn.Linear(2, 3).state_dict()
    for content in (state, {"state_dict": state, "best_prec1": 91.7}):
        torch.save(content, tmp_path / "a.th")
        exec(recipe, {"torch": torch, "numpy": np, "file": "a.th"})
        assert read_state_dict(tmp_path / "weights.npz").keys() == state.keys()
    with pytest.raises(DataError) as error:
        read_state_dict(tmp_path / "a.th")
    for line in recipe.splitlines()[:2]:
        assert line in str(error.value)


def test_an_output_that_is_no_vector_of_logits_is_refused() -> None:
    head = nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1))
    with pytest.raises(
        ConversionError, match=r"shape \(2, 5, 1, 1\), not \(B, classes\)"
    ):
        from_torch(head, torch.randn(2, 3, 8, 8))


@pytest.mark.parametrize("name", ["train", "forward", "steps", "a.type"])
def test_names_that_modules_use_themselves(name: str) -> None:
    ann = random_net(0)
    nodes = [
        dataclasses.replace(
            node,
            name=name if node.name == "act1" else node.name,
            inputs=tuple(name if i == "act1" else i for i in node.inputs),
        )
        for node in ann.nodes
    ]
    ann = dataclasses.replace(ann, nodes=tuple(nodes))
    if name == "steps":
        x = torch.randn(1, *ann.input_shape, dtype=torch.float64)
        assert [n.name for n in from_torch(to_torch(ann), x).nodes] == [
            n.name for n in nodes
        ]
        return
    with pytest.raises(ConversionError, match=rf"node {name}: .*Rename the node"):
        to_torch(ann)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("kind", [Clip, QCFS])
def test_modules_have_the_gradients_of_the_definitions(
    kind: type, per_channel: bool
) -> None:
    """At bounds and ties too: multiples of lam / (2 L) around the whole range."""
    levels = 4
    lam = np.array([0.5, 2.0]) if per_channel else np.array(2.0)
    op = kind(lam=lam, **({"levels": levels} if kind is QCFS else {}))
    z = np.arange(-12, 60).reshape(2, 2, 3, 6) / 16
    dh = np.random.default_rng(5).integers(-8, 9, z.shape) / 8
    module = (ClipModule if kind is Clip else QCFSModule)(
        *((lam, levels) if kind is QCFS else (lam,))
    )
    given = torch.from_numpy(z).requires_grad_()
    h = module(given)
    h.backward(torch.from_numpy(dh))
    dz, dlam = (op.gradient_code if kind is QCFS else op.gradient)(z)
    assert (h.detach().numpy() == op(z)).all()
    assert (given.grad.numpy() == dh * dz).all()
    axes = (0, 2, 3) if per_channel else None
    assert np.allclose(module.lam.grad.numpy(), (dh * dlam).sum(axis=axes), atol=1e-12)
