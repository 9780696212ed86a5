"""Level 7: PyTorch in float32 gives the spikes of a network snapped to float32.

An independent rendering of the network: it reads the arrays and simulates step by step.
"""

from __future__ import annotations

import numpy as np
import pytest

from nets import images, trained_by_others
from refsnn import datasets
from refsnn.convert import convert
from refsnn.exchange import from_state_dict, read_state_dict
from refsnn.network import INPUT, SpikingNetwork
from refsnn.neurons import DualThresholdIF
from refsnn.recording import record
from refsnn.snap import snap
from refsnn.trace import Trace
from test_modes import raw_net

torch = pytest.importorskip("torch", reason="needs the extra torch")

T = 10


def tensor(array: object) -> object:
    return torch.from_numpy(np.array(array, dtype=np.float32))


def over(value: np.ndarray, shape: tuple[int, ...]) -> object:
    """A scalar, per-channel or per-neuron parameter as (1, *S)."""
    if value.shape == shape[:1]:
        value = value.reshape(-1, *[1] * (len(shape) - 1))
    return tensor(np.broadcast_to(value, shape)).unsqueeze(0)


def projected(q: object, s: object) -> object:
    """One projection of float32 spikes, by PyTorch's own convolutions."""
    F = torch.nn.functional
    for pool in q.pool:
        kernel, stride = tuple(pool.kernel), tuple(pool.stride)
        if pool.op == "maxpool":
            s = F.max_pool2d(s, kernel, stride)
        else:
            s = F.avg_pool2d(s, kernel, stride, divisor_override=1)
    weight = tensor(q.op.weight)
    if q.op.op == "conv2d":
        (top, bottom), (left, right) = q.op.pads
        s = F.pad(s, (left, right, top, bottom))
        how = {"stride": q.op.stride, "dilation": q.op.dilation, "groups": q.op.groups}
        return F.conv2d(s, weight, **how)
    if q.op.op == "linear":
        return F.linear(s.flatten(1), weight)
    return s * over(q.op.weight, tuple(s.shape[1:]))


def spikes_of(
    snn: SpikingNetwork, trace: Trace, layout: object
) -> dict[str, np.ndarray]:
    """Simulate in float32 from the trace's first current."""
    states: dict[str, object] = {}
    counts: dict[str, object] = {}
    trains: dict[str, list] = {p.name: [] for p in snn.hidden}
    for _ in range(trace.T):
        emitted: dict[str, object] = {}
        for p in snn.hidden:
            fed = trace.populations[p.name].input_current
            shape = (len(trace.samples), *p.shape)
            u = states.get(p.name)
            if u is None:
                u = over(p.v0, p.shape).expand(shape)
                counts[p.name] = torch.zeros(shape)
            if fed is not None:
                u = u + tensor(fed)
            for q in p.projections:
                if q.source != INPUT:
                    s = emitted[q.source]
                    if s.ndim == 4:
                        s = s.contiguous(memory_format=layout)
                    u = u + projected(q, s)
            if p.bias is not None and fed is None:
                u = u + over(p.bias, p.shape)
            s = (u >= 1).float()
            if isinstance(p.neuron, DualThresholdIF):
                low = u <= over(p.neuron.theta_neg, p.shape)
                s = s - (low & (counts[p.name] > 0)).float()
            counts[p.name] = counts[p.name] + s
            states[p.name] = u - s
            emitted[p.name] = s
            trains[p.name].append(s.numpy().astype(np.int8))
    return {name: np.stack(train) for name, train in trains.items()}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("layout", ["contiguous_format", "channels_last"])
def test_the_same_spikes_in_float32(layout: str, seed: int) -> None:
    raw = raw_net(seed)
    snn = snap(raw, "float32", T=T, images=images(8, 6))
    trace = record(snn, images(8, 6), T)
    got = spikes_of(snn, trace, getattr(torch, layout))
    assert sum(int((s < 0).sum()) for s in got.values()) > 0
    for name, train in got.items():
        assert (train == trace.populations[name].spikes).all(), name


def test_a_trained_resnet_in_float32() -> None:
    """ResNet-20 on CIFAR-10, snapped to float32: both layouts, no differing spike."""
    weights = read_state_dict(trained_by_others("relu-resnet20-cifar10.npz"))
    ann = from_state_dict(weights, "resnet20-a", name="resnet20")
    train = datasets.load("cifar10", "train").head(64).images
    test = datasets.load("cifar10", "test").head(8).images
    raw = convert(ann, "max-norm", images=train, exact=False)
    snn = snap(raw, "float32", T=16, images=np.concatenate([train[:16], test]))
    trace = record(snn, test, 16)
    assert sum(int(p.spikes.sum()) for p in trace.populations.values()) > 10**5
    for layout in (torch.contiguous_format, torch.channels_last):
        got = spikes_of(snn, trace, layout)
        for name, train_of in got.items():
            assert (train_of == trace.populations[name].spikes).all(), (name, layout)
