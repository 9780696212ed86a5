"""Frozen, keyword-only records whose fields declare what they hold.

Layers, activations and neurons are records. Checking, files and the command line walk
the declared fields, so a new record needs no code anywhere else.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, cast, dataclass_transform

import numpy as np

from refsnn.errors import DomainError, OptionError, ShapeError
from refsnn.numerics import Array

FLOATS = (np.dtype("<f4"), np.dtype("<f8"))


class Kind:
    """Base of what a field can hold."""

    def normalise(self, value: Any, where: str) -> Any:
        """Return a value in its stored form, or refuse it.

        Parameters
        ----------
        value : object
            What was given for the field.
        where : str
            The class and the field, for the error.

        Returns
        -------
        object
            The stored form.

        Raises
        ------
        DomainError, ShapeError
            If the field cannot hold it.
        """
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tensor(Kind):
    """Kind of a field that holds a float32 or float64 array.

    Parameters
    ----------
    dims : tuple of str
        The allowed index strings, such as ``("OIHW",)``, or ``("", "C")`` for a scalar
        or one value per channel. ``None`` allows any.
    optional : bool
        Whether ``None`` is allowed in place of an array.
    unit : str
        ``potential`` if the values scale with the threshold; empty otherwise.
    """

    dims: tuple[str, ...] | None
    optional: bool
    unit: str

    def normalise(self, value: Any, where: str) -> Array | None:
        if value is None and self.optional:
            return None
        array = as_array(value, where)
        if array.dtype.kind in "iu":
            array = array.astype(np.float64)
        if array.dtype.newbyteorder("<") not in FLOATS:
            raise DomainError(
                where=where,
                got=f"{type(value).__name__} of type {array.dtype}",
                expected="an array of float32 or float64",
            )
        if self.dims is not None and array.ndim not in {len(d) for d in self.dims}:
            raise ShapeError(
                where=where,
                got=f"shape {array.shape}",
                expected=" or ".join(f"({', '.join(d)})" for d in self.dims),
            )
        if not array.size:
            raise ShapeError(
                where=where, got=f"shape {array.shape}", expected="no empty dimension"
            )
        if not np.isfinite(array).all():
            raise DomainError(where=where, got="NaN or infinity", expected="numbers")
        return frozen(array)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ints(Kind):
    """Kind of a field that holds `length` integers, or one if `length` is None.

    With `both_ends` it may hold twice as many, those before and those after; if they
    are equal, one half is stored.
    """

    length: int | None
    least: int
    both_ends: bool = False

    def normalise(self, value: Any, where: str) -> Any:
        items = [value] if self.length is None else value
        try:
            numbers = tuple(as_int(item) for item in items)
        except TypeError:
            numbers = ()
        half = len(numbers) // 2
        if self.both_ends and half == self.length and len(numbers) == 2 * half:
            if numbers[:half] == numbers[half:]:
                numbers = numbers[:half]
            good = min(numbers) >= self.least
        else:
            good = len(numbers) == (self.length or 1) and min(numbers) >= self.least
        if not good:
            what = "an integer" if self.length is None else f"{self.length} integers"
            if self.both_ends:
                what = f"{self.length} or {2 * (self.length or 1)} integers"
            raise DomainError(
                where=where,
                got=repr(value),
                expected=f"{what} of at least {self.least}",
            )
        return numbers[0] if self.length is None else numbers


@dataclasses.dataclass(frozen=True, kw_only=True)
class Real(Kind):
    """Kind of a field that holds one finite number."""

    def normalise(self, value: Any, where: str) -> float:
        if isinstance(value, (int, float, np.number)) and not isinstance(value, bool):
            number = float(value)
            if np.isfinite(number):
                return number
        raise DomainError(where=where, got=repr(value), expected="a finite number")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flag(Kind):
    """Kind of a field that is true or false."""

    def normalise(self, value: Any, where: str) -> bool:
        if isinstance(value, (bool, np.bool_)):
            return bool(value)
        raise DomainError(where=where, got=repr(value), expected="true or false")


def as_int(value: Any) -> int:
    """Return an integer as ``int``.

    Parameters
    ----------
    value : int or numpy.integer
        The value; bools and floats are no integers here.

    Returns
    -------
    int
        The same value.

    Raises
    ------
    TypeError
        If `value` is not an integer.
    """
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return int(value)
    raise TypeError(f"{value!r} is not an integer")


def frozen(array: Array) -> Array:
    """Return a read-only, C-contiguous, little-endian copy, -0.0 as +0.0.

    Parameters
    ----------
    array : ndarray
        Any array.

    Returns
    -------
    ndarray
        Equal values, which nobody else can write to.
    """
    copy = np.array(array, dtype=array.dtype.newbyteorder("<"), order="C")
    if copy.dtype.kind == "f":
        np.add(copy, copy.dtype.type(0), out=copy)
    copy.flags.writeable = False
    return copy


def as_array(value: Any, where: str) -> Array:
    """Return a value as an array.

    Parameters
    ----------
    value : array_like
        The value.
    where : str
        What it belongs to, for the error.

    Returns
    -------
    ndarray
        The array.

    Raises
    ------
    ShapeError
        If it is a ragged sequence.
    """
    try:
        return np.asarray(value)
    except ValueError:
        got = "a sequence of unequal parts"
        raise ShapeError(where=where, got=got, expected="an array") from None


def plain_text(value: str, where: str) -> str:
    """Refuse a text that a file cannot hold.

    Parameters
    ----------
    value : str
        The text.
    where : str
        What it belongs to, for the error.

    Returns
    -------
    str
        The same text.

    Raises
    ------
    DomainError
        If it is no text, has a NUL character or is not valid Unicode.
    """
    good = isinstance(value, str) and "\0" not in value
    if not good or any("\ud800" <= char <= "\udfff" for char in value):
        raise DomainError(where=where, got=repr(value), expected="a text without NUL")
    return value


def json_values(value: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a copy of a mapping of JSON values.

    Parameters
    ----------
    value : mapping
        Keys are texts; values are texts, finite numbers, booleans, None, or lists and
        mappings of these.
    where : str
        What it belongs to, for the error.

    Returns
    -------
    dict
        The copy.

    Raises
    ------
    DomainError
        If it holds anything else.
    """
    try:
        copy = json.loads(json.dumps(dict(value), allow_nan=False))
    except (TypeError, ValueError) as error:
        expected = "JSON values: texts, finite numbers, booleans, lists, mappings"
        raise DomainError(where=where, got=error, expected=expected) from None
    return cast(dict[str, Any], copy)


