"""Methods and their options."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nets import ACTIVATIONS, images, random_net, same
from refsnn import io
from refsnn.calibrate import max_activations
from refsnn.convert import METHODS, convert, need_fit, parse_options
from refsnn.errors import ConversionError, DataError, DomainError, OptionError
from refsnn.neurons import IF
from refsnn.passes import fold_batchnorm
from refsnn.run import run_ann


def test_qcfs_takes_thresholds_from_lam_and_starts_half_way() -> None:
    ann = random_net(1)
    snn = convert(ann, "qcfs")
    for p, node in zip(snn.hidden, ann.activations, strict=True):
        assert p.name == node.name
        assert isinstance(p.neuron, IF)
        assert (p.scale == node.op.lam).all()
        assert (p.theta, p.v0) == (1, 0.5)
    assert snn.method == "qcfs"
    assert snn.options == {}
    assert snn.samples is None
    assert snn.ann_sha256 == io.content_sha256(ann)


def test_max_norm_takes_the_largest_activation_and_starts_at_zero() -> None:
    ann = random_net(1, ACTIVATIONS["relu"])
    train = images(1, 70)
    largest: dict[str, float] = {}

    def observe(name: str, value: np.ndarray) -> None:
        largest[name] = float(value.max())

    run_ann(fold_batchnorm(ann), ann.preprocess(train), observe=observe)
    snn = convert(ann, "max-norm", images=train)
    for p in snn.hidden:
        assert p.scale == largest[p.name]
        assert (p.theta, p.v0) == (1, 0)
    assert snn.samples.tolist() == list(range(70))
    assert snn.options == {"samples": 0}


def test_max_norm_may_look_at_fewer_samples_in_any_order() -> None:
    ann = random_net(1, ACTIVATIONS["relu"])
    train = images(1, 90)
    few = convert(ann, "max-norm", images=train, options={"samples": 66})
    assert few.samples.tolist() == list(range(66))
    other = convert(ann, "max-norm", images=train[:66][::-1])
    for p, q in zip(few.hidden, other.hidden, strict=True):
        assert same(p.scale, q.scale)
    all_of_them = convert(ann, "max-norm", images=train)
    assert any(
        p.scale < q.scale for p, q in zip(few.hidden, all_of_them.hidden, strict=True)
    )


def test_a_silent_layer_is_dead() -> None:
    ann = random_net(1, ACTIVATIONS["relu"], batchnorm=False)
    op = ann["conv2"].op
    sunk = type(op)(
        weight=op.weight,
        bias=np.full(4, -1e3),
        padding=op.padding,
        dilation=op.dilation,
        groups=op.groups,
    )
    ann = ann.with_ops({"conv2": sunk})
    assert max_activations(ann, images(1, 3))["act2"] == 0
    with pytest.warns(UserWarning, match="act2 silent on all 3 training images"):
        snn = convert(ann, "max-norm", images=images(1, 3))
    assert (snn["act2"].scale, snn["act2"].theta) == (0, 1)
    assert not any(q.op.weight.any() for _, q in snn.projections("act2"))


def test_a_percentile_of_zero_is_not_called_silence() -> None:
    ann = random_net(1, ACTIVATIONS["relu"], batchnorm=False)
    train = images(1, 3)
    assert all(value > 0 for value in max_activations(ann, train).values())
    message = "act1.* zero up to percentile 1.5 on all 3 training images: dead"
    with pytest.warns(UserWarning, match=message):
        snn = convert(ann, "percentile", images=train, options={"percentile": 1.5})
    assert snn["act1"].scale == 0


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    ann = random_net(1, ACTIVATIONS["relu"])
    convert(
        ann, "max-norm", images=images(1, 70), progress=lambda *done: told.append(done)
    )
    assert told == [(64, 70), (70, 70)]


def test_statistics_are_measured_once(tmp_path: Path) -> None:
    """By content: of the network, of the images, of what is measured."""
    ann, told = random_net(1, ACTIVATIONS["relu"]), []
    how = {"T": 4, "progress": lambda *done: told.append(done)}

    def passes(method: str, train: np.ndarray, **options: float) -> int:
        want = convert(ann, method, images=train, options=options, T=4)
        told.clear()
        got = convert(
            ann, method, images=train, options=options, statistics=tmp_path, **how
        )
        assert io.content_sha256(got) == io.content_sha256(want)
        return len(told)

    train = images(1, 3)
    assert [passes("max-norm", train), passes("opi", train)] == [1, 0]
    assert [passes("percentile", train), passes("rts", train)] == [1, 0]
    assert [passes("percentile", train), passes("snm", train)] == [0, 0]
    assert passes("percentile", train, percentile=95.0) == 1
    assert passes("max-norm", images(2, 3)) == 1
    broken = sorted(tmp_path.glob("*.npy"))
    assert len(broken) == 4
    for file in broken:
        file.write_bytes(b"")
    assert passes("max-norm", train) == 1


def test_methods_refuse_what_they_cannot_take() -> None:
    relu = random_net(1, ACTIVATIONS["relu"])
    with pytest.raises(ConversionError, match=r"act1 \(relu\).*expected qcfs only"):
        convert(relu, "qcfs")
    with pytest.raises(DataError, match="training images"):
        convert(relu, "max-norm")
    with pytest.raises(DataError, match="training images"):
        convert(relu, "max-norm", images=images(1, 0))
    with pytest.raises(OptionError, match="one of qcfs, srp, srp-v0"):
        convert(relu, "magic")
    with pytest.raises(OptionError, match="no options"):
        convert(random_net(1), "qcfs", options={"samples": 3})
    two = convert(
        relu, "max-norm", images=images(1, 2), options={"samples": np.int64(2)}
    )
    assert two.options == {"samples": 2}
    for samples in (-1, 3, 1.0, "1", True, None, np.ones(2)):
        with pytest.raises(OptionError, match="samples"):
            convert(relu, "max-norm", images=images(1, 2), options={"samples": samples})
    with pytest.raises(OptionError, match="a Network"):
        convert(convert(random_net(1), "qcfs"), "qcfs")
    with pytest.raises(DomainError, match="at least 1 time step"):
        convert(random_net(1), "qcfs", T=0)


def test_a_network_is_refused_before_anything_is_computed() -> None:
    from test_passes import REFUSED, chain

    ops, message = REFUSED["max pooling"]
    with pytest.raises(ConversionError, match=message):
        need_fit(chain(*ops), "max-norm")


def test_options_are_read_by_the_type_of_their_default() -> None:
    assert parse_options("max-norm", {"samples": "12"}) == {"samples": 12}
    for text in ("", "1.5", "many"):
        with pytest.raises(OptionError, match="a value of type int"):
            parse_options("max-norm", {"samples": text})
    with pytest.raises(OptionError, match="one of samples"):
        parse_options("max-norm", {"sample": "1"})


@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_what_it_is(name: str) -> None:
    method = METHODS[name]
    assert method.summary
    assert any(char.isdigit() for char in method.citation)
    assert method.rewrites
