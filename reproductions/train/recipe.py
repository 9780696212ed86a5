"""Recipes of networks: TOML files, see README.md here."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any

from refsnn import architectures
from refsnn.errors import OptionError

CLASSES = {"cifar10": 10, "cifar100": 100}
"""Classes of each data set."""

FIELDS: dict[str, type] = {
    "architecture": str,
    "data": str,
    "activation": str,
    "epochs": int,
    "batch": int,
    "learning_rate": float,
    "weight_decay": float,
    "autoaugment": bool,
    "cutout": int,
    "seed": int,
}
"""What every recipe says, and in which type."""

CLIPPED: dict[str, dict[str, type]] = {
    "relu": {},
    "clip": {"lam": float},
    "qcfs": {"lam": float, "levels": int},
}
"""What it says besides, by its activation."""

AT_LEAST = {"epochs": 1, "batch": 1, "levels": 1, "cutout": 0, "seed": 0}
ABOVE_0 = ("learning_rate", "lam")
NOT_BELOW_0 = ("weight_decay",)
"""Which numbers of a recipe can be used."""

IMAGES = 50_000
"""Training images of either data set; a batch of more is none."""


LEAST_STEPS = 6
"""Of a training: its rate rises in a fifth of them, which has to be more than one."""


def _unusable(name: str, value: Any) -> str | None:
    """Say what a number should be, if it cannot be used."""
    if name in AT_LEAST and value < AT_LEAST[name]:
        return f"at least {AT_LEAST[name]}"
    if name == "batch" and value > IMAGES:
        return f"at most {IMAGES:,}, the training images"
    if name in ABOVE_0 and not 0 < value < math.inf:
        return "a number above 0"
    if name in NOT_BELOW_0 and not 0 <= value < math.inf:
        return "a number not below 0"
    return None


def read_recipe(path: Path) -> dict[str, Any]:
    """Read a recipe; refuse it with all that is wrong with it."""
    try:
        recipe = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise _refused(path, [str(error)]) from None
    fields = FIELDS | CLIPPED.get(str(recipe.get("activation")), {})
    choices = {
        "architecture": sorted(architectures.ARCHITECTURES),
        "data": sorted(CLASSES),
        "activation": sorted(CLIPPED),
    }
    wrong = [
        f"{name}: got {recipe.get(name)!r}, expected one of {', '.join(known)}"
        for name, known in choices.items()
        if recipe.get(name) not in known
    ]
    wrong += [f"{name}: unknown" for name in recipe if name not in fields]
    for name, kinds in fields.items():
        value = recipe.get(name)
        if name not in recipe:
            wrong.append(f"{name}: missing")
        elif type(value) is not kinds and (type(value), kinds) != (int, float):
            wrong.append(f"{name}: got {value!r}, expected {kinds.__name__}")
        elif expected := _unusable(name, value):
            wrong.append(f"{name}: got {value!r}, expected {expected}")
    if not wrong and recipe["epochs"] * (IMAGES // recipe["batch"]) < LEAST_STEPS:
        wrong.append(f"epochs, batch: got fewer than {LEAST_STEPS} steps in all")
    if wrong:
        raise _refused(path, wrong)
    return recipe


def _refused(path: Path, reasons: list[str]) -> OptionError:
    return OptionError(
        where=f"recipe {path}",
        got="; ".join(reasons),
        expected="a recipe as README.md beside the scripts describes it",
    )
