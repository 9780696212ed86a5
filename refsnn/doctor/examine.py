"""Looking for every fault, and for what each one explains."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from refsnn.calibrate import Progress
from refsnn.doctor.case import BATCH, Case, Sign
from refsnn.doctor.faults import FAULTS
from refsnn.evaluate import ann_predictions, parts
from refsnn.network import SpikingNetwork
from refsnn.numerics import Array
from refsnn.run import run_snn

STEPS = 32
"""Steps of a network that runs at any T, unless others are asked for."""

SURE = 3.0
"""A fault of degree explains something if predictions come right in so many standard
deviations of chance more cases than they go wrong."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """A fault that was found.

    Attributes
    ----------
    cause : str
        A key of :data:`FAULTS`.
    number : float
        How bad it is.
    measures : str
        What the number is.
    layer : str
        The population where it is worst.
    explains : int
        Predictions that come right when it is repaired, less those that go wrong.
    suggestion : str
        What to do.
    """

    cause: str
    number: float
    measures: str
    layer: str
    explains: int
    suggestion: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Examination:
    """What was found.

    Attributes
    ----------
    images, T : int
        Number of images and of steps.
    ann_correct, correct : int
        Correct predictions of the trained and of the converted network.
    findings : tuple of Finding
        Most damaging first; empty for a healthy network.
    """

    images: int
    T: int
    ann_correct: int
    correct: int
    findings: tuple[Finding, ...]


def steps_of(snn: SpikingNetwork, T: int | None) -> int:
    """Return the number of steps that a network is examined at.

    Parameters
    ----------
    snn : SpikingNetwork
        The network.
    T : int or None
        The number asked for.

    Returns
    -------
    int
        That, or the network's own, or 32.
    """
    return T or snn.T or STEPS


def examine(case: Case, *, progress: Progress | None = None) -> Examination:
    """Look for every fault of a network.

    Faults that are wrong whatever they cost are looked for in the network as it is.
    Thresholds and T, which are matters of degree, are judged with those repaired: they
    are findings if more predictions come right than go wrong, by three standard
    deviations of chance.

    Parameters
    ----------
    case : Case
        The networks and the images.
    progress : callable, optional
        Told how many faults were looked for.

    Returns
    -------
    Examination
        What was found, ordered by the predictions it explains.
    """
    labels = case.data.labels
    right = _predictions(case) == labels
    findings, sound = [], case
    for done, (cause, fault) in enumerate(FAULTS.items()):
        if fault.structural and (sign := fault.found(case)):
            repaired = fault.repaired(case)
            explains = int((_predictions(repaired) == labels).sum() - right.sum())
            findings.append(_finding(cause, sign, explains))
            sound = fault.repaired(sound)
        if progress:
            progress(done + 1, 2 * len(FAULTS))
    base = right if sound is case else _predictions(sound) == labels
    for done, (cause, fault) in enumerate(FAULTS.items()):
        if not fault.structural and (sign := fault.found(sound)):
            after = _predictions(fault.repaired(sound)) == labels
            if _is_gain(base, after):
                findings.append(_finding(cause, sign, int(after.sum() - base.sum())))
        if progress:
            progress(len(FAULTS) + done + 1, 2 * len(FAULTS))
    findings.sort(key=lambda finding: -finding.explains)
    return Examination(
        images=len(labels),
        T=case.T,
        ann_correct=int((ann_predictions(case.ann, case.data) == labels).sum()),
        correct=int(right.sum()),
        findings=tuple(findings),
    )


def _finding(cause: str, sign: Sign, explains: int) -> Finding:
    return Finding(
        cause=cause,
        number=sign.number,
        measures=sign.measures,
        layer=sign.layer,
        explains=explains,
        suggestion=FAULTS[cause].suggestion,
    )


def _is_gain(before: Array, after: Array) -> bool:
    """Say whether more predictions came right than chance explains."""
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    return gained - lost > SURE * math.sqrt(gained + lost)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Part:
    images: int
    classes: Array


def _predictions(case: Case) -> Array:
    """Return the classes that the converted network predicts after T steps."""

    def predict(images: Array, labels: Array) -> _Part:  # noqa: ARG001 - nothing is judged
        run = run_snn(case.snn, case.snn.preprocess(images), case.T)
        return _Part(images=len(images), classes=run.logits[-1].argmax(axis=-1))

    found = parts(predict, case.data, BATCH, None, None)
    return np.concatenate([part.classes for part in found])


def layout(examination: Examination) -> dict[str, Any]:
    """Lay out an examination as JSON values.

    Parameters
    ----------
    examination : Examination
        What :func:`examine` returned.

    Returns
    -------
    dict
        Its fields.
    """
    return dataclasses.asdict(examination)
