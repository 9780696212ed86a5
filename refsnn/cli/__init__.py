"""The command line: one module a command, parsing and printing only."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import refsnn
from refsnn.cli.convert import convert
from refsnn.cli.demo import demo
from refsnn.cli.info import info
from refsnn.cli.run import run
from refsnn.errors import RefsnnError, printable

INTERNAL_ERROR = 70
UNUSABLE = 2

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"refsnn {refsnn.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show version."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks; may stand anywhere.")
    ] = False,
) -> None:
    """Reference implementation of ANN-to-SNN conversion.

    Exit codes: 0 done, 1 a check failed, 2 unusable input or arguments, 70 internal
    error.
    """


for command in (demo, info, convert, run):
    app.command()(command)


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command; always ends with SystemExit.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; those of the process by default.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    arguments = [argument for argument in given if argument != "--debug"]
    debug = len(arguments) < len(given)
    try:
        app(args=arguments, prog_name="refsnn")
    except Exception as error:
        if debug:
            raise
        code = _report(error)
    sys.exit(code)


def _report(error: Exception) -> int:
    """Print an error as one line; return the exit code."""
    if isinstance(error, (RefsnnError, OSError)):
        print(f"refsnn: error: {printable(error)}", file=sys.stderr)
        return getattr(error, "exit_code", UNUSABLE)
    name = type(error).__name__
    print(
        f"refsnn: internal error: {name}: {printable(error)} "
        "(run again with --debug for the traceback)",
        file=sys.stderr,
    )
    return INTERNAL_ERROR
