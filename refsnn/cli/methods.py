"""``refsnn methods``: what each method does, where it is from, what it can be told."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Annotated, Any

import typer

from refsnn.cli import arguments, common, results
from refsnn.convert import method_named
from refsnn.methods import METHODS, Method

ENTRY = re.compile(r"^(\w+) : .+\n((?:    .+\n?)+)", re.MULTILINE)
"""A field in the section Attributes of a docstring, and what is said of it."""


def methods(
    name: Annotated[
        str | None, typer.Argument(help="One method: its source and its options.")
    ] = None,
    json: arguments.JsonOption = None,
) -> None:
    """List the conversion methods, or say everything about one."""
    results.need_json_target(json)
    chosen = METHODS if name is None else {name: method_named(name)}
    found = {one: _about(method) for one, method in chosen.items()}
    answer = {"format": "refsnn-methods", "version": 1, "methods": found}
    results.write_json(answer, json)
    if json == "-":
        return
    for one, about in found.items():
        keys = [f"{key}={field['default']}" for key, field in about["options"].items()]
        label = ", a reconstruction" if about["reconstruction"] else ""
        common.show(f"{one}{label}: {about['summary']}")
        if name:
            _show_all(about)
        elif keys:
            common.show(f"    --set {' '.join(keys)}")
    if not name:
        common.show("")
        common.show("refsnn methods NAME: sources, and what the options mean")


def _about(method: Method) -> dict[str, Any]:
    return {
        "summary": method.summary,
        "citation": method.citation,
        "reconstruction": method.reconstruction,
        "activations": [kind.op for kind in method.activations],
        "depends_on_T": method.depends_on_T,
        "options": _options(method.options),
    }


def _options(kind: type) -> dict[str, dict[str, Any]]:
    """Read names, defaults and meanings of options from their classes."""
    meanings: dict[str, str] = {}
    for one in reversed(kind.__mro__[:-1]):
        for name, text in ENTRY.findall(inspect.cleandoc(one.__doc__ or "") + "\n"):
            plain = re.sub(r":\w+:`([^`]+)`", r"\1", text).replace("``", "")
            meanings[name] = " ".join(plain.split())
    fields = dataclasses.fields(kind)
    return {f.name: {"default": f.default, "meaning": meanings[f.name]} for f in fields}


def _show_all(about: dict[str, Any]) -> None:
    common.show(f"source: {about['citation']}")
    if about["reconstruction"]:
        common.show(f"reconstructed: {about['reconstruction']}")
    kinds = ", ".join(about["activations"]) or "any"
    common.show(f"activations of the trained network: {kinds}")
    if about["depends_on_T"]:
        common.show("converted for one T: needs --steps")
    for key, field in about["options"].items():
        common.show(f"--set {key}={field['default']}")
        common.show(f"    {field['meaning']}")
