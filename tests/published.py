"""Conversion methods in PyTorch, from their published descriptions.

Nothing of refsnn is imported: thresholds stay as they are, spikes are worth theta,
pooling averages, batch and step are one axis. A network is a list of dictionaries.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional as F  # noqa: N812 - its usual name

Tensor = torch.Tensor


def linear_part(node: dict, inputs: list[Tensor]) -> Tensor:
    """Layers without neurons, on (batch, ...)."""
    op = node["op"]
    if op == "conv2d":
        how = {key: node[key] for key in ("stride", "padding", "dilation", "groups")}
        return F.conv2d(inputs[0], node["weight"], node["bias"], **how)
    if op == "linear":
        return F.linear(inputs[0].flatten(1), node["weight"], node["bias"])
    if op == "avgpool":
        return F.avg_pool2d(inputs[0], node["kernel"], node["stride"])
    if op == "globalavgpool":
        return inputs[0].mean(dim=(2, 3))
    if op == "flatten":
        return inputs[0].flatten(1)
    assert op == "add"
    return sum(inputs[1:], inputs[0])


def over(theta: Tensor, like: Tensor) -> Tensor:
    """A scalar or per-channel threshold over (batch, C, ...)."""
    return theta.reshape(-1, *[1] * (like.ndim - 2)) if theta.ndim else theta


def fire(kind: str, u: Tensor, N: Tensor, theta: Tensor) -> Tensor:
    """Spikes of one step: IF, or with a second threshold (Fast-SNN, SNM, QFFS)."""
    s = (u >= theta).double()
    if kind == "if":
        return s
    low = {"fast-snn": u <= -1e-3, "snm": u <= -theta, "qffs": u < 0}[kind]
    return s - (low & (N > 0) & (s == 0)).double()


def run(kind: str, x: Tensor, v0: Tensor, theta: Tensor) -> dict[str, Tensor]:
    """Charge, fire, subtract, T times; x has the shape (T, B, ...)."""
    v, N, spikes, before, after = v0, torch.zeros_like(v0), [], [], []
    for current in x:
        u = v + current
        s = fire(kind, u, N, theta)
        v, N = u - theta * s, N + s
        spikes.append(s)
        before.append(u)
        after.append(v)
    stacked = {"s": spikes, "u": before, "v": after}
    return {name: torch.stack(values) for name, values in stacked.items()}


def through(
    nodes: list[dict], image: Tensor, T: int, neurons: Callable[[dict, Tensor], Tensor]
) -> tuple[dict[str, Tensor], Tensor]:
    """Layer by layer; `neurons` turns currents (T, B, ...) into spikes."""
    values: dict[str, Tensor] = {}
    trains: dict[str, Tensor] = {}
    B = len(image)
    for node in nodes:
        inputs = [values[name] for name in node["inputs"]]
        if node["op"] == "input":
            value = image.repeat(T, *[1] * (image.ndim - 1))
        elif "theta" in node:
            currents = inputs[0].reshape(T, B, *inputs[0].shape[1:])
            s = neurons(node, currents)
            trains[node["name"]] = s
            value = (over(node["theta"], s[0]) * s).flatten(0, 1)
        else:
            value = linear_part(node, inputs)
        values[node["name"]] = value
    logits = values[nodes[-1]["name"]].reshape(T, B, -1).cumsum(dim=0)
    return trains, logits


def start(node: dict, currents: Tensor, fraction: float) -> Tensor:
    shape = currents.shape[1:]
    return (fraction * over(node["theta"], currents[0])).expand(shape).clone()


def simple(kind: str, fraction: float, shift: bool = False) -> Callable:
    """QCFS, OPI, max-norm; dual thresholds; with `shift` theta/(2T) a step (RTS)."""

    def method(nodes: list[dict], image: Tensor, T: int) -> tuple:
        def neurons(node: dict, x: Tensor) -> Tensor:
            theta = over(node["theta"], x[0])
            x = x + theta / (2 * T) if shift else x
            return run(kind, x, start(node, x, fraction), theta)["s"]

        return through(nodes, image, T, neurons)

    return method


def srp(keep: Callable[[Tensor], Tensor], tau: int) -> Callable:
    """SRP: observe tau steps, let neurons out by v(tau)/theta, start again."""

    def method(nodes: list[dict], image: Tensor, T: int) -> tuple:
        masks: dict[str, Tensor] = {}

        def observe(node: dict, x: Tensor) -> Tensor:
            theta = over(node["theta"], x[0])
            seen = run("if", x, start(node, x, 0.5), theta)
            masks[node["name"]] = keep(seen["v"][-1] / theta).double()
            return seen["s"]

        def gated(node: dict, x: Tensor) -> Tensor:
            theta = over(node["theta"], x[0])
            s = run("if", x, start(node, x, 0.5), theta)["s"]
            return s * masks.get(node["name"], torch.ones_like(s[0]))

        if tau:
            through(nodes, image, tau, observe)
        return through(nodes, image, T, gated)

    return method


def cos(rho: int, rounds: int, below: float, above: float) -> Callable:
    """COS: in units of theta, rounds of one spike more or less over rho steps."""

    def method(nodes: list[dict], image: Tensor, T: int) -> tuple:
        def neurons(node: dict, x: Tensor) -> Tensor:
            theta = over(node["theta"], x[0])
            v0 = start(node, x, 0.5)
            for _ in range(rounds):
                seen = run("if", x[:rho], v0, theta)
                s, u, v = seen["s"], seen["u"] / theta, seen["v"] / theta
                N, last = s.sum(dim=0), v[-1]
                least = torch.where(s > 0, u, torch.inf).amin(dim=0)
                most = torch.where(s == 0, v, -torch.inf).amax(dim=0)
                down = (least - below).clamp(min=1)
                up = (above - most).clamp(min=1)
                many, few = (N > 0) & (last < 0), (N < rho) & (last >= 1)
                shift = torch.where(many, -down, torch.where(few, up, 0.0))
                v0 = v0 + theta * shift
            return run("if", x, v0, theta)["s"]

        return through(nodes, image, T, neurons)

    return method
