"""The doctor: every fault is named, with its layer; healthy networks have none."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable

import numpy as np
import pytest

from nets import ACTIVATIONS, images, random_net
from refsnn import datasets, io
from refsnn.analysis import decompose
from refsnn.convert import METHODS, convert, needs_images
from refsnn.datasets import Images
from refsnn.doctor import FAULTS, MADE, Case, broken, examine, layout
from refsnn.doctor.dynamics import ENOUGH, start_of, wrong_normalisation
from refsnn.doctor.levels import LOOKED_AT, distances
from refsnn.doctor.projections import masked
from refsnn.doctor.wiring import _columns
from refsnn.errors import OptionError
from refsnn.layers import Conv2d, Identity, Linear
from refsnn.network import Population, Projection, SpikingNetwork
from refsnn.numerics import Array
from refsnn.run import run_ann, run_snn
from refsnn.snap import snap

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
    few = FEW if needs_images(method, {}) else {}
    settings = {k: v for k, v in few.items() if k in known} | options
    snn = convert(ann, method, T=T, images=TRAIN, options=settings)
    return Case(ann=ann, snn=snn, data=TEST, T=T)


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    return {name: case(name) for name in ("qcfs", "calib-light")}


LAYERS = {
    "dead-channels": {"act3"},
    "missing-shortcut-scale": {"act3"},
    "wrong-normalisation": {"act1"},
    "other-weights": {"act3"},
}


@pytest.mark.parametrize("method", ["qcfs", "calib-light"])
@pytest.mark.parametrize("name", MADE)
def test_every_fault_is_named_first(
    name: str, method: str, cases: dict[str, Case]
) -> None:
    well = cases[method]
    if name == "t-too-small":  # a matter of degree takes more images to be sure of
        well = dataclasses.replace(well, data=datasets.load("digits", "test"))
    sick = broken(well, name)
    found = examine(sick)
    assert [f.cause for f in found.findings] == [name]
    assert found.unexplained == 0
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
    assert (found.unexplained, found.departs) == (0, None)
    assert found.correct >= 55


def test_masked_spikes_count_for_no_layer() -> None:
    well = case("srp", T=4)
    images = well.data.images[:LOOKED_AT]
    counts = {}
    run = run_snn(
        well.snn,
        well.snn.preprocess(images),
        4,
        observe=lambda p, start, x, s, state: counts.update({p.name: state.N}),
    )
    assert any((counts[name] * ~mask).any() for name, mask in run.masks.items())
    got, (first, *_) = distances(well), well.snn.hidden
    a: dict[str, Array] = {}
    run_ann(
        well.ready,
        well.ready.preprocess(images),
        observe=lambda name, value: a.update({name: value}),
    )
    rate = counts[first.name] * run.masks[first.name] * first.over("scale") / 4
    want = np.abs(a[first.name] - rate).sum() / np.abs(a[first.name]).sum()
    assert got[first.name] == pytest.approx(want, rel=1e-9)


def test_few_images_do_not_judge_a_normalisation(cases, monkeypatch) -> None:
    monkeypatch.setattr("refsnn.doctor.dynamics.STATISTICS_OFF", 0.0)
    well = cases["qcfs"]
    few = dataclasses.replace(well, data=TEST.head(ENOUGH - 1))
    assert wrong_normalisation(few) is None
    assert wrong_normalisation(well) is not None


@pytest.mark.parametrize("name", ["groups", "linear of maps", "identity"])
def test_channels_that_reach_something(name: str, rng: np.random.Generator) -> None:
    op = {
        "groups": Conv2d(weight=rng.normal(size=(6, 2, 3, 3)), groups=3),
        "linear of maps": Linear(weight=rng.normal(size=(5, 6 * 4))),
        "identity": Identity(weight=rng.normal(size=6)),
    }[name]
    weight = op.weight.copy()
    q = Projection(source="a", op=op)
    for channel in (0, 3):
        weight = weight * (masked(q, np.arange(6) != channel) != 0)
    got = _columns(q.with_weight(weight), 6)
    assert got.tolist() == [False, True, True, False, True, True]


@pytest.mark.parametrize("carrier", ["int32", "float32"])
@pytest.mark.parametrize("method", ["qcfs", "calib-light"])
def test_rounded_weights_are_no_other_weights(
    method: str, carrier: str, cases: dict[str, Case]
) -> None:
    """The grids of smaller accumulators move weights by less than is looked for."""
    well = cases[method]
    T, settings = well.snn.T, dict(well.snn.options)
    loose = convert(well.ann, method, T=T, images=TRAIN, options=settings, exact=False)
    snn = snap(loose, carrier, T=STEPS, images=TRAIN)
    assert examine(dataclasses.replace(well, snn=snn)).findings == ()


def with_layer(
    case: Case,
    name: str,
    weight: Callable[[Array], Array] = lambda w: w,
    bias: Callable[[Array], Array] = lambda b: b,
) -> Case:
    """Change the first projection, and the bias, of one population."""

    def change(p: Population) -> Population:
        if p.name != name:
            return p
        q = p.projections[0].with_weight(weight(p.projections[0].op.weight))
        projections = (q, *p.projections[1:])
        return dataclasses.replace(p, projections=projections, bias=bias(p.bias))

    return case.changed(change)


def drawn(w: Array) -> Array:
    return np.random.default_rng(0).normal(0, w.std(), w.shape)


DESTROYED: dict[str, Callable[[Case], Case]] = {
    "fc": lambda case: with_layer(case, "fc", lambda w: np.roll(w, 3, axis=0)),
    "act2": lambda case: with_layer(case, "act2", lambda w: 0 * w),
    "act2 ": lambda case: with_layer(case, "act2", drawn),
    "act2  ": lambda case: with_layer(case, "act2", lambda w: w[:, :, ::-1, ::-1]),
    "act1": lambda case: with_layer(case, "act1", lambda w: -w),
    "act3": lambda case: with_layer(case, "act3", bias=lambda b: 0 * b),
}
"""Networks of one layer with other weights, by that layer."""


@pytest.mark.parametrize("foreign", [False, True], ids=["own", "foreign"])
@pytest.mark.parametrize("layer", DESTROYED)
def test_other_weights_are_named(
    layer: str, foreign: bool, cases: dict[str, Case]
) -> None:
    well = cases["qcfs"]
    if foreign:
        snn = dataclasses.replace(well.snn, method="", options={}, ann_sha256="")
        well = dataclasses.replace(well, snn=snn)
    found = examine(DESTROYED[layer](well))
    (finding,) = found.findings
    assert (finding.cause, finding.layer) == ("other-weights", layer.strip())
    assert finding.explains is not None
    assert abs(finding.explains - (found.ann_correct - found.correct)) <= 2
    assert finding.explains > 10
    assert found.unexplained == 0


def test_distances_of_weights_by_hand(cases: dict[str, Case]) -> None:
    """|2 W - W| / |W| = 1, |-W - W| / |W| = 2; a bias more by 0.5 everywhere."""
    from refsnn.doctor.weights import other_weights

    well = cases["qcfs"]
    assert other_weights(well) is None
    for weight, number in [(2.0, 1.0), (-1.0, 2.0), (1.02, 0.02)]:
        sign = other_weights(with_layer(well, "act2", lambda w, f=weight: f * w))
        assert sign is not None
        assert sign.number == pytest.approx(number, rel=1e-6)
    assert other_weights(with_layer(well, "act2", lambda w: 1.009 * w)) is None
    sign = other_weights(with_layer(well, "act4", bias=lambda b: b + 0.5))
    own = well.expected["act4"].bias
    assert own is not None
    assert sign is not None
    assert sign.number == pytest.approx(0.5 / np.sqrt(np.mean(own**2)), rel=1e-6)


def test_biases_that_a_method_moves_and_weights_that_it_trains_are_not_judged() -> None:
    moved = case("calib-light")
    more = with_layer(moved, "act3", bias=lambda b: 0 * b)
    assert FAULTS["other-weights"].found(more) is None
    trained = case("calib-advanced")
    other = with_layer(trained, "act2", lambda w: -w)
    assert FAULTS["other-weights"].found(other) is None
    more = with_layer(trained, "act3", bias=lambda b: 2 * b)
    assert FAULTS["other-weights"].found(more) is not None
    with pytest.raises(OptionError, match="nothing to break"):
        broken(trained, "other-weights")


@pytest.mark.parametrize("method", ["max-norm", "calib-potential"])
def test_one_step_is_no_mystery(method: str) -> None:
    """Four steps gain nothing, either: what was calibrated, and thresholds, are for
    one. More of them, with thresholds of their own, show that nothing else is lost."""
    found = examine(case(method, T=1))
    assert found.correct < found.ann_correct - 20
    assert (found.unexplained, found.departs) == (0, None)


@pytest.mark.parametrize("layer", ["act2", "fc"])
def test_what_no_fault_explains_is_counted_and_the_layer_named(layer: str) -> None:
    """Nothing says what weights that were trained should be, but the rates do."""
    well = case("calib-advanced")
    found = examine(with_layer(well, layer, lambda w: np.roll(w, 1, axis=0)))
    assert found.findings == ()
    assert found.departs == layer
    lost = found.ann_correct - found.correct
    assert lost > 20
    assert 0 < found.unexplained <= lost


def test_a_departing_layer_by_hand() -> None:
    """One neuron, lam = 1, current 3/4: QCFS of 4 levels says 3/4. T = 4 from 1/2:
    u = 5/4, 1, 3/4, 3/2: 3 spikes, the rate 3/4. With v(0) = -1/4: 1/2, 5/4, 1, 3/4,
    2 spikes, 1/2 of 3/4: the distance is 1/3. The readout, 3/4 in one class, is as
    far: 1/3 off. It departs where its source did."""
    from refsnn.doctor.levels import departs_first, distances

    well = constant_network(0.75)
    assert distances(well) == {"act": 0.0, "out": 0.0}
    late = well.changed(
        lambda p: dataclasses.replace(p, v0=np.array(-0.25)) if p.neuron else p
    )
    assert distances(late) == pytest.approx({"act": 1 / 3, "out": 1 / 3})
    assert departs_first(late) == "act"


def max_pooled(currents: tuple[float, ...], v0: tuple[float, ...]) -> Case:
    """Neurons in a row, of an image of constant currents, behind one window."""
    from refsnn.activations import QCFS
    from refsnn.layers import Conv2d, Flatten, Input, Linear, MaxPool
    from refsnn.network import Network, Node

    size = (1, len(currents))
    ann = Network(
        name="pooled",
        input_shape=(1, *size),
        classes=2,
        mean=np.zeros(1),
        std=np.ones(1),
        nodes=(
            Node(name="input", op=Input()),
            Node(
                name="conv", op=Conv2d(weight=np.ones((1, 1, 1, 1))), inputs=("input",)
            ),
            Node(name="act", op=QCFS(lam=1.0), inputs=("conv",)),
            Node(name="max", op=MaxPool(kernel=size, stride=size), inputs=("act",)),
            Node(name="flat", op=Flatten(), inputs=("max",)),
            Node(name="out", op=Linear(weight=np.eye(2, 1)), inputs=("flat",)),
        ),
    )
    pixels = (255 * np.array(currents)).astype(np.uint8).reshape(1, 1, *size)
    snn = convert(ann, "qcfs", max_pool_on_spikes=True)
    start = np.array(v0).reshape(1, *size)
    populations = tuple(
        dataclasses.replace(p, v0=start) if p.neuron else p for p in snn.populations
    )
    snn = dataclasses.replace(snn, populations=populations)
    return Case(ann=ann, snn=snn, data=labelled(pixels, 2), T=5)


def test_maxima_of_spikes_are_a_finding_that_cannot_be_repaired() -> None:
    """Currents 1/5 (51 of 255) five times: QCFS of 4 levels says floor(0.8 + 0.5)/4 =
    1/4 each, so does their maximum. Neurons that start at 0.9, 0.7, 0.5, 0.3 and 0.1
    spike in the steps 1 to 5, one after the other: the maximum spikes in all 5, the
    rate 1 is 4 times 1/4. Neurons that start alike spike once: 1/5 is less by 1/5."""
    turns = max_pooled((0.2,) * 5, (0.9, 0.7, 0.5, 0.3, 0.1))
    sign = FAULTS["max-pooling"].found(turns)
    assert sign is not None
    assert (sign.number, sign.layer) == (3.0, "act")
    sign = FAULTS["max-pooling"].found(max_pooled((0.2,) * 5, (0.5,) * 5))
    assert sign is not None
    assert sign.number == pytest.approx(-0.2)
    found = examine(turns)
    assert "max-pooling" in [f.cause for f in found.findings]
    (finding,) = [f for f in found.findings if f.cause == "max-pooling"]
    assert finding.explains is None
    assert layout(found)["findings"][0].keys() == dataclasses.asdict(finding).keys()
    assert "average pooling" in finding.suggestion


def test_repairs_give_the_healthy_network_back(cases: dict[str, Case]) -> None:
    """To the last bits of a float64: weights, biases, v(0), thresholds."""
    well = cases["qcfs"].changed(lambda p: p)
    for name in MADE:
        repaired = FAULTS[name].repaired
        assert repaired is not None
        again = repaired(broken(well, name))
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
    with pytest.raises(OptionError, match="no population act5; population act1 is"):
        Case(ann=random_net(1), snn=well.snn, data=TEST, T=4)
    act2 = well.snn["act2"]
    rewired = dataclasses.replace(
        act2, projections=(*act2.projections, well.snn["act3"].projections[1])
    )
    populations = tuple(rewired if p is act2 else p for p in well.snn.populations)
    rewired_net = dataclasses.replace(
        well.snn, populations=populations, certificate=None, mode="ordered"
    )
    with pytest.raises(
        OptionError, match=r"input of act2 is .*, where conv2d .* is due"
    ):
        dataclasses.replace(well, snn=rewired_net)
    relu = io.load_ann(datasets.weights_folder() / "digits_relu.h5")
    with pytest.raises(OptionError, match=f"{well.snn.ann_sha256}, of which"):
        dataclasses.replace(well, ann=relu)
    foreign = dataclasses.replace(well.snn, ann_sha256="")
    assert examine(dataclasses.replace(well, ann=relu, snn=foreign)).findings
    with pytest.raises(OptionError, match="one of threshold-too-small"):
        broken(well, "nonsense")
    with pytest.raises(OptionError, match="nothing to break"):
        broken(case("calib-potential"), "wrong-initial-potential")
    bare = random_net(3, ACTIVATIONS["qcfs"], batchnorm=False)
    data = labelled(images(1, 4), 3)
    plain = Case(ann=bare, snn=convert(bare, "qcfs"), data=data, T=4)
    with pytest.raises(OptionError, match="nothing to break"):
        broken(plain, "bn-not-folded")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"foo": 1}, "network digits_qcfs, method srp: got the option foo; expected"),
        ({"tau": "x"}, "network digits_qcfs, option tau of method srp: got 'x'"),
    ],
)
def test_options_that_the_method_does_not_have_are_named(
    options: dict[str, object], message: str, cases: dict[str, Case]
) -> None:
    well = cases["qcfs"]
    strange = dataclasses.replace(well.snn, method="srp", options=options)
    for use in (
        lambda: examine(dataclasses.replace(well, snn=strange)),
        lambda: decompose(strange, well.ann, TEST.head(1), STEPS),
        lambda: start_of(dataclasses.replace(well, snn=strange), METHODS["srp"]),
    ):
        with pytest.raises(OptionError, match=message):
            use()


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


def test_the_command(tmp_path, refsnn) -> None:
    ann = datasets.weights_folder() / "digits_qcfs.h5"
    net = tmp_path / "net.h5"
    snn: SpikingNetwork = convert(io.load_ann(ann), "qcfs")
    io.save(snn, net)

    run = functools.partial(refsnn, "doctor")
    few = ("-T", "8", "--limit", "60")
    code, out, _ = run(ann, net, *few)
    assert code == 0
    assert "no findings" in out
    for zero in (0, -1):
        code, _, said = run(ann, net, "-T", str(zero))
        assert code == 2
        assert f"got {zero}" in said
    relu = datasets.weights_folder() / "digits_relu.h5"
    code, _, said = run(relu, net, *few)
    assert code == 2
    assert f"expected {snn.ann_sha256}, of which" in said
    well = Case(ann=io.load_ann(ann), snn=snn, data=TEST, T=8)
    leaky = dataclasses.replace(snn.profile, decay=0.5)
    io.save(well.changed(lambda p: p, profile=leaky).snn, tmp_path / "leaky.h5")
    said_as = ("-T", "8", "--limit", "30", "--json", tmp_path / "said.json")
    code, out, _ = run(ann, tmp_path / "leaky.h5", *said_as)
    assert code == 0
    assert "no findings" not in out
    assert "explained by none" in " ".join(out.split())
    answer = json.loads((tmp_path / "said.json").read_text())
    assert answer["findings"] == []
    assert answer["unexplained"] > 0
    assert answer["departs"] in {p.name for p in snn.populations}
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
