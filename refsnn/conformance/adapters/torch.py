"""Plain PyTorch in float32: convolutions and comparisons, no spiking library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch.nn import functional

from refsnn.numerics import Array


class Adapter:
    """A simulator of PyTorch's layers; its neurons are three lines.

    Winograd and TF32 convolutions are no binary32 additions; on a CPU PyTorch uses
    neither.
    """

    capabilities: ClassVar[dict[str, Any]] = {
        "neurons": ("IF", "DualThresholdIF"),
        "dtype": "float32",
    }

    def load(self, network: dict[str, Any]) -> None:
        """Take a network; see :func:`refsnn.conformance.network_arrays`.

        Parameters
        ----------
        network : dict
            The network.
        """
        self.populations = [
            {
                name: _tensor(p[name])
                if name in {"theta", "theta_neg", "v0", "mask", "bias"}
                else p[name]
                for name in p
            }
            | {"projections": [_projection(q) for q in p["projections"]]}
            for p in network["populations"]
        ]

    def reset(self, batch: int) -> None:
        """Start anew.

        Parameters
        ----------
        batch : int
            Number of samples.
        """
        self.v = {
            p["name"]: p["v0"].expand(batch, *p["shape"]) for p in self.populations
        }
        self.N = {name: torch.zeros_like(v) for name, v in self.v.items()}

    @torch.inference_mode()
    def step(self, currents: Mapping[str, Array]) -> dict[str, torch.Tensor]:
        """Advance by one step.

        Parameters
        ----------
        currents : mapping of str to ndarray, shape (B, *S)
            Currents that the image causes.

        Returns
        -------
        dict of str to Tensor, shape (B, *S)
            Spikes, and the readout's current.
        """
        out: dict[str, torch.Tensor] = {}
        for p in self.populations:
            x = self.charge(p, currents, out)
            out[p["name"]] = x if p["neuron"] is None else self.fire(p, x)
        return out

    def charge(
        self,
        p: dict[str, Any],
        currents: Mapping[str, Array],
        out: dict[str, torch.Tensor],
    ) -> torch.Tensor:
        """Add up a population's current.

        Parameters
        ----------
        p : dict
            The population.
        currents : mapping of str to ndarray
            Currents that the image causes.
        out : dict of str to Tensor
            Spikes of this step so far.

        Returns
        -------
        Tensor, shape (B, *S)
            The current.
        """
        x = torch.zeros_like(self.v[p["name"]])
        if p["name"] in currents:
            x = x + torch.as_tensor(currents[p["name"]], dtype=torch.float32)
        for q in p["projections"]:
            x = x + _current(q, out[q["from"]], flat=len(p["shape"]) == 1)
        return x if p["bias"] is None else x + p["bias"]

    def fire(self, p: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
        """Charge, fire, reset and count.

        Parameters
        ----------
        p : dict
            The population.
        x : Tensor, shape (B, *S)
            Its current.

        Returns
        -------
        Tensor, shape (B, *S)
            What it emits.
        """
        name = p["name"]
        u = self.v[name] + x
        s = (u >= p["theta"]).to(u.dtype)
        if p["neuron"] == "DualThresholdIF":
            s = s - ((u <= p["theta_neg"]) & (self.N[name] > 0)).to(u.dtype)
        self.v[name] = u - p["theta"] * s
        self.N[name] = self.N[name] + s
        return s if p["mask"] is None else s * p["mask"]


def _tensor(value: Array | None) -> torch.Tensor | None:
    return None if value is None else torch.as_tensor(value).to(torch.float32)


def _projection(q: dict[str, Any]) -> dict[str, Any]:
    return q | {"weight": _tensor(q["weight"])}


def _current(q: dict[str, Any], x: torch.Tensor, *, flat: bool) -> torch.Tensor:
    """Return what a projection adds."""
    if q["pool"] == "global":
        x = x.sum(dim=(2, 3), keepdim=True)
    elif q["pool"]:
        x = functional.avg_pool2d(x, q["pool"], divisor_override=1)
    if q["op"] == "conv2d":
        how = {name: q[name] for name in ("stride", "padding", "dilation", "groups")}
        return functional.conv2d(x, q["weight"], **how)
    if flat:
        x = x.flatten(1)
    if q["op"] == "linear":
        return functional.linear(x, q["weight"])
    return x * q["weight"].reshape(-1, *[1] * (x.ndim - 2))
