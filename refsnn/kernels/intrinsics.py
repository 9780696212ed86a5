"""Vector operations that Numba has no word for, each beside its NumPy definition.

A *register* is :data:`LANES` numbers of one type; LLVM splits it where a processor is
narrower, so nothing here assumes one. An operation works on as many registers as its
last argument, a tuple, has elements, which is known when it is compiled: sums then
stay in the processor while rows are added. A *word* is 16 bits, one a lane, the first
in the lowest. Arrays are one-dimensional; `at`, `first` and the like are elements at
which registers begin. Integers wrap, as in NumPy.

What stands here in NumPy is the definition; the decorator pairs it with the code that
compiled kernels contain in its place. A test runs every pair bit for bit.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from refsnn.kernels.vectors import LANES, Vectors
from refsnn.numerics import ALIGNMENT, Array

DEFINITIONS: dict[Any, Callable[..., Any]] = {}
"""The definition of each operation."""

Registers = tuple[int, ...]
Emit = Callable[[Vectors, Any, Any, int], Any]

_KINDS: dict[str, Callable[[Any, Any], Any]] = {
    "a": lambda kind, first: kind,  # noqa: ARG005 - an array
    "r": lambda kind, first: kind,  # noqa: ARG005 - registers
    "i": lambda kind, first: types.intp,  # noqa: ARG005 - an index
    "w": lambda kind, first: types.uint16,  # noqa: ARG005 - a word
    "s": lambda kind, first: first.dtype,  # noqa: ARG005 - a number, as in the first array
}


def operation(
    arguments: str, emit: Emit, answer: Any = types.void
) -> Callable[[Callable[..., Any]], Any]:
    """Pair a definition with the code of its operation.

    Parameters
    ----------
    arguments : str
        A letter for the kind of each argument, the keys of a table here.
    emit : callable
        Emits the code, given the vectors of the first array, the arguments' types and
        values, and the number of registers; returns the answer, if there is one.
    answer : numba type
        Type of the answer.

    Returns
    -------
    callable
        The decorator; it returns the operation, for use in kernels.
    """

    def decorate(definition: Callable[..., Any]) -> Any:
        def typed(typing: Any, *kinds: Any) -> Any:  # noqa: ARG001 - Numba passes it
            signature = answer(
                *[_KINDS[a](k, kinds[0]) for a, k in zip(arguments, kinds, strict=True)]
            )

            def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
                element = getattr(signature.args[0], "dtype", types.int64)
                vectors = Vectors(context, builder, element)
                count = getattr(signature.args[-1], "count", 0)
                value = emit(vectors, signature.args, values, count)
                return context.get_dummy_value() if answer is types.void else value

            return signature, code

        own = inspect.signature(definition).parameters.values()
        first = inspect.Parameter("typing", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        typed.__signature__ = inspect.Signature([first, *own])  # type: ignore[attr-defined]  # what Numba reads
        typed.__doc__, typed.__name__ = definition.__doc__, definition.__name__
        if config.DISABLE_JIT:  # type: ignore[attr-defined]  # interpreted kernels
            return definition
        made = intrinsic(typed)
        DEFINITIONS[made] = definition
        return made

    return decorate


def width(registers: Registers) -> int:
    """Return the numbers in some registers.

    Parameters
    ----------
    registers : tuple
        One element each.

    Returns
    -------
    int
        Lanes.
    """
    return LANES * len(registers)


def unpacked(words: Array, at: int, registers: Registers) -> Array:
    """Unpack words into a truth value a lane.

    Parameters
    ----------
    words : ndarray of uint16
        Words.
    at : int
        The first.
    registers : tuple
        As many.

    Returns
    -------
    ndarray of bool
        The bits, the lowest first.
    """
    some = words[at : at + len(registers)].astype("<u2").view(np.uint8)
    return np.unpackbits(some, bitorder="little").astype(bool)


def packed(bits: Array) -> Array:
    """Pack truth values into words.

    Parameters
    ----------
    bits : ndarray of bool
        A multiple of 16.

    Returns
    -------
    ndarray of uint16
        Words.
    """
    words: Array = np.packbits(bits, bitorder="little").view("<u2").astype(np.uint16)
    return words


def summed(
    v: Vectors, name: str, begun: list[Any], rows: Any, events: Any, span: Any
) -> list[Any]:
    """Emit the loop that adds rows to registers, or takes them away.

    Parameters
    ----------
    v : Vectors
        The registers.
    name : str
        ``add`` or ``sub``.
    begun : list
        Where the sums begin.
    rows : tuple
        Type and value of the array of rows, and where they begin.
    events : tuple
        Type and value of the list.
    span : tuple
        Where its stretch begins and ends.

    Returns
    -------
    list
        The sums.
    """
    ((kind, weights), origin), (start, stop) = rows, span
    b, lanes = v.builder, LANES * len(begun)

    def add_row(i: Any, sums: list[Any]) -> list[Any]:
        event = b.zext(b.load(v.element(events[0], events[1], i)), i.type)
        row = b.add(origin, b.mul(event, ir.Constant(i.type, lanes)))
        terms = v.place(kind, weights, row)
        return [
            v.operate(name, total, v.load(terms, r, align=ALIGNMENT))
            for r, total in enumerate(sums)
        ]

    return v.loop(start, stop, begun, add_row)


def _row_sums(name: str) -> Emit:
    """Emit code that adds rows, or takes them away."""

    def emit(v: Vectors, kinds: Any, values: Any, count: int) -> None:
        sums, at, weights, origin, events, start, stop, _ = values
        place = v.place(kinds[0], sums, at)
        begun = [v.load(place, r) for r in range(count)]
        rows, listed = ((kinds[2], weights), origin), (kinds[4], events)
        totals = summed(v, name, begun, rows, listed, (start, stop))
        for r in range(count):
            v.store(totals[r], place, r)

    return emit


def named_rows(
    weights: Array, origin: int, events: Array, registers: Registers
) -> Array:
    """Return rows of weights.

    Parameters
    ----------
    weights : ndarray
        Rows, one behind the other.
    origin : int
        Where that begins which is called 0.
    events : ndarray
        Which rows.
    registers : tuple
        As many elements as registers in a row.

    Returns
    -------
    ndarray, shape (n, lanes)
        The rows.
    """
    first = origin + events.astype(np.int64) * width(registers)
    rows: Array = weights[first[:, None] + np.arange(width(registers))]
    return rows


@operation("aiaiaiir", _row_sums("add"))
def add_rows(
    v: Array,
    at: int,
    weights: Array,
    origin: int,
    events: Array,
    start: int,
    stop: int,
    registers: Registers,
) -> None:
    """Add the rows of weights that ``events[start:stop]`` name, counted from origin."""
    for row in named_rows(weights, origin, events[start:stop], registers):
        v[at : at + width(registers)] += row


@operation("aiaiaiir", _row_sums("sub"))
def subtract_rows(
    v: Array,
    at: int,
    weights: Array,
    origin: int,
    events: Array,
    start: int,
    stop: int,
    registers: Registers,
) -> None:
    """Take away the rows of weights that ``events[start:stop]`` name."""
    for row in named_rows(weights, origin, events[start:stop], registers):
        v[at : at + width(registers)] -= row


def _move(v: Vectors, kinds: Any, values: Any, count: int) -> None:
    to, source = (v.place(kinds[k], values[k], values[k + 1]) for k in (0, 2))
    for r in range(count):
        v.store(v.load(source, r), to, r)


@operation("aiair", _move)
def move(v: Array, at: int, x: Array, first: int, registers: Registers) -> None:
    """Copy registers: v = x."""
    v[at : at + width(registers)] = x[first : first + width(registers)]


def _copy(v: Vectors, kinds: Any, values: Any, count: int) -> None:
    source = Vectors(v.context, v.builder, kinds[2].dtype)
    to, words = (
        o.place(kinds[k], values[k], values[k + 1]) for o, k in ((v, 0), (source, 2))
    )
    for r in range(count):
        some = source.load(words, r)
        if v.bytes > source.bytes:
            some = v.builder.zext(some, v.type)
        v.store(some, to, r)


@operation("aiair", _copy)
def copy(
    events: Array, used: int, words: Array, first: int, registers: Registers
) -> None:
    """Copy words to where events are listed, which may be wider."""
    events[used : used + width(registers)] = words[first : first + width(registers)]


def _add(v: Vectors, kinds: Any, values: Any, count: int) -> None:
    to, source = (v.place(kinds[k], values[k], values[k + 1]) for k in (0, 2))
    for r in range(count):
        v.store(v.operate("add", v.load(to, r), v.load(source, r)), to, r)


@operation("aiair", _add)
def add(v: Array, at: int, x: Array, first: int, registers: Registers) -> None:
    """Add registers: v = v + x."""
    v[at : at + width(registers)] += x[first : first + width(registers)]


def _add_scaled(v: Vectors, kinds: Any, values: Any, count: int) -> None:
    to, source = (v.place(kinds[k], values[k], values[k + 1]) for k in (0, 2))
    scale = v.same(values[4])
    for r in range(count):
        term = v.operate("mul", v.load(source, r), scale)
        v.store(v.operate("add", v.load(to, r), term), to, r)


@operation("aiaisr", _add_scaled)
def add_scaled(
    v: Array, at: int, x: Array, first: int, scale: Any, registers: Registers
) -> None:
    """Add a multiple: v = v + x scale, the product rounded before the sum."""
    term = x[first : first + width(registers)] * v.dtype.type(scale)
    v[at : at + width(registers)] += term


def _masked(name: str) -> Emit:
    """Emit code that adds, or takes away, a row where bits are set."""

    def emit(v: Vectors, kinds: Any, values: Any, count: int) -> None:
        to, source = (v.place(kinds[k], values[k], values[k + 1]) for k in (0, 2))
        b = v.builder
        for r in range(count):
            word = b.load(v.element(kinds[4], values[4], values[5], r))
            term = v.under(v.bits(word), v.load(source, r))
            v.store(v.operate(name, v.load(to, r), term), to, r)

    return emit


@operation("aiaiair", _masked("add"))
def add_masked(
    v: Array,
    at: int,
    x: Array,
    first: int,
    words: Array,
    word: int,
    registers: Registers,
) -> None:
    """Add x to v in the lanes whose bits are set in the words from `word` on."""
    row = x[first : first + width(registers)]
    bits = unpacked(words, word, registers)
    v[at : at + width(registers)] += np.where(bits, row, 0).astype(v.dtype)


@operation("aiaiair", _masked("sub"))
def subtract_masked(
    v: Array,
    at: int,
    x: Array,
    first: int,
    words: Array,
    word: int,
    registers: Registers,
) -> None:
    """Take x away from v in the lanes whose bits are set."""
    row = x[first : first + width(registers)]
    bits = unpacked(words, word, registers)
    v[at : at + width(registers)] -= np.where(bits, row, 0).astype(v.dtype)
