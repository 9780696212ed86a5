"""Looking for every fault, and for what each one explains."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from refsnn.calibrate import Progress
from refsnn.doctor.case import BATCH, Case, Sign
from refsnn.doctor.faults import FAULTS
from refsnn.doctor.levels import (
    LONGER,
    departs_first,
    raise_thresholds,
    small_thresholds,
    uncalibrated_at,
)
from refsnn.evaluate import ann_predictions, parts
from refsnn.network import SpikingNetwork
from refsnn.numerics import Array
from refsnn.run import run_snn

STEPS = 32
"""Steps of a network that runs at any T, unless others are asked for."""

SURE = 3.0
"""A fault of degree explains something if predictions come right in so many standard
deviations of chance more cases than they go wrong."""

LONGEST = 256
"""Steps up to which more are tried before a loss is called unexplained."""


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
    explains : int or None
        Predictions that come right when it is repaired, less those that go wrong; None
        if it cannot be repaired.
    suggestion : str
        What to do.
    """

    cause: str
    number: float
    measures: str
    layer: str
    explains: int | None
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
    unexplained : int
        Correct predictions of the trained network, less those of the converted one,
        with all that was found repaired and with as many steps as help; 0 if there are
        no more than chance explains.
    departs : str or None
        If there are, the first layer that departs from the trained network's; see
        :func:`refsnn.doctor.levels.departs_first`.
    """

    images: int
    T: int
    ann_correct: int
    correct: int
    findings: tuple[Finding, ...]
    unexplained: int
    departs: str | None


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
    return (snn.T or STEPS) if T is None else T


def examine(case: Case, *, progress: Progress | None = None) -> Examination:
    """Look for every fault of a network.

    Faults that are wrong whatever they cost are looked for in the network as it is.
    Thresholds and T, which are matters of degree, are judged with those repaired: they
    are findings if more predictions come right than go wrong, by three standard
    deviations of chance. What the trained network predicts better still, by the same
    measure, with all of this repaired, is unexplained.

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
    done = 0

    def tell() -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done, 2 * len(FAULTS) + 1)

    right = _right(case)
    ann_right = ann_predictions(case.ann, case.data) == case.data.labels
    findings, sound = _structural(case, right, tell)
    base = right if sound is case else _right(sound)
    more, healed, rest = _of_degree(sound, base, tell)
    unexplained, departs = _unexplained(healed, rest, ann_right)
    tell()
    findings = [*findings, *more]
    findings.sort(key=lambda finding: -(finding.explains or 0))
    return Examination(
        images=len(right),
        T=case.T,
        ann_correct=int(ann_right.sum()),
        correct=int(right.sum()),
        findings=tuple(findings),
        unexplained=unexplained,
        departs=departs,
    )


def _structural(
    case: Case, right: Array, tell: Callable[[], None]
) -> tuple[list[Finding], Case]:
    """Look for what is wrong whatever it costs; return the network without it, too."""
    findings, sound = [], case
    for cause, fault in FAULTS.items():
        if fault.structural and (sign := fault.found(case)):
            explains = None
            if fault.repaired:
                after = _right(fault.repaired(case))
                explains = int(after.sum() - right.sum())
                sound = fault.repaired(sound)
            findings.append(_finding(cause, sign, explains))
        tell()
    return findings, sound


def _of_degree(
    sound: Case, base: Array, tell: Callable[[], None]
) -> tuple[list[Finding], Case, Array]:
    """Judge thresholds and T; return the network with each as it is better, too."""
    findings, healed, rest = [], sound, base
    for cause, fault in FAULTS.items():
        if not fault.structural and fault.repaired and (sign := fault.found(sound)):
            after = _right(fault.repaired(sound))
            gain = int(after.sum() - base.sum())
            if _is_gain(base, after):
                findings.append(_finding(cause, sign, gain))
            if gain > 0:
                single = healed is sound
                healed = fault.repaired(healed)
                rest = after if single else _right(healed)
        tell()
    return findings, healed, rest


def _unexplained(case: Case, right: Array, ann_right: Array) -> tuple[int, str | None]:
    """Count what is lost for no reason that was found, and name the layer.

    What comes right with more steps, and thresholds for them, has T as its reason, or
    what was chosen and calibrated for T.
    """
    least, where = len(right) + 1, case
    while _is_gain(right, ann_right):
        lost = int(ann_right.sum() - right.sum())
        if lost < least:
            least, where = lost, case
        if case.T >= LONGEST:
            return least, departs_first(where)
        case = uncalibrated_at(case, min(LONGER * case.T, LONGEST))
        case = raise_thresholds(case) if small_thresholds(case) else case
        right = _right(case)
    return 0, None


def _finding(cause: str, sign: Sign, explains: int | None) -> Finding:
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


def _right(case: Case) -> Array:
    """Say which images the converted network classifies correctly after T steps."""

    def right(images: Array, labels: Array) -> Array:
        run = run_snn(case.snn, case.snn.preprocess(images), case.T)
        return np.asarray(run.logits[-1].argmax(axis=-1) == labels)

    return np.concatenate(list(parts(right, case.data, BATCH, None, None)))


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
