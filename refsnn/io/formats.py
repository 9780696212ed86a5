"""The formats ``refsnn-ann`` and ``refsnn-snn``, version 1."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, cast

import numpy as np

from refsnn.errors import ShapeError
from refsnn.io.cursor import Cursor, built, encoded, shape_of
from refsnn.io.tree import Tree, Value, refuse
from refsnn.layers import MaxPool, SumPool
from refsnn.network import (
    MODES,
    OPS,
    PROJECTIONS,
    Model,
    Network,
    Node,
    Population,
    Projection,
    SpikingNetwork,
    Stages,
)
from refsnn.neurons import Neuron
from refsnn.numerics import Array
from refsnn.profile import REFSNN, Profile
from refsnn.records import Record

VERSION = 1

_POOLS: dict[type, list[str]] = {SumPool: [], MaxPool: [MaxPool.op]}
"""What stands in front of a pooling window's sizes in files."""


def compact(value: Any) -> str:
    """Return canonical JSON: sorted keys, no spaces.

    Parameters
    ----------
    value : object
        Anything JSON can hold.

    Returns
    -------
    str
        The text.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _header(model: Model) -> dict[str, Value]:
    return {
        "version": VERSION,
        "name": model.name,
        "input_shape": list(model.input_shape),
        "classes": model.classes,
        "mean": model.mean.tolist(),
        "std": model.std.tolist(),
        "provenance": compact(dict(model.provenance)),
    }


def _read_header(root: Cursor) -> dict[str, Any]:
    return {
        "name": root.attribute("name", str),
        "input_shape": shape_of(root, "input_shape"),
        "classes": root.attribute("classes", int),
        "mean": np.asarray(root.attribute("mean", list), dtype=np.float64),
        "std": np.asarray(root.attribute("std", list), dtype=np.float64),
        "provenance": root.json("provenance", dict),
    }


def _put(tree: Tree, path: str, record: Record, **attributes: Value) -> None:
    """Add a record to a tree as one group."""
    fields, arrays = encoded(record)
    tree.attributes[path] = {**attributes, **fields}
    tree.arrays.update({f"{path}/{name}": array for name, array in arrays.items()})


def _known(cursor: Cursor, name: str, table: dict[str, Any]) -> Any:
    """Take the attribute that names a class, and return the class."""
    key = cursor.attribute(name, str)
    if key not in table:
        refuse(
            "RSN-H5-014", f"{cursor.where}@{name}", key, f"one of {', '.join(table)}"
        )
    return table[key]


def ann_tree(ann: Network) -> Tree:
    """Lay out a trained network as the format ``refsnn-ann``.

    Parameters
    ----------
    ann : Network
        The network.

    Returns
    -------
    Tree
        The content, without its hash.
    """
    tree = Tree()
    tree.attributes["/"] = {"format": "refsnn-ann", **_header(ann)}
    tree.attributes["/nodes"] = {}
    for index, node in enumerate(ann.nodes):
        inputs = compact(list(node.inputs))
        path = f"/nodes/{node.name}"
        _put(tree, path, node.op, op=node.op.op, inputs=inputs, index=index)
    return tree


def read_ann(root: Cursor) -> Network:
    """Read the format ``refsnn-ann``.

    Parameters
    ----------
    root : Cursor
        The root, its format and version taken.

    Returns
    -------
    Network
        The network.
    """
    header = _read_header(root)
    group = root.group("nodes")
    nodes = []
    for cursor in group.children():
        inputs = _names(cursor, "inputs")
        op = cursor.record(_known(cursor, "op", OPS))
        nodes.append(Node(name=cursor.name, op=op, inputs=inputs))
        cursor.done()
    group.done()
    ann: Network = built(group.where, Network, nodes=tuple(nodes), **header)
    return ann


def _names(cursor: Cursor, name: str) -> tuple[str, ...]:
    names = cursor.json(name, list)
    if not all(isinstance(item, str) for item in names):
        refuse("RSN-H5-019", f"{cursor.where}@{name}", names, "a JSON list of names")
    return tuple(names)


def snn_tree(snn: SpikingNetwork) -> Tree:
    """Lay out a converted network as the format ``refsnn-snn``.

    Parameters
    ----------
    snn : SpikingNetwork
        A network in canonical form.

    Returns
    -------
    Tree
        The content, without its hash.
    """
    snn.need_canonical()
    tree = Tree()
    tree.attributes["/"] = {
        "format": "refsnn-snn",
        **_header(snn),
        "method": snn.method,
        "options": compact(dict(snn.options)),
        "T": snn.T or 0,
        "stages": compact(dataclasses.asdict(snn.stages)),
        "ann_sha256": snn.ann_sha256,
        "profile": compact(dataclasses.asdict(snn.profile)),
        "mode": snn.mode,
        "certificate": compact(snn.certificate),
    }
    if snn.samples is not None:
        tree.arrays["/samples"] = snn.samples
    tree.attributes["/populations"] = {}
    for index, population in enumerate(snn.populations):
        _put_population(tree, index, population)
    return tree


def _put_population(tree: Tree, index: int, p: Population) -> None:
    """Add a population, its neuron model and its projections to a tree."""
    path = f"/populations/{p.name}"
    tree.attributes[path] = {"index": index, "shape": list(p.shape)}
    for name in ("theta", "v0", "scale", "bias"):
        value = getattr(p, name)
        if value is not None:
            tree.arrays[f"{path}/{name}"] = value
    if p.grid is not None:
        tree.arrays[f"{path}/grid"] = p.grid
    if p.neuron:
        _put(tree, f"{path}/neuron", p.neuron, model=p.neuron.op)
    tree.attributes[f"{path}/projections"] = {}
    for number, q in enumerate(p.projections):
        _put(
            tree,
            f"{path}/projections/{number}",
            q.op,
            op=q.op.op,
            source=q.source,
            pool=compact(
                [_POOLS[type(pool)] + [*pool.kernel, *pool.stride] for pool in q.pool]
            ),
            index=number,
        )


def read_snn(root: Cursor) -> SpikingNetwork:
    """Read the format ``refsnn-snn``.

    Parameters
    ----------
    root : Cursor
        The root, its format and version taken.

    Returns
    -------
    SpikingNetwork
        The network.
    """
    header = _read_header(root)
    header["method"] = root.attribute("method", str)
    header["options"] = root.json("options", dict)
    header["T"] = root.attribute("T", int) or None
    header["stages"] = _stages(root)
    header["ann_sha256"] = root.attribute("ann_sha256", str)
    header["mode"] = root.attribute("mode", str)
    header["certificate"] = root.json("certificate", dict, optional=True)
    header["profile"] = profile_of(root)
    if header["mode"] not in MODES:
        refuse("RSN-H5-014", f"{root.where}@mode", header["mode"], " or ".join(MODES))
    header["samples"] = root.array("samples", dtypes=(np.dtype("<i8"),), optional=True)
    group = root.group("populations")
    populations = tuple(_read_population(cursor) for cursor in group.children())
    group.done()
    snn: SpikingNetwork = built(
        group.where,
        SpikingNetwork,
        populations=populations,
        canonical=True,
        **header,
    )
    return snn


def profile_of(root: Cursor) -> Profile:
    """Read the conventions of a file.

    Parameters
    ----------
    root : Cursor
        The root.

    Returns
    -------
    Profile
        The conventions.
    """
    at = f"{root.where}@profile"
    fields = root.json("profile", dict)
    known = dataclasses.asdict(REFSNN)
    if fields.keys() != known.keys():
        refuse("RSN-H5-014", at, fields, f"values of {', '.join(known)}")
    profile: Profile = built(at, Profile, **fields)
    return profile


def _stages(root: Cursor) -> Stages:
    at = f"{root.where}@stages"
    fields = root.json("stages", dict)
    if fields.keys() != dataclasses.asdict(Stages()).keys():
        refuse("RSN-H5-019", at, fields, "tau, rho and rounds")
    stages: Stages = built(at, Stages, **fields)
    return stages


def _read_population(cursor: Cursor) -> Population:
    shape = shape_of(cursor, "shape")
    neuron = None
    if cursor.has_group("neuron"):
        model = cursor.group("neuron")
        neuron = model.record(_known(model, "model", Neuron.registry))
        model.done()
    arrays = {name: cursor.array(name) for name in ("theta", "v0", "scale")}
    bias = cursor.array("bias", optional=True)
    grid = cursor.array("grid", dtypes=(np.dtype("<i8"),), optional=True)
    group = cursor.group("projections")
    projections = tuple(_read_projection(child) for child in group.children())
    group.done()
    cursor.done()
    population: Population = built(
        cursor.where,
        Population,
        name=cursor.name,
        shape=shape,
        neuron=neuron,
        projections=projections,
        bias=bias,
        grid=grid,
        **arrays,
    )
    return population


def _read_projection(cursor: Cursor) -> Projection:
    source = cursor.attribute("source", str)
    at = f"{cursor.where}@pool"
    pool = []
    for item in cursor.json("pool", list):
        if not isinstance(item, list) or len(item) < 4:
            refuse("RSN-H5-019", at, item, "two kernel sizes and two strides")
        *name, k0, k1, s0, s1 = item
        kind = next((cls for cls, known in _POOLS.items() if known == name), None)
        if kind is None:
            expected = 'two kernel sizes and two strides, "maxpool" before them or not'
            refuse("RSN-H5-019", at, item, expected)
        sizes = {"kernel": [k0, k1], "stride": [s0, s1]}
        pool.append(built(cursor.where, kind, **sizes))
    op = cursor.record(_known(cursor, "op", PROJECTIONS))
    cursor.done()
    projection: Projection = built(
        cursor.where, Projection, source=source, op=op, pool=tuple(pool)
    )
    return projection


def need_images(images: Array, labels: Array) -> None:
    """Refuse what are not labelled images.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, C, H, W)
        Pixels; or an object with this `dtype` and `shape`.
    labels : ndarray of uint8 or uint16, shape (n,)
        Classes.

    Raises
    ------
    ShapeError
        If a type or a shape is another, or the numbers differ.
    """
    types = [getattr(array, "dtype", type(array)) for array in (images, labels)]
    shapes = [getattr(array, "shape", ()) for array in (images, labels)]
    fit = len(shapes[0]) == 4 and shapes[1] == shapes[0][:1]
    if types[0] != np.uint8 or types[1] not in (np.uint8, np.uint16) or not fit:
        raise ShapeError(
            where="labelled images",
            got=f"images of {types[0]} {shapes[0]}, labels of {types[1]} {shapes[1]}",
            expected="images of uint8 (n, C, H, W) and labels of uint8 (n,)",
        )


def images_tree(images: Array, labels: Array) -> Tree:
    """Lay out labelled images as data sets ``images`` and ``labels``.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, C, H, W)
        Pixels.
    labels : ndarray of uint8, shape (n,)
        Classes.

    Returns
    -------
    Tree
        The content.
    """
    need_images(images, labels)
    if labels.dtype != np.uint8:
        raise ShapeError(
            where="labelled images",
            got=f"labels of {labels.dtype}",
            expected="labels of uint8, which are what readers accept",
        )
    tree = Tree()
    tree.attributes["/"] = {"format": "refsnn-images", "version": VERSION}
    tree.arrays.update({"/images": images, "/labels": labels})
    return tree


def read_images(root: Cursor) -> tuple[Array, Array]:
    """Read labelled images.

    Parameters
    ----------
    root : Cursor
        The root, its format and version taken.

    Returns
    -------
    images : ndarray of uint8, shape (n, C, H, W)
        Pixels.
    labels : ndarray of uint8, shape (n,)
        Classes.
    """
    pixel = (np.dtype("u1"),)
    images, labels = (root.array(name, dtypes=pixel) for name in ("images", "labels"))
    built(root.where, need_images, images=images, labels=labels)
    return cast(Array, images), cast(Array, labels)
