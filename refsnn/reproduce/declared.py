"""Declarations: which published table, by which network and method."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from refsnn.convert import parse_options
from refsnn.errors import OptionError
from refsnn.methods import METHODS

BOOLEANS = {str(value): str(value).lower() for value in (False, True)}
"""How a label writes a truth value, and how it is typed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One network, converted by one method, run on a whole test set.

    Attributes
    ----------
    network : str
        File name in ``weights/`` without its suffix.
    method : str
        Conversion method.
    steps : tuple of int
        Every T that is wanted.
    options : mapping
        The method's options that are not the defaults.
    rows : mapping of str to str
        Which published rows are its counterpart, by their columns; empty: none.
    note : str
        What is known of differences: other epochs, another L.
    errors : tuple of int
        The T whose error terms are kept, of the first images.
    propagation : tuple of int
        The T at which errors are followed to the loss, of the first images.
    """

    network: str
    method: str
    steps: tuple[int, ...]
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    rows: Mapping[str, str] = dataclasses.field(default_factory=dict)
    note: str = ""
    errors: tuple[int, ...] = ()
    propagation: tuple[int, ...] = ()

    @property
    def conversions(self) -> tuple[int, ...]:
        """The T of each conversion: all, if the method depends on T, else the last."""
        if METHODS[self.method].depends_on_T:
            return self.steps
        return (max(self.steps),)

    def identity(self, T: int) -> tuple[Any, ...]:
        """Say which run of a result a conversion is.

        Parameters
        ----------
        T : int
            Number of steps.

        Returns
        -------
        tuple
            Network, method, options, T.
        """
        return self.network, self.method, self.whole, T

    def among(self, T: int, only: Sequence[str]) -> bool:
        """Say whether a conversion is one of those that are asked for.

        Parameters
        ----------
        T : int
            Number of steps.
        only : sequence of str
            Patterns of NETWORK/METHOD/T with * for anything; none: all are.

        Returns
        -------
        bool
            Whether one of them matches.
        """
        name = f"{self.network}/{self.label}/{T}"
        return not only or any(fnmatchcase(name, pattern) for pattern in only)

    @property
    def settings(self) -> dict[str, Any]:
        """The method's options that are not the defaults, in their types."""
        texts = {key: str(value) for key, value in self.options.items()}
        typed = {key: BOOLEANS.get(text, text) for key, text in texts.items()}
        return parse_options(self.method, typed)

    @property
    def whole(self) -> dict[str, Any]:
        """All options of the method, as a converted network carries them."""
        return dataclasses.asdict(METHODS[self.method].options(**self.settings))

    @property
    def label(self) -> str:
        """The method and what is set."""
        options = ",".join(f"{k}={v}" for k, v in self.options.items())
        return f"{self.method}:{options}" if options else self.method


CALIBRATIONS = (
    "calib-none:samples=896",
    "calib-light",
    "calib-potential",
    "calib-advanced:iterations=500",
    "calib-none-code",
    "calib-light-code",
    "calib-potential-code",
    "calib-advanced-code:iterations=500",
)
"""Every variant of parameter calibration, as :func:`each` takes them.

``calib-none`` looks at as many images as ``calib-light``; weights are trained in a
tenth of the published iterations.
"""


