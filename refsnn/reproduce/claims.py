"""Claims of the papers, decided by what their rows name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from refsnn.analysis import decompose
from refsnn.analysis import layout as layout_errors
from refsnn.evaluate import energy
from refsnn.reproduce.done import Done
from refsnn.reproduce.jobs import kept, some_images

LOOKED_AT = 200
"""Images whose error terms are computed."""

CLAIM_VERDICTS = ("holds", "does not hold", "not run")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """The verdict on a claim.

    Attributes
    ----------
    id : str
        Its name in ``claims.csv``.
    verdict : str
        One of :data:`CLAIM_VERDICTS`.
    evidence : str
        The numbers.
    """

    id: str
    verdict: str
    evidence: str


class NoRunError(Exception):
    """No run of the reproduction decides the claim."""


Decider = Callable[[Sequence[Done]], tuple[bool, str]]

_DECIDERS: dict[str, Decider] = {}


def _decides(claim: str) -> Callable[[Decider], Decider]:
    def register(decider: Decider) -> Decider:
        _DECIDERS[claim] = decider
        return decider

    return register


def decided() -> tuple[str, ...]:
    """Name the claims that a test is built of.

    Returns
    -------
    tuple of str
        Their names.
    """
    return tuple(_DECIDERS)


def decide(claims: Sequence[str], done: Sequence[Done]) -> list[Claim]:
    """Decide claims.

    Parameters
    ----------
    claims : sequence of str
        Their names.
    done : sequence of Done
        The runs of the reproduction.

    Returns
    -------
    list of Claim
        One for each.
    """
    answers = []
    for claim in claims:
        try:
            holds, evidence = _DECIDERS[claim](done)
            verdict = "holds" if holds else "does not hold"
        except NoRunError as error:
            verdict, evidence = "not run", str(error)
        answers.append(Claim(id=claim, verdict=verdict, evidence=evidence))
    return answers


def _one(done: Sequence[Done], label: str) -> Done:
    """Return the run of a method, with the most steps."""
    found = [d for d in done if d.run.label == label]
    if not found:
        raise NoRunError(f"it needs a run of {label}")
    return max(found, key=lambda d: d.T)


@cache
def _terms(d: Done, T: int, target: str = "own") -> dict[str, Any]:
    """Return the error terms of a run's first images."""
    images = some_images(d.data, kept(d.data)[:LOOKED_AT])
    return layout_errors(decompose(d.snn, d.ann, images, T, target=target))


def _mean(d: Done, T: int, term: str, target: str = "own") -> float:
    """Return the mean size of a term, in spikes a neuron."""
    terms = _terms(d, T, target)
    populations = terms["populations"].values()
    total = sum(p["absolute"][term] for p in populations)
    neurons: int = sum(p["neurons"] for p in populations)
    return float(total * 2.0 ** -terms["grid"] / neurons)


def _shares(d: Done, T: int) -> dict[str, float]:
    """Return the share of neurons in every unevenness case, per cent."""
    populations = _terms(d, T)["populations"].values()
    neurons = sum(p["neurons"] for p in populations)
    return {
        case: 100 * sum(p["cases"][case] for p in populations) / neurons
        for case in "ABCD"
    }


@_decides("SRP-1")
def _four_categories(done: Sequence[Done]) -> tuple[bool, str]:
    d = _one(done, "qcfs")
    lines, holds = [], True
    for T in d.steps:
        by_population = _terms(d, T)["populations"]
        other = sum(p["cases"]["E"] for p in by_population.values())
        holds = holds and other == 0
        worst = max(by_population, key=lambda name: _uneven(by_population[name]))
        lines.append(
            f"T = {T}: {_text(_shares(d, T))}, none outside of them; most in {worst}"
        )
    return holds, "; ".join(lines)


def _uneven(population: dict[str, Any]) -> float:
    return float(sum(population["cases"].values()) / population["neurons"])


def _text(shares: dict[str, float]) -> str:
    return ", ".join(f"{case} {share:.2f} %" for case, share in shares.items())


@_decides("SRP-2")
def _largest_category(done: Sequence[Done]) -> tuple[bool, str]:
    d = _one(done, "qcfs")
    lines, holds = [], True
    for T in d.steps:
        shares = _shares(d, T)
        holds = holds and shares["A"] == max(shares.values())
        lines.append(f"T = {T}: {_text(shares)}")
    return holds, "; ".join(lines)


@_decides("ECL-3")
def _dual_threshold(done: Sequence[Done]) -> tuple[bool, str]:
    plain = _one(done, "ecl:dual=False")
    dual = _one([d for d in done if d.sha256 == plain.sha256], "ecl")
    lines, holds = [], True
    for T in dual.steps:
        parts = []
        for term in ("quantisation", "unevenness"):
            with_it, without = _mean(dual, T, term), _mean(plain, T, term)
            parts.append(f"{term} {without:.4f} to {with_it:.4f}")
            if term == "quantisation":
                holds = holds and with_it < without
        lines.append(f"T = {T}: {', '.join(parts)} spikes a neuron")
    network = dual.run.network
    return holds, f"{network}, without to with dual thresholds: {'; '.join(lines)}"


@_decides("ECL-5")
def _less_energy(done: Sequence[Done]) -> tuple[bool, str]:
    d = _one(done, "ecl")
    T = min(2, d.T)
    lines, holds = [], True
    for name, table in energy(d.snn, d.tally, d.ann_macs).items():
        if table["ann_pJ"] is None:  # a table of spikes alone
            continue
        ratio = table["snn_pJ"][T - 1] / table["ann_pJ"]
        holds = holds and ratio < 1
        lines.append(f"{name} {ratio:.3f}")
    return holds, f"energy SNN/ANN at T = {T}: {', '.join(lines)}"
