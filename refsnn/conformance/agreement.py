"""One story for all vectors: the explanation that explains most of them goes first."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

from refsnn.compare import Explanation
from refsnn.conformance.judge import Score


def agreed(scores: Sequence[Score]) -> list[Score]:
    """Choose among the exact explanations of each vector, the same for as many as go.

    Parameters
    ----------
    scores : sequence of Score
        The scores, each with all exact explanations.

    Returns
    -------
    list of Score
        The same, each named by the kind of explanation that explains the most vectors,
        of those left the one that explains the most of these, and so on. Of two that
        explain as many, the one that is tried first.
    """
    left = {
        i: [fit.kind for fit in score.explanation.fits]
        for i, score in enumerate(scores)
        if score.explanation and score.explanation.fits
    }
    chosen = list(scores)
    while left:
        kind = _commonest(list(left.values()))
        for i in [i for i, kinds in left.items() if kind in kinds]:
            chosen[i] = _named(scores[i], kind)
            del left[i]
    return chosen


def _commonest(of_vectors: Sequence[Sequence[str]]) -> str:
    """Choose the kind that explains the most vectors."""
    counts = Counter(kind for kinds in of_vectors for kind in dict.fromkeys(kinds))
    place = {
        kind: min(kinds.index(kind) for kinds in of_vectors if kind in kinds)
        for kind in counts
    }
    return min(counts, key=lambda kind: (-counts[kind], place[kind]))


def _named(score: Score, kind: str) -> Score:
    """Put the explanations of a kind first."""
    why = score.explanation
    if why is None:
        return score
    fits = sorted(why.fits, key=lambda fit: fit.kind != kind)
    explanation = dataclasses.replace(why, name=fits[0].name, fits=tuple(fits))
    return dataclasses.replace(score, explanation=explanation)


def tally(scores: Sequence[Score]) -> dict[str, int]:
    """Count the vectors by what explains them.

    Parameters
    ----------
    scores : sequence of Score
        What :func:`agreed` returns.

    Returns
    -------
    dict of str to int
        Vectors whose spikes differ, by explanation, ``unexplained`` among them.
    """
    return dict(Counter(_kind(s.explanation) for s in scores if s.explanation))


def _kind(why: Explanation) -> str:
    if why.verdict == "exact":
        return why.fits[0].kind
    if why.verdict == "up to rounding":
        return f"{why.name} up to rounding"
    return why.name if why.accepted else "unexplained"


def story(scores: Sequence[Score]) -> str:
    """Say in one line what explains the vectors that failed.

    Parameters
    ----------
    scores : sequence of Score
        What :func:`agreed` returns.

    Returns
    -------
    str
        Such as ``all 23 explained by layer_delay=1``; empty if no spike differs.
    """
    counts = tally(scores)
    lost = counts.pop("unexplained", 0)
    failed = ("failed", "expected failure")
    silent = sum(s.status in failed and s.explanation is None for s in scores)
    several = [f"{n} explained by {kind}" for kind, n in counts.items()]
    if len(several) == 1 and not (lost or silent) and min(counts.values()) > 1:
        return f"all {several[0]}"
    if lost:
        several.append(f"{lost} unexplained")
    if silent and several:
        several.append(f"{silent} failed without a spike that differs")
    return ", ".join(several)
