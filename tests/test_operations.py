"""Operations of a trace: against the run's own counts, by hand, and by brute force."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nets import images, random_net
from refsnn.activations import QCFS
from refsnn.convert import convert
from refsnn.errors import DataError, OptionError
from refsnn.layers import Conv2d, Flatten, Input, Linear
from refsnn.network import INPUT, Network, Node
from refsnn.operations import operations
from refsnn.profile import PROFILES
from refsnn.recording import record
from refsnn.run import run_snn
from test_max_pooling import pooled_net

T = 5


def shortcut_net() -> Network:
    """A zero-padded shortcut: two channels that reach the first two of four."""
    padded = np.zeros((4, 2, 1, 1))
    padded[[0, 1], [0, 1]] = 1
    qcfs = QCFS(lam=np.array(1.0), levels=4)
    nodes = (
        Node(name="input", op=Input()),
        Node(
            name="conv", op=Conv2d(weight=np.full((2, 1, 1, 1), 0.5)), inputs=("input",)
        ),
        Node(name="act", op=qcfs, inputs=("conv",)),
        Node(name="pad", op=Conv2d(weight=padded, stride=(2, 2)), inputs=("act",)),
        Node(name="act2", op=qcfs, inputs=("pad",)),
        Node(name="fc", op=Linear(weight=np.ones((3, 16))), inputs=("flat",)),
    )
    flat = Node(name="flat", op=Flatten(), inputs=("act2",))
    return Network(
        name="shortcut",
        input_shape=(1, 4, 4),
        classes=3,
        mean=np.zeros(1),
        std=np.ones(1),
        nodes=(*nodes[:-1], flat, nodes[-1]),
    )


def test_a_spike_into_a_padded_shortcut_counts_one_weight_that_is_not_0() -> None:
    """A white image: 0.5 each step from v(0) = 0.5, a spike at t = 1, 3 of 4 steps."""
    snn = convert(shortcut_net(), "qcfs")
    white = np.full((1, 1, 4, 4), 255, np.uint8)
    counted = operations(snn, record(snn, white, 4, membranes=True))
    act, act2, fc = counted["act"], counted["act2"], counted["fc"]
    assert act.spikes.tolist() == [32, 0, 32, 0]
    assert act.constants.tolist() == [32] * 4  # the image's current
    assert act.changed.tolist() == [32] * 4  # 0.5, 0, 0.5, 0, 0.5
    assert act2.received.tolist() == [32, 0, 32, 0]  # 8 spikes seen, 4 channels each
    assert act2.nonzero.tolist() == [8, 0, 8, 0]
    assert act2.touched.tolist() == [8, 0, 8, 0]
    assert act2.constants.tolist() == [0] * 4
    assert act2.updates.tolist() == [16] * 4
    assert act2.spikes.tolist() == [8, 0, 8, 0]
    assert act2.changed.tolist() == [0] * 4  # 0.5 + 1 - 1
    assert fc.received.tolist() == [24, 0, 24, 0]
    assert fc.changed is None
    assert fc.updates.tolist() == [0] * 4


@pytest.mark.parametrize("method", ["qcfs", "ecl", "srp"])
def test_what_populations_receive_is_what_runs_count(method: str) -> None:
    snn = convert(random_net(4), method)
    some = images(6, 3, snn.input_shape)
    trace = record(snn, some, T)
    counted = operations(snn, trace)
    run = run_snn(snn, snn.preprocess(some), T)
    for p in snn.hidden:
        assert (counted[p.name].spikes == run.spikes[p.name]).all()
        assert (counted[p.name].negative == run.negative[p.name]).all()
        assert counted[p.name].changed is None  # no potentials
    received = sum(of.received for of in counted.values())
    assert received.tolist() == sum(run.synops.values()).tolist()
    assert received.sum() > 0


def test_maxima_pass_what_runs_count() -> None:
    snn = pooled_net()
    some = images(6, 3, snn.input_shape)
    counted = operations(snn, record(snn, some, T))
    run = run_snn(snn, snn.preprocess(some), T)
    received = sum(of.received for of in counted.values())
    assert received.tolist() == sum(run.synops.values()).tolist()


def test_weights_of_0_by_brute_force() -> None:
    rng = np.random.default_rng(8)

    def values(rng: np.random.Generator, shape: object) -> np.ndarray:
        return rng.normal(0, 0.4, shape) * (rng.random(shape) < 0.5)

    snn = convert(random_net(5, values=values), "ecl")
    some = images(rng.integers(100), 2, snn.input_shape)
    trace = record(snn, some, T)
    counted = operations(snn, trace)
    for p in snn.populations:
        nonzero = np.zeros(T, dtype=np.int64)
        touched = np.zeros((T, 2, *p.shape), dtype=bool)
        for q in p.projections:
            if q.source == INPUT:
                touched[:] = True
                continue
            s = trace.populations[q.source].spikes
            source = s.shape[2:]
            for index in np.ndindex(source):  # one spike at a time
                one = np.zeros((1, *source))
                one[(0, *index)] = 1
                mask = dataclasses.replace(
                    q.op, weight=(q.op.weight != 0).astype(np.float64)
                )
                reached = mask(q.pooled(one))[0]
                fired = s[(slice(None), slice(None), *index)] != 0
                nonzero += (fired.sum(axis=1) * reached.sum()).astype(np.int64)
                touched |= np.multiply.outer(fired, reached > 0)
        if p.bias is not None:
            touched |= np.broadcast_to(p.over("bias") != 0, touched.shape)
        assert counted[p.name].nonzero.tolist() == nonzero.tolist()
        assert (
            counted[p.name].touched.tolist()
            == touched.sum(axis=tuple(range(1, touched.ndim))).tolist()
        )
        assert (counted[p.name].nonzero <= counted[p.name].received).all()
    assert any((of.nonzero < of.received).any() for of in counted.values())


def test_other_conventions_are_refused() -> None:
    """Their spikes arrive a step later, or several at once."""
    profile = PROFILES["lava"].profile
    snn = convert(random_net(4), "qcfs", exact=False)
    late = dataclasses.replace(snn, profile=profile)
    trace = record(late, images(6, 1, snn.input_shape), 2)
    with pytest.raises(OptionError, match="conventions"):
        operations(late, trace)


def test_a_trace_of_another_network_is_refused() -> None:
    snn, other = (convert(random_net(seed), "qcfs") for seed in (4, 5))
    trace = record(snn, images(6, 1, snn.input_shape), 2)
    with pytest.raises(DataError, match="hash"):
        operations(other, trace)
