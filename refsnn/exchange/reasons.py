"""Why a model has no counterpart, layer by layer."""

from __future__ import annotations

from refsnn.errors import ConversionError


class Reason(Exception):  # noqa: N818 - one line of a list, not an error of its own
    """Why a layer has no counterpart."""


def need(ok: bool, why: str) -> None:
    """Give a reason unless a condition holds.

    Parameters
    ----------
    ok : bool
        The condition.
    why : str
        What stands in the way.

    Raises
    ------
    Reason
        Unless `ok`.
    """
    if not ok:
        raise Reason(why)


def refuse(where: str, reasons: list[str]) -> None:
    """Refuse a model if there are reasons.

    Parameters
    ----------
    where : str
        The model.
    reasons : list of str
        One for each layer that cannot be taken over.

    Raises
    ------
    ConversionError
        With all of them, unless there are none.
    """
    if reasons:
        raise ConversionError(
            where=where,
            got=f"{len(reasons)} layers without a counterpart: {'; '.join(reasons)}",
            expected="layers of refsnn.network.OPS only",
        )
