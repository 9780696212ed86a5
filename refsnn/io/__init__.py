"""HDF5 files of trained networks, converted networks and labelled images."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from refsnn.errors import DataError, OptionError
from refsnn.io.cursor import Cursor
from refsnn.io.formats import (
    VERSION,
    ann_tree,
    images_tree,
    need_images,
    read_ann,
    read_images,
    read_snn,
    snn_tree,
)
from refsnn.io.traces import read_trace, trace_tree
from refsnn.io.tree import (
    RULES,
    Tree,
    need_target,
    need_writable,
    read,
    refuse,
    write,
    write_atomically,
)
from refsnn.network import Network, SpikingNetwork
from refsnn.numerics import Array
from refsnn.trace import Trace

__all__ = [
    "RULES",
    "content_sha256",
    "load",
    "load_ann",
    "load_images",
    "load_network",
    "load_snn",
    "load_trace",
    "need_images",
    "need_target",
    "need_writable",
    "save",
    "save_images",
    "save_trace",
    "write_atomically",
]


READERS: dict[str, Callable[[Cursor], Any]] = {
    "refsnn-ann": read_ann,
    "refsnn-snn": read_snn,
    "refsnn-images": read_images,
    "refsnn-trace": read_trace,
}
"""Reader of each format, version 1."""


def _tree(network: Network | SpikingNetwork) -> Tree:
    if isinstance(network, Network):
        return ann_tree(network)
    if isinstance(network, SpikingNetwork):
        return snn_tree(network)
    got = f"a {type(network).__name__}"
    raise OptionError(where="io", got=got, expected="a Network or a SpikingNetwork")


def content_sha256(network: Network | SpikingNetwork) -> str:
    """Hash the content of a network; the same before saving and after loading.

    Parameters
    ----------
    network : Network or SpikingNetwork
        The network.

    Returns
    -------
    str
        The SHA-256 that a file written by :func:`save` carries, in hexadecimal. (A
        file that others wrote may lay out its JSON attributes in another way.)
    """
    return _tree(network).digest()


def save(
    network: Network | SpikingNetwork,
    path: str | os.PathLike[str],
    *,
    force: bool = False,
    compressed: bool = False,
) -> None:
    """Write a network to an HDF5 file, whole or not at all.

    Parameters
    ----------
    network : Network or SpikingNetwork
        The network.
    path : path-like
        The file. Equal networks make files of equal bytes, if they are not compressed.
    force : bool
        Whether an existing file is replaced.
    compressed : bool
        Whether arrays are shuffled and compressed by gzip, whose bytes depend on the
        version of zlib; what is read is the same.

    Raises
    ------
    OptionError
        If the file exists and `force` is not given, or its folder does not exist.
    """
    _write(_tree(network), Path(path), force=force, compressed=compressed)


def save_trace(
    trace: Trace, path: str | os.PathLike[str], *, force: bool = False
) -> None:
    """Write a trace to an HDF5 file.

    Parameters
    ----------
    trace : Trace
        The trace.
    path : path-like
        The file.
    force : bool
        Whether an existing file is replaced.
    """
    _write(trace_tree(trace), Path(path), force=force)


def save_images(
    images: Array, labels: Array, path: str | os.PathLike[str], *, force: bool = False
) -> None:
    """Write labelled images to an HDF5 file.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, C, H, W)
        Pixels.
    labels : ndarray of uint8, shape (n,)
        Classes.
    path : path-like
        The file.
    force : bool
        Whether an existing file is replaced.
    """
    _write(images_tree(images, labels), Path(path), force=force)


def _write(tree: Tree, path: Path, *, force: bool, compressed: bool = False) -> None:
    root = {**tree.attributes["/"], "sha256": tree.digest()}
    attributes = {**tree.attributes, "/": root}
    whole = dataclasses.replace(tree, attributes=attributes)
    write(whole, path, force=force, compressed=compressed)


def load(path: str | os.PathLike[str]) -> Any:
    """Read a file of any refsnn format.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    Network, SpikingNetwork, Trace or (images, labels)
        Its content.

    Raises
    ------
    DataError
        If there is no such file.
    FormatError
        If it is not what its format says; with a rule of :data:`RULES`.

    Warns
    -----
    UserWarning
        If the file carries no hash, or a trained network's mean and std are hardly
        those of pixels divided by 255.
    """
    tree = read(Path(path))
    root = Cursor(tree)
    kind = root.attributes.pop("format", None)
    at = f"{tree.source}:/@format"
    if not isinstance(kind, str) or kind not in READERS:
        got = "no format attribute" if kind is None else repr(kind)
        refuse("RSN-H5-004", at, got, f"one of {', '.join(READERS)}")
    version = root.attributes.pop("version", None)
    if type(version) is not int or version != VERSION:
        at = f"{tree.source}:/@version"
        refuse("RSN-H5-005", at, repr(version), f"{VERSION}")
    sha256 = root.attribute("sha256", str) if "sha256" in root.attributes else None
    content = READERS[kind](root)
    root.done()
    if sha256 is None:
        text = f"{path} carries no sha256: its integrity cannot be checked"
        warnings.warn(text, UserWarning, stacklevel=2)
    elif sha256 != tree.digest():
        refuse(
            "RSN-H5-017",
            f"{tree.source}:/@sha256",
            f"content with the hash {tree.digest()}",
            sha256,
            "The file was changed after it was written, or damaged.",
        )
    if isinstance(content, Network):
        content.warn_of_normalisation()
    return content


def _load_as(
    path: str | os.PathLike[str], cls: type[Any] | tuple[type[Any], ...], what: str
) -> Any:
    content = load(path)
    if not isinstance(content, cls):
        kinds = {
            Network: "a trained network",
            SpikingNetwork: "a converted network",
            Trace: "a trace",
        }
        got = kinds.get(type(content), "labelled images")
        raise DataError(where=str(path), got=got, expected=what)
    return content


def load_network(path: str | os.PathLike[str]) -> Network | SpikingNetwork:
    """Read a network, trained or converted.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    Network or SpikingNetwork
        The network.

    Raises
    ------
    DataError
        If the file holds something else.
    """
    network: Network | SpikingNetwork = _load_as(
        path, (Network, SpikingNetwork), "a network"
    )
    return network


def load_ann(path: str | os.PathLike[str]) -> Network:
    """Read a trained network.

    Parameters
    ----------
    path : path-like
        A file of the format ``refsnn-ann``.

    Returns
    -------
    Network
        The network.
    """
    network: Network = _load_as(path, Network, "a trained network (refsnn-ann)")
    return network


def load_snn(path: str | os.PathLike[str]) -> SpikingNetwork:
    """Read a converted network.

    Parameters
    ----------
    path : path-like
        A file of the format ``refsnn-snn``.

    Returns
    -------
    SpikingNetwork
        The network.
    """
    what = "a converted network (refsnn-snn)"
    network: SpikingNetwork = _load_as(path, SpikingNetwork, what)
    return network


def load_images(path: str | os.PathLike[str]) -> tuple[Array, Array]:
    """Read labelled images.

    Parameters
    ----------
    path : path-like
        A file with the data sets ``images`` and ``labels``.

    Returns
    -------
    images : ndarray of uint8, shape (n, C, H, W)
        Pixels.
    labels : ndarray of uint8, shape (n,)
        Classes.
    """
    images, labels = _load_as(path, tuple, "labelled images (refsnn-images)")
    return images, labels


def load_trace(path: str | os.PathLike[str]) -> Trace:
    """Read a trace.

    Parameters
    ----------
    path : path-like
        A file of the format ``refsnn-trace``.

    Returns
    -------
    Trace
        The trace.
    """
    trace: Trace = _load_as(path, Trace, "a trace (refsnn-trace)")
    return trace
