"""Passes: what they promise, and what they refuse."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nets import (
    ACTIVATIONS,
    LAMS,
    dual_rule,
    dyadic,
    exact_net,
    images,
    random_net,
    same,
    simulated_with_thresholds,
)
from refsnn.activations import QCFS, Clip, ReLU
from refsnn.convert import METHODS, need_fit
from refsnn.errors import ConversionError, OptionError
from refsnn.grids import round_weights
from refsnn.layers import (
    Add,
    AvgPool,
    BatchNorm,
    Conv2d,
    Flatten,
    GlobalAvgPool,
    Identity,
    Input,
    Linear,
    MaxPool,
)
from refsnn.network import INPUT, Network, Node
from refsnn.neurons import IF
from refsnn.numerics import bits_behind_point
from refsnn.passes import (
    activations_to_neurons,
    canonical_form,
    fold_batchnorm,
    set_thresholds,
)
from refsnn.run import run_ann, run_snn


def test_canonical_form_normalises_everything() -> None:
    snn = canonical_form(activations_to_neurons(exact_net(0), dual_rule))
    for p, lam in zip(snn.hidden, LAMS, strict=True):
        assert p.theta == 1
        assert (p.scale == lam).all()
        assert (p.v0 == 0.5).all()
        assert (p.neuron.theta_neg == -0.25 / lam).all()


@pytest.mark.parametrize(
    ("bits", "row", "want"),
    [
        (3, [1.0, 0.5, -0.3, 0.2], [1.0, 0.5, -0.5, 0.0]),  # 3 / 2 holds 1, 3 / 4 not
        (3, [0.75, -0.4, 0.125, 0.0], [0.75, -0.5, 0.0, 0.0]),  # halves to even
        (3, [0.9, 0.3, 0.0, 0.0], [1.0, 0.5, 0.0, 0.0]),  # 3.6 / 4 would be 4 / 4
        (2, [7.0, -3.0, 2.0, 4.0], [8.0, 0.0, 0.0, 0.0]),  # 4 is a half: to even
        (8, [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]),
        (8, [127.0, 0.5, 1.0, -127.0], [127.0, 0.0, 1.0, -127.0]),
    ],
)
def test_weights_of_few_bits_by_hand(
    bits: int, row: list[float], want: list[float]
) -> None:
    snn = canonical_form(activations_to_neurons(exact_net(0), dual_rule))
    q, *others = snn.readout.projections
    weight = np.zeros_like(q.op.weight)
    weight[:, :4], weight[0] = row, 5.0  # channels do not see each other
    q = dataclasses.replace(q, op=dataclasses.replace(q.op, weight=weight))
    readout = dataclasses.replace(snn.readout, projections=(q, *others))
    made = dataclasses.replace(snn, populations=(*snn.hidden, readout))
    got = round_weights(made, bits).readout.projections[0].op.weight
    assert got[1:, :4].tolist() == [want] * (len(got) - 1)
    assert not got[1:, 4:].any()


@pytest.mark.parametrize("bits", [2, 5, 8])
def test_weights_of_few_bits_are_integers_of_them(bits: int) -> None:
    snn = canonical_form(
        activations_to_neurons(
            fold_batchnorm(random_net(5, ACTIVATIONS["qcfs"])), dual_rule
        )
    )
    small = round_weights(snn, bits)
    assert small.name == f"{snn.name}-w{bits}"
    for old, new in zip(snn.populations, small.populations, strict=True):
        assert (new.bias is None) == (old.bias is None)
        for was, now in zip(old.projections, new.projections, strict=True):
            before, after = was.op.weight, now.op.weight
            if was.source == INPUT:
                assert after is before
                continue
            for w, v in zip(before.reshape(len(before), -1), after, strict=True):
                largest, most = np.abs(w).max(), 2 ** (bits - 1) - 1
                q = bits_behind_point(v).max()
                assert np.abs(v).max() * 2.0**q <= most
                assert np.abs(v.ravel() - w).max() <= largest / (most + 0.5)


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_folding_leaves_the_function(kind: str) -> None:
    ann = random_net(5, ACTIVATIONS[kind], lams=(4.0,) * 5)
    folded = fold_batchnorm(ann)
    assert not any(isinstance(node.op, BatchNorm) for node in folded.nodes)
    assert any(isinstance(node.op, BatchNorm) for node in ann.nodes)
    x = ann.preprocess(images(1, 20))
    want, got = (run_ann(n, x, impl="definition") for n in (ann, folded))
    # a sum of n terms is off by n 2^-53 relatively; 1e-11 leaves room for five layers
    np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-11)


def test_passes_leave_their_input_alone() -> None:
    ann = random_net(2, lambda lam: Clip(lam=lam))
    before = [dict(vars(node.op)) for node in ann.nodes]
    snn = activations_to_neurons(fold_batchnorm(ann), dual_rule)
    canonical_form(snn)
    set_thresholds(ann, {"act1": np.array(9.0)})
    assert all(
        fields[k] is v
        for node, fields in zip(ann.nodes, before, strict=True)
        for k, v in vars(node.op).items()
    )


def test_thresholds_replace_activations() -> None:
    ann = set_thresholds(random_net(2), {"act2": np.array(3.0)})
    assert isinstance(ann["act2"].op, Clip)
    assert ann["act2"].op.lam == 3
    assert isinstance(ann["act1"].op, QCFS)


def test_a_dead_channel_has_no_outgoing_weight() -> None:
    ann = random_net(2, lambda lam: Clip(lam=lam), batchnorm=False)
    lam = np.array([1.0, 0.0, 2.0, 0.5])
    ann = set_thresholds(ann, {"act1": lam})
    snn = canonical_form(activations_to_neurons(ann, dual_rule))
    assert (snn["act1"].scale == lam).all()
    for _, q in snn.projections("act1"):
        source = q.op.weight[1] if isinstance(q.op, Identity) else q.op.weight[:2, 1]
        assert (source == 0).all()
        assert (q.op.weight != 0).any()
    run = run_snn(snn, snn.preprocess(images(0, 2)), 3, impl="definition")
    assert np.isfinite(run.logits).all()


def test_populations_projections_and_biases_follow_the_graph() -> None:
    ann = random_net(3, lambda lam: Clip(lam=lam), batchnorm=False)
    snn = activations_to_neurons(ann, dual_rule)
    assert [p.name for p in snn.populations] == [
        *(f"act{i}" for i in range(1, 6)),
        "logits",
    ]
    sources = {p.name: [q.source for q in p.projections] for p in snn.populations}
    assert sources["act1"] == [INPUT]
    assert sources["act3"] == ["act2", "act1"]
    assert sources["act4"] == ["act3", "act3"]
    assert sources["logits"] == ["act5", "act3"]
    kernels = [[pool.kernel for pool in q.pool] for q in snn["act4"].projections]
    assert kernels == [[(2, 2)], []]
    want = ann["conv4"].op.bias + ann["short4"].op.bias
    assert same(snn["act4"].bias, want)
    assert snn["act5"].bias is None


def chain(*ops: object, input_shape: tuple[int, ...] = (1, 4, 4)) -> Network:
    """Layers one behind the other, then what a network needs to be one."""
    nodes = [Node(name="input", op=Input())]
    for index, op in enumerate(ops):
        name = f"{op.op}{index}"
        nodes.append(Node(name=name, op=op, inputs=(nodes[-1].name,)))
    return Network(
        name="chain",
        input_shape=input_shape,
        classes=2,
        mean=np.zeros(1),
        std=np.ones(1),
        nodes=tuple(nodes),
    )


def thresholded(ann: Network) -> Network:
    """Clips in place of all activations."""
    return set_thresholds(ann, {node.name: np.array(1.0) for node in ann.activations})


CONV = Conv2d(weight=np.ones((1, 1, 1, 1)))
POOL = AvgPool(kernel=(2, 2), stride=(2, 2))
FC = Linear(weight=np.ones((2, 16)))
FC4 = Linear(weight=np.ones((2, 4)))
FC1 = Linear(weight=np.ones((2, 1)))
STRIDED = Conv2d(weight=np.ones((1, 1, 1, 1)), stride=(2, 2))
NORM = BatchNorm(gamma=[1], beta=[1], mean=[1], var=[1])
CLIP = Clip(lam=1.0)

REFUSED = {
    "max pooling": ((CONV, CLIP, MaxPool(), Flatten(), FC4), "max pooling"),
    "two linear layers": ((CONV, CONV, CLIP, Flatten(), FC), "directly behind"),
    "pooling behind a layer": ((CONV, POOL, CLIP, Flatten(), FC4), "directly behind"),
    "ends in an activation": ((CONV, CLIP, Flatten(), FC, CLIP), "an output behind"),
    "rectifier": ((CONV, ReLU(), Flatten(), FC), "the activation relu"),
    "norm": ((NORM, CLIP, Flatten(), FC), "batch norm"),
    "flatten behind a layer": ((CONV, Flatten(), CLIP, FC), "directly behind"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_populations_and_linear_maps_is_refused(name: str) -> None:
    ops, message = REFUSED[name]
    with pytest.raises(ConversionError, match=message):
        activations_to_neurons(chain(*ops), lambda theta: (IF(), theta / 2))


def test_maxima_of_sums_are_refused() -> None:
    """max(a + b) is not max(a) + max(b)."""
    ops = {
        "input": (Input(), ()),
        "a": (CONV, ("input",)),
        "act1": (CLIP, ("a",)),
        "b": (CONV, ("input",)),
        "act2": (CLIP, ("b",)),
        "sum": (Add(), ("act1", "act2")),
        "max": (MaxPool(), ("sum",)),
        "flat": (Flatten(), ("max",)),
        "fc": (FC4, ("flat",)),
    }
    nodes = [Node(name=n, op=op, inputs=inputs) for n, (op, inputs) in ops.items()]
    ann = dataclasses.replace(chain(CONV, CLIP, Flatten(), FC), nodes=tuple(nodes))
    with pytest.raises(ConversionError, match="the sum of act1, act2"):
        activations_to_neurons(
            ann, lambda theta: (IF(), theta / 2), max_pool_on_spikes=True
        )


WIDE = Conv2d(weight=np.arange(2.0).reshape(2, 1, 1, 1) - 0.5, bias=[1.0, -2.0])
GAP, MAX = GlobalAvgPool(), MaxPool()
FC8 = Linear(weight=np.ones((2, 8)))
SQUARE = Conv2d(weight=np.ones((1, 1, 3, 3)), padding=(1, 1))
SAME = "the function is the same"
SWAPPED = {  # as refused, what is said, and the order that it asks for
    "max": (
        (WIDE, MAX, ReLU(), Flatten(), FC8),
        f"Swap maxpool1 .*{SAME}; then ask for max",
        1,
    ),
    "max twice": ((SQUARE, MAX, MaxPool(), ReLU(), GAP, FC1), f"Swap.*{SAME}", None),
    "flatten": ((CONV, Flatten(), ReLU(), FC), f"Swap flatten1 .*{SAME}", 1),
    "average": ((CONV, CLIP, WIDE, POOL, ReLU(), Flatten(), FC8), f"1x1.*{SAME}", 2),
    "strided": ((STRIDED, POOL, CLIP, GAP, FC1), "that is another function", None),
    "square": ((SQUARE, POOL, CLIP, Flatten(), FC4), "behind conv2d0: that is", None),
    "two": ((CONV, SQUARE, CLIP, Flatten(), FC), "ReLU behind conv2d0, or mult", None),
    "flat two": ((CONV, Flatten(), FC), "ReLU behind conv2d0, or multiply", None),
}


@pytest.mark.parametrize("name", SWAPPED)
def test_the_order_of_layers_that_would_do_is_named(name: str) -> None:
    """And where the function is said to be the same, it is."""
    ops, message, at = SWAPPED[name]
    ann = chain(*ops)
    with pytest.raises(ConversionError, match=message) as error:
        activations_to_neurons(thresholded(ann), lambda theta: (IF(), theta / 2))
    assert (SAME in str(error.value)) == (SAME in message)
    if at is None:
        return
    swapped = chain(*ops[:at], ops[at + 1], ops[at], *ops[at + 2 :])
    x = ann.preprocess(images(0, 9)[:, :1, :4, :4].copy())
    want, got = (run_ann(net, x) for net in (ann, swapped))
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)
    activations_to_neurons(
        thresholded(swapped), lambda theta: (IF(), theta / 2), max_pool_on_spikes=True
    )


def test_global_pooling_in_front_of_a_1x1_convolution_is_the_same() -> None:
    """Which is then a linear layer."""
    ann = chain(CONV, ReLU(), WIDE, GAP)
    with pytest.raises(
        ConversionError, match=f"{SAME} .behind global pooling they are"
    ):
        activations_to_neurons(thresholded(ann), lambda theta: (IF(), theta / 2))
    flat = Linear(weight=WIDE.weight[:, :, 0, 0], bias=WIDE.bias)
    x = ann.preprocess(images(0, 9)[:, :1, :4, :4].copy())
    same_function = chain(CONV, ReLU(), GAP, flat)
    want, got = (run_ann(net, x) for net in (ann, same_function))
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)
    need_fit(same_function, "max-norm")


@pytest.mark.parametrize("act", [ReLU(), CLIP, QCFS(lam=1.0)])
def test_an_output_behind_an_activation_is_named_as_the_user_has_it(
    act: object,
) -> None:
    with pytest.raises(ConversionError, match=f"behind the activation {act.op};"):
        need_fit(chain(CONV, ReLU(), Flatten(), FC, act), "max-norm")


def test_unfit_activations_come_with_the_methods_that_take_them() -> None:
    ann = chain(CONV, ReLU(), Flatten(), FC)
    with pytest.raises(ConversionError, match="expected qcfs only") as error:
        need_fit(ann, "qcfs")
    _, _, listed = str(error.value).partition("Methods for these activations: ")
    named = listed.rstrip(".").split(", ")
    for name in METHODS:
        if name in named:
            need_fit(ann, name)
        else:
            with pytest.raises(ConversionError, match="got the activations"):
                need_fit(ann, name)
    assert {"max-norm", "qcfs"} & set(named) == {"max-norm"}


@pytest.mark.parametrize("ops", [(NORM, CLIP, Flatten(), FC), (CONV, CLIP, NORM, FC)])
def test_a_norm_without_a_layer_in_front_cannot_be_folded(ops: tuple) -> None:
    with pytest.raises(ConversionError, match="batch norm behind"):
        fold_batchnorm(chain(*ops))


def test_a_norm_on_a_shared_layer_cannot_be_folded() -> None:
    nodes = (
        Node(name="input", op=Input()),
        Node(name="conv", op=CONV, inputs=("input",)),
        Node(name="norm", op=NORM, inputs=("conv",)),
        Node(name="sum", op=Add(), inputs=("norm", "conv")),
        Node(name="fc", op=FC, inputs=("sum",)),
    )
    ann = dataclasses.replace(chain(Flatten(), FC), nodes=nodes)
    with pytest.raises(ConversionError, match="which norm, sum read"):
        fold_batchnorm(ann)


def test_sums_of_populations_may_stand_in_front_of_a_layer() -> None:
    """conv(a + b) is conv(a) + conv(b): two projections of one weight."""
    nodes = (
        Node(name="input", op=Input()),
        Node(name="conv", op=CONV, inputs=("input",)),
        Node(name="a", op=CLIP, inputs=("conv",)),
        Node(name="b", op=CLIP, inputs=("input",)),
        Node(name="sum", op=Add(), inputs=("a", "b")),
        Node(name="fc", op=FC, inputs=("sum",)),
    )
    ann = dataclasses.replace(chain(Flatten(), FC), nodes=nodes)
    snn = activations_to_neurons(ann, lambda theta: (IF(), theta / 2))
    assert [q.source for q in snn.readout.projections] == ["a", "b"]
    assert isinstance(snn["b"].projections[0].op, Identity)


def test_flat_populations_and_outputs_need_no_linear_layer() -> None:
    """Flatten and global pooling in front of neurons, of a sum, and as the output."""
    two = Conv2d(weight=np.array([0.5, 0.75]).reshape(2, 1, 1, 1))
    lam = np.array([0.5, 2.0])
    nodes = (
        Node(name="input", op=Input()),
        Node(name="conv", op=two, inputs=("input",)),
        Node(name="a", op=Clip(lam=lam), inputs=("conv",)),
        Node(name="flat", op=Flatten(), inputs=("a",)),
        Node(name="b", op=Clip(lam=np.linspace(0.25, 4, 32)), inputs=("flat",)),
        Node(name="fc", op=Linear(weight=np.ones((2, 32)) / 8), inputs=("b",)),
        Node(name="gap", op=GlobalAvgPool(), inputs=("a",)),
        Node(name="c", op=Clip(lam=lam[::-1]), inputs=("gap",)),
        Node(name="out", op=Add(), inputs=("fc", "gap", "c")),
    )
    ann = dataclasses.replace(chain(Flatten(), FC), nodes=nodes)
    snn = activations_to_neurons(ann, lambda theta: (IF(), theta / 2))
    x = dyadic(np.random.default_rng(3), (4, 1, 4, 4), 3)
    done = canonical_form(snn)
    sources = {p.name: [q.source for q in p.projections] for p in done.populations}
    assert sources == {"a": [INPUT], "b": ["a"], "c": ["a"], "out": ["b", "a", "c"]}
    assert done.fan_out("a").tolist() == np.full((2, 4, 4), 3).tolist()
    want = simulated_with_thresholds(snn, x, 5)
    for impl in ("kernel", "definition"):
        got = run_snn(done, x, 5, impl=impl)
        # thresholds that are no powers of two: equal up to rounding, not bit for bit
        np.testing.assert_allclose(got.logits, want["out"], rtol=1e-13, atol=1e-13)
        assert got.spikes["b"].tolist() == [s.sum() for s in want["b"]]
        assert got.spikes["c"].tolist() == [s.sum() for s in want["c"]]


def test_a_node_may_be_called_like_anything() -> None:
    """The image is no node: a population called input is a population."""
    nodes = {"img": "input", "input": "a"}
    made = []
    for first, second in (("img", "input"), ("input", "a")):
        graph = (
            Node(name=first, op=Input()),
            Node(name="conv", op=CONV, inputs=(first,)),
            Node(name=second, op=CLIP, inputs=("conv",)),
            Node(name="conv2", op=CONV, inputs=(second,)),
            Node(name="b", op=CLIP, inputs=("conv2",)),
            Node(name="fc", op=FC, inputs=("b",)),
        )
        ann = dataclasses.replace(chain(Flatten(), FC), nodes=graph)
        snn = activations_to_neurons(ann, lambda theta: (IF(), theta / 2))
        made.append(canonical_form(snn))
        assert [q.source for q in made[-1]["b"].projections] == [nodes[first]]
    x = dyadic(np.random.default_rng(1), (2, 1, 4, 4))
    one, other = (run_snn(snn, x, 4, impl="definition") for snn in made)
    assert same(one.logits, other.logits)
    assert made[0].first_layer_macs() == made[1].first_layer_macs() == 16


def test_folding_float32_weights_is_done_in_float64() -> None:
    fields = {"gamma": 1.0, "beta": 0.0, "mean": 0.7000001, "var": 1.0}
    single = {k: np.array([v], dtype=np.float32) for k, v in fields.items()}
    conv = {"weight": np.ones((1, 1, 1, 1), "f4"), "bias": np.array([0.1], "f4")}
    double = {k: v.astype(np.float64) for k, v in single.items()}
    one = BatchNorm(**single, eps=1.0).folded_into(Conv2d(**conv))
    other = BatchNorm(**double, eps=1.0).folded_into(
        Conv2d(**{k: v.astype(np.float64) for k, v in conv.items()})
    )
    assert same(one.weight, other.weight)
    assert same(one.bias, other.bias)


def test_only_canonical_networks_run() -> None:
    snn = activations_to_neurons(exact_net(0), dual_rule)
    with pytest.raises(OptionError, match="canonical"):
        run_snn(snn, snn.preprocess(images(0, 1)), 1)
