"""Answers over images, which add up."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

LARGEST = {"sum": max}
"""Metadata of a field whose largest value is kept; it may be the same everywhere."""

FOLLOWING = {"sum": lambda mine, theirs: np.concatenate([mine, theirs], axis=-1)}
"""Metadata of a field of one column an image; the images of the other come behind."""


def added(mine: Any, theirs: Any) -> Any:
    """Add numbers, or what is made of them, number by number.

    Parameters
    ----------
    mine, theirs : number, ndarray, list, tuple, dict or dataclass
        Of one shape.

    Returns
    -------
    number, ndarray, list, tuple, dict or dataclass
        Of that shape.
    """
    kind: Any = type(mine)
    if isinstance(mine, dict):
        return {key: added(value, theirs[key]) for key, value in mine.items()}
    if isinstance(mine, (list, tuple)):
        return kind(added(*pair) for pair in zip(mine, theirs, strict=True))
    if dataclasses.is_dataclass(mine):
        return kind(
            **{
                f.name: f.metadata.get("sum", added)(
                    getattr(mine, f.name), getattr(theirs, f.name)
                )
                for f in dataclasses.fields(mine)
            }
        )
    return mine + theirs
