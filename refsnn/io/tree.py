"""HDF5 files as trees of plain attributes and arrays: written whole, read with care.

Reading follows no link out of the file, opens no external or virtual storage, and
takes nothing on trust; each refusal names the HDF5 path and a rule of :data:`RULES`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import secrets
import zipfile
from pathlib import Path
from typing import Any, NoReturn

import h5py
import numpy as np

from refsnn.errors import DataError, FormatError, OptionError
from refsnn.numerics import Array
from refsnn.records import frozen

RULES: dict[str, str] = {
    "RSN-H5-001": "an HDF5 file",
    "RSN-H5-002": "a file that is not empty",
    "RSN-H5-003": "a complete, undamaged HDF5 file",
    "RSN-H5-004": "a format this reader knows",
    "RSN-H5-005": "a version this reader knows",
    "RSN-H5-006": "every group and data set the format asks for",
    "RSN-H5-007": "no group or data set beyond those of the format",
    "RSN-H5-008": "hard links only, one to each object",
    "RSN-H5-009": "data stored inside the file",
    "RSN-H5-010": "a data type the format allows",
    "RSN-H5-011": "shapes that fit",
    "RSN-H5-012": "data that was written",
    "RSN-H5-013": "finite numbers",
    "RSN-H5-014": "a layer, neuron or projection this reader knows",
    "RSN-H5-015": "edges between nodes that exist, and no loose ends",
    "RSN-H5-016": "a graph without cycles",
    "RSN-H5-017": "content that matches its sha256",
    "RSN-H5-018": "contiguous or chunked storage with gzip, shuffle or fletcher32 only",
    "RSN-H5-019": "every attribute the format asks for, no other, with a usable value",
}
"""What each rule asks for."""

SIGNATURE = b"\x89HDF\r\n\x1a\n"

TORCH_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""What files of PyTorch begin with that are no archive, those before version 1.6."""

TORCH_FILE = (
    "A file of PyTorch, which is not unpickled. A state dict of a published "
    "architecture: refsnn import --arch, which says how its tensors become an .npz. An "
    "architecture of your own: load it in PyTorch and give the model to "
    "refsnn.exchange.from_torch."
)
"""What to do with a file of PyTorch."""

FILTERS = {
    h5py.h5z.FILTER_DEFLATE,
    h5py.h5z.FILTER_SHUFFLE,
    h5py.h5z.FILTER_FLETCHER32,
}

ATTRIBUTES = {h5py.h5t.STRING, h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.ENUM}
"""Types of attributes that are read; a damaged one of another type can crash HDF5."""

