"""Accuracy, spikes and operations over a data set, as integers that add up."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from typing import Any, TypeVar

import numpy as np

from refsnn.accounting import energies
from refsnn.arithmetic import Arithmetic, resolve, rounding
from refsnn.calibrate import Progress
from refsnn.datasets import Images
from refsnn.engine.served import ordinary
from refsnn.environment import versions
from refsnn.errors import OptionError, need_least
from refsnn.fixed import Fixed
from refsnn.network import Network, SpikingNetwork
from refsnn.numerics import Array
from refsnn.run import SpikingRun, processors, run_ann, run_snn
from refsnn.sums import FOLLOWING, added

BATCH = 50
"""Images that one thread simulates at once; no result depends on it."""


HAPPENED = ("data", "T", "snn", "observing")
"""Keys of a result that its digest is of."""


Part = TypeVar("Part")
"""Of an answer over images."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tally:
    """Sums over images, all integers; tallies of images that follow add up.

    Attributes
    ----------
    images : int
        Number of images.
    ann_correct : int
        Correct predictions of the trained network.
    correct : ndarray of int64, shape (T,)
        Correct predictions of the spiking network at every t.
    predictions : ndarray of int32, shape (T, images)
        The class with the largest logit, the lowest one on ties, at every t.
    spikes, negative, synops : dict of str to ndarray of int64, shape (T,)
        As in :class:`refsnn.run.SpikingRun`.
    observing : dict of str to dict of str to ndarray of int64, shape (tau,)
        The same counts of the observing steps, by their names; empty without any.
    marked : dict of str to int
        Neurons computed again in float64, as in :class:`refsnn.run.SpikingRun`.
    """

    images: int
    ann_correct: int
    correct: Array
    predictions: Array = dataclasses.field(metadata=FOLLOWING)
    spikes: dict[str, Array]
    negative: dict[str, Array]
    synops: dict[str, Array]
    observing: dict[str, dict[str, Array]] = dataclasses.field(default_factory=dict)
    marked: dict[str, int] = dataclasses.field(default_factory=dict)


