"""Why a model has no counterpart, layer by layer."""

from __future__ import annotations

import re
from collections.abc import Collection

from refsnn.errors import ConversionError
from refsnn.network import OPS

REMEDIES: dict[str, str] = {
    r"gelu|silu|swish|leakyrelu|prelu|rrelu|elu|selu|celu|glu|mish|hardswish"
    r"|(hard|log)?sigmoid|tanh|softplus|softsign": "Another activation: train with "
    "ReLU or a clip in its place.",
    r"(log)?softmax": "A final softmax: leave it out, the largest logit is the same.",
    r"rescaling|normalization": "A normalisation of the image: leave it out, and give "
    "it as mean and std.",
    r"((group|layer|instance|rms)norm(alization)?|localresponsenorm)([123]d)?": (
        "Another normalisation: train with batch normalisation in its place."
    ),
}
"""What to do about layers, by patterns of their names."""


class Reason(Exception):  # noqa: N818 - one line of a list, not an error of its own
    """Why a layer has no counterpart.

    Parameters
    ----------
    why : str
        What stands in the way.
    kind : str
        The layer's class or function, if that is what stands in the way.
    """

    def __init__(self, why: str, kind: str = "") -> None:
        super().__init__(why)
        self.kind = kind


def need(ok: bool, why: str, kind: str = "") -> None:
    """Give a reason unless a condition holds.

    Parameters
    ----------
    ok : bool
        The condition.
    why : str
        What stands in the way.
    kind : str
        The layer's class or function, if that is what stands in the way.

    Raises
    ------
    Reason
        Unless `ok`.
    """
    if not ok:
        raise Reason(why, kind)


def refuse(
    where: str, reasons: list[str], kinds: Collection[str] = (), do: str = ""
) -> None:
    """Refuse a model if there are reasons.

    Parameters
    ----------
    where : str
        The model.
    reasons : list of str
        One for each layer that cannot be taken over.
    kinds : collection of str
        Classes and functions that are out of scope; for some there is a remedy.
    do : str
        What else can be done.

    Raises
    ------
    ConversionError
        With all of them, unless there are none.
    """
    if reasons:
        plain = {kind.lower().replace("_", "") for kind in kinds}
        remedies = [
            remedy
            for pattern, remedy in REMEDIES.items()
            if any(re.fullmatch(pattern, kind) for kind in plain)
        ]
        raise ConversionError(
            where=where,
            got=f"{len(reasons)} layers without a counterpart: {'; '.join(reasons)}",
            expected=f"layers that are {', '.join(OPS)} only",
            do=" ".join([do, *remedies]).strip(),
        )
