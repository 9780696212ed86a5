"""``refsnn info``: what is in a file, and what can be done with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from refsnn import io
from refsnn.cli import arguments, common
from refsnn.convert import METHODS, need_fit
from refsnn.engine.plan import why_ordinary
from refsnn.errors import RefsnnError
from refsnn.kernels import PAIRS
from refsnn.layers import LinearMap
from refsnn.network import Network, SpikingNetwork
from refsnn.records import Record


def info(
    file: Annotated[Path, typer.Argument(help="Trained or converted network (HDF5).")],
    json: arguments.JsonOption = None,
) -> None:
    """Describe a network file: graph, hash, methods it allows, what runs compiled."""
    common.need_json_target(json)
    network = common.load(file)
    about = _about_ann(network) if isinstance(network, Network) else _about_snn(network)
    answer = {
        "name": network.name,
        "sha256": io.content_sha256(network),
        "input_shape": list(network.input_shape),
        "classes": network.classes,
        "provenance": dict(network.provenance),
        **about,
    }
    common.write_json(answer, json)
    if json == "-":
        return
    kind = "Trained" if isinstance(network, Network) else "Converted"
    common.show(f"{kind} network {network.name} ({answer['format']})")
    common.show(f"sha256 {answer['sha256']}")
    for line in network.describe().splitlines():
        common.show(line)
    common.show("")
    hidden = {"name", "sha256", "format", "graph"}
    for key, value in answer.items():
        if key not in hidden:
            _show_entry(key, value)


def _show_entry(key: str, value: Any) -> None:
    if isinstance(value, dict):
        common.show(f"{key}:")
        for name, item in value.items():
            common.show(f"  {name}: {item}")
    else:
        common.show(f"{key}: {value}")


def _about_ann(ann: Network) -> dict[str, Any]:
    return {
        "format": "refsnn-ann",
        "parameters": ann.parameters,
        "macs": ann.macs(),
        "methods": {name: _verdict(ann, name) for name in METHODS},
        "kernels": _kernels(
            [node.op for node in ann.nodes if isinstance(node.op, LinearMap)]
        ),
    }


def _verdict(ann: Network, method: str) -> str:
    try:
        need_fit(ann, method)
    except RefsnnError as error:
        return f"no: {error}"
    return f"yes: {METHODS[method].summary}"


def _about_snn(snn: SpikingNetwork) -> dict[str, Any]:
    maps: list[Record] = [q.op for p in snn.populations for q in p.projections]
    neurons: list[Record] = [p.neuron for p in snn.hidden if p.neuron]
    return {
        "format": "refsnn-snn",
        "neurons": sum(p.neurons for p in snn.hidden),
        "first_layer_macs": snn.first_layer_macs(),
        "method": snn.method,
        "set": dict(snn.options),
        "T": snn.T,
        "mode": snn.mode,
        "certificate": snn.certificate and dict(snn.certificate),
        "ann_sha256": snn.ann_sha256,
        "kernels": _kernels([*maps, *neurons]),
        "engine": _engine(snn),
    }


def _engine(snn: SpikingNetwork) -> dict[str, str]:
    """Say of each population whether it has an event-driven kernel in mode exact."""
    if snn.stages.rho:
        return {"all": "ordinary: initial potentials are moved for each image"}
    reasons = {p.name: why_ordinary(snn, p) for p in snn.populations}
    others = {name: f"ordinary: {why}" for name, why in reasons.items() if why}
    return {**others, "others" if others else "all": "event"}


def _kernels(records: list[Any]) -> dict[str, str]:
    """Say of each kind of record whether it runs compiled."""
    return {
        record.op: "compiled" if type(record) in PAIRS else "NumPy definition"
        for record in records
    }
