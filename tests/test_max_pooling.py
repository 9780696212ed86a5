"""Max pooling on spikes, which has to be asked for by name."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from nets import images, same
from refsnn import io
from refsnn.activations import QCFS
from refsnn.convert import convert, need_fit
from refsnn.errors import ConversionError, FormatError, GraphError
from refsnn.layers import AvgPool, Conv2d, Flatten, Identity, Linear, MaxPool, SumPool
from refsnn.network import Network, Projection, SpikingNetwork
from refsnn.neurons import IF, PRESETS
from refsnn.passes import activations_to_neurons, canonical_form
from refsnn.run import run_ann, run_snn
from test_passes import CLIP, CONV, FC4, chain

SHAPE = (1, 9, 9)


def pooled_ann() -> Network:
    """Overlapping maxima, one in front of an average, one in front of the readout."""
    rng = np.random.default_rng(3)

    def conv(O: int, I: int) -> Conv2d:
        return Conv2d(weight=rng.normal(0, 0.4, (O, I, 3, 3)), padding=(1, 1))

    return chain(
        conv(3, 1),
        QCFS(lam=np.array([0.9, 0.6, 1.2])),
        MaxPool(kernel=(3, 3), stride=(2, 2)),
        AvgPool(kernel=(2, 2), stride=(1, 1)),
        conv(4, 3),
        QCFS(lam=0.7),
        MaxPool(kernel=(2, 2), stride=(1, 1)),
        Flatten(),
        Linear(weight=rng.normal(0, 0.4, (2, 16))),
        input_shape=SHAPE,
    )


def pooled_net() -> SpikingNetwork:
    preset = PRESETS["fast-snn"]
    return canonical_form(
        activations_to_neurons(
            pooled_ann(),
            lambda theta: (preset.neuron(theta), theta / 2),
            max_pool_on_spikes=True,
        )
    )


def test_a_window_emits_its_largest_spike_at_every_step() -> None:
    """Two neurons that take turns: each has the rate 1/2, the window has the rate 1.

    A 1x2 image (a, b), weights of one, theta = 1. a = 1/2, v(0) = 1/2: u = 1, 1/2, 1,
    ..., spikes 1 0 1 0. b is the other channel's phase: v(0) = 0, u = 1/2, 1, ...,
    spikes 0 1 0 1. The maximum spikes at every step, so the readout of weight one
    counts 1 2 3 4; the sum of the two trains is the same, the larger rate is 1/2.
    """
    ann = chain(
        Conv2d(weight=np.ones((1, 1, 1, 1))),
        QCFS(lam=1.0),
        MaxPool(kernel=(1, 2), stride=(1, 2)),
        Flatten(),
        Linear(weight=np.array([[1.0], [0.0]])),
        input_shape=(1, 1, 2),
    )
    v0 = np.array([[[0.5, 0.0]]])
    snn = canonical_form(
        activations_to_neurons(ann, lambda theta: (IF(), v0), max_pool_on_spikes=True)
    )
    trains = []
    run = run_snn(
        snn,
        np.full((1, 1, 1, 2), 0.5),
        4,
        observe=lambda p, start, x, s, state: trains.append(s[:, 0, 0, 0]),
    )
    assert trains[0].tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]]
    assert run.logits[:, 0, 0].tolist() == [1, 2, 3, 4]
    assert run.synops["qcfs1"].tolist() == [2, 2, 2, 2]  # one spike, two classes


@pytest.mark.parametrize("method", ["qcfs", "srp", "srp-v0", "ecl"])
def test_every_engine_serves_maxima(method: str) -> None:
    """Where some populations run on ordinary kernels beside the event-driven ones."""
    snn = convert(pooled_ann(), method, max_pool_on_spikes=True)
    x = snn.preprocess(images(5, 1, SHAPE))
    want = run_snn(snn, x, 6, impl="definition")
    for engine in ("event", "dense", "ordinary"):
        got = run_snn(snn, x, 6, engine=engine)
        assert same(got.logits, want.logits)
        for name, spikes in want.spikes.items():
            assert same(got.spikes[name], spikes)


@pytest.mark.parametrize("schedule", ["layer", "step"])
def test_the_kernels_equal_the_definition(schedule: str) -> None:
    snn = pooled_net()
    x = snn.preprocess(images(5, 6, SHAPE))
    want = run_snn(snn, x, 7, impl="definition")
    got = run_snn(snn, x, 7, schedule=schedule)
    assert same(got.logits, want.logits)
    assert sum(t.sum() for t in want.negative.values()) > 0
    for counts in ("spikes", "negative", "synops"):
        for name, train in getattr(want, counts).items():
            assert getattr(got, counts)[name].tolist() == train.tolist()


def test_operations_are_counted_on_the_spikes_that_pass() -> None:
    """Every nonzero element behind the maxima, once for each synapse behind it."""
    snn = pooled_net()
    trains: dict[str, np.ndarray] = {}

    def observe(p, start, x, s, state):
        trains[p.name] = s

    run = run_snn(snn, snn.preprocess(images(6, 4, SHAPE)), 5, observe=observe)
    for name, s in trains.items():
        ((_, q),) = snn.projections(name)
        assert not snn.fan_out(name).any()
        ones = type(q.op)(**{**vars(q.op), "weight": np.ones(q.op.weight.shape)})
        for t, spikes in enumerate(s):
            passed = np.abs(q.maxima[0](spikes))
            for pool in q.pool[1:]:
                passed = pool(passed)
            assert run.synops[name][t] == ones(passed).sum()
    assert "sumpool" in snn.describe()
    assert "maxpool" in snn.describe()


def test_of_the_image_it_is_exact_and_needs_no_name() -> None:
    ann = chain(MaxPool(), CONV, CLIP, Flatten(), FC4)
    snn = activations_to_neurons(ann, lambda theta: (IF(), theta / 2))
    x = ann.preprocess(images(7, 3, (1, 4, 4)))
    seen = {}
    run_ann(ann, x, observe=lambda name, value: seen.update({name: value}))
    (q,) = snn.populations[0].projections
    assert same(q.op(q.pooled(x.astype(float))), seen["conv2d1"])


def test_every_method_takes_it_by_name_only() -> None:
    ann = pooled_ann()
    with pytest.raises(ConversionError, match="max_pool_on_spikes=True"):
        convert(ann, "qcfs")
    need_fit(ann, "qcfs", max_pool_on_spikes=True)
    snn = convert(ann, "qcfs", max_pool_on_spikes=True)
    assert [type(pool) for pool in snn.populations[1].projections[0].pool] == [
        MaxPool,
        SumPool,
    ]


def test_behind_an_average_it_is_refused() -> None:
    layers = (CONV, CLIP, AvgPool(), MaxPool(), Flatten(), Linear(weight=[[1], [1]]))
    with pytest.raises(ConversionError, match="max pooling of averages"):
        need_fit(chain(*layers), "max-norm", max_pool_on_spikes=True)
    with pytest.raises(GraphError, match="maxima, then sums"):
        Projection(
            source="x", op=Identity(weight=np.ones(1)), pool=(SumPool(), MaxPool())
        )


def test_files_keep_it(tmp_path: Path) -> None:
    snn = pooled_net()
    path = tmp_path / "net.h5"
    io.save(snn, path)
    again = io.load_snn(path)
    assert io.content_sha256(again) == io.content_sha256(snn)
    x = snn.preprocess(images(5, 2, SHAPE))
    assert same(run_snn(again, x, 3).logits, run_snn(snn, x, 3).logits)
    with h5py.File(path, "r+") as file:
        file["populations/qcfs5/projections/0"].attrs["pool"] = '[["mean",2,2,2,2]]'
    with pytest.raises(FormatError, match="maxpool"):
        io.load(path)


def test_the_command_line_takes_it_by_name(tmp_path: Path, refsnn) -> None:
    ann, net = tmp_path / "ann.h5", tmp_path / "net.h5"
    io.save(pooled_ann(), ann)
    how = ("convert", ann, "--method", "qcfs", "-o", net)
    code, _, err = refsnn(*how)
    assert (code, "--max-pool-on-spikes" in err) == (2, True)
    code, out, _ = refsnn(*how, "--max-pool-on-spikes")
    assert (code, "maxpool" in out) == (0, True)
    labels = np.arange(3, dtype=np.uint8) % 2
    for split in ("train", "test"):
        io.save_images(images(4, 3, SHAPE), labels, tmp_path / f"{split}.h5")
    name = "--max-pool-on-spikes"
    more = ("-m", "qcfs", "--data", f"images:{tmp_path}")
    for command in (
        ("run", *more),
        ("errors", *more),
        ("trace", *more, "-o", str(tmp_path / "trace.h5")),
        ("certify", *more),
    ):
        code, _, err = refsnn(command[0], ann, "-T", 2, *command[1:])
        assert (code, name in err) == (2, True)
        code, _, err = refsnn(command[0], net, "-T", 2, name, *command[3:])
        assert (code, "converted already" in err) == (2, True)
        assert refsnn(command[0], ann, "-T", 2, *command[1:], name).code == 0


def test_info_gives_the_reason_once(tmp_path: Path, refsnn) -> None:
    io.save(pooled_ann(), tmp_path / "ann.h5")
    code, said, _ = refsnn("info", tmp_path / "ann.h5")
    assert code == 0
    assert "qcfs: yes, with --max-pool-on-spikes: " in said
    assert said.count("The maximum of spikes is not the spikes of the maximum") == 1
    average = chain(CONV, CLIP, Flatten(), Linear(weight=np.ones((2, 16))))
    io.save(average, tmp_path / "b.h5")
    code, said, _ = refsnn("info", tmp_path / "b.h5")
    assert code == 0
    assert "max-norm: yes: " in said
    assert "qcfs: no: network chain, method qcfs: got the activations clip1" in said
    assert "max-pool" not in said
    assert said.count("Methods for these activations: ") == 1
