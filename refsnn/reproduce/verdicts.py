"""Verdicts: computed from two numbers and a tolerance, never written."""

from __future__ import annotations

import dataclasses
import math

from refsnn.reproduce.facts import Published, Tolerances

VERDICTS = (
    "reproduced",
    "reached by a reconstruction",
    "trend",
    "differs",
    "not run",
    "out of scope",
    "nothing published",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ours:
    """Our counterpart of a published number.

    Attributes
    ----------
    correct, images : int
        Correct predictions, and of how many.
    ann_correct : int
        Correct predictions of the trained network on the same images.
    reconstruction : str
        What of the method is reconstructed; empty if nothing is.
    note : str
        What is known of a difference.
    """

    correct: int
    images: int
    ann_correct: int
    reconstruction: str = ""
    note: str = ""

    @property
    def accuracy(self) -> float:
        """Per cent."""
        return 100 * self.correct / self.images

    @property
    def loss(self) -> float:
        """What conversion lost, percentage points."""
        return 100 * (self.ann_correct - self.correct) / self.images


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judged:
    """A published number beside ours.

    Attributes
    ----------
    published : Published
        The row.
    ours : Ours or None
        None if it was not run.
    verdict : str
        One of :data:`VERDICTS`.
    tolerance : float or None
        Percentage points.
    loss_published : float or None
        ANN - SNN in the same table, if it has the ANN's accuracy.
    note : str
        The reason of a difference, or what is missing and how to get it.
    """

    published: Published
    ours: Ours | None
    verdict: str
    tolerance: float | None = None
    loss_published: float | None = None
    note: str = ""


def tolerance(
    published: float, ours: float, images: int, T: int | None, known: Tolerances
) -> float:
    """Return how far two accuracies may lie apart.

    Parameters
    ----------
    published, ours : float
        Accuracies p and q, per cent.
    images : int
        Number of images n.
    T : int or None
        Number of steps; None for the trained network.
    known : Tolerances
        s(T) and the quantile.

    Returns
    -------
    float
        z sqrt((p (1 - p) + q (1 - q)) / n) + s(T), percentage points, z the normal
        quantile: sampling of both test sets, and what re-training moves.
    """
    from scipy.stats import norm  # noqa: PLC0415 - takes two seconds to import

    z = float(norm.ppf((1 + known.quantile) / 2))
    p, q = published / 100, ours / 100
    variance: float = (p * (1 - p) + q * (1 - q)) / images
    return 100 * z * math.sqrt(variance) + known.s(T)


def judge(row: Published, ours: Ours, ann: float | None, known: Tolerances) -> Judged:
    """Give the verdict on a published accuracy.

    Parameters
    ----------
    row : Published
        The published number.
    ours : Ours
        Ours at the same T.
    ann : float or None
        The accuracy of the trained network in the same table, per cent.
    known : Tolerances
        The tolerances.

    Returns
    -------
    Judged
        ``reproduced`` if the accuracies agree within the tolerance; ``trend`` if only
        what conversion lost does; otherwise ``differs``. A method that is partly a
        reconstruction never reproduces: it reaches.
    """
    T = None if row.T == "ANN" else int(row.T)
    allowed = tolerance(row.accuracy, ours.accuracy, ours.images, T, known)
    lost = None if ann is None or T is None else ann - row.accuracy
    gap = ours.accuracy - row.accuracy
    rebuilt = ours.reconstruction if T is not None else ""
    notes = [ours.note, rebuilt]
    if abs(gap) <= allowed:
        verdict = "reached by a reconstruction" if rebuilt else "reproduced"
    else:
        near = lost is not None and abs(ours.loss - lost) <= allowed
        verdict = "trend" if near else "differs"
        notes.insert(0, _reason(row, ours, ann, lost))
    return Judged(
        published=row,
        ours=ours,
        verdict=verdict,
        tolerance=allowed,
        loss_published=lost,
        note="; ".join(filter(None, notes)),
    )


def _reason(row: Published, ours: Ours, ann: float | None, lost: float | None) -> str:
    """Say by how much numbers differ, and which part of it the trained networks do."""
    gap = ours.accuracy - row.accuracy
    parts = [f"{gap:+.2f} points"]
    if ann is not None and row.T != "ANN":
        trained = 100 * ours.ann_correct / ours.images - ann
        parts.append(f"the trained network's own difference is {trained:+.2f}")
    if lost is not None:
        parts.append(f"conversion loses {ours.loss:.2f}, published {lost:.2f}")
    return "; ".join(parts)
