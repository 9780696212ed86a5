"""``refsnn import``: a trained network of another framework."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from refsnn import datasets, io
from refsnn.architectures import ARCHITECTURES, CIFAR
from refsnn.cli import arguments, common
from refsnn.errors import OptionError
from refsnn.exchange import from_keras, from_state_dict, read_state_dict

CIFAR_ENDING = "-a"
"""Of architectures that are for CIFAR alone."""

BY_CLASSES = {cifar.classes: name for name, cifar in datasets.CIFARS.items()}
"""Its data sets by their number of classes."""


def import_(
    file: Annotated[
        Path, typer.Argument(help="State dict (.npz, HDF5) or Keras model (HDF5).")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Network file to write.")],
    arch: Annotated[
        str | None,
        typer.Option("--arch", help=f"For a state dict: {', '.join(ARCHITECTURES)}."),
    ] = None,
    levels: Annotated[
        int | None,
        typer.Option("--levels", help="Levels L, if its clips are those of QCFS."),
    ] = None,
    input_shape: Annotated[
        str | None,
        typer.Option(
            "--input-shape",
            help="For a state dict: C,H,W of the images. Default: 3,32,32 with --data "
            "cifar10 or cifar100, else the architecture's.",
        ),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option("--mean", help="One number a channel, as in '.5 .5 .5'."),
    ] = None,
    std: Annotated[
        str | None, typer.Option("--std", help="The same; fractions such as 1/255 too.")
    ] = None,
    data: arguments.DataOption = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Default: the file's name.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an existing file.")
    ] = False,
) -> None:
    """Import a trained network: a state dict with --arch, or a Keras model.

    The network's input is (x/255 - mean) / std. Nothing is unpickled.
    """
    io.need_target(out, force=force)
    if out.exists() and out.samefile(file):
        raise OptionError(
            where=f"--out {out}", got="the file to import", expected="another file"
        )
    of_cifar = data is None and arch is not None and arch.endswith(CIFAR_ENDING)
    if data is not None:
        datasets.need_known(data)
    provenance = {"imported_from": file.name, "file_sha256": datasets.hash_of(file)}
    if data is not None:
        provenance["data"] = data
    title = name or file.stem
    scale = {"mean": _numbers("--mean", mean), "std": _numbers("--std", std)}
    if arch is None:
        for option, value in (("--levels", levels), ("--input-shape", input_shape)):
            if value is not None:
                raise OptionError(
                    where=option, got=value, expected="--arch and a state dict"
                )
        network = from_keras(file, name=title, provenance=provenance, **scale)
    else:
        network = from_state_dict(
            read_state_dict(file),
            arch,
            levels=levels,
            input_shape=_shape(input_shape, of_cifar or data in datasets.CIFARS),
            name=title,
            provenance=provenance,
            **scale,
        )
    guessed = BY_CLASSES.get(network.classes) if of_cifar else None
    if guessed:
        about = {**network.provenance, "data": guessed}
        network = dataclasses.replace(network, provenance=about)
    io.save(network, out, force=force)
    for line in network.describe().splitlines():
        common.show(line)
    common.show(f"input: (x/255 - {network.mean.tolist()}) / {network.std.tolist()}")
    common.show(f"wrote {out}, sha256 {io.content_sha256(network)}")


def _shape(text: str | None, of_cifar: bool) -> Sequence[int] | None:
    """Read C,H,W; by default CIFAR's where the data are."""
    if text is None:
        return CIFAR if of_cifar else None
    try:
        return [int(part) for part in text.replace(",", " ").split()]
    except ValueError:
        raise OptionError(
            where="--input-shape", got=repr(text), expected="three integers: C,H,W"
        ) from None


def _numbers(option: str, text: str | None) -> list[float] | None:
    """Read numbers and fractions, separated by spaces or commas."""
    if text is None:
        return None
    try:
        return [_number(part) for part in text.replace(",", " ").split()]
    except (ValueError, ZeroDivisionError):
        raise OptionError(
            where=option, got=repr(text), expected="numbers, one for each channel"
        ) from None


def _number(text: str) -> float:
    top, slash, bottom = text.partition("/")
    value = float(top) / float(bottom if slash else 1)
    if not math.isfinite(value):
        raise ValueError(text)
    return value
