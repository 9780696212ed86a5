"""``refsnn errors``: what conversion lost, term by term."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from refsnn import io
from refsnn import propagation as passing
from refsnn.analysis import TARGETS, TERMS, decompose, layout
from refsnn.cases import CASES
from refsnn.cli import arguments, common, results
from refsnn.datasets import Images
from refsnn.errors import OptionError
from refsnn.methods import METHODS
from refsnn.network import Network, SpikingNetwork

Target = StrEnum("Target", {name: name for name in TARGETS})  # type: ignore[misc]  # made of TARGETS


def errors(
    file: Annotated[Path, typer.Argument(help="Trained or converted network (HDF5).")],
    T: Annotated[int, typer.Option("-T", "--steps", help="Number of time steps.")],
    ann: Annotated[
        Path | None,
        typer.Option("--ann", help="The trained network of a converted one."),
    ] = None,
    method: arguments.MethodOption = None,
    options: arguments.SetOption = None,
    max_pool: arguments.MaxPoolOption = False,
    data: arguments.DataOption = None,
    limit: arguments.LimitOption = None,
    target: Annotated[
        Target,
        typer.Option(
            "--target", help="Against the network's own activations, or rectifiers."
        ),
    ] = Target["own"],
    propagation: Annotated[
        bool,
        typer.Option(
            "--propagation",
            help="Follow local errors to the loss instead: exactly, and by the "
            "second-order bound.",
        ),
    ] = False,
    json: arguments.JsonOption = None,
) -> None:
    """Split what a network loses into terms that add up exactly, by population."""
    results.need_json_target(json)
    if propagation and target.value != "own":
        raise OptionError(
            where="--propagation", got=f"--target {target.value}", expected="own"
        )
    network = common.spiking(
        io.load_network(file), method, T, options, data, max_pool=max_pool
    )
    trained = io.load_network(ann or file)
    if not isinstance(trained, Network):
        raise OptionError(
            where=f"converted network {network.name}",
            got="no --ann" if ann is None else f"--ann {ann}, a converted network",
            expected="--ann with the trained network",
        )
    images = common.test_images(common.data_name(trained, data), limit)
    if propagation:
        _propagation(network, trained, images, T, json)
        return
    with common.progress("errors") as tell:
        found = decompose(
            network, trained, images, T, target=target.value, progress=tell
        )
    answer = {
        "format": "refsnn-errors",
        "version": 1,
        "network": {"name": network.name, "sha256": io.content_sha256(network)},
        **_about(network),
        "target": target.value,
        **layout(found),
    }
    results.write_json(answer, json)
    if json != "-":
        _print(answer)


def _about(network: SpikingNetwork) -> dict[str, Any]:
    """Say how a network was made, and what of that is reconstructed."""
    method = METHODS.get(network.method)
    return {
        "method": network.method,
        "set": dict(network.options),
        "reconstruction": method.reconstruction if method else "",
    }


def _print_about(answer: dict[str, Any]) -> None:
    """Say where the method's rule is a reconstruction."""
    if answer["reconstruction"]:
        common.show(f"Reconstruction: {answer['reconstruction']}")
        common.show("")


def _propagation(
    network: SpikingNetwork,
    trained: Network,
    images: Images,
    T: int,
    json: str | None,
) -> None:
    """Follow errors to the loss, and print what they do there."""
    with common.progress("propagation") as tell:
        found = passing.propagate(network, trained, images, T, progress=tell)
    answer = {
        "format": "refsnn-propagation",
        "version": 1,
        "network": {"name": network.name, "sha256": io.content_sha256(network)},
        **_about(network),
        **passing.layout(found),
    }
    results.write_json(answer, json)
    if json == "-":
        return
    keys = [f.name for f in dataclasses.fields(passing.Passed)]
    rows = [
        (name, *(f"{passed[key]:.3g}" for key in keys))
        for name, passed in answer["populations"].items()
    ]
    _print_about(answer)
    title = f"Errors of {network.name}, {network.method}, T = {T}: means over images"
    common.table(title, ("", *keys), rows)
    common.show("")
    times = answer["looseness"]
    loose = "" if times is None else f", {times:.3g} times the second"
    common.show(
        f"loss {answer['loss']:.4g}, change measured {answer['measured']:.4g}, first "
        f"order {answer['first']:.4g}, second {answer['second']:.4g}, bound "
        f"{answer['bound']:.4g}{loose}"
    )
    common.show(
        "local, error: mean sizes in theta; first: g c; second: c H c / 2 of a "
        "population alone; measured, together: of all up to it. The exact "
        f"recursion holds within {answer['residue']:.2g} theta."
    )


def _print(answer: dict[str, Any]) -> None:
    """Print mean sizes in spikes a neuron, and shares of the cases."""
    _print_about(answer)
    unit = 2.0 ** -answer["grid"]
    populations = answer["populations"].items()
    title = (
        f"Mean size of the error terms of {answer['network']['name']}, method "
        f"{answer['method']}, T = {answer['T']}, in spikes a neuron"
    )
    rows = [
        (name, *(f"{p['absolute'][t] * unit / p['neurons']:.4f}" for t in keys))
        for keys in [(*TERMS, "total")]
        for name, p in populations
    ]
    common.table(title, ("", *TERMS, "total"), rows)
    common.show("")
    cases = [
        (
            name,
            *(f"{100 * p['cases'][case] / p['neurons']:.2f}" for case in CASES),
            *(f"{100 * p['against_ann'][case] / p['neurons']:.2f}" for case in CASES),
        )
        for name, p in populations
    ]
    head = ("", *CASES, *(f"{case} ANN" for case in CASES))
    common.table("Unevenness cases, per cent of neurons", head, cases)
    common.show("")
    common.show(
        f"The terms add up exactly, in units of 2^-{answer['grid']} of theta. "
        f"Restored activations are within {answer['ann_distance']:.2g} theta of the "
        "trained network's."
    )
