"""``refsnn convert``: a trained network into a file that simulators can share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from refsnn import io
from refsnn.cli import common
from refsnn.errors import OptionError
from refsnn.network import Network


def convert(
    file: Annotated[Path, typer.Argument(help="Trained network (refsnn-ann, HDF5).")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Converted network to write.")
    ],
    method: common.MethodOption = None,
    T: Annotated[
        int | None,
        typer.Option("-T", "--steps", help="Steps, for methods that depend on them."),
    ] = None,
    options: common.SetOption = None,
    max_pool: common.MaxPoolOption = False,
    data: common.DataOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an existing file.")
    ] = False,
) -> None:
    """Convert a trained network and write it in canonical form (refsnn-snn, HDF5)."""
    network = common.load(file)
    if not isinstance(network, Network):
        raise OptionError(
            where=str(file), got="a converted network", expected="a trained network"
        )
    io.need_target(out, force=force)
    if out.exists() and out.samefile(file):
        raise OptionError(
            where=f"--out {out}", got="the trained network", expected="another file"
        )
    snn = common.converted(network, method, T, options, data, max_pool=max_pool)
    io.save(snn, out, force=force)
    for line in snn.describe().splitlines():
        common.show(line)
    if T is not None and snn.T is None:
        common.show(f"method {snn.method} does not depend on T: runs at any T")
    common.show(f"wrote {out}, sha256 {io.content_sha256(snn)}")