def evaluate(
    snn: SpikingNetwork,
    data: Images,
    T: int,
    *,
    ann: Network | None = None,
    batch: int = BATCH,
    threads: int | None = None,
    mode: str | None = None,
    carrier: str | None = None,
    fixed: Fixed | None = None,
    impl: str = "kernel",
    schedule: str = "layer",
    engine: str = "auto",
    progress: Progress | None = None,
) -> Tally:
    """Run a spiking network, and the trained one beside it, over labelled images.

    Parameters
    ----------
    snn : SpikingNetwork
        The network in canonical form.
    data : Images
        Labelled images.
    T : int
        Number of steps.
    ann : Network, optional
        The trained network.
    batch : int
        Images simulated at once by each thread.
    threads : int, optional
        Number of threads; as many as the process has processors by default.
    mode, carrier, fixed : optional
        The numbers, as in :func:`refsnn.arithmetic.resolve`.
    impl, schedule, engine : str
        As in :func:`refsnn.run.run_snn`.
    progress : callable, optional
        Told how many images are done.

    Returns
    -------
    Tally
        Sums over the images. None but ``marked`` depends on `batch`, `threads`, `impl`,
        `schedule` or `engine`.
    """
    need_data(data, snn.classes)
    share = -(-len(data.labels) // max(1, threads or processors()))
    batch = min(batch, share) if batch > 0 else batch  # work for every thread
    numbers: dict[str, Any] = {"mode": mode, "carrier": carrier, "fixed": fixed}

    def tally(images: Array, labels: Array) -> Tally:
        x = snn.preprocess(images)
        how: dict[str, Any] = {"impl": impl, "schedule": schedule, "engine": engine}
        run = run_snn(snn, x, T, **how, **numbers)
        ann_correct = 0
        if ann:
            ann_correct = correct_of(
                run_ann(ann, ann.preprocess(images), impl=impl), labels
            )
        return Tally(
            images=len(images),
            ann_correct=int(ann_correct),
            correct=correct_of(run.logits, labels),
            predictions=run.logits.argmax(axis=-1).astype(np.int32),
            spikes=run.spikes,
            negative=run.negative,
            synops=run.synops,
            observing=_counts(run.observing),
            marked=run.marked,
        )

    return reduce(added, parts(tally, data, batch, threads, progress))


def ann_predictions(ann: Network, data: Images) -> Array:
    """Return the classes that a trained network predicts.

    Parameters
    ----------
    ann : Network
        The trained network.
    data : Images
        Labelled images.

    Returns
    -------
    ndarray of int64, shape (n,)
        The class with the largest logit, the lowest one on ties.
    """
    need_data(data, ann.classes)

    def predict(images: Array, labels: Array) -> Array:  # noqa: ARG001 - none is judged
        predicted: Array = run_ann(ann, ann.preprocess(images)).argmax(axis=-1)
        return predicted

    return np.concatenate(list(parts(predict, data, BATCH, None, None)))


def need_data(data: Images, classes: int) -> None:
    """Refuse anything but labelled images of a network's classes, at least one.

    Parameters
    ----------
    data : Images
        What was given.
    classes : int
        Classes of the network.

    Raises
    ------
    OptionError
        If it is something else.
    """
    if not isinstance(data, Images) or not len(data.labels):
        got = f"no images of {data.name}" if isinstance(data, Images) else type(data)
        expected = "refsnn.datasets.Images with at least 1 image"
        raise OptionError(where="data", got=got, expected=expected)
    if data.labels.max() >= classes or data.classes not in {None, classes}:
        known = data.classes is not None
        got = f"{data.classes} classes" if known else f"the label {data.labels.max()}"
        expected = f"the {classes} classes of the network"
        raise OptionError(where=f"data set {data.name}", got=got, expected=expected)


def _counts(run: SpikingRun | None) -> dict[str, dict[str, Array]]:
    """Return the counts of observing steps by name."""
    names = ("spikes", "negative", "synops")
    return {name: getattr(run, name) for name in names} if run else {}


def correct_of(logits: Array, labels: Array) -> Any:
    """Count correct predictions.

    Parameters
    ----------
    logits : ndarray, shape (..., B, classes)
        Logits.
    labels : ndarray of int, shape (B,)
        Classes.

    Returns
    -------
    int or ndarray of int64, shape (...)
        Samples whose largest logit, the lowest class on ties, is their label's.
    """
    return np.count_nonzero(logits.argmax(axis=-1) == labels, axis=-1)


def parts(
    work: Callable[[Array, Array], Part],
    data: Images,
    batch: int,
    threads: int | None,
    progress: Progress | None,
) -> Iterator[Part]:
    """Do some work on every batch of images, on threads.

    Parameters
    ----------
    work : callable
        From images and labels to a part.
    data : Images
        Labelled images.
    batch : int
        Images at once.
    threads : int or None
        Number of threads; as many as the process has processors for None.
    progress : callable or None
        Told how many images are done.

    Yields
    ------
    object
        The parts, in the order of the images.
    """
    threads = processors() if threads is None else threads
    need_least(1, batch=batch, threads=threads)

    def of(start: int) -> Part:
        some = slice(start, start + batch)
        return work(data.images[some], data.labels[some])

    total = len(data.labels)
    starts = range(0, total, batch)
    with ThreadPoolExecutor(threads) as pool:
        # not held by a name: what is begun is cancelled when nobody goes on
        for start, part in zip(
            starts, _in_order(pool, of, starts, ahead=2 * threads), strict=True
        ):
            if progress:
                progress(min(start + batch, total), total)
            yield part


def _in_order(
    pool: ThreadPoolExecutor, work: Callable[[int], Part], items: range, ahead: int
) -> Iterator[Part]:
    """Yield results in order, with at most `ahead` batches begun or waiting."""
    futures = []
    try:
        for item in items:
            futures.append(pool.submit(work, item))
            if len(futures) >= ahead:
                yield futures.pop(0).result()
        while futures:
            yield futures.pop(0).result()
    finally:
        for future in futures:
            future.cancel()


def energy(snn: SpikingNetwork, tally: Tally, ann_macs: int | None) -> dict[str, Any]:
    """Return the energy of a run under every table.

    Parameters
    ----------
    snn : SpikingNetwork
        The network.
    tally : Tally
        What it did.
    ann_macs : int or None
        Multiply-accumulates of the trained network over the same images.

    Returns
    -------
    dict
        By table: ``ann_pJ`` (None if unknown) and ``snn_pJ``, one number for each t.
    """
    return energies(
        sum(tally.synops.values(), np.zeros_like(tally.correct)),
        observed=sum(
            tally.observing.get("synops", {}).values(),
            np.zeros(snn.stages.tau, dtype=np.int64),
        ),
        neurons=tally.images * sum(p.neurons for p in snn.hidden),
        first_layer_macs=tally.images * snn.first_layer_macs(),
        ann_macs=ann_macs,
    )


def result(
    snn: SpikingNetwork,
    data: Images,
    tally: Tally,
    *,
    sha256: str,
    seconds: float,
    ann: Network | None = None,
    arithmetic: Arithmetic | None = None,
    impl: str = "kernel",
    schedule: str = "layer",
    engine: str = "ordinary",
) -> dict[str, Any]:
    """Lay out a tally as the format ``refsnn-result``, version 1.

    Parameters
    ----------
    snn : SpikingNetwork
        The network that ran.
    data : Images
        The images, first to last.
    tally : Tally
        What :func:`evaluate` returned.
    sha256 : str
        Content hash of the file that was run.
    seconds : float
        Wall-clock time.
    ann : Network, optional
        The trained network, if it ran too.
    arithmetic : Arithmetic, optional
        The numbers it ran in; the network's own by default.
    impl, schedule, engine : str
        How it ran.

    Returns
    -------
    dict
        JSON values. Equal runs are equal apart from ``seconds``, ``versions``,
        ``impl`` and ``schedule``. ``predictions`` are those at T;
        ``predictions_sha256`` is of all, 32-bit little-endian integers in the order of
        t and image. ``digest`` is the SHA-256 of what happened, the JSON of the keys
        :data:`HAPPENED`, sorted, without spaces. ``profile`` are the conventions,
        of :class:`refsnn.profile.Profile`. ``converted_for`` is
        the T of a method that depends on it: results at an earlier t are not its
        results at that T.
    """
    ann_macs = tally.images * ann.macs() if ann else None
    whole = {"spikes": tally.spikes, "negative": tally.negative, "synops": tally.synops}
    found = {
        "format": "refsnn-result",
        "version": 1,
        "network": {"name": snn.name, "sha256": sha256},
        "data": {
            "name": data.name,
            "sha256": data.sha256,
            "indices": list(range(tally.images)),
        },
        "method": snn.method,
        "set": dict(snn.options),
        "profile": dataclasses.asdict(snn.profile),
        "T": len(tally.correct),
        "converted_for": snn.T,
        "images": tally.images,
        **_numbers(snn, arithmetic or resolve(snn, len(tally.correct))),
        "ann": {"correct": tally.ann_correct, "macs": ann_macs} if ann else None,
        "snn": {
            "correct": tally.correct.tolist(),
            "predictions": tally.predictions[-1].tolist(),
            "predictions_sha256": _predictions_sha256(tally),
            "first_layer_macs": tally.images * snn.first_layer_macs(),
            "populations": _by_population(snn, whole),
        },
        **_observing(snn, tally),
        "energy": energy(snn, tally, ann_macs),
    }
    happened = {key: found[key] for key in HAPPENED if key in found}
    text = json.dumps(happened, sort_keys=True, separators=(",", ":"))
    return {
        **found,
        "digest": hashlib.sha256(text.encode()).hexdigest(),
        "impl": impl,
        "schedule": schedule,
        "versions": {**versions(), "engine": _engine(snn, tally, engine)},
        "seconds": seconds,
    }


def _predictions_sha256(tally: Tally) -> str:
    return hashlib.sha256(tally.predictions.astype("<i4").tobytes()).hexdigest()


def _engine(snn: SpikingNetwork, tally: Tally, engine: str) -> dict[str, Any]:
    """Say which kernels ran, and what share of the neurons was computed twice."""
    about: dict[str, Any] = {"name": engine}
    if engine == "event":
        neurons = tally.images * sum(snn[name].neurons for name in tally.marked)
        marked = sum(tally.marked.values())
        about.update(marked=marked, marked_share=marked / neurons if neurons else 0.0)
        about["ordinary"] = ordinary(snn)
    return about


def _by_population(
    snn: SpikingNetwork, counts: dict[str, dict[str, Array]]
) -> dict[str, Any]:
    """Lay out counts by population."""
    return {
        p.name: {
            "neurons": p.neurons,
            **{name: by[p.name].tolist() for name, by in counts.items()},
        }
        for p in snn.hidden
    }


def _observing(snn: SpikingNetwork, tally: Tally) -> dict[str, Any]:
    """Lay out the steps before the T steps, if there were any."""
    about: dict[str, Any] = {}
    if snn.stages.tau or snn.stages.rho:
        about["stages"] = dataclasses.asdict(snn.stages)
    if tally.observing:
        populations = _by_population(snn, tally.observing)
        about["observing"] = {"steps": snn.stages.tau, "populations": populations}
    return about


def _numbers(snn: SpikingNetwork, arithmetic: Arithmetic) -> dict[str, Any]:
    """Say in which numbers a network ran."""
    about: dict[str, Any] = {
        "mode": arithmetic.mode,
        "carrier": arithmetic.carrier,
        "certificate": arithmetic.bits,
    }
    if arithmetic.fixed:
        about["fixed"] = {
            **dataclasses.asdict(arithmetic.fixed),
            "rounding": rounding(snn, arithmetic.fixed),
        }
    return about
