"""What a result is of, in words that the terminal and the page share."""

from __future__ import annotations

import dataclasses
from typing import Any

from refsnn.methods import METHODS
from refsnn.profile import REFSNN, Profile


def about(result: dict[str, Any]) -> list[str]:
    """Say by which rule, from where and under which conventions a network was made.

    Parameters
    ----------
    result : dict
        A ``refsnn-result``.

    Returns
    -------
    list of str
        A line each: what the method does (by default, if it was given other options),
        its options, its source, what of it is reconstructed, and the conventions if
        they are not refsnn's own.
    """
    lines = []
    options = ", ".join(f"{key}={value}" for key, value in result["set"].items())
    method = METHODS.get(result["method"])
    if method:
        usual = dataclasses.asdict(method.options())
        other = any(usual.get(key) != value for key, value in result["set"].items())
        lines.append(f"By default: {method.summary}" if other else method.summary)
    if options:
        lines.append(f"Options: {options}")
    if method:
        lines.append(f"Source: {method.citation}")
    if method and method.reconstruction:
        lines.append(f"Reconstruction: {method.reconstruction}")
    profile = Profile(**result["profile"])
    if profile != REFSNN:
        lines.append(f"Conventions other than refsnn's own: {profile}")
    return lines


def latency(result: dict[str, Any], t: int) -> str:
    """Name a number of steps, and with it those that a method takes ahead.

    Parameters
    ----------
    result : dict
        A ``refsnn-result``.
    t : int
        Steps.

    Returns
    -------
    str
        Such as ``T = 4, tau + T = 8``.
    """
    ahead = {name: result.get("stages", {}).get(name, 0) for name in ("tau", "rho")}
    sums = [f", {name} + T = {steps + t}" for name, steps in ahead.items() if steps]
    return f"T = {t}" + "".join(sums)


def ahead(result: dict[str, Any]) -> list[str]:
    """Say what the steps before the T steps cost.

    Parameters
    ----------
    result : dict
        A ``refsnn-result``.

    Returns
    -------
    list of str
        A line each; none for most methods.
    """
    lines = []
    if result.get("stages", {}).get("rho"):
        lines.append("the rho offset steps of each layer are in no count and no energy")
    if "observing" in result:
        seen = result["observing"]["populations"].values()
        spikes, synops = (
            sum(sum(c[key]) for c in seen) for key in ("spikes", "synops")
        )
        lines.append(
            f"observing steps, tau = {result['observing']['steps']}: {spikes:,} "
            f"spikes, {synops:,} synaptic operations, in the energies at every T"
        )
    return lines
