"""What every graph has to be: named, ordered, without cycles or loose ends."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from refsnn.errors import CycleError, DanglingError, GraphError

NAME = re.compile(r"(?!\.$)[A-Za-z0-9_.-]+")  # in HDF5 a lone "." is the group itself


def check_names(where: str, names: Sequence[str]) -> None:
    """Refuse an empty graph, and names that are malformed or stand twice.

    Parameters
    ----------
    where : str
        The graph, for the error.
    names : sequence of str
        Names in order.

    Raises
    ------
    GraphError
        At the first offence.
    """
    if not names:
        raise GraphError(where=where, got="no nodes", expected="at least one")
    seen: set[str] = set()
    for name in names:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            expected = "letters, digits, '_', '.' and '-', and not '.' alone"
            raise GraphError(where=where, got=f"the name {name!r}", expected=expected)
        if name in seen:
            got = f"two nodes named {name}"
            raise GraphError(where=where, got=got, expected="unique names")
        seen.add(name)


def check_order(
    where: str, edges: Mapping[str, Iterable[str]], *, known: Iterable[str]
) -> None:
    """Refuse dangling edges, cycles, and nodes listed before what they read.

    Parameters
    ----------
    where : str
        The graph, for the error.
    edges : mapping of str to iterable of str
        Sources of each node, nodes in the order of evaluation.
    known : iterable of str
        Sources that are no nodes.

    Raises
    ------
    GraphError
        Naming the edge or the cycle.
    """
    done = set(known)
    for name, sources in edges.items():
        for source in sources:
            if source in done:
                continue
            if source not in edges:
                raise DanglingError(
                    where=f"{where}, node {name}",
                    got=f"an input named {source}",
                    expected=f"one of {', '.join([*done, *edges])}",
                )
            cycle = _path(edges, source, name)
            if cycle:
                raise CycleError(
                    where=f"{where}, node {name}",
                    got=f"the cycle {' <- '.join([name, *cycle])}",
                    expected="a graph without cycles",
                )
            raise GraphError(
                where=f"{where}, node {name}",
                got=f"an input named {source}, which is listed later",
                expected="every node listed after its inputs",
            )
        done.add(name)


def _path(
    edges: Mapping[str, Iterable[str]], start: str, goal: str
) -> list[str] | None:
    """Return nodes from `start` along its inputs to `goal`, or None."""
    stack, seen = [[start]], {start}
    while stack:
        path = stack.pop()
        if path[-1] == goal:
            return path
        for source in edges.get(path[-1], ()):
            if source not in seen:
                seen.add(source)
                stack.append([*path, source])
    return None


def check_used(where: str, edges: Mapping[str, Iterable[str]], *, output: str) -> None:
    """Refuse a graph with nodes that nothing reads, the output apart.

    Parameters
    ----------
    where : str
        The graph, for the error.
    edges : mapping of str to iterable of str
        Sources of each node.
    output : str
        The node that nothing needs to read.

    Raises
    ------
    GraphError
        Naming the loose ends, or who reads the output.
    """
    read = {source for sources in edges.values() for source in sources}
    loose = [name for name in edges if name not in read and name != output]
    if loose or output in read:
        raise DanglingError(
            where=where,
            got=f"loose ends {', '.join(loose)}" if loose else f"readers of {output}",
            expected=f"every node but the last, {output}, to be read by a later one",
        )


def columns(rows: Sequence[Sequence[object]]) -> str:
    """Lay out rows as aligned text, numbers to the right.

    Parameters
    ----------
    rows : sequence of sequences
        The first is the head.

    Returns
    -------
    str
        One line a row.
    """
    table = [
        [f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row]
        for row in rows
    ]
    right = [
        any(isinstance(row[i], int) for row in rows[1:]) for i in range(len(rows[0]))
    ]
    widths = [max(len(row[i]) for row in table) for i in range(len(rows[0]))]
    lines = (
        "  ".join(
            cell.rjust(width) if flush else cell.ljust(width)
            for cell, width, flush in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in table
    )
    return "\n".join(lines)
