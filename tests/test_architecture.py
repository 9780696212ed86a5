"""Level 0: the shape of the code."""

from __future__ import annotations

import ast
import inspect
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import refsnn

PACKAGE = Path(refsnn.__file__).parent
ROOT = Path(__file__).parents[1]
MODULES = [
    info.name for info in pkgutil.walk_packages(refsnn.__path__, prefix="refsnn.")
]


def test_imports_point_down() -> None:
    """The contracts of pyproject.toml, on the installed package."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


def test_the_contract_breaks_when_an_import_points_up(tmp_path: Path) -> None:
    """A check that cannot fail proves nothing: turn two layers round."""
    text = (ROOT / "pyproject.toml").read_text()
    assert text.count('  "numerics",\n  "errors",\n') == 1
    turned = text.replace(
        '  "numerics",\n  "errors",\n', '  "errors",\n  "numerics",\n'
    )
    config = tmp_path / "pyproject.toml"
    config.write_text(turned)
    done = subprocess.run(
        [
            Path(sys.executable).with_name("lint-imports"),
            "--no-cache",
            "--config",
            config,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "refsnn.numerics is not allowed to import refsnn.errors" in done.stdout


def test_every_module_has_a_place_in_the_contract() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (contract,) = [
        c for c in config["tool"]["importlinter"]["contracts"] if c["type"] == "layers"
    ]
    placed = set(re.findall(r"\w+", " ".join(contract["layers"])))
    assert placed == {name.split(".")[1] for name in MODULES} - {"weights"}


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        (
            "import refsnn",
            "numba llvmlite pandas matplotlib typer rich scipy h5py torch",
        ),
        (
            "import refsnn.convert, refsnn.evaluate, refsnn.io",
            "numba llvmlite pandas matplotlib typer rich torch",
        ),
        ("import refsnn.cli", "pandas matplotlib torch"),
    ],
)
def test_importing_loads_no_more_than_it_needs(statement: str, absent: str) -> None:
    script = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert not loaded & set(absent.split())


def test_every_kernel_is_compiled_exactly() -> None:
    from refsnn.kernels import pairs

    compiled = [
        value
        for module in MODULES
        if module.startswith("refsnn.kernels.")
        for value in vars(import_module(module)).values()
        if hasattr(value, "targetoptions")
    ]
    assert compiled
    for kernel in compiled:
        assert kernel.targetoptions["fastmath"] is False
        assert kernel.targetoptions["error_model"] == "numpy"
        assert kernel.targetoptions["nogil"] is True
    sources = [path.read_text() for path in (PACKAGE / "kernels").glob("*.py")]
    calls = sum(source.count("njit(") for source in sources)
    assert calls == inspect.getsource(pairs.exact).count("njit(") == 1


EXTRAS = {
    "refsnn.exchange.torch_": "torch",
    "refsnn.conformance.adapters.torch": "torch",
    "refsnn.conformance.adapters.snntorch": "snntorch",
    "refsnn.conformance.adapters.spikingjelly": "spikingjelly",
    "refsnn.conformance.plugin": "pytest",
}
"""What needs an extra: beginnings of modules, and what they import."""


def public() -> Iterator[tuple[str, Callable, type | None]]:
    """Every public function and method, with the class that it belongs to."""
    for name in MODULES:
        needed = [extra for module, extra in EXTRAS.items() if name.startswith(module)]
        if not all(map(find_spec, needed)):
            continue  # .ci/run runs this file with PyTorch too
        module = import_module(name)
        for member, value in vars(module).items():
            home = getattr(value, "__module__", None)
            if member.startswith("_") or home != name:
                continue
            if inspect.isfunction(value):
                yield f"{name}.{member}", value, None
            elif inspect.isclass(value):
                for method, body in vars(value).items():
                    body = getattr(body, "__func__", body)  # noqa: PLW2901 - unwrap
                    if inspect.isfunction(body) and not method.startswith("_"):
                        yield f"{name}.{member}.{method}", body, value


def sections(doc: str) -> dict[str, list[str]]:
    """Split a numpydoc docstring into its sections."""
    parts: dict[str, list[str]] = {"": []}
    lines, current = inspect.cleandoc(doc).splitlines(), ""
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if below and set(below) == {"-"} and len(below) == len(line):
            current = line
            parts[current] = []
        elif not (line and set(line) == {"-"}):
            parts[current].append(line)
    return parts


PUBLIC = {name: (function, cls) for name, function, cls in public()}


@pytest.mark.parametrize("name", PUBLIC)
def test_docstrings_match_signatures(name: str) -> None:
    function, cls = PUBLIC[name]
    doc = function.__doc__
    if doc is None:
        bases = [
            vars(base).get(function.__name__) for base in (cls.__mro__ if cls else ())
        ]
        assert any(getattr(base, "__doc__", None) for base in bases), "no docstring"
        return
    if name.startswith("refsnn.cli."):
        annotated = inspect.getsource(function)
        if "typer." in annotated or "arguments." in annotated.split(") ->")[0]:
            return  # a command: its options document themselves on the command line
    parts = sections(doc)
    documented = [
        part.lstrip("*")
        for line in parts.get("Parameters", [])
        if line and not line.startswith(" ")
        for part in line.split(" : ")[0].split(", ")
    ]
    names = [p for p in inspect.signature(function).parameters if p != "self"]
    assert documented == names
    returns = inspect.signature(function).return_annotation
    if returns in (None, "None", "NoReturn") or "Iterator" in str(returns):
        assert "Returns" not in parts
    else:
        assert "Returns" in parts


def test_no_module_is_too_long() -> None:
    lengths = {
        path: len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")
    }
    assert max(lengths.values()) <= 500, max(lengths, key=lengths.__getitem__)


def test_functions_fit_on_a_screen() -> None:
    """At most 40 lines of code; docstring, signature and blank lines apart."""
    too_long = []
    for path in PACKAGE.rglob("*.py"):
        if "weights" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                if body:
                    size = body[-1].end_lineno - body[0].lineno + 1
                    if size > 40:
                        too_long.append(f"{path.relative_to(PACKAGE)}:{node.name}")
    assert sorted(too_long) == [
        "cli/run.py:run",  # a command: declarations, then one call after another
        "convert.py:convert",  # checks of five arguments, then the pipeline
    ]