def tensor(*dims: str, default: Any = dataclasses.MISSING, unit: str = "") -> Any:
    """Declare a field that holds an array.

    Parameters
    ----------
    *dims : str
        Index strings, one letter for each dimension; ``""`` stands for a scalar. With
        none given, any shape is allowed.
    default : None, optional
        With ``default=None`` the field may be None, and is by default.
    unit : str
        ``potential`` if normalising a threshold to 1 divides the values by it.

    Returns
    -------
    dataclasses.Field
        The field.
    """
    kind = Tensor(dims=dims or None, optional=default is None, unit=unit)
    field: Any = dataclasses.field(default=default, metadata={"kind": kind})
    return field


def ints(*, default: Any, least: int, both_ends: bool = False) -> Any:
    """Declare a field that holds one integer or a tuple of them.

    Parameters
    ----------
    default : int or tuple of int
        The default value; its length is the field's.
    least : int
        The smallest value allowed.
    both_ends : bool
        Whether twice as many are allowed: those before, then those after.

    Returns
    -------
    dataclasses.Field
        The field.
    """
    length = len(default) if isinstance(default, tuple) else None
    kind = Ints(length=length, least=least, both_ends=both_ends)
    return dataclasses.field(default=default, metadata={"kind": kind})


def real(*, default: float) -> Any:
    """Declare a field that holds one finite number.

    Parameters
    ----------
    default : float
        The default value.

    Returns
    -------
    dataclasses.Field
        The field.
    """
    return dataclasses.field(default=default, metadata={"kind": Real()})


def flag(*, default: bool) -> Any:
    """Declare a field that is true or false.

    Parameters
    ----------
    default : bool
        The default value.

    Returns
    -------
    dataclasses.Field
        The field.
    """
    return dataclasses.field(default=default, metadata={"kind": Flag()})


@dataclass_transform(
    kw_only_default=True,
    frozen_default=True,
    eq_default=False,
    field_specifiers=(tensor, ints, real, flag),
)
class Record:
    """Base of all records: each subclass is made a frozen, keyword-only dataclass.

    Fields are declared with :func:`tensor`, :func:`ints`, :func:`real` or :func:`flag`
    and normalised when a record is made; then the subclass checks. A base class of
    other records is written ``class Base(Record, abstract=True)``; it may declare
    fields, and leave open what they hold.
    """

    op: ClassVar[str]

    def __init_subclass__(cls, *, abstract: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)(cls)
        if abstract:
            return
        for field in dataclasses.fields(cls):  # type: ignore[arg-type]  # just made one
            if "kind" not in field.metadata:
                raise OptionError(
                    where=f"class {cls.__qualname__}, field {field.name}",
                    got=f"the declaration {field.type} = {field.default}",
                    expected="one made by tensor, ints, real or flag of refsnn.records",
                )

    def __post_init__(self) -> None:
        for name, kind in kinds(type(self)):
            where = f"{type(self).__name__}.{name}"
            value = kind.normalise(getattr(self, name), where)
            object.__setattr__(self, name, value)
        self.check()

    def check(self) -> None:
        """Raise if the fields do not fit each other; nothing to check by default."""

    def __repr__(self) -> str:
        parts = []
        for name, _ in kinds(type(self)):
            value = getattr(self, name)
            array = isinstance(value, np.ndarray) and value.ndim
            parts.append(f"{name}={value.shape if array else value}")
        return f"{type(self).__name__}({', '.join(parts)})"


def kinds(cls: type[Record]) -> Iterator[tuple[str, Kind]]:
    """Walk the declared fields of a record class.

    Parameters
    ----------
    cls : type
        A record class.

    Yields
    ------
    name : str
        The field's name.
    kind : Kind
        What it holds.
    """
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]  # every record is one
        yield field.name, field.metadata["kind"]
