"""The template: a whole adapter in plain NumPy, written as simply as it can be."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np


class Adapter:
    """A simulator in float32, one step of all populations at a time."""

    capabilities: ClassVar[dict[str, Any]] = {
        "neurons": ("IF", "DualThresholdIF"),
        "dtype": "float32",
        "mask": True,
        "theta_per_channel": True,
        "v0_per_neuron": True,
        "dilation": True,
        "groups": True,
        "pooling": True,
        "expected_failures": {},  # name of a vector: the reason
    }

    def load(self, network: dict[str, Any]) -> None:
        """Take a network.

        Parameters
        ----------
        network : dict
            What :func:`refsnn.conformance.network_arrays` says.
        """
        self.populations = network["populations"]

    def reset(self, batch: int) -> None:
        """Start anew.

        Parameters
        ----------
        batch : int
            Number of samples, B.
        """
        self.v, self.N = {}, {}
        for p in self.populations:
            size = (batch, *p["shape"])
            self.v[p["name"]] = np.broadcast_to(p["v0"], size).astype(np.float32)
            self.N[p["name"]] = np.zeros(size, dtype=np.int64)

    def step(self, currents: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Advance by one step.

        Parameters
        ----------
        currents : dict of str to ndarray, shape (B, *S)
            Currents of the populations that the image feeds.

        Returns
        -------
        dict of str to ndarray, shape (B, *S)
            Spikes of every population, and the readout's current.
        """
        out: dict[str, np.ndarray] = {}
        for p in self.populations:
            name = p["name"]
            u = self.v[name] if p["neuron"] else np.zeros_like(self.v[name])
            if name in currents:
                u = u + currents[name].astype(np.float32)
            for q in p["projections"]:
                u = u + self.current(q, out[q["from"]], p["shape"])
            if p["bias"] is not None:
                u = u + p["bias"].astype(np.float32)
            if p["neuron"] is None:
                out[name] = u
                continue
            s = (u >= p["theta"]).astype(np.int8)
            if p["neuron"] == "DualThresholdIF":
                s = s - ((u <= p["theta_neg"]) & (self.N[name] > 0)).astype(np.int8)
            self.v[name] = u - p["theta"].astype(np.float32) * s
            self.N[name] = self.N[name] + s
            out[name] = s if p["mask"] is None else s * p["mask"].astype(np.int8)
        return out

    def current(
        self, q: dict[str, Any], spikes: np.ndarray, shape: tuple[int, ...]
    ) -> np.ndarray:
        """Return what a projection adds to the potentials.

        Parameters
        ----------
        q : dict
            The projection.
        spikes : ndarray, shape (B, *S)
            What its source emitted in this step.
        shape : tuple of int
            Shape of the population it leads to.

        Returns
        -------
        ndarray of float32, shape (B, *shape)
            The current.
        """
        x, weight = spikes.astype(np.float32), q["weight"].astype(np.float32)
        if q["pool"] == "global":
            x = x.sum(axis=(2, 3), keepdims=True)
        elif q["pool"]:
            k, (B, C, H, W) = q["pool"], x.shape
            x = x[:, :, : H // k * k, : W // k * k]
            x = x.reshape(B, C, H // k, k, W // k, k).sum(axis=(3, 5))
        if len(shape) == 1:  # behind it there are no rows and columns
            x = x.reshape(len(x), -1)
        if q["op"] == "linear":
            return np.asarray(x @ weight.T)
        if q["op"] == "identity":
            return np.asarray(x * weight.reshape(-1, *[1] * (len(shape) - 1)))
        return self.convolution(q, x, weight)

    def convolution(
        self, q: dict[str, Any], x: np.ndarray, weight: np.ndarray
    ) -> np.ndarray:
        """Return a convolution, tap by tap.

        Parameters
        ----------
        q : dict
            The projection: stride, padding, dilation, groups.
        x : ndarray of float32, shape (B, I, H, W)
            Its input.
        weight : ndarray of float32, shape (O, I / groups, kh, kw)
            The kernel.

        Returns
        -------
        ndarray of float32, shape (B, O, H', W')
            The output.
        """
        (sh, sw), (ph, pw), (dh, dw) = q["stride"], q["padding"], q["dilation"]
        O, _, kh, kw = weight.shape
        x = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
        H = (x.shape[2] - dh * (kh - 1) - 1) // sh + 1
        W = (x.shape[3] - dw * (kw - 1) - 1) // sw + 1
        x = x.reshape(len(x), q["groups"], -1, *x.shape[2:])
        weight = weight.reshape(q["groups"], O // q["groups"], -1, kh, kw)
        total = np.zeros((len(x), O, H, W), dtype=np.float32)
        for i in range(kh):
            for j in range(kw):
                rows = slice(i * dh, i * dh + sh * (H - 1) + 1, sh)
                columns = slice(j * dw, j * dw + sw * (W - 1) + 1, sw)
                tap = x[..., rows, columns]
                y = np.einsum("bgchw,goc->bgohw", tap, weight[..., i, j])
                total += y.reshape(total.shape)
        return total
