"""``refsnn convert``: a trained network into a file that simulators can share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from refsnn import datasets, io
from refsnn.calibration import forget
from refsnn.cli import arguments, common
from refsnn.differences import differences
from refsnn.errors import OptionError
from refsnn.grids import round_weights
from refsnn.methods import METHODS
from refsnn.network import Network, SpikingNetwork
from refsnn.snap import T_MAX, changes, snap

Snap = StrEnum("Snap", ["float64", "float32", "int32", "none"])

SNAP_IMAGES = 128
"""Training images that show how far potentials go, and what snapping changes."""


def convert(
    file: Annotated[Path, typer.Argument(help="Trained network (refsnn-ann, HDF5).")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Converted network to write.")
    ],
    method: arguments.MethodOption = None,
    T: Annotated[
        int | None,
        typer.Option(
            "-T", "--steps", help="Steps, for methods and snapping that depend on them."
        ),
    ] = None,
    options: arguments.SetOption = None,
    max_pool: arguments.MaxPoolOption = False,
    data: arguments.DataOption = None,
    snapped: Annotated[
        Snap,
        typer.Option(
            "--snap",
            help="Arithmetic to round the weights for: float64 changes no spike that "
            "was ever seen; float32 and int32 make another network; none runs ordered.",
        ),
    ] = Snap["float64"],
    static: Annotated[
        bool,
        typer.Option(
            "--static", help="Snap for every input, not for what training images show."
        ),
    ] = False,
    bits: Annotated[
        int | None,
        typer.Option(
            "--weight-bits",
            min=2,
            max=16,
            help="Round weights to integers of so many bits, sign included, times a "
            "power of two for each channel, before they are snapped.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an existing file.")
    ] = False,
) -> None:
    """Convert a trained network and write it in canonical form (refsnn-snn, HDF5)."""
    network = io.load_network(file)
    if not isinstance(network, Network):
        raise OptionError(
            where=str(file), got="a converted network", expected="a trained network"
        )
    io.need_target(out, force=force)
    if out.exists() and out.samefile(file):
        raise OptionError(
            where=f"--out {out}", got="the trained network", expected="another file"
        )
    if bits and snapped.value == "none":
        raise OptionError(
            where="--weight-bits", got="--snap none", expected="another --snap"
        )
    changed = bits is not None or snapped.value in {"float32", "int32"}
    if changed and T is None:
        option = "--weight-bits" if bits else f"--snap {snapped.value}"
        raise OptionError(where=option, got="no -T", expected="the number of steps")
    exact = snapped.value == "float64" and bits is None
    with _layers_beside(out, method) as folder:
        how: dict[str, Any] = {"max_pool": max_pool, "exact": exact, "folder": folder}
        snn = common.converted(network, method, T, options, data, **how)
        if changed and T is not None:
            snn = _rounded(network, snn, snapped.value, T, data, static, bits)
        io.save(snn, out, force=force)
    for line in snn.describe().splitlines():
        common.show(line)
    if T is not None and snn.T is None:
        common.show(f"method {snn.method} does not depend on T: runs at any T")
    if snn.certificate:
        about = ", ".join(
            f"{key} {snn.certificate[key]}"
            for key in ("accumulator", "bits", "T", "static")
        )
        common.show(f"mode {snn.mode}, certificate: {about}")
    common.show(f"wrote {out}, sha256 {io.content_sha256(snn)}")


@contextmanager
def _layers_beside(out: Path, method: str | None) -> Iterator[Path | None]:
    """Name a folder for trained layers, which goes when the network is written."""
    out = out.resolve()
    folder = out.with_name(f"{out.name}.layers")
    known = METHODS.get(method or "")
    if known is None or not known.trains or (out.exists() and not out.is_file()):
        yield None
        return
    try:
        yield folder
    except BaseException:
        if folder.is_dir():
            kept = f"layers that are trained are kept in {folder}"
            common.stderr.print(f"{kept}; the same command goes on", markup=False)
        raise
    forget(folder)


def _rounded(
    network: Network,
    snn: SpikingNetwork,
    target: str,
    T: int,
    data: str | None,
    static: bool,
    bits: int | None,
) -> SpikingNetwork:
    """Round to few bits, for float32 or int32, and say what that changed."""
    name = common.data_name(network, data)
    sample = datasets.load(name, "train").head(SNAP_IMAGES)
    before = round_weights(snn, bits) if bits else snn
    with common.progress("snapping"):
        if target == "float64":
            after = snap(before, T=max(T, T_MAX))
        else:
            after = snap(before, target, T=T, images=None if static else sample.images)
    rows = [
        (
            name,
            f"2^-{change.grid[0]} to 2^-{change.grid[1]}",
            f"{change.weight:.2g}",
            f"{change.neuron:.2g}",
            f"{change.relative:.2g}",
            change.zeroed,
        )
        for name, change in changes(snn, after).items()
    ]
    head = ("population", "grid", "weight", "neuron", "relative", "zeroed")
    common.table("Changes by rounding, in units of theta", head, rows)
    common.show("")
    with common.progress("comparing") as tell:
        seen = differences(snn, after, sample, T, progress=tell)
    common.show(
        f"on {seen.images:,} training images, T = {T}: {seen.changed:,} of "
        f"{seen.steps:,} neuron-steps changed ({seen.spikes:,} spikes), "
        f"{seen.predictions[-1]:,} predictions changed, "
        f"{seen.correct[-1]:,} correct before, {seen.correct_after[-1]:,} after"
    )
    common.show("")
    return after
