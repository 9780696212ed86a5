"""The doctor: every fault is named, with its layer; healthy networks have none."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from nets import ACTIVATIONS, images, random_net
from refsnn import cli, datasets, io
from refsnn.convert import METHODS, convert
from refsnn.datasets import Images
from refsnn.doctor import FAULTS, Case, broken, examine
from refsnn.errors import OptionError
from refsnn.network import SpikingNetwork

TRAIN = datasets.load("digits", "train").images[:200]
TEST = datasets.load("digits", "test").head(100)
STEPS = 16
FEW = {
    "samples": 200,
    "batch": 64,
    "batches": 3,
    "trained": 64,
    "iterations": 20,
    "minibatch": 16,
}


def case(method: str, T: int = STEPS, **options: object) -> Case:
    kind = "qcfs" if METHODS[method].activations else "relu"
    kind = "qcfs" if method == "ecl" else kind
    ann = io.load_ann(datasets.weights_folder() / f"digits_{kind}.h5")
    known = {f.name for f in dataclasses.fields(METHODS[method].options)}
    settings = {k: v for k, v in FEW.items() if k in known} | options
    snn = convert(ann, method, T=T, images=TRAIN, options=settings)
    return Case(ann=ann, snn=snn, data=TEST, T=T)


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    return {name: case(name) for name in ("qcfs", "calib-light")}


LAYERS = {
    "dead-channels": {"act3"},
    "missing-shortcut-scale": {"act3"},
    "wrong-normalisation": {"act1"},
}


@pytest.mark.parametrize("method", ["qcfs", "calib-light"])
@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_named_first(
    name: str, method: str, cases: dict[str, Case]
) -> None:
    well = cases[method]
    if name == "t-too-small":  # a matter of degree takes more images to be sure of
        well = dataclasses.replace(well, data=datasets.load("digits", "test"))
    sick = broken(well, name)
    found = examine(sick)
    assert [f.cause for f in found.findings] == [name]
    (finding,) = found.findings
    assert finding.layer in LAYERS.get(name, {p.name for p in sick.snn.hidden})
    assert finding.number > 0
    assert finding.suggestion
    small = {"wrong-initial-potential", "missing-shortcut-scale"}
    assert finding.explains > (-3 if name in small else 3)
    if finding.explains > 0:
        assert found.correct < found.ann_correct


@pytest.mark.parametrize("method", METHODS)
def test_a_healthy_network_has_no_findings(method: str) -> None:
    well = case(method)
    found = examine(dataclasses.replace(well, data=TEST.head(60)))
    assert found.findings == ()
    assert found.correct >= 55


def test_repairs_give_the_healthy_network_back(cases: dict[str, Case]) -> None:
    """To the last bits of a float64: weights, biases, v(0), thresholds."""
    well = cases["qcfs"].changed(lambda p: p)
    for name, fault in FAULTS.items():
        again = fault.repaired(broken(well, name))
        if name == "t-too-small":
            assert again.T == 4
            continue
        for p, q in zip(well.snn.populations, again.snn.populations, strict=True):
            for a, b in zip(p.projections, q.projections, strict=True):
                assert np.allclose(a.op.weight, b.op.weight, rtol=1e-9, atol=1e-9)
            if p.bias is not None:
                assert np.allclose(p.over("bias"), q.over("bias"), atol=1e-9), name
            assert np.allclose(p.over("v0"), q.over("v0"))
            assert np.allclose(p.over("scale"), q.over("scale"), rtol=1e-12), name
        assert again.snn.profile == well.snn.profile
        assert (again.snn.mean == well.snn.mean).all()


def test_two_faults_are_ordered_by_what_they_explain(cases: dict[str, Case]) -> None:
    sick = broken(broken(cases["qcfs"], "wrong-initial-potential"), "hard-reset")
    found = examine(sick).findings
    assert [f.cause for f in found] == ["hard-reset", "wrong-initial-potential"]
    assert found[0].explains > found[1].explains


def test_the_charge_that_a_hard_reset_loses_by_hand() -> None:
    """One neuron, x = 0.75, theta = 1, v(0) = 1/2: u = 1.25, lost 0.25; then u = 0.75,
    1.5, lost 0.5; then 0.75: 0.75 lost in 2 spikes."""
    from refsnn.doctor.dynamics import hard_reset, reset_hard

    tiny = constant_network(0.75)
    sign = hard_reset(reset_hard(tiny))
    assert sign is not None
    assert (sign.number, sign.layer) == (0.375, "act")
    assert hard_reset(tiny) is None


def constant_network(x: float) -> Case:
    """One neuron whose current is x."""
    from refsnn.activations import QCFS
    from refsnn.layers import Conv2d, Flatten, Input, Linear
    from refsnn.network import Network, Node

    conv = Conv2d(weight=np.zeros((1, 1, 1, 1)), bias=np.array([x]))
    ann = Network(
        name="constant",
        input_shape=(1, 1, 1),
        classes=2,
        mean=np.zeros(1),
        std=np.ones(1),
        nodes=(
            Node(name="input", op=Input()),
            Node(name="conv", op=conv, inputs=("input",)),
            Node(name="act", op=QCFS(lam=1.0), inputs=("conv",)),
            Node(name="flat", op=Flatten(), inputs=("act",)),
            Node(name="out", op=Linear(weight=np.eye(2, 1)), inputs=("flat",)),
        ),
    )
    data = labelled(np.zeros((1, 1, 1, 1), dtype=np.uint8), 2)
    snn = convert(ann, "qcfs")
    return Case(ann=ann, snn=snn, data=data, T=4)


def labelled(pixels: np.ndarray, classes: int) -> Images:
    labels = np.zeros(len(pixels), dtype=np.uint8)
    return Images(
        name="x",
        split="test",
        sha256="",
        images=pixels,
        labels=labels,
        classes=classes,
    )


def test_networks_that_do_not_fit_are_refused(cases: dict[str, Case]) -> None:
    well = cases["qcfs"]
    with pytest.raises(OptionError, match="other populations"):
        Case(ann=random_net(1), snn=well.snn, data=TEST, T=4)
    with pytest.raises(OptionError, match="one of threshold-too-small"):
        broken(well, "nonsense")
    with pytest.raises(OptionError, match="nothing to break"):
        broken(case("calib-potential"), "wrong-initial-potential")
    bare = random_net(3, ACTIVATIONS["qcfs"], batchnorm=False)
    data = labelled(images(1, 4), 3)
    plain = Case(ann=bare, snn=convert(bare, "qcfs"), data=data, T=4)
    with pytest.raises(OptionError, match="nothing to break"):
        broken(plain, "bn-not-folded")


def test_a_network_made_elsewhere_is_examined_by_its_weights(
    cases: dict[str, Case],
) -> None:
    """Of no known method: v(0) and the shift should make one half."""
    foreign = dataclasses.replace(cases["qcfs"].snn, method="", options={})
    well = dataclasses.replace(cases["qcfs"], snn=foreign)
    assert examine(well).findings == ()
    found = examine(broken(well, "wrong-initial-potential")).findings
    assert [f.cause for f in found] == ["wrong-initial-potential"]
    assert found[0].number == pytest.approx(0.5)


def test_the_command(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    ann = datasets.weights_folder() / "digits_qcfs.h5"
    net = tmp_path / "net.h5"
    snn: SpikingNetwork = convert(io.load_ann(ann), "qcfs")
    io.save(snn, net)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            cli.main(["doctor", *map(str, arguments)])
        said = capsys.readouterr()
        return end.value.code or 0, said.out, said.err

    few = ("-T", "8", "--limit", "60")
    code, out, _ = run(ann, net, *few)
    assert code == 0
    assert "no findings" in out
    code, out, _ = run(ann, net, *few, "--break", "hard-reset", "--json", "-")
    assert code == 0
    answer = json.loads(out)
    (finding,) = answer["findings"]
    assert finding["cause"] == answer["broken"] == "hard-reset"
    assert {"cause", "number", "layer", "suggestion"} <= finding.keys()
    code, out, _ = run(ann, net, *few, "--break", "dead-channels")
    assert code == 0
    assert "dead-channels" in out
    assert run(net, ann)[0] == 2
    assert run(ann, net, "--break", "nonsense")[0] == 2
