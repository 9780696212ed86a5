"""What the commands share: progress, tables, loading, converting."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from refsnn import datasets
from refsnn.cli import arguments
from refsnn.convert import convert, need_fit, needs_images, parse_options
from refsnn.datasets import Images
from refsnn.errors import OptionError, printable
from refsnn.fixed import Fixed
from refsnn.methods import options_of
from refsnn.network import Network, SpikingNetwork
from refsnn.run import need_steps

stdout = Console(highlight=False, soft_wrap=True, emoji=False)
stderr = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


def keep_sockets() -> None:
    """Let a connection that is lost be an error, not the end of the program.

    A program that ends quietly when a reader has enough (SIGPIPE) ends so too when
    the other side of a socket is gone.
    """
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)


def show(text: str) -> None:
    """Print a line; control characters, which a file may have put there, escaped.

    Parameters
    ----------
    text : str
        The line.
    """
    stdout.print(printable(text), markup=False)


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table, its first column to the left and the others to the right.

    Parameters
    ----------
    title : str
        What it shows.
    head : sequence of str
        Names of the columns.
    rows : sequence of sequences
        Integers are grouped in thousands. Texts, in title and head too, are escaped.
    """

    def plain(cell: object) -> str:
        return escape(f"{cell:,}" if isinstance(cell, int) else printable(cell))

    grid = Table(title=plain(title), title_justify="left", title_style="bold", box=None)
    for index, name in enumerate(head):
        grid.add_column(plain(name), justify="right" if index else "left", no_wrap=True)
    for row in rows:
        grid.add_row(*map(plain, row))
    # a narrower terminal wraps lines; no digit is cut
    wide = stdout.options.update(max_width=10_000)
    grid.width = Measurement.get(stdout, wide, grid).maximum
    stdout.print(grid, soft_wrap=False, crop=False, overflow="ignore")


