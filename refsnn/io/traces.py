"""The format ``refsnn-trace``, version 1."""

from __future__ import annotations

import dataclasses
from typing import cast

import numpy as np

from refsnn.fixed import Fixed
from refsnn.io.cursor import Cursor, built, shape_of
from refsnn.io.formats import VERSION, compact, profile_of
from refsnn.io.tree import Tree, refuse
from refsnn.numerics import Array
from refsnn.trace import Recorded, Trace

_F8, _I8, _U1 = (np.dtype(code) for code in ("<f8", "<i8", "u1"))
_REALS = ("v", "current", "input_current")


def packed(spikes: Array) -> Array:
    """Pack truth values into bits, the first neuron in the lowest bit.

    Parameters
    ----------
    spikes : ndarray of bool, shape (T, B, *S)
        Truth values.

    Returns
    -------
    ndarray of uint8, shape (T, B, ceil(N / 8))
        N = number of neurons, flattened channel by channel, row by row.
    """
    T, B, *_ = spikes.shape
    return np.packbits(spikes.reshape(T, B, -1), axis=-1, bitorder="little")


def trace_tree(trace: Trace) -> Tree:
    """Lay out a trace as the format ``refsnn-trace``.

    Parameters
    ----------
    trace : Trace
        The trace.

    Returns
    -------
    Tree
        The content, without its hash.
    """
    tree = Tree()
    tree.attributes["/"] = {
        "format": "refsnn-trace",
        "version": VERSION,
        "T": trace.T,
        "network": trace.network,
        "network_sha256": trace.network_sha256,
        "input_sha256": trace.input_sha256,
        "profile": compact(dataclasses.asdict(trace.profile)),
        "mode": trace.mode,
        "carrier": trace.carrier,
        "bits": compact(trace.bits),
        "versions": compact(dict(trace.versions)),
    }
    if trace.fixed:
        tree.attributes["/"]["fixed"] = compact(dataclasses.asdict(trace.fixed))
    tree.arrays.update({"/samples": trace.samples, "/readout": trace.readout})
    tree.attributes["/populations"] = {}
    for index, (name, recorded) in enumerate(trace.populations.items()):
        path = f"/populations/{name}"
        tree.attributes[path] = {"index": index, "shape": list(recorded.shape)}
        for field, array in _arrays(recorded).items():
            at_top = field == "input_current" and "/input_current" not in tree.arrays
            tree.arrays[f"/{field}" if at_top else f"{path}/{field}"] = array
    return tree


def _arrays(recorded: Recorded) -> dict[str, Array]:
    """Lay out what a population did: spikes packed, neurons on one axis."""
    arrays = {"spikes": packed(recorded.spikes > 0)}
    if (recorded.spikes < 0).any():
        arrays["negative"] = packed(recorded.spikes < 0)
    if recorded.mask is not None:
        arrays["mask"] = packed(recorded.mask[None])
    arrays["counts"] = recorded.counts.reshape(len(recorded.counts), -1)
    arrays["theta"], arrays["v0"] = recorded.theta, recorded.v0
    for field in _REALS:
        value = getattr(recorded, field)
        if value is not None:
            arrays[field] = value.reshape(*value.shape[: -len(recorded.shape)], -1)
    return arrays


def read_trace(root: Cursor) -> Trace:
    """Read the format ``refsnn-trace``.

    Parameters
    ----------
    root : Cursor
        The root, its format and version taken.

    Returns
    -------
    Trace
        The trace.
    """
    T = root.attribute("T", int)
    texts = {
        field: root.attribute(field, str)
        for field in ("network", "network_sha256", "input_sha256", "mode", "carrier")
    }
    profile = profile_of(root)
    bits = root.json("bits", int, optional=True)
    versions = root.json("versions", dict)
    fixed = _fixed(root) if root.has_attribute("fixed") else None
    samples = cast(Array, root.array("samples", dtypes=(_I8,)))
    readout = cast(Array, root.array("readout", dtypes=(_F8,)))
    if samples.ndim != 1:
        refuse("RSN-H5-011", f"{root.where}samples", samples.shape, "(samples,)")
    size = (T, len(samples))
    first = root.array("input_current", dtypes=(_F8,), optional=True)
    group = root.group("populations")
    populations = {}
    for cursor in group.children():
        populations[cursor.name] = _read_recorded(cursor, size, first)
        first = None
    group.done()
    trace: Trace = built(
        root.where,
        Trace,
        **texts,
        profile=profile,
        bits=bits,
        versions=versions,
        fixed=fixed,
        samples=samples,
        readout=readout,
        populations=populations,
    )
    return trace


def _fixed(root: Cursor) -> Fixed:
    at = f"{root.where}@fixed"
    fields = root.json("fixed", dict)
    known = dataclasses.asdict(Fixed())
    if {name: type(value) for name, value in fields.items()} != {
        name: type(value) for name, value in known.items()
    }:
        refuse("RSN-H5-014", at, fields, f"{', '.join(known)}, as in {compact(known)}")
    fixed: Fixed = built(at, Fixed, **fields)
    return fixed


def _read_recorded(
    cursor: Cursor, size: tuple[int, int], first: Array | None
) -> Recorded:
    shape = shape_of(cursor, "shape")
    spikes = _unpacked(cursor, "spikes", size, shape)
    if cursor.has_array("negative"):
        spikes = spikes - _unpacked(cursor, "negative", size, shape)
    mask = None
    if cursor.has_array("mask"):
        mask = _unpacked(cursor, "mask", (1, size[1]), shape)[0].astype(bool)
    values = {name: cast(Array, cursor.array(name)) for name in ("theta", "v0")}
    reals = {name: cursor.array(name, dtypes=(_F8,), optional=True) for name in _REALS}
    if first is not None:
        reals["input_current"] = first
    full = {
        name: None if a is None else _shaped(cursor, name, a, shape)
        for name, a in reals.items()
    }
    counts = cast(Array, cursor.array("counts", dtypes=(_I8,)))
    recorded: Recorded = built(
        cursor.where, Recorded, spikes=spikes, mask=mask, **values, **full
    )
    if counts.tolist() != recorded.counts.reshape(size[1], -1).tolist():
        at = f"{cursor.where}/counts"
        refuse("RSN-H5-019", at, "other numbers", "the sums of the spikes")
    cursor.done()
    return recorded


def _unpacked(
    cursor: Cursor, name: str, size: tuple[int, int], shape: tuple[int, ...]
) -> Array:
    bits = cast(Array, cursor.array(name, dtypes=(_U1,)))
    N = int(np.prod(shape))
    want = (*size, -(-N // 8))
    if bits.shape != want:
        refuse("RSN-H5-011", f"{cursor.where}/{name}", bits.shape, f"{want}")
    spikes = np.unpackbits(bits, axis=-1, count=N, bitorder="little")
    return spikes.astype(np.int8).reshape(*size, *shape)


def _shaped(cursor: Cursor, name: str, a: Array, shape: tuple[int, ...]) -> Array:
    N = int(np.prod(shape))
    if a.ndim < 2 or a.shape[-1] != N:
        refuse("RSN-H5-011", f"{cursor.where}/{name}", a.shape, f"(..., {N})")
    return a.reshape(*a.shape[:-1], *shape)
