"""The exception tree: each error says where, what was found, what was expected."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn


def printable(text: object) -> str:
    r"""Return `text` as one line that is safe to show on a terminal.

    Parameters
    ----------
    text : object
        Anything; its ``str`` is taken.

    Returns
    -------
    str
        The text with every control, format and line-breaking character escaped
        (``\x1b``, ``\n``, ``\u202e``), because names may come from a foreign file.
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in str(text)
    )


class RefsnnError(Exception):
    """Base of all errors that a user can cause and mend.

    Parameters
    ----------
    where : str
        The object at fault: a file path and HDF5 path, a node, a population.
    got : object
        What was found there.
    expected : str
        What would have been right.
    do : str, optional
        What the reader can do about it.
    rule : str, optional
        Identifier of the rule that was broken, such as ``RSN-H5-010``.

    Attributes
    ----------
    exit_code : int
        What the command line ends with (2: unusable input or arguments).
    """

    exit_code: ClassVar[int] = 2

    def __init__(
        self,
        *,
        where: str,
        got: object,
        expected: str,
        do: str = "",
        rule: str | None = None,
    ) -> None:
        self.where = printable(where)
        self.got = printable(got)
        self.expected = printable(expected)
        self.do = printable(do)
        self.rule = rule
        head = f"[{rule}] " if rule else ""
        tail = f". {self.do}" if self.do else ""
        text = f"{head}{self.where}: got {self.got}; expected {self.expected}{tail}"
        super().__init__(text)

    def __reduce__(self) -> tuple[Callable[..., RefsnnError], tuple[Any, ...]]:
        """Pass from one process to another as what it is."""
        parts = ("where", "got", "expected", "do", "rule")
        told = {part: getattr(self, part) for part in parts}
        return _again, (type(self), told)


def _again(kind: type[RefsnnError], told: dict[str, Any]) -> RefsnnError:
    """Make an error that another process has told of."""
    return kind(**told)


class DomainError(RefsnnError, ValueError):
    """A value outside the domain of the quantity it stands for."""


class ShapeError(RefsnnError, ValueError):
    """An array or a layer whose shape does not fit."""


class GraphError(RefsnnError, ValueError):
    """A graph that is not a directed acyclic graph with one input and one output."""


class DanglingError(GraphError):
    """An edge from a node that does not exist, or a node that nothing reads."""


class CycleError(GraphError):
    """An edge that closes a cycle."""


class NumericalError(RefsnnError, ArithmeticError):
    """A NaN or an infinity, reported where it was born."""


class AccumulatorError(RefsnnError, ArithmeticError):
    """A potential that does not fit the accumulator that was asked for."""

    exit_code = 1


class ConversionError(RefsnnError, ValueError):
    """A trained network that a conversion method cannot take."""


class FormatError(RefsnnError, ValueError):
    """A file that is not what its format says; carries a rule id."""


class DataError(RefsnnError, ValueError):
    """A data set or a split that is missing or not usable."""


class OptionError(RefsnnError, ValueError):
    """A method, an option or an argument that does not exist or does not fit."""


def answering(program: Callable[[], int | None]) -> NoReturn:
    """Run a script, and end it: with 2 and a line where its input is at fault.

    Parameters
    ----------
    program : callable
        The script; returns its exit code, None for 0.
    """
    try:
        sys.exit(program())
    except (RefsnnError, OSError) as error:
        sys.stderr.write(f"error: {printable(error)}\n")
        sys.exit(getattr(error, "exit_code", RefsnnError.exit_code))


def need_least(least: int, **values: int) -> None:
    """Refuse options that are too small.

    Parameters
    ----------
    least : int
        The least that each may be.
    **values : int
        Options by name.

    Raises
    ------
    OptionError
        If one is smaller.
    """
    for name, value in values.items():
        if value < least:
            raise OptionError(where=name, got=value, expected=f"at least {least}")
