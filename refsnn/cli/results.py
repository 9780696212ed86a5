"""Results as files: JSON for machines, a page for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from refsnn import io
from refsnn.cli import common
from refsnn.datasets import Images
from refsnn.errors import OptionError
from refsnn.network import SpikingNetwork

PAGE, RESULT = "report.html", "result.json"
MARK = "<!-- refsnn report -->"


def need_json_target(target: str | None) -> None:
    """Refuse a result's file that cannot be written, before anything is computed.

    Parameters
    ----------
    target : str or None
        A file's path, ``-`` for standard output, or None for nothing. An existing file
        is replaced only if it is empty or such a result.
    """
    if target is None or target == "-":
        return
    path = Path(target)
    io.need_target(path, force=True)
    if path.is_file():
        try:
            old = json.loads(path.read_bytes() or b'{"format": "refsnn-"}')
            ours = old["format"].startswith("refsnn-")
        except (ValueError, TypeError, KeyError, AttributeError):
            ours = False
        if not ours:
            got = "a file that is no result of refsnn"
            raise OptionError(where=f"--json {target}", got=got, expected="a new name")


def need_report_folder(folder: Path | None) -> None:
    """Refuse a report's folder that cannot be written, before anything is computed.

    Parameters
    ----------
    folder : Path or None
        The folder; it is made when the report is written. A file ``report.html`` in it
        is replaced only if it is such a report.
    """
    if folder is None or not need_folder(folder):
        return
    page = folder / PAGE
    io.need_target(page, force=True)
    if page.is_file() and MARK not in page.read_text(errors="replace")[:200]:
        got = "a page that is no report of refsnn"
        raise OptionError(where=str(page), got=got, expected="another folder")
    need_json_target(str(folder / RESULT))


def need_folder(folder: Path) -> bool:
    """Refuse a folder that is none, or cannot be made or written to.

    Parameters
    ----------
    folder : Path
        The folder; with those above it it is made when something is written.

    Returns
    -------
    bool
        Whether it is there.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise OptionError(where=str(there), got="a file", expected="a folder")
    io.need_writable(there)
    return there == folder


def write_report(
    folder: Path | None,
    snn: SpikingNetwork,
    images: Images,
    result: dict[str, Any],
    steps: Sequence[int],
    **how: Any,
) -> None:
    """Write a result as a page and as JSON.

    Parameters
    ----------
    folder : Path or None
        The folder, or None for nothing.
    snn : SpikingNetwork
        The network that ran.
    images : Images
        What it ran on.
    result : dict
        The result.
    steps : sequence of int
        The T that tables show.
    **how
        How it ran, as in :func:`refsnn.run.run_snn`.
    """
    if folder is None:
        return
    from refsnn import report  # noqa: PLC0415 - matplotlib takes a second to import

    with common.progress("report"):
        seen = report.observe(snn, images, result["T"], **how)
        html = report.page(result, seen, list(steps))
    write_page(folder, html, result)


def write_page(folder: Path, html: str, result: dict[str, Any]) -> None:
    """Write a page, and as JSON what it shows.

    Parameters
    ----------
    folder : Path
        The folder; it is made.
    html, result : str and dict
        The page, and the result.
    """
    folder.mkdir(parents=True, exist_ok=True)
    io.write_atomically(folder / PAGE, html.encode())
    write_json(result, str(folder / RESULT))
    common.stderr.print(f"wrote {folder / PAGE}", markup=False)


def write_json(value: Any, target: str | None) -> None:
    """Write a result for machines.

    Parameters
    ----------
    value : object
        JSON values.
    target : str or None
        A file's path, ``-`` for standard output, or None for nothing.
    """
    if target is None:
        return
    text = json.dumps(value, indent=1, allow_nan=False) + "\n"
    if target == "-":
        sys.stdout.write(text)
    else:
        io.write_atomically(Path(target), text.encode())
