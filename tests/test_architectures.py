"""Architectures: counts of the released definitions, and what their nodes compute."""

from __future__ import annotations

import numpy as np
import pytest

from refsnn import architectures
from refsnn.activations import QCFS
from refsnn.convert import need_fit
from refsnn.errors import OptionError, ShapeError
from refsnn.network import Network


def neurons(ann: Network) -> int:
    return sum(int(np.prod(ann.shapes[node.name])) for node in ann.activations)


# parameters in millions, multiply-accumulates in millions, neurons, as counted on the
# released definitions
COUNTS = {
    ("vgg16", 100): (34.015, 332.5, 284_672),
    ("vgg16", 10): (33.647, 332.1, 284_672),
    ("vgg16-single", 100): (14.77, 313.2, 276_480),
    ("resnet20", 10): (0.272, 40.8, 188_416),
    ("resnet20", 100): (0.278, 40.8, 188_416),
    ("resnet18", 100): (11.22, 555.5, 557_056),
    ("resnet20-calib", 10): (4.33, 647.7, 753_664),
    ("resnet20-calib", 100): (4.35, 647.7, 753_664),
    ("resnet34", 1000): (21.79, 56_811.0, 47_366_144),
}


@pytest.mark.parametrize(("name", "classes"), COUNTS)
def test_counts_are_those_of_the_released_definition(name: str, classes: int) -> None:
    ann = architectures.build(name, classes=classes)
    parameters, macs, want = COUNTS[name, classes]
    digits = len(str(parameters).partition(".")[2])
    assert round(ann.parameters / 1e6, digits) == parameters
    assert round(ann.macs() / 1e6, 1) == pytest.approx(macs, abs=0.05)
    assert neurons(ann) == want


def test_vgg16_for_imagenet_counts_as_published() -> None:
    shape = architectures.IMAGENET
    ann = architectures.build("vgg16", classes=1000, input_shape=shape)
    assert round(ann.parameters / 1e6, 2) == 138.37
    assert round(ann.macs() / 1e9, 2) == 15.47
    assert round(neurons(ann) / 1e6, 2) == 13.56


def test_mobilenet_counts_as_published() -> None:
    """Howard et al., 2017, Table 4: 4.2 million parameters, 569 million MACs."""
    ann = architectures.build("mobilenet", classes=1000)
    assert round(ann.parameters / 1e6, 1) == 4.2
    assert round(ann.macs() / 1e6) == 569


def test_deeper_option_a_networks_have_their_depth() -> None:
    for depth in (20, 32, 44, 56):
        ann = architectures.build(f"resnet{depth}-a", classes=10)
        weighted = [n for n in ann.nodes if n.op.op in {"conv2d", "linear"}]
        shortcuts = [n for n in weighted if n.name.endswith("shortcut")]
        assert len(weighted) - len(shortcuts) == depth
        assert len(shortcuts) == 2


def test_option_a_shortcut_is_subsampling_and_zero_channels(
    rng: np.random.Generator,
) -> None:
    x = rng.standard_normal((2, 3, 6, 5))
    got = architectures.option_a(3, 7)(x)
    want = np.zeros((2, 7, 3, 3))
    want[:, 2:5] = x[:, :, ::2, ::2]
    assert (got == want).all()


@pytest.mark.parametrize("name", architectures.ARCHITECTURES)
def test_every_architecture_can_be_converted(name: str) -> None:
    act = QCFS(lam=np.float32(2), levels=4)
    shape = (3, 32, 32)
    ann = architectures.build(name, classes=10, activation=act, input_shape=shape)
    need_fit(ann, "qcfs")


def test_weights_are_those_of_the_seed() -> None:
    one, again, other = (
        architectures.build("resnet20", classes=10, seed=seed) for seed in (1, 1, 2)
    )
    weights = [net["conv2_x.0.residual_function.0"].op.weight for net in (one, again)]
    assert (weights[0] == weights[1]).all()
    assert (other["conv1.0"].op.weight != one["conv1.0"].op.weight).any()
    # He-normal by outgoing connections: variance 2 / (16 3 3)
    assert weights[0].std() == pytest.approx(np.sqrt(2 / 144), rel=0.05)


def test_what_does_not_exist_is_refused() -> None:
    with pytest.raises(OptionError, match=r"resnet21.*one of resnet20-a"):
        architectures.build("resnet21", classes=10)
    with pytest.raises(ShapeError):
        architectures.build("vgg16", classes=10, input_shape=(3, 8, 8))
