"""A spiking network in PyTorch and in SpikingJelly: the same weights, in float32."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from refsnn.layers import Conv2d, Linear
from refsnn.network import INPUT, Projection, SpikingNetwork
from refsnn.neurons import IF, DualThresholdIF


def tensor(values: np.ndarray) -> torch.Tensor:
    """Copy to float32."""
    return torch.from_numpy(np.array(values, dtype=np.float32))


class Tuned:
    """PyTorch as it is fastest on CPU: channels last, inference mode, in place.

    All steps are one batch of each layer; the neuron overwrites its currents with its
    spikes. The current of the image is computed once.
    """

    channels_last = True

    def __init__(self, snn: SpikingNetwork, T: int) -> None:
        if not all(type(p.neuron) in (IF, DualThresholdIF) for p in snn.hidden):
            message = "only IF neurons are rendered, and those of two thresholds"
            raise ValueError(message)
        self.snn, self.T = snn, T
        self.weights = {
            (p.name, k): self.laid(tensor(q.op.weight))
            for p in snn.populations
            for k, q in enumerate(p.projections)
        }
        self.biases = {
            p.name: None
            if p.bias is None
            else tensor(np.broadcast_to(p.bias, p.shape[:1]))
            for p in snn.populations
        }
        self.starts = {p.name: tensor(p.over("v0")) for p in snn.hidden}

    def laid(self, x: torch.Tensor) -> torch.Tensor:
        """Bring the channels of a map to the end, if that is wanted."""
        last = self.channels_last and x.ndim == 4
        return x.contiguous(memory_format=torch.channels_last) if last else x

    def project(
        self, q: Projection, weight: torch.Tensor, x: torch.Tensor
    ) -> torch.Tensor:
        """Apply pooling and map to (T B, *S)."""
        for pool in q.pool:
            x = functional.avg_pool2d(x, pool.kernel, pool.stride, divisor_override=1)
        if isinstance(q.op, Conv2d):
            (p0, e0), (p1, e1) = q.op.pads
            if (p0, p1) != (e0, e1):
                x, p0, p1 = functional.pad(x, (p1, e1, p0, e0)), 0, 0
            how = (q.op.stride, (p0, p1), q.op.dilation, q.op.groups)
            return functional.conv2d(x, weight, None, *how)
        if isinstance(q.op, Linear):
            return functional.linear(x.flatten(1), weight)
        return x * weight.reshape(-1, *[1] * (x.ndim - 2))

    def currents(self, name: str, values: dict[str, torch.Tensor]) -> torch.Tensor:
        """Sum the currents of a population, shape (T B, *S) or (B, *S)."""
        p, total = self.snn[name], None
        for k, q in enumerate(p.projections):
            term = self.project(q, self.weights[name, k], values[q.source])
            total = term if total is None else total.add_(term)
        bias = self.biases[name]
        if bias is not None:
            total = total.add_(bias.reshape(-1, *[1] * (total.ndim - 2)))
        return total

    def repeated(self, x: torch.Tensor) -> torch.Tensor:
        """Give every step the current of the image, laid out as it is."""
        whole = self.laid(torch.empty(self.T * len(x), *x.shape[1:]))
        return whole.unflatten(0, (self.T, len(x))).copy_(x)

    def fire(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """Charge, fire, reset: x of shape (T, B, *S) becomes its spikes."""
        v = torch.empty_like(x[0]).copy_(self.starts[name])
        neuron = self.snn[name].neuron
        if isinstance(neuron, DualThresholdIF):
            return self.fire_both(neuron, x, v)
        for t in range(self.T):
            v.add_(x[t])
            torch.ge(v, 1, out=x[t])
            v.sub_(x[t])
        return x

    def fire_both(
        self, neuron: DualThresholdIF, x: torch.Tensor, v: torch.Tensor
    ) -> torch.Tensor:
        """Charge, fire in either direction, reset."""
        level = tensor(neuron.theta_neg)
        level = level.reshape(-1, *[1] * (v.ndim - 2)) if level.ndim == 1 else level
        net = torch.zeros_like(v)
        for t in range(self.T):
            v.add_(x[t])
            below = (v <= level).logical_and_(net > 0)
            torch.ge(v, 1, out=x[t])
            x[t].sub_(below.to(x.dtype))
            v.sub_(x[t])
            net.add_(x[t])
        return x

    @torch.inference_mode()
    def __call__(
        self,
        x: torch.Tensor,
        first: dict[str, torch.Tensor] | None = None,
        watch: dict[str, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Return the logits of each step, (T, B, classes).

        `first` holds currents to be used in place of those of the image; `watch`
        receives the spikes of each population.
        """
        values, B = {INPUT: self.laid(x)}, len(x)
        for p in self.snn.hidden:
            x = (first or {}).get(p.name)
            x = self.currents(p.name, values) if x is None else self.laid(x)
            fed = all(q.source == INPUT for q in p.projections)
            x = self.repeated(x) if fed else x.unflatten(0, (self.T, B))
            s = self.fire(p.name, x)
            values[p.name] = s.flatten(0, 1)
            if watch is not None:
                watch[p.name] = s
        out = self.currents(self.snn.readout.name, values)
        return out.unflatten(0, (self.T, B)).cumsum(0)


class SpikingJelly(Tuned):
    """SpikingJelly's multi-step IFNode behind PyTorch's layers, as its models are.

    It has no neuron of two thresholds; a user's own stands in for it, the one of the
    tuned rendering.
    """

    channels_last = False

    def __init__(self, snn: SpikingNetwork, T: int) -> None:
        super().__init__(snn, T)
        from spikingjelly.activation_based import neuron  # noqa: PLC0415 - a peer

        self.nodes = {
            p.name: neuron.IFNode(v_threshold=1.0, v_reset=None, step_mode="m").eval()
            for p in snn.hidden
        }

    def fire(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """Charge, fire, reset."""
        if type(self.snn[name].neuron) is not IF:
            return super().fire(name, x)
        node = self.nodes[name]
        node.reset()
        node.v = self.starts[name].expand(x.shape[1:]).clone()
        return node(x)
