"""Running an adapter on the vectors and saying what it got wrong."""

from __future__ import annotations

import dataclasses
import importlib
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from refsnn.compare import Explanation, First, compare, explain
from refsnn.conformance.arrays import network_arrays
from refsnn.conformance.base import Vector
from refsnn.conformance.networks import names, vector
from refsnn.conformance.stored import stored
from refsnn.errors import DataError, OptionError, RefsnnError, printable
from refsnn.exchange.recordings import as_array, recording
from refsnn.margin import ROUNDOFF
from refsnn.network import SpikingNetwork
from refsnn.numerics import Array, Shape
from refsnn.run import merge
from refsnn.trace import Trace

OURS = Path(__file__).parents[1]
"""The package: what is raised outside of it is the adapter's."""

NO_BINARY32 = "the probe failed: this is no binary32 addition"
"""Why the other vectors are not run."""

STATUSES = ("passed", "failed", "skipped", "expected failure", "unexpected pass")


class Adapter(Protocol):
    """What an adapter has; it is made without arguments."""

    capabilities: Mapping[str, Any]

    def load(self, network: dict[str, Any]) -> None:
        """Take a network as plain arrays.

        Parameters
        ----------
        network : dict
            What :func:`refsnn.conformance.network_arrays` returns.
        """

    def reset(self, batch: int) -> None:
        """Start anew.

        Parameters
        ----------
        batch : int
            Number of samples, B.
        """

    def step(self, currents: Mapping[str, Array]) -> Mapping[str, Any]:
        """Advance every population by one step.

        Parameters
        ----------
        currents : mapping of str to ndarray, shape (B, *S)
            The current of each population that the image feeds; the same every step.

        Returns
        -------
        mapping of str to array_like, shape (B, *S)
            Spikes of each population, and the current of the readout.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """What an adapter got on one vector.

    Attributes
    ----------
    name, about : str
        The vector, and what it brings out.
    status : str
        One of :data:`STATUSES`.
    reason : str
        Why it was skipped or expected to fail, or the error it ended with.
    run : str
        Which of the three runs differs first: the first, the same ``again`` behind a
        reset, or the first sample ``alone``.
    differing : int
        Differing spikes in that run.
    first : First or None
        The first of them.
    explanation : Explanation or None
        What explains them, and all else that would.
    """

    name: str
    about: str
    status: str
    reason: str = ""
    run: str = ""
    differing: int = 0
    first: First | None = None
    explanation: Explanation | None = None


def find_adapter(target: str) -> Callable[[], Adapter]:
    """Import an adapter.

    Parameters
    ----------
    target : str
        ``package.module:Class``.

    Returns
    -------
    callable
        The class.

    Raises
    ------
    OptionError
        If there is none of that name, or it lacks what an adapter has.
    """
    where = f"adapter {target}"
    module, _, name = target.partition(":")
    if not (module and name):
        expected = "package.module:Class, on the path of Python's imports"
        raise OptionError(where="adapter", got=target or "no name", expected=expected)
    try:
        found: Any = getattr(importlib.import_module(module), name)
    except Exception as error:  # noqa: BLE001 - whatever an adapter's module may raise
        raise OptionError(
            where=where,
            got=_said(error),
            expected="package.module:Class, on the path of Python's imports",
            do=_installed(error, module),
        ) from None
    parts = ("capabilities", "load", "reset", "step")
    lacking = [part for part in parts if not hasattr(found, part)]
    if lacking:
        raise OptionError(
            where=where,
            got=f"a class without {', '.join(lacking)}",
            expected="capabilities, load(network), reset(batch) and step(currents)",
        )
    can = found.capabilities
    if not (
        isinstance(can, Mapping)
        and isinstance(can.get("expected_failures", {}), Mapping)
        and isinstance(can.get("neurons", ()), tuple | list | set | frozenset)
    ):
        expected = "a dictionary; of it neurons a tuple, expected_failures a dictionary"
        raise OptionError(
            where=f"{where}, capabilities", got=repr(can), expected=expected
        )
    adapter: Callable[[], Adapter] = found
    return adapter


def conform(adapter: Callable[[], Adapter], *, quick: bool = False) -> Iterator[Score]:
    """Judge an adapter on every vector.

    Parameters
    ----------
    adapter : callable
        Makes an adapter.
    quick : bool
        Whether only the small networks are run.

    Yields
    ------
    Score
        One for each vector, the probe first. If it fails that for no known convention,
        it does not add binary32 numbers: the other vectors are skipped, for they would
        say nothing of it.
    """
    judged = True
    for name in names(quick=quick):
        if not judged:
            about = vector(name).about
            yield Score(name=name, about=about, status="skipped", reason=NO_BINARY32)
            continue
        score = judge(adapter, vector(name))
        judged = judged and not (name == "probe" and is_rounding(score))
        yield score


def is_rounding(score: Score) -> bool:
    """Say whether an adapter failed the probe by its arithmetic.

    Parameters
    ----------
    score : Score
        Its score on the probe.

    Returns
    -------
    bool
        Whether spikes differ, and no convention explains it.
    """
    why = score.explanation
    return bool(score.differing) and (why is None or why.verdict == "unexplained")


def judge(adapter: Callable[[], Adapter], v: Vector) -> Score:
    """Judge an adapter on one vector.

    Parameters
    ----------
    adapter : callable
        Makes an adapter.
    v : Vector
        The vector.

    Returns
    -------
    Score
        The score.
    """
    score = Score(name=v.name, about=v.about, status="passed")
    try:
        made = adapter()
    except Exception as error:
        got = _said(error)
        expected = "an adapter, made without arguments"
        raise OptionError(where="adapter", got=got, expected=expected) from error
    lacking = sorted(need for need in v.needs if not _has(made.capabilities, need))
    if lacking:
        reason = f"no {', '.join(lacking)}"
        return dataclasses.replace(score, status="skipped", reason=reason)
    expected = made.capabilities.get("expected_failures", {}).get(v.name, "")
    score = _run(made, v, score)
    if expected and score.status == "failed":
        return dataclasses.replace(score, status="expected failure", reason=expected)
    if expected:
        return dataclasses.replace(score, status="unexpected pass", reason=expected)
    return score


def _said(error: Exception, made: object = None) -> str:
    """Say what an adapter raised, and where in its own file, if that is known."""
    frames = traceback.extract_tb(error.__traceback__)
    own = getattr(sys.modules.get(type(made).__module__), "__file__", None)
    theirs = [
        f
        for f in frames
        if (f.filename == own if own and made else not _is_ours(f.filename))
    ]
    where = f" ({theirs[-1].filename}:{theirs[-1].lineno})" if theirs else ""
    return f"{type(error).__name__}: {printable(error)}{where}"


def _is_ours(file: str) -> bool:
    """Say whether a file is refsnn's or of Python's way of importing."""
    folders = OURS, Path(importlib.__file__).parent
    return file.startswith("<") or any(map(Path(file).is_relative_to, folders))


def _installed(error: Exception, module: str) -> str:
    """Say what to install where an adapter's own imports lack something."""
    lacks = error.name if isinstance(error, ModuleNotFoundError) else None
    if not lacks or f"{module}.".startswith(f"{lacks}."):
        return ""
    extra = " (pip install 'refsnn[torch]')" if lacks == "torch" else ""
    return f"Install {lacks}{extra}, which the adapter imports."


