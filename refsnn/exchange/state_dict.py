"""State dicts of released code, by the name of their architecture.

Nodes of :mod:`refsnn.architectures` have the names of the released modules, so a tensor
fits a node by its key: ``layer1.0.conv1.weight`` is the weight of ``layer1.0.conv1``.
Nothing is unpickled.
"""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from refsnn import architectures
from refsnn.activations import QCFS, Activation, Clip
from refsnn.errors import ConversionError, DataError
from refsnn.io.tree import SIGNATURE, read
from refsnn.layers import BatchNorm, Linear, LinearMap
from refsnn.network import Network, Node
from refsnn.numerics import Array
from refsnn.records import Ints

TENSORS: dict[str, dict[str, str]] = {
    "batchnorm": {
        "gamma": "weight",
        "beta": "bias",
        "mean": "running_mean",
        "var": "running_var",
    },
    "conv2d": {"weight": "weight", "bias": "bias"},
    "linear": {"weight": "weight", "bias": "bias"},
}
"""Names of a layer's tensors in a state dict."""

IGNORED = "num_batches_tracked"
"""Counts steps of training; no part of the function."""

ALIASES = {"relu": "act"}
"""Other last names of activation modules: one repository renamed its own."""

CLIPS = {"lam", "thresh", "threshold", "up"}
"""Names of a clip; any other tensor of an activation, such as a slope, is no clip."""

NORMALISATION = {"-a": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))}
"""Mean and std that networks of an architecture (by its ending) were trained with."""


def read_state_dict(path: Path) -> dict[str, Array]:
    """Read the tensors of a state dict.

    Parameters
    ----------
    path : Path
        An ``.npz`` file, read with ``allow_pickle=False``, or HDF5 with keys as paths
        (``a/b/weight``) or names (``a.b.weight``).

    Returns
    -------
    dict of str to ndarray
        The tensors by dotted key.

    Raises
    ------
    DataError, FormatError
        If it is neither, or holds anything but numbers.
    """
    with path.open("rb") as file:
        head = file.read(len(SIGNATURE))
    if head == SIGNATURE:
        tree = read(path, foreign=True)
        return {key.strip("/").replace("/", "."): a for key, a in tree.arrays.items()}
    got: object
    try:
        with zipfile.ZipFile(path) as archive:
            strange = [n for n in archive.namelist() if not n.endswith(".npy")]
        if not strange:
            with np.load(path, allow_pickle=False) as arrays:
                tensors = {key: arrays[key] for key in arrays.files}
            strange = [key for key, a in tensors.items() if not _is_numeric(a)]
            if not strange:
                return tensors
        got = f"an archive that holds {strange[0]}, no array of numbers"
    except Exception as error:  # noqa: BLE001 - damage shows in zip, zlib, NumPy, memory
        got = f"{type(error).__name__}: {error}"
    raise DataError(
        where=str(path),
        got=got,
        expected="HDF5, or an .npz file of numbers (nothing is unpickled)",
        do='Write one: sd = torch.load(file, map_location="cpu", weights_only=True); '
        'sd = sd.get("state_dict", sd); '
        "numpy.savez(path, **{k: v.numpy() for k, v in sd.items()}).",
    )


def _is_numeric(member: object) -> bool:
    """Whether a member of an archive was read, as numbers (damage gives bytes)."""
    return isinstance(member, np.ndarray) and member.dtype.kind in "biuf"


def from_state_dict(
    tensors: Mapping[str, Array],
    architecture: str,
    *,
    levels: int | None = None,
    input_shape: Sequence[int] | None = None,
    name: str = "model",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    provenance: dict[str, Any] | None = None,
) -> Network:
    """Put the tensors of a state dict into a named architecture.

    Parameters
    ----------
    tensors : mapping of str to ndarray
        Tensors by key. A common prefix such as ``module.`` is taken off.
    architecture : str
        A key of :data:`refsnn.architectures.ARCHITECTURES`.
    levels : int, optional
        Quantisation levels L if the clips belong to QCFS activations; a state dict
        does not hold them. Without it clips are learned clips, and a state dict
        without clips is a network of rectifiers.
    input_shape : sequence of int, optional
        (C, H, W) of the images; by default the architecture's usual one, with 1000
        classes ImageNet's. Layers that fit any size do not tell.
    name : str
        Name of the network.
    mean, std : sequence of float, one for each channel
        Normalisation it was trained with. By default 0 and 1, and for the option-A
        networks .485 .456 .406 and .229 .224 .225.
    provenance : dict, optional
        JSON values to keep.

    Returns
    -------
    Network
        The network; parameters keep their bits.

    Raises
    ------
    ConversionError
        With every key that is missing, left over or of another shape.

    Warns
    -----
    UserWarning
        If mean and std are hardly those of pixels divided by 255.
    """
    where = f"state dict for {architecture}"
    network = _skeleton(tensors, architecture, input_shape)
    tensors = _stripped(tensors, [node.name for node in network.nodes])
    left = {key for key in tensors if not key.endswith(IGNORED)}
    problems: list[str] = []
    ops: dict[str, Any] = {}

    for node in network.nodes:
        fields = TENSORS.get(node.op.op)
        if node in network.activations:
            op, used = _activation(node, tensors, left, levels)
        elif fields and not _is_fixed(node, tensors):
            op, used = _filled(node, fields, tensors, problems)
        else:
            continue
        ops[node.name] = op
        left -= used
    if left:
        problems.append(f"left over: {', '.join(sorted(left))}")
    clips = {type(ops[node.name]) for node in network.activations}
    if len(clips) > 1 or (levels is not None and clips != {QCFS}):
        problems.append("clips for some activations only")
    if problems:
        raise ConversionError(
            where=where,
            got="; ".join(problems),
            expected="one tensor for each parameter of the architecture",
            do=f"Its keys are those of {_source(architecture)}.",
        )
    usual = _usual_scale(architecture, network)
    network = dataclasses.replace(
        network.with_ops(ops),
        name=name,
        mean=np.asarray(usual[0] if mean is None else mean),
        std=np.asarray(usual[1] if std is None else std),
        provenance={"architecture": architecture, **(provenance or {})},
    )
    network.warn_of_normalisation()
    return network


