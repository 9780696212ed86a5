"""Where a run of some images keeps its spikes, and the calls that find them there."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping

from refsnn.engine.blocks import block_of, patterns, sources_of, words_listed
from refsnn.engine.calls import Call, Sources, call_of
from refsnn.engine.geometry import as_map
from refsnn.engine.layout import LANES, words_of
from refsnn.engine.plan import Plan
from refsnn.network import Population


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Places:
    """The arena of a run, and the calls of its populations.

    Attributes
    ----------
    size : int
        Words of the arena.
    spikes : dict of (str, int) to int
        Where the spikes of a population, and of a sign, are.
    kept : dict of str to int
        Where masks of the neurons that are let out are.
    blocks : dict of str to tuple
        Steps that a population lists together.
    splits : dict of str to list of (int, int, int)
        Where the spikes to be split by patterns are, where the patterns go, and the
        words of a step: of populations that list several steps together.
    calls, few : dict of str to tuple of Call
        By population; those of plans for few spikes.
    begun : dict of (str, int) to int
        Where the first rho steps of spikes are, if initial potentials are moved.
    observing : dict of str to tuple of Call
        Calls of those steps, by population.
    """

    size: int
    spikes: dict[tuple[str, int], int]
    kept: dict[str, int]
    blocks: dict[str, tuple[int, ...]]
    splits: dict[str, list[tuple[int, int, int]]]
    calls: dict[str, tuple[Call, ...]]
    few: dict[str, tuple[Call, ...]]
    begun: dict[tuple[str, int], int]
    observing: dict[str, tuple[Call, ...]]


def pixels(p: Population) -> int:
    """Count the words of a population's spikes at one step.

    Parameters
    ----------
    p : Population
        The population.

    Returns
    -------
    int
        Words.
    """
    C, H, W = as_map(p.shape)
    return H * W * words_of(C)


def lay_out(
    hidden: Iterable[Population],
    plans: Mapping[str, Plan],
    few: Mapping[str, Plan],
    B: int,
    T: int,
    *,
    images: Collection[str],
    gated: Collection[str],
    keeping: bool,
    rho: int = 0,
) -> Places:
    """Lay out a run.

    Parameters
    ----------
    hidden : iterable of Population
        Whose spikes are kept.
    plans, few : mapping of str to Plan
        Those that have kernels; some of them once more, for few spikes.
    B, T : int
        Images and steps.
    images : collection of str
        Populations that the image feeds.
    gated : collection of str
        Populations of which not all neurons are let out.
    keeping : bool
        Whether these are observing steps.
    rho : int
        Steps of a run that are observed, for initial potentials to be moved.

    Returns
    -------
    Places
        Where everything is.
    """
    spikes, begun, size = _spikes(hidden, B, T, rho)
    kept = {}
    for name, plan in plans.items():
        if hasattr(plan.population.neuron, "keeps"):
            kept[name] = size
            size += B * pixels(plan.population)
    blocks = {name: block_of(plan, T) for name, plan in plans.items()}
    calls, fewer, splits, observing = {}, {}, {}, {}
    for name, plan in plans.items():
        listed, fed = _listed(plan, blocks[name], B, T, size), name in images
        own = {
            "steps": T,
            "listed": patterns(T, blocks[name]),
            "positive": spikes.get((name, 1), -1),
            "negative": spikes.get((name, -1), -1),
            "gate": kept[name] if name in gated and name in kept else -1,
            "keep": kept[name] if keeping and name in kept else -1,
        }
        seen = {**spikes, **listed}
        calls[name] = _calls(plan, seen, spikes, own, fed=fed)
        if name in few:
            fewer[name] = _calls(few[name], seen, spikes, own, fed=fed)
        if plan.moves:
            own |= {"steps": rho, "listed": rho, "positive": begun[name, 1], "moves": 1}
            observing[name] = _calls(plan, begun, begun, own, fed=fed)
        words = sources_of(plan)
        splits[name] = [(spikes[key], at, words[key]) for key, at in listed.items()]
    return Places(
        size=size + B * words_listed(plans, blocks, T) + 16 * LANES,
        spikes=spikes,
        kept=kept,
        blocks=blocks,
        splits=splits,
        calls=calls,
        few=fewer,
        begun=begun,
        observing=observing,
    )


def _spikes(
    hidden: Iterable[Population], B: int, T: int, rho: int
) -> tuple[dict[tuple[str, int], int], dict[tuple[str, int], int], int]:
    """Say where spikes are, those of observed steps once more, and where they end."""
    spikes, begun, size = {}, {}, 0
    for p in hidden:
        for sign in p.signs:
            spikes[p.name, sign] = size
            size += T * B * pixels(p)
            begun[p.name, sign] = size
            size += rho * B * pixels(p)
    return spikes, begun, size


def _calls(
    plan: Plan, lists: Sources, taps: Sources, own: dict[str, int], *, fed: bool
) -> tuple[Call, ...]:
    """Say where the parts of a population find spikes, and where they write them."""
    places = {**own, **_by_image(plan, fed)}
    return tuple(
        call_of(
            part, lists, taps, {**places, "worst": part.job["worst"] * own["steps"]}
        )
        for part in plan.parts
    )


def _listed(
    plan: Plan, block: tuple[int, ...], B: int, T: int, at: int
) -> dict[tuple[str, int], int]:
    """Say where sources that are listed by patterns go, from a place on."""
    places = {}
    for source, words in sources_of(plan).items() if len(block) > 1 else ():
        places[source] = at
        at += B * patterns(T, block) * words
    return places


def _by_image(plan: Plan, fed: bool) -> dict[str, int]:
    """Say how the current of an image, and potentials moved for it, are laid out."""
    _, H, W = plan.shape
    lanes = plan.words * LANES
    strides = {"image": H * W * lanes, "row": W * lanes, "column": plan.fold * lanes}
    names = ["constant"] * fed + ["start"] * plan.moves
    return {f"{name}_{k}": stride for name in names for k, stride in strides.items()}