def _misshapen(want: Trace, found: Mapping[str, Shape]) -> str:
    """Say which arrays have which shapes in place of which."""
    return "; ".join(
        f"{name} has the shape {shape} in place of "
        f"{want.populations[name].spikes.shape}"
        for name, shape in found.items()
    )


def _has(capabilities: Mapping[str, Any], need: str) -> bool:
    """Say whether an adapter can what a vector needs; what it is silent of, it can."""
    if need == "DualThresholdIF":
        return need in capabilities.get("neurons", ("IF",))
    return bool(capabilities.get(need, True))


def _run(made: Adapter, v: Vector, score: Score) -> Score:
    """Run a vector three times; find the first run that differs."""
    golden = stored(v)
    alone = golden.of(np.array([0]))
    loaded: Trace | None = None
    for run, want in {"": golden, "again": golden, "alone": alone}.items():
        try:
            if want is not loaded:
                made.load(network_arrays(v.snn, masks=want.masks, units=v.units))
                loaded = want
            got, readout = play(made, v.snn, want, v.units)
            found = compare(want, got)
        except RefsnnError as error:
            return dataclasses.replace(
                score, status="failed", run=run, reason=str(error)
            )
        except Exception as error:  # noqa: BLE001 - whatever an adapter may raise
            return dataclasses.replace(
                score, status="failed", run=run, reason=_said(error, made)
            )
        if not found.identical:
            return dataclasses.replace(
                score,
                status="failed",
                run=run,
                differing=found.differing,
                first=found.first,
                explanation=explain(want, got, v.snn, again=bool(run), every=True),
                reason=_misshapen(want, found.misshapen),
            )
        if (np.abs(readout - want.readout) > readout_bound(v, want)).any():
            reason = "spikes agree, the readout's sums do not"
            return dataclasses.replace(score, status="failed", run=run, reason=reason)
    return score


