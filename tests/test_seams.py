"""Level 5: a neuron and a method from outside travel the whole pipe."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nets import ACTIVATIONS, images, random_net, same
from refsnn import datasets, io
from refsnn.convert import METHODS, Context, Method, convert
from refsnn.errors import OptionError
from refsnn.kernels import PAIRS
from refsnn.layers import AvgPool
from refsnn.methods import Options
from refsnn.neurons import Neuron
from refsnn.numerics import Array, bind
from refsnn.records import flag, ints, real, tensor
from refsnn.run import run_snn


@pytest.fixture
def toy_neuron() -> Iterator[type[Neuron]]:
    """Fires at most `budget` spikes, from a raised threshold; one definition only."""

    class Budgeted(Neuron):
        op = "toy-budgeted"
        alphabet = (0, 1)
        raised: Array = tensor("", "C", unit="potential")
        budget: int = ints(default=2, least=1)
        slack: float = real(default=0.0)
        strict: bool = flag(default=False)

        def fire(self, u: Array, N: Array, theta: Array) -> Array:
            level = theta + bind(self.raised, u) + bind(self.slack, u)
            above = u > level if self.strict else u >= level
            return (above & (N < self.budget)).astype(np.int8)

    yield Budgeted
    del Neuron.registry["toy-budgeted"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToyOptions(Options):
    """Options of the toy method."""

    budget: int = 2
    strict: bool = False
    slack: float = 0.0


@pytest.fixture
def toy_method(
    toy_neuron: type[Neuron], monkeypatch: pytest.MonkeyPatch
) -> type[Neuron]:
    """The method ``toy``: one entry of the registry."""

    def rule(context: Context):
        options = dataclasses.asdict(context.options)
        return lambda theta: (toy_neuron(raised=0.25 * theta, **options), theta / 4)

    method = Method(
        summary="a toy",
        citation="this test",
        neuron=rule,
        options=ToyOptions,
        reconstruction="all of it",
        depends_on_T=True,
    )
    monkeypatch.setitem(METHODS, "toy", method)
    return toy_neuron


def test_a_new_neuron_needs_one_class(toy_method: type[Neuron], tmp_path: Path) -> None:
    ann = random_net(1, ACTIVATIONS["clip"], lams=(1.5, np.ones(4), 1.0, 1.0, 1.0))
    options = {"budget": 1, "strict": True, "slack": 0.125}
    snn = convert(ann, "toy", T=5, options=options)
    assert toy_method not in PAIRS
    x = snn.preprocess(images(1, 4))
    want = run_snn(snn, x, 5, impl="definition")
    for impl in ("kernel", "definition"):
        for schedule in ("layer", "step"):
            got = run_snn(snn, x, 5, impl=impl, schedule=schedule)
            assert same(got.logits, want.logits)
    neuron = snn["act1"].neuron
    assert neuron.raised == 0.25  # a quarter of the threshold, whatever its unit
    counted = sum(int(s.sum()) for s in want.spikes.values())
    assert 0 < counted <= 4 * sum(p.neurons for p in snn.hidden)  # one each at most

    io.save(snn, tmp_path / "toy.h5")
    back = io.load_snn(tmp_path / "toy.h5")
    neuron = back["act2"].neuron
    assert isinstance(neuron, toy_method)
    assert (neuron.budget, neuron.strict, neuron.slack) == (1, True, 0.125)
    assert same(neuron.raised, snn["act2"].neuron.raised)
    assert same(run_snn(back, x, 5).logits, want.logits)
    assert (back.method, back.T, dict(back.options)) == ("toy", 5, options)


def test_options_that_answer_nothing_are_refused() -> None:
    @dataclasses.dataclass(frozen=True)
    class Plain:
        budget: int = 2

    with pytest.raises(OptionError, match=r"Plain; expected .*methods\.Options"):
        Method(summary="a toy", citation="this test", neuron=None, options=Plain)


def test_a_new_method_needs_one_entry(
    toy_method: type[Neuron],
    refsnn,
    tmp_path: Path,
) -> None:
    file = str(datasets.weights_folder() / "digits_clip.h5")
    out = str(tmp_path / "toy.h5")

    code, said, _ = refsnn("info", file)
    assert code == 0
    assert "toy: yes: a toy" in said
    common = ("--method", "toy", "--set", "budget=1", "--set", "strict=true")
    code, _, _ = refsnn("convert", file, *common, "-T", "4", "-o", out)
    assert code == 0
    few = ("-T", "4", "--limit", "20")
    code, said, _ = refsnn("run", file, *common, *few, "--json", "-")
    one = json.loads(said)
    assert one["set"] == {"budget": 1, "strict": True, "slack": 0.0}
    code, said, _ = refsnn("run", out, *few, "--json", "-")
    assert json.loads(said)["snn"] == one["snn"]
    code, said, _ = refsnn("run", file, *common, *few)
    assert "Reconstruction: all of it" in said
    code, said, _ = refsnn("info", out)
    assert "toy-budgeted: NumPy definition" in said
    code, _, said = refsnn("convert", file, *common, "-o", out, "--force")
    assert code == 2
    assert "the number of steps to convert for" in said
    code, _, said = refsnn("run", out, "-T", "5")
    assert code == 2
    assert "expected T = 4" in said
    code, _, said = refsnn("run", file, *common, *few, "--set", "budgets=3")
    assert code == 2
    assert "one of budget, strict, slack" in said
    code, _, said = refsnn("run", file, "--method", "toy", *few, "--set", "slack=nan")
    assert code == 2
    assert "a value of type float" in said
    code, _, said = refsnn("run", file, "--method", "toy", *few, "--set", "strict=1")
    assert code == 2
    assert "a value of type bool" in said


def test_a_field_must_be_declared() -> None:
    with pytest.raises(OptionError, match="made by tensor, ints, real or flag"):

        class Plain(Neuron):
            op = "toy-plain"
            slack: float = 0.1

    Neuron.registry.pop("toy-plain", None)


def test_a_method_may_rewrite_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph is judged behind the method's own rewrites."""
    from test_passes import REFUSED, chain

    def averaged(ann):
        pools = {n.name: AvgPool() for n in ann.nodes if n.op.op == "maxpool"}
        return ann.with_ops(pools)

    base = METHODS["max-norm"]
    pooled = dataclasses.replace(base, rewrites=(averaged, *base.rewrites))
    monkeypatch.setitem(METHODS, "toy-pool", pooled)
    ann = chain(*REFUSED["max pooling"][0])
    snn = convert(ann, "toy-pool", images=images(1, 3, (1, 4, 4)))
    assert len(snn.readout.projections[0].pool) == 1


def test_a_method_that_depends_on_T_needs_one(toy_method: type[Neuron]) -> None:
    ann = random_net(1, ACTIVATIONS["clip"])
    with pytest.raises(OptionError, match="got no T"):
        convert(ann, "toy")
