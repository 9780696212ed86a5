"""The command line: one module a command, parsing and printing only."""

from __future__ import annotations

import io
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer

import refsnn
from refsnn.cli import conform as conformance
from refsnn.cli import data
from refsnn.cli.certify import certify
from refsnn.cli.compare import compare
from refsnn.cli.convert import convert
from refsnn.cli.demo import demo
from refsnn.cli.doctor import doctor
from refsnn.cli.errors import errors
from refsnn.cli.import_ import import_
from refsnn.cli.info import info
from refsnn.cli.margin import margin
from refsnn.cli.methods import methods
from refsnn.cli.reproduce import reproduce
from refsnn.cli.run import run
from refsnn.cli.trace import trace
from refsnn.errors import RefsnnError, printable

INTERNAL_ERROR = 70
UNUSABLE = 2

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
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


for command in (
    demo,
    methods,
    info,
    convert,
    run,
    certify,
    trace,
    compare,
    conformance.conform,
    reproduce,
    margin,
    errors,
    doctor,
):
    app.command()(command)
app.command("import")(import_)
app.add_typer(data.app, name="data")
app.add_typer(conformance.app, name="vectors")


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command; always ends with SystemExit.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; those of the process by default.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    arguments = [argument for argument in given if argument != "--debug"]
    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = _warn
        try:
            app(args=arguments, prog_name="refsnn")
        except Exception as error:  # noqa: BLE001 - the door to the user
            if len(arguments) < len(given):
                traceback.print_exc()
            code = _report(error)
    sys.exit(code)


def entry() -> None:
    """Be the program ``refsnn``: :func:`main` in a process of its own."""
    if hasattr(signal, "SIGPIPE"):  # end like other programs when a reader has enough
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    main()


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    """Show a warning as one line on standard error."""
    print(f"refsnn: warning: {printable(message)}", file=sys.stderr)


def _report(error: Exception) -> int:
    """Print an error as one line; return the exit code."""
    if isinstance(error, (RefsnnError, OSError)):
        print(f"refsnn: error: {printable(error)}", file=sys.stderr)
        return getattr(error, "exit_code", UNUSABLE)
    if isinstance(error, MemoryError):
        print(
            f"refsnn: error: {printable(error)} (try a smaller -T or --batch)",
            file=sys.stderr,
        )
        return UNUSABLE
    name = type(error).__name__
    print(
        f"refsnn: internal error: {name}: {printable(error)} "
        "(run again with --debug for the traceback)",
        file=sys.stderr,
    )
    return INTERNAL_ERROR
