"""``refsnn certify``: how many bits a network needs, and whether a type has them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from refsnn import io
from refsnn.accumulators import ACCUMULATORS
from refsnn.arithmetic import certified
from refsnn.certificate import Certificate
from refsnn.cli import arguments, common, results
from refsnn.run import need_steps


def certify(
    file: Annotated[Path, typer.Argument(help="Converted network (HDF5).")],
    T: Annotated[int, typer.Option("-T", "--steps", help="Number of time steps.")],
    accumulator: Annotated[
        arguments.Carrier, typer.Option("--accumulator", help="The number type.")
    ] = arguments.Carrier["float64"],
    static: Annotated[
        bool,
        typer.Option(
            "--static", help="Prove potentials for every input; no stored run will do."
        ),
    ] = False,
    method: arguments.MethodOption = None,
    options: arguments.SetOption = None,
    max_pool: arguments.MaxPoolOption = False,
    data: arguments.DataOption = None,
    json: arguments.JsonOption = None,
) -> None:
    """Prove that every sum and potential is exact; exit code 1 if it is not."""
    results.need_json_target(json)
    need_steps(T)
    network = common.spiking(
        io.load_network(file), method, T, options, data, max_pool=max_pool
    )
    network.need_steps(T)
    certificate, seen = certified(network, accumulator.value, T, static=static)
    answer = {
        "format": "refsnn-certificate",
        "version": 1,
        "network": {"name": network.name, "sha256": io.content_sha256(network)},
        "accumulator": certificate.accumulator,
        "available": ACCUMULATORS[certificate.accumulator].bits,
        "T": T,
        "static": not seen,
        "bits": certificate.bits,
        "holds": certificate.holds,
        "why_not": certificate.why_not,
        "populations": {p.name: _entry(p) for p in certificate.populations},
    }
    results.write_json(answer, json)
    if json != "-":
        _print(certificate, network.name, seen)
    if not certificate.holds:
        raise typer.Exit(1)


def _entry(p: Any) -> dict[str, Any]:
    return {
        "grid": list(p.grid),
        "sums": p.sums,
        "recursion": p.recursion,
        "membrane": p.membrane,
        "neuron": list(p.neuron),
        "bound": p.bound,
        "available": p.available,
        "faults": list(p.faults),
    }


def _print(certificate: Certificate, name: str, seen: bool) -> None:
    rows = [
        (
            p.name,
            "-".join(map(str, sorted(set(p.grid)))),
            _bits(p.sums),
            _bits(p.recursion),
            _bits(p.membrane),
            p.available,
            ",".join(map(str, p.neuron)),
            f"{p.bound:.4g}",
        )
        for p in certificate.populations
    ]
    how = "as seen in the run it was snapped with" if seen else "for every input"
    title = f"Bits that {name} needs on {certificate.accumulator}, T = {certificate.T}"
    head = (
        "",
        "grid 2^-",
        "sums",
        "recursion",
        "membrane",
        "of",
        "neuron",
        "bound",
    )
    common.table(title, head, rows)
    common.show("")
    common.show(
        "sums and recursion have to fit into the bits that there are (of); membrane is "
        "what adding a step's terms to the potential one by one would need"
    )
    if certificate.holds:
        common.show(f"holds: every sum and potential is exact, potentials {how}")
    else:
        common.show(f"does not hold: {certificate.why_not}")


def _bits(bits: int | None) -> object:
    return "?" if bits is None else bits
