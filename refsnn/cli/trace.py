"""``refsnn trace``: every spike of a run, for other simulators to compare with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from refsnn import io
from refsnn.cli import arguments, common
from refsnn.recording import record
from refsnn.run import need_steps


def trace(
    file: Annotated[Path, typer.Argument(help="Trained or converted network (HDF5).")],
    T: Annotated[int, typer.Option("-T", "--steps", help="Number of time steps.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Trace to write.")],
    samples: Annotated[
        int, typer.Option("--samples", min=1, help="First so many test images.")
    ] = 1,
    membranes: Annotated[
        bool, typer.Option("--membranes", help="Record potentials too.")
    ] = False,
    currents: Annotated[
        bool, typer.Option("--currents", help="Record currents too.")
    ] = False,
    method: arguments.MethodOption = None,
    options: arguments.SetOption = None,
    max_pool: arguments.MaxPoolOption = False,
    mode: arguments.ModeOption = None,
    carrier: arguments.CarrierOption = None,
    data: arguments.DataOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an existing file.")
    ] = False,
) -> None:
    """Run a network on test images and write every spike (refsnn-trace, HDF5).

    A trained network is converted with --method; its trace belongs to the converted
    network, which `refsnn convert` with the same options writes. A network that was
    rounded for float32 or int32 is traced on it, unless --carrier says otherwise.
    """
    fixed, options = common.split_fixed(mode, method, options)
    io.need_target(out, force=force)
    need_steps(T)
    network = common.spiking(
        io.load_network(file), method, T, options, data, max_pool=max_pool
    )
    images = common.test_images(common.data_name(network, data), samples)
    with common.progress("tracing"):
        made = record(
            network,
            images.images[: len(images.labels)],
            T,
            membranes=membranes,
            currents=currents,
            mode=mode and mode.value,
            carrier=carrier and carrier.value,
            fixed=fixed,
        )
    io.save_trace(made, out, force=force)
    if mode is None:
        common.say_if_not_exact(network, made.mode, T)
    spikes = sum(int(abs(p.spikes).sum()) for p in made.populations.values())
    how = f", {made.fixed}" if made.fixed else ""
    common.show(
        f"{len(made.samples)} samples, {T} steps, {spikes:,} spikes in "
        f"{len(made.populations)} populations, mode {made.mode} on "
        f"{made.carrier}{how}"
    )
    common.show(f"network {made.network}, sha256 {made.network_sha256}")
    common.show(f"wrote {out}")
