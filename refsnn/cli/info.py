"""``refsnn info``: what is in a file, and what can be done with it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from refsnn import io
from refsnn.cli import arguments, common, results
from refsnn.convert import METHODS, need_fit
from refsnn.engine.served import ordinary
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
    results.need_json_target(json)
    network = io.load_network(file)
    about = _about_ann(network) if isinstance(network, Network) else _about_snn(network)
    answer = {
        "name": network.name,
        "sha256": io.content_sha256(network),
        "input_shape": list(network.input_shape),
        "classes": network.classes,
        "mean": network.mean.tolist(),
        "std": network.std.tolist(),
        "provenance": dict(network.provenance),
        **about,
    }
    results.write_json(answer, json)
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
    verdicts, notes = _methods(ann)
    return {
        "format": "refsnn-ann",
        "parameters": ann.parameters,
        "macs": ann.macs(),
        "methods": verdicts,
        "notes": notes,
        "kernels": _kernels(
            [node.op for node in ann.nodes if isinstance(node.op, LinearMap)]
        ),
    }


def _methods(ann: Network) -> tuple[dict[str, str], dict[str, str]]:
    """Say which methods take a network, and once what to do about those that do not."""
    verdicts: dict[str, str] = {}
    notes: dict[str, str] = {}  # what to do, by where it was first asked for
    for name, method in METHODS.items():
        refused = _refusal(ann, name)
        still = refused and _refusal(ann, name, max_pool=True)
        if refused is None:
            verdicts[name] = f"yes: {method.summary}"
        elif still is None:
            verdicts[name] = f"yes, with --max-pool-on-spikes: {method.summary}"
        else:
            verdicts[name] = f"no: {still.where}: got {still.got}; expected " + (
                still.expected
            )
        why = still or refused
        if why is not None and why.do and why.do not in notes.values():
            notes[why.where] = why.do
    return verdicts, notes


def _refusal(
    ann: Network, method: str, *, max_pool: bool = False
) -> RefsnnError | None:
    try:
        need_fit(ann, method, max_pool_on_spikes=max_pool)
    except RefsnnError as error:
        return error
    return None


def _about_snn(snn: SpikingNetwork) -> dict[str, Any]:
    maps: list[Record] = [q.op for p in snn.populations for q in p.projections]
    neurons: list[Record] = [p.neuron for p in snn.hidden if p.neuron]
    return {
        "format": "refsnn-snn",
        "neurons": sum(p.neurons for p in snn.hidden),
        "first_layer_macs": snn.first_layer_macs(),
        "method": snn.method,
        "set": dict(snn.options),
        "profile": dataclasses.asdict(snn.profile),
        "T": snn.T,
        "mode": snn.mode,
        "certificate": snn.certificate and dict(snn.certificate),
        "ann_sha256": snn.ann_sha256,
        "kernels": _kernels([*maps, *neurons]),
        "engine": _engine(snn),
    }


def _engine(snn: SpikingNetwork) -> dict[str, str]:
    """Say of each population whether it has an event-driven kernel in mode exact."""
    others = {name: f"ordinary: {why}" for name, why in ordinary(snn).items()}
    return {**others, "others" if others else "all": "event"}


def _kernels(records: list[Any]) -> dict[str, str]:
    """Say of each kind of record whether it runs compiled."""
    return {
        record.op: "compiled" if type(record) in PAIRS else "NumPy definition"
        for record in records
    }
