"""Graphs: validation, shapes, descriptions."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest

from nets import random_net
from refsnn.errors import (
    CycleError,
    DanglingError,
    DomainError,
    GraphError,
    RefsnnError,
    ShapeError,
)
from refsnn.layers import Add, AvgPool, Flatten, Identity, Input, Linear
from refsnn.network import INPUT, Network, Node, Population, Projection, SpikingNetwork
from refsnn.neurons import IF

NET = random_net(0)
FC = Linear(weight=np.ones((3, 128)))


def with_nodes(*nodes: tuple) -> Network:
    made = tuple(Node(name=n, op=op, inputs=inputs) for n, op, inputs in nodes)
    return dataclasses.replace(NET, nodes=made)


BAD_GRAPHS = {
    "no nodes": ((), GraphError, "no nodes"),
    "twice": ((("a", Input(), ()), ("a", FC, ("a",))), GraphError, "two nodes named a"),
    "a dot": ((("a", Input(), ()), (".", FC, ("a",))), GraphError, "not '.' alone"),
    "bad name": ((("a/b", Input(), ()), ("c", FC, ("a/b",))), GraphError, "a/b"),
    "line break": ((("a\n", Input(), ()), ("c", FC, ("a\n",))), GraphError, r"a\\n"),
    "dangling": ((("a", Input(), ()), ("b", FC, ("x",))), DanglingError, "named x"),
    "loose": (
        (("a", Input(), ()), ("b", Flatten(), ("a",)), ("c", FC, ("a",))),
        DanglingError,
        "loose ends b",
    ),
    "output read": (
        (("a", Input(), ()), ("b", Add(), ("a", "c")), ("c", FC, ("b",))),
        CycleError,
        "b <- c <- b",
    ),
    "self": ((("a", Input(), ()), ("b", FC, ("b",))), CycleError, "b <- b"),
    "order": (
        (("a", Input(), ()), ("c", FC, ("b",)), ("b", Flatten(), ("a",))),
        GraphError,
        "listed later",
    ),
    "no input": ((("b", Add(), ()),), GraphError, "input nodes none"),
    "two inputs": (
        (("a", Input(), ()), ("b", Input(), ()), ("c", Add(), ("a", "b"))),
        GraphError,
        "input nodes a, b",
    ),
    "arity": (
        (("a", Input(), ()), ("b", FC, ("a", "a"))),
        GraphError,
        "got 2 inputs; expected 1",
    ),
    "one summand": ((("a", Input(), ()), ("b", Add(), ("a",))), GraphError, "two or"),
    "shape": (
        (("a", Input(), ()), ("b", Linear(weight=np.ones((3, 5))), ("a",))),
        ShapeError,
        "node b",
    ),
    "classes": (
        (("a", Input(), ()), ("b", Flatten(), ("a",))),
        ShapeError,
        "one logit",
    ),
}


@pytest.mark.parametrize("name", BAD_GRAPHS)
def test_graphs_that_are_none_are_refused(name: str) -> None:
    nodes, error, message = BAD_GRAPHS[name]
    with pytest.raises(error, match=message):
        with_nodes(*nodes)


def test_networks_can_be_sent_to_other_processes() -> None:
    for network in (NET, spiking(population(), readout())):
        back = pickle.loads(pickle.dumps(network))
        assert back.describe() == network.describe()


def test_texts_must_fit_into_files() -> None:
    for name in ("a\0b", "a\ud800b", None):
        with pytest.raises(DomainError, match="a text without NUL"):
            dataclasses.replace(NET, name=name)
    with pytest.raises(GraphError, match="the name 5"):
        with_nodes((5, Input(), ()))


def test_lists_are_taken_as_tuples() -> None:
    ann = dataclasses.replace(NET, input_shape=[2, 8, 8], nodes=list(NET.nodes))
    assert ann.input_shape == (2, 8, 8)
    assert Node(name="a", op=Add(), inputs=["b", "c"]).inputs == ("b", "c")


@pytest.mark.parametrize(
    "how", [{"op": FC, "inputs": "input"}, {"op": Linear}, {"op": "conv2d"}]
)
def test_nodes_that_are_none_are_refused(how: dict) -> None:
    with pytest.raises(GraphError, match="node a"):
        Node(name="a", **how)


def test_layers_of_one_kind_of_network_are_refused_in_the_other() -> None:
    with pytest.raises(GraphError, match="Identity"):
        Node(name="a", op=Identity(weight=np.ones(1)), inputs=("b",))
    with pytest.raises(GraphError, match="AvgPool"):
        Projection(source="a", op=FC, pool=(AvgPool(),))


def test_provenance_is_a_copy_of_JSON_values() -> None:
    about = {"seed": 1}
    ann = dataclasses.replace(NET, provenance=about)
    about["seed"] = 2
    assert ann.provenance == {"seed": 1}
    for wrong in ({"x": np.nan}, {"x": np.float32(1)}):
        with pytest.raises(DomainError, match="JSON"):
            dataclasses.replace(NET, provenance=wrong)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("T", 0),
        ("T", 2.0),
        ("mode", "exact"),
        ("profile", "to-zero"),
        ("samples", [[1]]),
        ("samples", [0.5]),
        ("samples", []),
        ("ann_sha256", "zz"),
        ("options", {"x": np.inf}),
    ],
)
def test_what_cannot_be_honoured_is_refused(field: str, value: object) -> None:
    with pytest.raises(RefsnnError, match="spiking network s"):
        dataclasses.replace(spiking(population(), readout()), **{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mean", np.zeros(3)),
        ("mean", np.array([0.0, np.nan])),
        ("std", np.array([1.0, 0.0])),
        ("input_shape", (2, 8)),
        ("input_shape", (2, 0, 8)),
        ("classes", 0),
    ],
)
def test_bad_headers_are_refused(field: str, value: object) -> None:
    with pytest.raises(RefsnnError, match="network random"):
        dataclasses.replace(NET, **{field: value})


def test_sizes_are_counted() -> None:
    # conv1 4*2*9+4, conv2 4*2*9+4, conv3 4*4+4, conv4 6*4*9+6, short4 6*4+6; batch norm
    # 2*4 three times and 2*6 twice; fc1 7*24, fc2 3*7+3, head 3*4
    assert NET.parameters == 76 + 76 + 20 + 222 + 30 + 24 + 24 + 168 + 24 + 12
    # conv1 72*64; conv2 72*64 (2 channels a group); conv3 16*64; conv4 216*4;
    # short4 24*4; fc1 168; fc2 21; head 12
    assert NET.macs() == 72 * 64 * 2 + 16 * 64 + 216 * 4 + 24 * 4 + 168 + 21 + 12


def test_a_description_names_every_node() -> None:
    lines = NET.describe().splitlines()
    assert lines[0].split() == [
        "node",
        "layer",
        "inputs",
        "shape",
        "parameters",
        "MACs",
    ]
    assert [line.split()[0] for line in lines[1:-1]] == [n.name for n in NET.nodes]
    assert lines[-1].split() == ["total", "676", f"{NET.macs():,}"]


def population(name: str = "a", **how: object) -> Population:
    image = Projection(source=INPUT, op=Linear(weight=np.ones((2, 4))))
    fields = {"name": name, "shape": (2,), "neuron": IF(), "projections": (image,)}
    return Population(**{**fields, **how})


def readout(source: str = "a", **how: object) -> Population:
    projection = Projection(source=source, op=Linear(weight=np.ones((2, 2))))
    fields = {"neuron": None, "projections": (projection,), **how}
    return population("out", **fields)


def spiking(*populations: Population, canonical: bool = True) -> SpikingNetwork:
    return SpikingNetwork(
        name="s",
        input_shape=(1, 2, 2),
        classes=2,
        mean=[0],
        std=[1],
        populations=populations,
        canonical=canonical,
    )


BIASED = Projection(source="a", op=Linear(weight=np.ones((2, 2)), bias=np.ones(2)))
WRONG = Projection(source="a", op=Linear(weight=np.ones((2, 3))))

BAD_SPIKING = {
    "no readout": (lambda: spiking(population()), "in every population but the last"),
    "two readouts": (
        lambda: spiking(population(neuron=None), readout()),
        "in every population but the last",
    ),
    "no projections": (
        lambda: spiking(population(projections=()), readout()),
        "at least one",
    ),
    "dangling": (lambda: spiking(population(), readout("b")), "an input named b"),
    "cycle": (
        lambda: spiking(population(projections=readout("a").projections), readout()),
        "cycle a <- a",
    ),
    "loose": (
        lambda: spiking(population(), population("b"), readout()),
        "loose ends b",
    ),
    "theta": (lambda: spiking(population(theta=2.0), readout()), "canonical"),
    "theta 0": (lambda: population(theta=0.0), "theta > 0"),
    "v0": (lambda: population(v0=np.nan), "v0"),
    "bias": (lambda: population(bias=np.ones(3)), "per channel"),
    "biased map": (
        lambda: spiking(population(), readout(projections=(BIASED,))),
        "no bias",
    ),
    "wrong map": (
        lambda: spiking(population(), readout(projections=(WRONG,))),
        "projection from a",
    ),
    "classes": (
        lambda: spiking(
            population(),
            population(
                "out",
                shape=(1,),
                neuron=None,
                projections=(
                    Projection(source="a", op=Linear(weight=np.ones((1, 2)))),
                ),
            ),
        ),
        "one logit",
    ),
}


@pytest.mark.parametrize("name", BAD_SPIKING)
def test_spiking_networks_that_are_none_are_refused(name: str) -> None:
    make, message = BAD_SPIKING[name]
    with pytest.raises(RefsnnError, match=message):
        make()


def test_thresholds_may_differ_before_normalisation() -> None:
    assert spiking(population(theta=2.0), readout(), canonical=False)["a"].theta == 2


def test_a_spiking_description_names_every_population() -> None:
    lines = spiking(population(), readout()).describe().splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["a", "out", "total"]


def test_errors_say_where_and_what_on_one_safe_line() -> None:
    error = DomainError(where="a\x1b[31m", got="b\n", expected="c", do="d", rule="R")
    assert str(error) == "[R] a\\x1b[31m: got b\\n; expected c. d"
    assert error.exit_code == 2