def say_if_not_exact(snn: SpikingNetwork, mode: str, T: int) -> None:
    """Say on standard error if a certified network has too many steps to be exact.

    Parameters
    ----------
    snn : SpikingNetwork
        The network.
    mode : str
        The mode of the run.
    T : int
        Number of steps.
    """
    held = snn.certificate or {}
    certified = held.get("T", 0)
    if mode == "ordered" and snn.mode == "exact" and certified < T:
        stderr.print(
            f"not exact: the certificate is for T = {certified}, not {T}, so the run "
            "is in mode ordered (for more: refsnn convert --snap "
            f"{held['accumulator']} -T {T})",
            markup=False,
        )


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on standard error, if that is a terminal.

    Parameters
    ----------
    what : str
        The work.

    Yields
    ------
    callable
        To be told how much is done, and of how much.
    """
    if not stderr.is_terminal:
        yield lambda done, total: None  # noqa: ARG005 - nobody watches
        return
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=stderr,
        transient=True,
    )
    with bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def data_name(network: Network | SpikingNetwork, data: str | None) -> str:
    """Return the data set to use.

    Parameters
    ----------
    network : Network or SpikingNetwork
        The network, which may name its own.
    data : str or None
        The one asked for.

    Returns
    -------
    str
        Its name.
    """
    if data is not None:
        return data
    named = network.provenance.get("data")
    if not isinstance(named, str):
        raise OptionError(
            where=f"network {network.name}",
            got="no data set named in the file",
            expected=f"--data {' or '.join(datasets.DATASETS)}",
        )
    return named


def texts_of(pairs: list[str] | None) -> dict[str, str]:
    """Split the ``--set`` options.

    Parameters
    ----------
    pairs : list of str or None
        ``key=value`` texts.

    Returns
    -------
    dict of str to str
        Values by key.
    """
    texts: dict[str, str] = {}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not equals or key in texts:
            got = f"{pair!r}{' (a key given twice)' if equals else ''}"
            raise OptionError(
                where="--set", got=got, expected="key=value, each key once"
            )
        texts[key] = value
    return texts


def split_fixed(
    mode: arguments.Mode | None, method: str | None, pairs: list[str] | None
) -> tuple[Fixed | None, list[str]]:
    """Take the options of mode fixed out of the ``--set`` options.

    Parameters
    ----------
    mode : Mode or None
        The mode asked for.
    method : str or None
        The method asked for.
    pairs : list of str or None
        ``key=value`` texts.

    Returns
    -------
    fixed : Fixed or None
        The format, in mode fixed.
    rest : list of str
        The options of the method.
    """
    texts = texts_of(pairs)
    names = [f.name for f in dataclasses.fields(Fixed)]
    others = options_of(method) if method else []
    if mode is None or mode.value != "fixed":
        for key in texts:
            if key in names and key not in others:
                raise OptionError(
                    where=f"--set {key}",
                    got="an option of mode fixed",
                    expected="one of the method, or --mode fixed",
                )
        return None, list(pairs or [])
    for key in texts:
        if key not in (*names, *others):
            raise OptionError(
                where="--set in mode fixed",
                got=f"the option {key}",
                expected=f"one of {', '.join((*names, *others))}",
            )
    own = {name: texts.pop(name) for name in names if name in texts}
    bits = own.pop("accumulator", str(Fixed.accumulator))
    if not bits.isdecimal():
        raise OptionError(
            where="option accumulator of mode fixed", got=bits, expected="bits"
        )
    fixed = Fixed(accumulator=int(bits), **own)
    return fixed, [f"{key}={value}" for key, value in texts.items()]


def converted(
    ann: Network,
    method: str | None,
    T: int | None,
    pairs: list[str] | None,
    data: str | None,
    impl: str = "kernel",
    *,
    max_pool: bool = False,
    exact: bool = True,
    folder: Path | None = None,
) -> SpikingNetwork:
    """Convert a trained network as the options say.

    Parameters
    ----------
    ann : Network
        The trained network.
    method : str or None
        The method asked for.
    T : int or None
        The number of steps.
    pairs : list of str or None
        ``--set`` texts.
    data : str or None
        The data set asked for.
    impl : str
        ``kernel`` or ``definition``.
    max_pool : bool
        Whether ``--max-pool-on-spikes`` was given.
    exact : bool
        Whether to round to certified grids.
    folder : Path, optional
        Where trained weights are kept layer by layer, as in :func:`refsnn.convert`.

    Returns
    -------
    SpikingNetwork
        The network; its provenance names the data set that the method looked at, if
        that is not the one it was trained on.
    """
    if method is None:
        raise OptionError(
            where=f"trained network {ann.name}",
            got="no --method",
            expected="the conversion method (refsnn info lists those it allows)",
        )
    options = parse_options(method, texts_of(pairs))
    if T is not None:
        need_steps(T)
    need_fit(ann, method, options=options, max_pool_on_spikes=max_pool)
    images, more = None, {}
    if needs_images(method, options):
        name = data_name(ann, data)
        train = datasets.load(name, "train")
        images = train.images
        if name != ann.provenance.get("data"):  # the file says what it was made with
            more = {"calibration_data": name, "calibration_data_sha256": train.sha256}
    with progress("converting") as report:
        snn = convert(
            ann,
            method,
            T=T,
            images=images,
            options=options,
            max_pool_on_spikes=max_pool,
            exact=exact,
            impl=impl,
            progress=report,
            folder=folder,
        )
    return dataclasses.replace(snn, provenance={**snn.provenance, **more})


def spiking(
    network: Network | SpikingNetwork,
    method: str | None,
    T: int | None,
    pairs: list[str] | None,
    data: str | None,
    impl: str = "kernel",
    *,
    max_pool: bool,
) -> SpikingNetwork:
    """Return a converted network, or convert a trained one as the options say.

    Parameters
    ----------
    network : Network or SpikingNetwork
        The network.
    method : str or None
        The method asked for.
    T : int or None
        The number of steps.
    pairs : list of str or None
        ``--set`` texts.
    data : str or None
        The data set asked for.
    impl : str
        ``kernel`` or ``definition``.
    max_pool : bool
        Whether ``--max-pool-on-spikes`` was given.

    Returns
    -------
    SpikingNetwork
        The network.
    """
    if isinstance(network, Network):
        return converted(network, method, T, pairs, data, impl, max_pool=max_pool)
    if method is not None or pairs or max_pool:
        raise OptionError(
            where=f"network {network.name}",
            got="--method, --set or --max-pool-on-spikes",
            expected="none of them: it is converted already",
        )
    return network


def test_images(name: str, limit: int | None) -> Images:
    """Load the test split of a data set, or its first images.

    Parameters
    ----------
    name : str
        The data set.
    limit : int or None
        Number of images.

    Returns
    -------
    Images
        The images.
    """
    return datasets.load(name, "test").head(limit)
