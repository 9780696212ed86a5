"""SpikingJelly's IFNode behind PyTorch's layers."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from spikingjelly.activation_based import neuron

from refsnn.conformance.adapters import torch as plain


class Adapter(plain.Adapter):
    """``IFNode(v_threshold=1, v_reset=None)``, one step at a time.

    Its threshold is one number for a layer, and it has no negative spikes.
    """

    capabilities: ClassVar[dict[str, Any]] = {
        "neurons": ("IF",),
        "dtype": "float32",
        "theta_per_channel": False,
    }

    def load(self, network: dict[str, Any]) -> None:
        super().load(network)
        self.nodes = {
            p["name"]: neuron.IFNode(v_threshold=float(p["theta"]), v_reset=None)
            for p in self.populations
            if p["neuron"]
        }

    def reset(self, batch: int) -> None:
        super().reset(batch)
        for name, node in self.nodes.items():
            node.reset()
            node.v = self.v[name].clone()

    def fire(self, p: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
        s = self.nodes[p["name"]](x)
        return s if p["mask"] is None else s * p["mask"]