def _usual_scale(architecture: str, network: Network) -> tuple[Any, Any]:
    """Return mean and std that an architecture's networks were trained with."""
    for ending, pair in NORMALISATION.items():
        if architecture.endswith(ending):
            return pair
    return network.mean, network.std


def _source(architecture: str) -> str:
    return architectures.ARCHITECTURES[architecture].source


def _skeleton(
    tensors: Mapping[str, Array],
    architecture: str,
    input_shape: Sequence[int] | None,
) -> Network:
    """Build the architecture with the number of classes that the tensors have."""
    network = architectures.build(architecture, classes=10)
    last = next(n for n in reversed(network.nodes) if isinstance(n.op, Linear))
    weights = [a for k, a in tensors.items() if k.endswith(f"{last.name}.weight")]
    if len(weights) != 1 or weights[0].ndim != 2:
        raise ConversionError(
            where=f"state dict for {architecture}",
            got=f"{len(weights)} tensors {last.name}.weight",
            expected="one of two dimensions, the last linear layer's",
            do=f"Its keys are those of {_source(architecture)}.",
        )
    classes = len(weights[0])
    if classes == 10 and input_shape is None:
        return network
    shape = architectures.IMAGENET if classes == 1000 else None
    if input_shape is not None:
        shape = Ints(length=3, least=1).normalise(input_shape, "input_shape")
    return architectures.build(architecture, classes=classes, input_shape=shape)


def _stripped(tensors: Mapping[str, Array], names: Iterable[str]) -> dict[str, Array]:
    """Take a common first part off the keys, unless nodes begin with it."""
    firsts = {name.partition(".")[0] for name in names}
    keys = list(tensors)
    while all("." in key for key in keys):
        if len({key.partition(".")[0] for key in keys}) != 1:
            break
        if keys[0].partition(".")[0] in firsts:
            break
        keys = [key.partition(".")[2] for key in keys]
    return dict(zip(keys, tensors.values(), strict=True))


def _is_fixed(node: Node, tensors: Mapping[str, Array]) -> bool:
    """Whether a layer is an option-A shortcut, which has no trained parameters."""
    return node.name.endswith(".shortcut") and f"{node.name}.weight" not in tensors


def _filled(
    node: Node,
    fields: dict[str, str],
    tensors: Mapping[str, Array],
    problems: list[str],
) -> tuple[LinearMap | BatchNorm, set[str]]:
    """Return a layer with the tensors of its keys; note what does not fit."""
    new = {}
    used = set()
    for field, suffix in fields.items():
        want = getattr(node.op, field)
        key = f"{node.name}.{suffix}"
        if want is None:
            continue
        if key not in tensors:
            problems.append(f"missing: {key}")
        elif tensors[key].shape != want.shape:
            problems.append(f"{key} of shape {tensors[key].shape}, not {want.shape}")
        else:
            new[field] = tensors[key]
        used.add(key)
    op: Any = dataclasses.replace(node.op, **new)
    return op, used


def _activation(
    node: Node, tensors: Mapping[str, Array], left: set[str], levels: int | None
) -> tuple[Any, set[str]]:
    """Return an activation with its clip, if the state dict has one."""
    head, dot, last = node.name.rpartition(".")
    owners = {node.name, head + dot + ALIASES.get(last, last)}
    keys = [f"{owner}.{clip}" for owner in owners for clip in CLIPS]
    keys = [key for key in keys if key in left]
    if len(keys) != 1:
        return node.op, set()
    (key,) = keys
    lam = tensors[key].reshape(-1)
    lam = lam[0] if lam.size == 1 else lam
    op: Activation = Clip(lam=lam) if levels is None else QCFS(lam=lam, levels=levels)
    return op, {key}
