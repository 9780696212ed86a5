"""The released calibration code in PyTorch, from its published description.

Nothing of refsnn is imported. A network is a list of dictionaries, as in `published`;
thresholds, potentials and biases are in units of activations. Un-normalised neurons
start at 0 and get theta 0.5 / T at every step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch

from published import linear_part

Tensor = torch.Tensor


def folded(nodes: list[dict]) -> list[dict]:
    """f = gamma / sqrt(var + eps): W' = f W, b' = beta + f (b - mean)."""
    by_name = {node["name"]: dict(node) for node in nodes}
    renamed = {}
    for node in nodes:
        if node["op"] != "batchnorm":
            continue
        conv = by_name[node["inputs"][0]]
        factor = node["gamma"] / torch.sqrt(node["var"] + node["eps"])
        bias = 0.0 if conv["bias"] is None else conv["bias"]
        rows = factor.reshape(-1, *[1] * (conv["weight"].ndim - 1))
        conv["weight"] = rows * conv["weight"]
        conv["bias"] = node["beta"] + factor * (bias - node["mean"])
        renamed[node["name"]] = conv["name"]
        del by_name[node["name"]]
    for node in by_name.values():
        node["inputs"] = tuple(renamed.get(i, i) for i in node["inputs"])
    return list(by_name.values())


def with_spiking_pools(nodes: list[dict], shapes: dict[str, tuple]) -> list[dict]:
    """Every average pool is a convolution of each channel, with neurons of its own."""
    out = []
    for node in nodes:
        if node["op"] not in {"avgpool", "globalavgpool"}:
            out.append(node)
            continue
        C, H, W = shapes[node["inputs"][0]]
        kernel = node["kernel"] or (H, W)
        mean = {
            **node,
            "name": f"{node['name']}-mean",
            "op": "conv2d",
            "weight": torch.full((C, 1, *kernel), 1 / math.prod(kernel)).double(),
            "bias": None,
            "stride": node["stride"] or kernel,
            "padding": 0,
            "dilation": 1,
            "groups": C,
        }
        out += [mean, {"name": node["name"], "inputs": (mean["name"],), "op": "relu"}]
    return out


def outputs(nodes: list[dict], image: Tensor) -> dict[str, Tensor]:
    """Every node of the trained network."""
    values: dict[str, Tensor] = {}
    for node in nodes:
        inputs = [values[name] for name in node["inputs"]]
        if node["op"] == "input":
            values[node["name"]] = image
        elif node["op"] == "relu":
            values[node["name"]] = inputs[0].relu()
        else:
            values[node["name"]] = linear_part(node, inputs)
    return values


def clip_floor(z: Tensor, T: int, theta: Tensor | float) -> Tensor:
    return theta / T * torch.clamp(torch.floor(z * T / theta), 0, T)


def thresholds(
    nodes: list[dict], images: Tensor, T: int, batch: int, search: bool
) -> dict[str, float]:
    """Moving average over batches of the best of 95 candidates, or of the maximum."""
    theta: dict[str, float] = {}
    for some in images.split(batch):
        for name, a in outputs(nodes, some).items():
            if next(n for n in nodes if n["name"] == name)["op"] != "relu":
                continue
            best, least = 0.0, 1e20
            top = float(a.max())
            for i in range(95 if search else 0):
                V = top * (1 - 0.01 * i)
                error = float((clip_floor(a, T, V) - a).pow(2).mean())
                if error < least:
                    best, least = V, error
            found = best if search else top
            theta[name] = 0.9 * theta[name] + 0.1 * found if name in theta else found
    return theta


def integrate(current: Tensor, v0: Tensor, theta: float) -> Tensor:
    """Spikes worth theta, (T, B, ...)."""
    T, v, spikes = len(current), v0, []
    for x in current:
        v = v + x + theta * 0.5 / T
        s = (v >= theta).to(x.dtype)
        v = v - theta * s
        spikes.append(s * theta)
    return torch.stack(spikes)


def through(
    nodes: list[dict],
    theta: dict[str, float],
    image: Tensor,
    T: int,
    look: Callable[[dict, dict[str, Tensor]], None] | None = None,
) -> Tensor:
    """Layer by layer, all steps of each; `look` may change a layer before it runs."""
    values: dict[str, Tensor] = {}
    B = len(image)
    for node in nodes:
        if node["op"] == "relu" and look:
            look(node, values)
            redo(nodes, node, values)
        inputs = [values[name] for name in node["inputs"]]
        if node["op"] == "input":
            value = image.repeat(T, *[1] * (image.ndim - 1))
        elif node["op"] == "relu":
            value = emitted(node, inputs[0], theta, T)
        else:
            value = linear_part(node, inputs)
        values[node["name"]] = value
    return values[nodes[-1]["name"]].reshape(T, B, -1).sum(dim=0)


def emitted(node: dict, current: Tensor, theta: dict[str, float], T: int) -> Tensor:
    current = current.reshape(T, -1, *current.shape[1:])
    v0 = node.get("v0", torch.zeros(())).to(current.dtype)
    start = v0.expand(current.shape[1:])
    return integrate(current, start, theta[node["name"]]).flatten(0, 1)


def feeding(nodes: list[dict], node: dict) -> Iterator[dict]:
    """The sum in front of a neuron, if there is one, and its main layer."""
    (name,) = node["inputs"]
    before = next(n for n in nodes if n["name"] == name)
    if before["op"] == "add":
        yield next(n for n in nodes if n["name"] == before["inputs"][0])
    yield before


def redo(nodes: list[dict], node: dict, values: dict[str, Tensor]) -> None:
    """Evaluate again what feeds a neuron, after a change of its main layer."""
    for layer in feeding(nodes, node):
        inputs = [values[name] for name in layer["inputs"]]
        values[layer["name"]] = linear_part(layer, inputs)


def calibrate(
    nodes: list[dict], theta: dict[str, float], image: Tensor, T: int, part: str
) -> list[dict]:
    """Biases, or initial potentials, in the order of the layers, on one batch."""
    want = outputs(nodes, image)
    nodes = [dict(node) for node in nodes]

    def look(node: dict, values: dict[str, Tensor]) -> None:
        got = emitted(node, values[node["inputs"][0]], theta, T)
        gap = want[node["name"]] - got.reshape(T, *want[node["name"]].shape).mean(dim=0)
        if part == "potential":
            node["v0"] = T * gap.mean(dim=0)
            return
        main = next(feeding(nodes, node))
        change = gap.mean(dim=[0, *range(2, gap.ndim)])
        main["bias"] = change if main["bias"] is None else main["bias"] + change

    through(nodes, theta, image, T, look)
    return nodes


class Floor(torch.autograd.Function):
    """Straight through."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:  # noqa: ARG004 - torch's signature
        return x.floor()

    @staticmethod
    def backward(ctx: object, g: Tensor) -> Tensor:  # noqa: ARG004 - the same
        return g


