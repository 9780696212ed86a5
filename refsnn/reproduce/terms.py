"""Error terms of a run, as they are recorded: sizes, shares and bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FOUR = "ABCD"
"""The cases of unevenness that SRP names."""


def mean_size(terms: Mapping[str, Any], term: str) -> float:
    """Return the mean size of a term.

    Parameters
    ----------
    terms : mapping
        Error terms of a run at one T.
    term : str
        One of its terms.

    Returns
    -------
    float
        Spikes a neuron.
    """
    populations = terms["populations"].values()
    total = sum(p["absolute"][term] for p in populations)
    return float(total / (sum(p["neurons"] for p in populations) << terms["grid"]))


def shares(terms: Mapping[str, Any]) -> dict[str, float]:
    """Return the share of neurons in every unevenness case.

    Parameters
    ----------
    terms : mapping
        Error terms of a run at one T.

    Returns
    -------
    dict of str to float
        Per cent.
    """
    populations = terms["populations"].values()
    neurons = sum(p["neurons"] for p in populations)
    return {
        case: 100 * sum(p["cases"][case] for p in populations) / neurons
        for case in FOUR
    }


def outside(population: Mapping[str, Any], T: int, grid: int) -> tuple[int, int]:
    """Bound the neurons that are uneven and in none of the four cases.

    Every uneven neuron is off by at least a spike; by at most T, and 2 T of case E
    (N < 0). With s spikes of unevenness, c neurons in the cases A to D and e in E,

        e + max(0, ceil((s - T c - 2 T e) / T)) <= outside <= s - c

    Parameters
    ----------
    population : mapping
        Error terms of a population.
    T : int
        Number of steps.
    grid : int
        Bits behind the point of the terms' unit.

    Returns
    -------
    tuple of int
        The bounds. The upper one is below the lower if more neurons are in a case than
        spikes are uneven.
    """
    s = population["absolute"]["unevenness"] >> grid
    c = sum(population["cases"][case] for case in FOUR)
    e = population["cases"]["E"]
    return e - min(0, T * c + 2 * T * e - s) // T, s - c
