"""Recipes of networks: TOML files, see README.md here."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

from refsnn import architectures

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


def read_recipe(path: Path) -> dict[str, Any]:
    """Read a recipe; leave with what is wrong with it."""
    try:
        recipe = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        sys.exit(f"recipe {path}: {error}")
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
    if wrong:
        sys.exit("\n  ".join([f"recipe {path}:", *wrong]))
    return recipe