def train(
    nodes: list[dict],
    theta: dict[str, float],
    image: Tensor,
    T: int,
    order: list[Tensor],
    optimiser: str,
    rate: float,
) -> list[dict]:
    """Weights in the order of the layers; `order` has the images of each step."""
    want = outputs(nodes, image)
    nodes = [dict(node) for node in nodes]

    def look(node: dict, values: dict[str, Tensor]) -> None:
        main, *above = feeding(nodes, node)
        averages = {
            name: value.reshape(T, len(image), *value.shape[1:]).mean(dim=0)
            for name, value in values.items()
        }
        weight = main["weight"].clone().requires_grad_()
        if optimiser == "adam":
            steps = torch.optim.Adam([weight], lr=rate)
        else:
            steps = torch.optim.SGD([weight], lr=rate, momentum=0.9)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(steps, len(order))
        V = theta[node["name"]]
        for some in order:
            inputs = [averages[name][some] for name in main["inputs"]]
            z = linear_part({**main, "weight": weight}, inputs)
            for layer in above:
                shortcuts = [averages[name][some] for name in layer["inputs"][1:]]
                z = z + sum(shortcuts)
            levels = Floor.apply(torch.clamp(z, 0, V) * T / V)
            error = (V / T * levels - want[node["name"]][some]).pow(2)
            loss = error.sum(dim=1).mean()
            steps.zero_grad()
            loss.backward()
            steps.step()
            schedule.step()
        main["weight"] = weight.detach()

    through(nodes, theta, image, T, look)
    return nodes