def play(
    made: Adapter,
    snn: SpikingNetwork,
    golden: Trace,
    units: Mapping[str, Array] | None = None,
) -> tuple[dict[str, Array], Array]:
    """Drive an adapter through the steps of a trace, on the trace's currents.

    Parameters
    ----------
    made : Adapter
        The adapter, the network loaded (:func:`network_arrays`).
    snn : SpikingNetwork
        The network.
    golden : Trace
        Its trace, which has the currents of the populations that the image feeds.
    units : mapping of str to ndarray, shape (C,), optional
        The units that the network was laid out in.

    Returns
    -------
    spikes : dict of str to ndarray of int8, shape (T, B, *S)
        By population.
    readout : ndarray of float64, shape (T, B, classes)
        Sums of the readout's currents up to every step.

    Raises
    ------
    DataError
        If a step returns nothing of a population, or no spikes.
    """
    currents = {
        name: recorded.input_current * _unit(units or {}, name, recorded.input_current)
        for name, recorded in golden.populations.items()
        if recorded.input_current is not None
    }
    made.reset(len(golden.samples))
    parts: dict[str, list[Array]] = {p.name: [] for p in snn.populations}
    for _ in range(golden.T):
        out = made.step(currents)
        absent = [name for name in parts if name not in out]
        if absent:
            raise DataError(
                where="step",
                got=f"nothing of {', '.join(absent)}",
                expected="spikes of every population, and the readout's current",
            )
        for name, steps in parts.items():
            steps.append(np.array(as_array(out[name])))
    currents_out = np.stack(parts.pop(snn.readout.name)).astype(np.float64)
    want = golden.readout.shape
    if currents_out.shape != want or not np.isfinite(currents_out).all():
        raise DataError(
            where=f"the readout {snn.readout.name}",
            got=f"shape {currents_out.shape[1:]}, numbers that "
            f"{'are' if np.isfinite(currents_out).all() else 'are not all'} finite",
            expected=f"finite numbers of shape {want[1:]} at every step",
        )
    return recording(parts), currents_out.cumsum(axis=0)


def readout_bound(v: Vector, golden: Trace) -> Array:
    """Bound what binary32 may do to a readout's sums.

    Parameters
    ----------
    v : Vector
        The vector.
    golden : Trace
        Its trace.

    Returns
    -------
    ndarray of float64, shape (T, B, classes)
        0 where the sums are exact in binary32; otherwise n u / (1 - n u) times the sum
        of the sizes of the terms, n their number and one rounding of each weight.
    """
    p = v.snn.readout
    (q,) = p.projections
    shape = golden.readout.shape
    if v.exact_readout:
        return np.zeros(shape)
    counts = np.abs(golden.populations[q.source].spikes).astype(np.float64).cumsum(0)
    op = dataclasses.replace(q.op, weight=np.abs(q.op.weight))
    size = op(q.pooled(merge(counts))).reshape(shape)
    if p.bias is not None:
        t = np.arange(1, golden.T + 1)[:, None, None]
        size = size + t * np.abs(p.over("bias"))
    n = (q.op.weight[0].size + 3) * ROUNDOFF
    return np.asarray(n / (1 - n) * size)


def _unit(units: Mapping[str, Array], name: str, like: Array) -> Array:
    """Return what a population's currents are multiplied by."""
    unit = units.get(name)
    return np.array(1.0) if unit is None else unit.reshape(-1, *[1] * (like.ndim - 2))