def each(
    networks: Iterable[str],
    methods: Iterable[str],
    steps: tuple[int, ...],
    **more: Any,
) -> tuple[Run, ...]:
    """Declare a run of each network by each method.

    Parameters
    ----------
    networks : iterable of str
        File names in ``weights/`` without their suffix.
    methods : iterable of str
        Conversion methods, options behind them as in a run's label:
        ``calib-advanced:iterations=500``.
    steps : tuple of int
        Every T that is wanted.
    **more
        Further attributes of the runs.

    Returns
    -------
    tuple of Run
        Network by network.

    Raises
    ------
    OptionError
        If an option is unknown or cannot be read.
    """

    def run(network: str, label: str) -> Run:
        method, _, options = label.partition(":")
        pairs = [one.partition("=") for one in options.split(",") if one]
        typed = {key: BOOLEANS.get(value, value) for key, _, value in pairs}
        settings = parse_options(method, typed)
        return Run(
            network=network, method=method, options=settings, steps=steps, **more
        )

    return tuple(run(*pair) for pair in itertools.product(networks, methods))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Counted:
    """An architecture whose parameters, operations and neurons are counted.

    Attributes
    ----------
    arch : str
        A key of :data:`refsnn.architectures.ARCHITECTURES`.
    classes : int
        Number of classes.
    size : int
        Rows and columns of its images.
    T : int
        Steps that one generated image is run for; 0: it is counted only.
    """

    arch: str
    classes: int
    size: int
    T: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reproduction:
    """What a script reproduces.

    Attributes
    ----------
    title : str
        What it is about.
    data : str
        Name of the data set; its test split is run. Empty if nothing is.
    runs : tuple of Run
        What is run.
    counted : tuple of Counted
        Architectures that are counted.
    claims : tuple of str
        Claims that its runs decide, by their names in ``claims.csv``.
    images : int
        How many of the test images, the first ones; 0: all.
    targets : tuple of str
        What error terms are against, see :data:`refsnn.analysis.TARGETS`.
    """

    title: str
    data: str = ""
    runs: tuple[Run, ...] = ()
    counted: tuple[Counted, ...] = ()
    claims: tuple[str, ...] = ()
    images: int = 0
    targets: tuple[str, ...] = ("own",)

    def __post_init__(self) -> None:
        for run in self.runs:
            if run.method not in METHODS or not run.steps or min(run.steps) < 1:
                raise OptionError(
                    where=f"reproduction {self.title}",
                    got=f"method {run.method}, T = {run.steps}",
                    expected=f"one of {', '.join(METHODS)}, and steps from 1",
                )
            dataset = run.rows.get("dataset", "").replace("-", "").lower()
            if dataset not in {"", self.data.partition(":")[0]}:
                got, expected = run.rows["dataset"], f"rows of {self.data}"
                raise OptionError(where=self.title, got=got, expected=expected)

    def need_matches(self, only: Sequence[str]) -> None:
        """Refuse patterns that match no run.

        Parameters
        ----------
        only : sequence of str
            Patterns, as of :meth:`Run.among`.

        Raises
        ------
        OptionError
            If there is one.
        """
        every = [(run, T) for run in self.runs for T in run.conversions]
        for pattern in only:
            if any(run.among(T, (pattern,)) for run, T in every):
                continue
            names = {f"{run.network}/{run.label}": run.conversions for run, _ in every}
            known = [f"{name}/{'|'.join(map(str, T))}" for name, T in names.items()]
            raise OptionError(
                where=f"reproduction: {self.title}",
                got=f"--only {pattern}",
                expected=f"one of {', '.join(known) or 'none: it has no runs'}",
                do="A pattern is NETWORK/METHOD/T; * stands for anything.",
            )


def default_root() -> Path:
    """Return the folder of the reproductions.

    Returns
    -------
    Path
        ``reproductions`` in the current folder, beside the package's source, or as
        shipped with the package, whichever exists first.
    """
    package = Path(__file__).parents[1]
    candidates = (
        Path("reproductions"),
        package.parent / "reproductions",
        package / "reproductions",
    )
    for folder in candidates:
        if (folder / "published.csv").is_file():
            return folder
    return candidates[0]


def declared(root: Path) -> tuple[str, ...]:
    """Name the reproductions of a folder.

    Parameters
    ----------
    root : Path
        The folder.

    Returns
    -------
    tuple of str
        Scripts that declare a reproduction, in alphabetical order.
    """
    return tuple(
        sorted(
            path.stem
            for path in root.glob("*.py")
            if "\nREPRODUCTION = " in path.read_text()
        )
    )


def need_declared(root: Path) -> None:
    """Refuse a folder without declarations.

    Parameters
    ----------
    root : Path
        The folder.

    Raises
    ------
    OptionError
        If it is one.
    """
    if not declared(root):
        raise OptionError(
            where=str(root),
            got="no declaration there",
            expected="the folder of the reproductions",
            do="Give it by --root, or run from the suite's checkout.",
        )


def load_declaration(root: Path, name: str) -> Reproduction:
    """Read a declaration.

    Parameters
    ----------
    root : Path
        The folder.
    name : str
        The script's name without its suffix.

    Returns
    -------
    Reproduction
        Its ``REPRODUCTION``.

    Raises
    ------
    OptionError
        If there is no such script.
    """
    if name not in declared(root):
        known = ", ".join(declared(root)) or "none"
        raise OptionError(
            where=f"reproductions in {root}",
            got=name,
            expected=f"one of {known}",
            do=""
            if (root.parent / "pyproject.toml").is_file()
            else "The suite's checkout has the others: run it there, or give their "
            "folder (--root).",
        )
    spec = importlib.util.spec_from_file_location(f"_{name}", root / f"{name}.py")
    if spec is None or spec.loader is None:
        raise OptionError(where=name, got="no module", expected="a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Reproduction = module.REPRODUCTION
    return found


def main(script: str) -> None:
    """Run a script's reproduction as ``refsnn reproduce`` does.

    Parameters
    ----------
    script : str
        The script's ``__file__``; further arguments are those of the command line.
    """
    file = Path(script)
    command = [sys.executable, "-m", "refsnn", "reproduce", file.stem]
    command += ["--root", str(file.parent), *sys.argv[1:]]
    raise SystemExit(subprocess.call(command))  # noqa: S603 - this Python, this package
