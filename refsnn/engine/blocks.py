"""Which populations take several steps at once, see :mod:`refsnn.kernels.shared`."""

from __future__ import annotations

from collections.abc import Mapping

from refsnn.engine.plan import Plan

BLOCK, WIDE = 4, 256
"""Steps that are listed together, and channels from which on they are: lists of their
15 patterns take longer than those of 4 steps, which many channels make up for. Only
time depends on it."""


def block_of(plan: Plan, T: int) -> tuple[int, ...]:
    """Choose the steps that are listed together.

    Parameters
    ----------
    plan : Plan
        A population.
    T : int
        Number of steps.

    Returns
    -------
    tuple
        As many elements as steps: some for wide populations, else one.
    """
    wide = plan.population.neuron and plan.shape[0] >= WIDE and T >= BLOCK - 1
    looked_up = any(one["sums"] >= 0 for part in plan.parts for one in part.lists)
    wide = wide and not looked_up
    return (0,) * (BLOCK if wide else 1)


def patterns(T: int, block: tuple[int, ...]) -> int:
    """Count the patterns of all blocks.

    Parameters
    ----------
    T : int
        Number of steps.
    block : tuple
        As many elements as steps of a block.

    Returns
    -------
    int
        T for blocks of one step.
    """
    return -(-T // len(block)) * ((1 << len(block)) - 1)


def sources_of(plan: Plan) -> dict[tuple[str, int], int]:
    """Say whose spikes a population lists.

    Parameters
    ----------
    plan : Plan
        The population.

    Returns
    -------
    dict of (str, int) to int
        Words of a step, by name and sign.
    """
    return {
        one["source"]: one["height"] * one["width"] * one["words"]
        for part in plan.parts
        for one in part.lists
    }


def words_listed(
    plans: Mapping[str, Plan], blocks: Mapping[str, tuple[int, ...]], T: int
) -> int:
    """Count the words of patterns that one population needs, at most.

    Parameters
    ----------
    plans : mapping of str to Plan
        The populations.
    blocks : mapping of str to tuple
        The steps of their blocks.
    T : int
        Number of steps.

    Returns
    -------
    int
        Words of an image.
    """
    return max(
        (
            sum(sources_of(plans[name]).values()) * patterns(T, block)
            for name, block in blocks.items()
            if len(block) > 1
        ),
        default=0,
    )
