"""Taking a tree apart object by object, so that nothing is missed or left over."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from refsnn.errors import (
    CycleError,
    DanglingError,
    FormatError,
    RefsnnError,
    ShapeError,
)
from refsnn.io.tree import Tree, Value, refuse
from refsnn.numerics import Array
from refsnn.records import FLOATS, Record, Tensor, as_int, kinds

RecordType = TypeVar("RecordType", bound=Record)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


class Cursor:
    """A group of a tree; every attribute, array and group taken is crossed off.

    Parameters
    ----------
    tree : Tree
        The content of a file.
    path : str
        Path of the group.
    """

    def __init__(self, tree: Tree, path: str = "/") -> None:
        self.tree = tree
        self.path = path
        self.attributes = dict(tree.attributes[path])
        self.arrays = {p: a for p, a in tree.arrays.items() if self._holds(p)}
        self.groups = [p for p in tree.attributes if self._holds(p)]

    def _holds(self, path: str) -> bool:
        return path != "/" and (path.rpartition("/")[0] or "/") == self.path

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def where(self) -> str:
        """File and path, for errors."""
        return f"{self.tree.source}:{self.path}"

    def _child(self, name: str) -> str:
        return f"{self.path.rstrip('/')}/{name}"

    def attribute(self, name: str, kind: type[Any]) -> Any:
        """Take an attribute of a given type.

        Parameters
        ----------
        name : str
            Its name.
        kind : type
            ``str``, ``int``, ``float``, ``bool`` or ``list``.

        Returns
        -------
        str, int, float, bool or list
            The value.
        """
        at = f"{self.where}@{name}"
        if name not in self.attributes:
            refuse(
                "RSN-H5-019", at, "no such attribute", f"one of type {kind.__name__}"
            )
        value = self.attributes.pop(name)
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            refuse("RSN-H5-019", at, repr(value), f"type {kind.__name__}")
        return value

    def has_attribute(self, name: str) -> bool:
        """Say whether an attribute is there.

        Parameters
        ----------
        name : str
            Its name.

        Returns
        -------
        bool
            Whether :meth:`attribute` would find it.
        """
        return name in self.attributes

    def json(self, name: str, kind: type[Any], *, optional: bool = False) -> Any:
        """Take a text attribute that holds JSON.

        Parameters
        ----------
        name : str
            Its name.
        kind : type
            Type of the value inside: ``list`` or ``dict``.
        optional : bool
            Whether it may be null.

        Returns
        -------
        list, dict or None
            The value.
        """
        text = self.attribute(name, str)
        try:
            value = json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            value = ...
        if type(value) is not kind and not (optional and value is None):
            at = f"{self.where}@{name}"
            refuse("RSN-H5-019", at, text, f"JSON of type {kind.__name__}")
        return value

    def array(
        self, name: str, *, dtypes: tuple[Any, ...] = FLOATS, optional: bool = False
    ) -> Array | None:
        """Take an array.

        Parameters
        ----------
        name : str
            Its name.
        dtypes : tuple of dtype
            The types allowed.
        optional : bool
            Whether it may be missing.

        Returns
        -------
        ndarray or None
            The array; None if it is missing and may be.
        """
        path = self._child(name)
        if path not in self.arrays:
            if optional and path not in self.groups:
                return None
            refuse("RSN-H5-006", f"{self.tree.source}:{path}", "no data set there")
        array = self.arrays.pop(path)
        if array.dtype not in dtypes:
            expected = " or ".join(str(d) for d in dtypes)
            refuse("RSN-H5-010", f"{self.tree.source}:{path}", array.dtype, expected)
        return array

    def has_array(self, name: str) -> bool:
        """Say whether an array is there.

        Parameters
        ----------
        name : str
            Its name.

        Returns
        -------
        bool
            Whether :meth:`array` would find it.
        """
        return self._child(name) in self.arrays

    def has_group(self, name: str) -> bool:
        """Say whether a group is there.

        Parameters
        ----------
        name : str
            Its name.

        Returns
        -------
        bool
            Whether :meth:`group` would find it.
        """
        return self._child(name) in self.groups

    def group(self, name: str) -> Cursor:
        """Take a group.

        Parameters
        ----------
        name : str
            Its name.

        Returns
        -------
        Cursor
            A cursor on it.
        """
        path = self._child(name)
        if path not in self.groups:
            refuse("RSN-H5-006", f"{self.tree.source}:{path}", "no group there")
        self.groups.remove(path)
        return Cursor(self.tree, path)

    def children(self) -> list[Cursor]:
        """Take all groups, in the order of their attribute ``index``.

        Returns
        -------
        list of Cursor
            Cursors with indices 0, 1, 2 and so on.
        """
        cursors = [Cursor(self.tree, path) for path in self.groups]
        self.groups = []
        indices = [cursor.attribute("index", int) for cursor in cursors]
        if sorted(indices) != list(range(len(indices))):
            got = f"index values {sorted(indices)}"
            refuse("RSN-H5-019", self.where, got, "0, 1, 2 and so on, each once")
        by_index = sorted(zip(indices, cursors, strict=True), key=lambda pair: pair[0])
        return [cursor for _, cursor in by_index]

    def record(self, cls: type[RecordType]) -> RecordType:
        """Take the fields of a record.

        Parameters
        ----------
        cls : type
            The record class.

        Returns
        -------
        Record
            The record.
        """
        fields: dict[str, Any] = {}
        for name, kind in kinds(cls):
            if isinstance(kind, Tensor):
                array = self.array(name, optional=kind.optional)
                fields[name] = array
                if array is not None and kind.dims is not None:
                    expected = " or ".join(f"({', '.join(d)})" for d in kind.dims)
                    if array.ndim not in {len(d) for d in kind.dims}:
                        at = f"{self.tree.source}:{self._child(name)}"
                        refuse("RSN-H5-011", at, f"shape {array.shape}", expected)
            else:
                fields[name] = self.attributes.pop(name, None)
                if fields[name] is None:
                    refuse("RSN-H5-019", f"{self.where}@{name}", "no such attribute")
        made: RecordType = built(self.where, cls, **fields)
        return made

    def done(self) -> None:
        """Refuse whatever was not taken."""
        for path in [*self.groups, *self.arrays]:
            at = f"{self.tree.source}:{path}"
            refuse("RSN-H5-007", at, "an object the format does not have")
        for name in self.attributes:
            got = "an attribute the format does not have"
            refuse("RSN-H5-019", f"{self.where}@{name}", got)


def built(where: str, cls: Any, **fields: Any) -> Any:
    """Make an object from a file's values; what does not fit is the file's fault.

    Parameters
    ----------
    where : str
        File and path.
    cls : callable
        What to make.
    **fields
        Its arguments.

    Returns
    -------
    object
        The object.
    """
    try:
        return cls(**fields)
    except FormatError:
        raise
    except RefsnnError as error:
        rules: dict[type[RefsnnError], str] = {
            CycleError: "RSN-H5-016",
            DanglingError: "RSN-H5-015",
            ShapeError: "RSN-H5-011",
        }
        rule = next((r for e, r in rules.items() if isinstance(error, e)), "RSN-H5-019")
        at = f"{where} ({error.where})"
        refuse(rule, at, error.got, error.expected, error.do)


def encoded(record: Record) -> tuple[dict[str, Value], dict[str, Array]]:
    """Split a record into attributes and arrays.

    Parameters
    ----------
    record : Record
        The record.

    Returns
    -------
    attributes : dict
        Its numbers and flags.
    arrays : dict
        Its tensors that are not None.
    """
    attributes: dict[str, Value] = {}
    arrays: dict[str, Array] = {}
    for name, kind in kinds(type(record)):
        value = getattr(record, name)
        if isinstance(kind, Tensor):
            if value is not None:
                arrays[name] = value
        else:
            attributes[name] = list(value) if isinstance(value, tuple) else value
    return attributes, arrays


def shape_of(cursor: Cursor, name: str) -> tuple[int, ...]:
    """Take an attribute that holds a shape.

    Parameters
    ----------
    cursor : Cursor
        The group.
    name : str
        The attribute's name.

    Returns
    -------
    tuple of int
        The shape.
    """
    values = cursor.attribute(name, list)
    try:
        return tuple(as_int(value) for value in values)
    except TypeError:
        refuse("RSN-H5-019", f"{cursor.where}@{name}", values, "integers")
