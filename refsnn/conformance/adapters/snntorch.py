"""snnTorch's Leaky, without leak, behind PyTorch's layers."""

from __future__ import annotations

from typing import Any, ClassVar

import snntorch
import torch

from refsnn.conformance.adapters import torch as plain


class Adapter(plain.Adapter):
    """``Leaky(beta=1)``, which resets by subtraction, with the next step's charge.

    Without leak that changes no spike, unless a neuron starts above its threshold. Its
    docstring says that it fires at the threshold; its code compares with >. On networks
    whose potentials meet the threshold it cannot agree.
    """

    capabilities: ClassVar[dict[str, Any]] = {
        "neurons": ("IF",),
        "dtype": "float32",
        "theta_per_channel": False,
    }

    def load(self, network: dict[str, Any]) -> None:
        super().load(network)
        self.leaky = {
            p["name"]: snntorch.Leaky(
                beta=1.0,
                threshold=float(p["theta"]),
            )
            for p in self.populations
            if p["neuron"]
        }

    def fire(self, p: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
        name = p["name"]
        s, self.v[name] = self.leaky[name](x, self.v[name])
        return s if p["mask"] is None else s * p["mask"]