Value = str | int | float | bool | list[int] | list[float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tree:
    """The content of a file.

    Attributes
    ----------
    source : str
        Path of the file, for errors; empty for a tree that is being made.
    attributes : dict
        Attributes by group path; every group has an entry. The root is ``/``.
    arrays : dict
        Data sets by path.
    """

    source: str = ""
    attributes: dict[str, dict[str, Value]] = dataclasses.field(default_factory=dict)
    arrays: dict[str, Array] = dataclasses.field(default_factory=dict)

    def digest(self) -> str:
        """Hash the content, attribute ``sha256`` of the root apart.

        Returns
        -------
        str
            SHA-256 over, in sorted path order, path NUL type NUL shape NUL bytes of
            each array (little-endian, C order, -0.0 as +0.0; the type as in ``<f4``,
            the shape as a JSON list without spaces), then the canonical JSON (sorted
            keys, no spaces) of all attributes by group path.
        """
        sha = hashlib.sha256()
        for path in sorted(self.arrays):
            array = frozen(self.arrays[path])
            shape = json.dumps(array.shape, separators=(",", ":"))
            sha.update(f"{path}\0{array.dtype.str}\0{shape}\0".encode())
            sha.update(array.tobytes())
        attributes = {path: dict(values) for path, values in self.attributes.items()}
        attributes["/"].pop("sha256", None)
        sha.update(
            json.dumps(attributes, sort_keys=True, separators=(",", ":")).encode()
        )
        return sha.hexdigest()


def refuse(
    rule: str, where: str, got: object, expected: str = "", do: str = ""
) -> NoReturn:
    """Raise a format error.

    Parameters
    ----------
    rule : str
        A key of :data:`RULES`.
    where : str
        File and HDF5 path.
    got : object
        What was found.
    expected : str, optional
        What was expected, if more can be said than the rule does.
    do : str, optional
        What the reader can do.

    Raises
    ------
    FormatError
        Always.
    """
    raise FormatError(
        where=where, got=got, expected=expected or RULES[rule], do=do, rule=rule
    )


def write(
    tree: Tree, path: Path, *, force: bool = False, compressed: bool = False
) -> None:
    """Write a tree as an HDF5 file, whole or not at all.

    Parameters
    ----------
    tree : Tree
        The content.
    path : Path
        The file. Equal trees make equal bytes, unless they are compressed.
    force : bool
        Whether an existing file is replaced.
    compressed : bool
        Whether arrays are shuffled and compressed by gzip.

    Raises
    ------
    OptionError
        If the file exists and `force` is not given, or its folder does not exist.
    """
    need_target(path, force=force)
    write_atomically(path, _image(tree, compressed=compressed))


def need_target(path: Path, *, force: bool = False) -> None:
    """Refuse a file that cannot be written, before anything is computed.

    Parameters
    ----------
    path : Path
        The file.
    force : bool
        Whether an existing file is replaced.

    Raises
    ------
    OptionError
        If the file exists and `force` is not given, or its folder does not exist or
        cannot be written to.
    """
    if path.is_dir():
        raise OptionError(where=str(path), got="a folder", expected="a file's name")
    if path.exists() and not force:
        raise OptionError(
            where=str(path),
            got="a file that exists",
            expected="a new name",
            do="Choose another name, or replace it with --force (force=True).",
        )
    if not path.parent.is_dir():
        raise OptionError(
            where=str(path), got="no such folder", expected="an existing folder"
        )
    if not _is_device(path):
        need_writable(path.resolve().parent)


def need_writable(folder: Path) -> None:
    """Refuse a folder that files cannot be written to.

    Parameters
    ----------
    folder : Path
        The folder, which exists.

    Raises
    ------
    OptionError
        If this user may not.
    """
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OptionError(
            where=str(folder),
            got="a folder without permission to write",
            expected="one that files can be written to",
            do="Choose another folder, or change its permissions.",
        )


def _is_device(path: Path) -> bool:
    """Say whether it is a pipe or a device, or leads to one that is open."""
    name = path.absolute().as_posix()
    opened = name.startswith(("/proc/", "/dev/fd/", "/dev/std"))
    return opened or (path.exists() and not path.is_file())


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file through a temporary one, so that it is never seen half-written.

    Parameters
    ----------
    path : Path
        The file.
    data : bytes
        Its content.
    """
    if _is_device(path):
        with path.open("ab") as file:
            file.write(data)
        return
    path = path.resolve()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _image(tree: Tree, *, compressed: bool) -> bytes:
    """Lay out a tree as the bytes of an HDF5 file."""
    name = secrets.token_hex(16)  # HDF5 tells files in memory apart by their names
    with h5py.File(name, "w", driver="core", backing_store=False) as file:
        for path in sorted(tree.attributes):
            group = file.require_group(path)
            for name in sorted(tree.attributes[path]):
                group.attrs[name] = tree.attributes[path][name]
        for path in sorted(tree.arrays):
            array = frozen(tree.arrays[path])
            small = {"shuffle": True, "compression": "gzip", "compression_opts": 9}
            how = small if compressed and array.ndim else {}
            file.create_dataset(path, data=array, track_times=False, **how)
        file.flush()
        image: bytes = file.id.get_file_image()
    return image


def read(path: Path, *, foreign: bool = False) -> Tree:
    """Read a whole HDF5 file.

    Parameters
    ----------
    path : Path
        The file.
    foreign : bool
        Whether it is a file of another project: attributes of data sets, and
        attributes that are no text, number or list of numbers, are then left out.

    Returns
    -------
    Tree
        Its content; finite numbers and texts only.

    Raises
    ------
    DataError
        If there is no such file.
    FormatError
        If a rule of :data:`RULES` is broken.
    """
    where = str(path)
    if not path.is_file():
        got = "a folder" if path.is_dir() else "no such file"
        raise DataError(where=where, got=got, expected="a refsnn HDF5 file")
    try:
        with path.open("rb") as stream:
            head = stream.read(len(SIGNATURE))
    except OSError as error:
        raise DataError(
            where=where, got=error.strerror or error, expected="a readable file"
        ) from None
    if not head:
        refuse("RSN-H5-002", where, "0 bytes")
    if head != SIGNATURE:
        if SIGNATURE.startswith(head):
            refuse("RSN-H5-003", where, f"a file of {len(head)} bytes")
        do = TORCH_FILE * _is_of_torch(path)
        refuse("RSN-H5-001", where, f"a file that begins with {head!r}", do=do)
    tree = Tree(source=where)
    try:
        with h5py.File(path, "r", locking="best-effort") as file:
            _read_group(tree, file, "/", set(), foreign)
    except FormatError:
        raise
    except Exception as error:  # noqa: BLE001 - a damaged file can make h5py raise anything
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        refuse("RSN-H5-003", where, text)
    return tree


def _is_of_torch(path: Path) -> bool:
    """Whether ``torch.save`` wrote a file: an archive with a pickle, or as before."""
    try:
        with path.open("rb") as stream:
            if stream.read(len(TORCH_MAGIC)) == TORCH_MAGIC:
                return True
        with zipfile.ZipFile(path) as archive:
            return any(n.split("/")[-1] == "data.pkl" for n in archive.namelist())
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return False


def _read_group(
    tree: Tree, group: h5py.Group, path: str, seen: set[Any], foreign: bool
) -> None:
    where = f"{tree.source}:{path}"
    _need_new(group, where, seen)
    tree.attributes[path] = _read_attributes(group, where, foreign)
    for name in group:
        child = f"{path.rstrip('/')}/{name}"
        where = f"{tree.source}:{child}"
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            refuse("RSN-H5-008", where, f"a {type(link).__name__}")
        item = group[name]
        if isinstance(item, h5py.Group):
            _read_group(tree, item, child, seen, foreign)
        elif isinstance(item, h5py.Dataset):
            _need_new(item, where, seen)
            if len(item.attrs) and not foreign:
                got = f"attributes {', '.join(item.attrs)} of a data set"
                refuse("RSN-H5-019", where, got)
            tree.arrays[child] = _read_array(item, where)
        else:
            refuse("RSN-H5-007", where, f"a {type(item).__name__}")


def _need_new(item: h5py.HLObject, where: str, seen: set[Any]) -> None:
    info = h5py.h5o.get_info(item.id)
    if info.addr in seen:
        refuse("RSN-H5-008", where, "a second link to one object")
    seen.add(info.addr)


def _read_array(item: h5py.Dataset, where: str) -> Array:
    creation = item.id.get_create_plist()
    if item.is_virtual or creation.get_external_count():
        refuse("RSN-H5-009", where, "virtual or external storage")
    if creation.get_layout() not in {h5py.h5d.CONTIGUOUS, h5py.h5d.CHUNKED}:
        refuse("RSN-H5-018", where, "another storage layout")
    for index in range(creation.get_nfilters()):
        code, _, _, name = creation.get_filter(index)
        if code not in FILTERS:
            refuse("RSN-H5-018", where, f"the filter {name.decode(errors='replace')}")
    if item.shape is None:
        refuse("RSN-H5-011", where, "a data set without a shape")
    dtype = item.dtype
    if dtype.str not in {"<f4", "<f8", "<i8", "|u1"}:
        refuse(
            "RSN-H5-010",
            where,
            f"type {dtype}{' (big-endian)' if dtype.byteorder == '>' else ''}",
            "float32, float64, int64 or uint8, little-endian",
        )
    if 0 in item.shape:
        refuse("RSN-H5-011", where, f"the empty shape {item.shape}")
    if item.id.get_space_status() != h5py.h5d.SPACE_STATUS_ALLOCATED:
        refuse(
            "RSN-H5-012", where, "a data set that was never, or only partly, written"
        )
    array = item[()]
    if not np.isfinite(array).all():
        refuse("RSN-H5-013", where, "NaN or infinity")
    return frozen(np.asarray(array))


def _read_attributes(group: h5py.Group, where: str, foreign: bool) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for name in group.attrs:
        at = f"{where}@{name}"
        attribute = h5py.h5a.open(group.id, name.encode())
        kind = attribute.get_type().get_class()
        if foreign and (kind not in ATTRIBUTES or _is_texts(attribute)):
            continue
        if kind not in ATTRIBUTES:
            refuse("RSN-H5-010", at, "an attribute of a compound or reference type")
        try:
            raw = group.attrs[name]
        except (OSError, TypeError, ValueError) as error:
            refuse("RSN-H5-010", at, f"an attribute that cannot be read ({error})")
        values[name] = _plain(raw, at)
    return values


def _is_texts(attribute: h5py.h5a.AttrID) -> bool:
    """Whether an attribute is a list of texts."""
    text = attribute.get_type().get_class() == h5py.h5t.STRING
    return bool(text and attribute.shape != ())


def _plain(raw: object, where: str) -> Value:
    """Turn an attribute's value into a plain Python one."""
    if isinstance(raw, bytes):
        try:
            return raw.decode()
        except UnicodeDecodeError:
            refuse("RSN-H5-010", where, "text that is not UTF-8")
    if isinstance(raw, str):
        if any("\ud800" <= char <= "\udfff" for char in raw):
            refuse("RSN-H5-010", where, "text that is not UTF-8")
        return raw
    array = np.asarray(raw)
    if array.dtype.kind not in "biuf" or array.ndim > 1:
        refuse("RSN-H5-010", where, f"type {array.dtype}, shape {array.shape}")
    if not np.isfinite(array).all():
        refuse("RSN-H5-013", where, "NaN or infinity")
    plain: Value = array.tolist()
    return plain
