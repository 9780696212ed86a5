"""Undoing what a recording does to spikes that were right."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping

import numpy as np

from refsnn.numerics import Array
from refsnn.trace import Trace

AXES = ("T", "B", "C", "H", "W")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Undone:
    """What is left when something was undone.

    Attributes
    ----------
    name : str
        What was undone, and where.
    remaining : int
        Differing spikes that are left.
    complete : bool
        Whether every recorded population could be compared.
    """

    name: str
    remaining: int
    complete: bool = True


def axis_order(golden: Trace, other: Mapping[str, Array]) -> Undone | None:
    """Look for axes in another order than (T, B, C, H, W), the same everywhere.

    Parameters
    ----------
    golden : Trace
        The reference.
    other : mapping of str to ndarray of int8
        The recording.

    Returns
    -------
    Undone or None
        The order with the fewest differences, of those whose shapes fit.
    """
    best: Undone | None = None
    deep = max(np.ndim(s) for s in other.values())
    for order in itertools.permutations(range(deep)):
        if order == tuple(range(deep)):
            continue
        remaining = 0
        for name, s in other.items():
            want = golden.populations[name].spikes
            axes = [i for i in order if i < s.ndim]
            back = np.argsort(axes)
            if s.ndim != want.ndim or s.transpose(back).shape != want.shape:
                break
            remaining += int(np.count_nonzero(s.transpose(back) != want))
        else:
            text = ", ".join(AXES[i] for i in order)
            found = Undone(name=f"axis-order ({text})", remaining=remaining)
            if best is None or found.remaining < best.remaining:
                best = found
    return best


def channel_order(golden: Trace, other: Mapping[str, Array]) -> Undone | None:
    """Look for channels, or neurons of a vector, in another order.

    Parameters
    ----------
    golden : Trace
        The reference.
    other : mapping of str to ndarray of int8
        The recording.

    Returns
    -------
    Undone or None
        With all populations whose trains are a permutation of the trace's put right.
    """
    permuted, remaining = [], 0
    for name, s in other.items():
        want = golden.populations[name].spikes
        if s.shape != want.shape:
            return None
        if np.array_equal(s, want):
            continue
        if _trains(s) == _trains(want):
            permuted.append(name)
        else:
            remaining += int(np.count_nonzero(s != want))
    if not permuted:
        return None
    return Undone(name=f"channel-order of {', '.join(permuted)}", remaining=remaining)


def _trains(s: Array) -> list[bytes]:
    channels = np.moveaxis(s, 2, 0)
    return sorted(np.ascontiguousarray(channel).tobytes() for channel in channels)


def missing_first_step(golden: Trace, other: Mapping[str, Array]) -> Undone | None:
    """Look for a recording that begins with the second step, everywhere.

    Parameters
    ----------
    golden : Trace
        The reference.
    other : mapping of str to ndarray of int8
        The recording, of one step fewer, or of as many with nothing in the last one.

    Returns
    -------
    Undone or None
        What is left on the steps that both have.
    """
    remaining, steps = 0, golden.T - 1
    for name, s in other.items():
        want = golden.populations[name].spikes[1:]
        if steps < 2 or s.shape[1:] != want.shape[1:] or s[steps:].any():
            return None
        if s.shape[0] not in {steps, steps + 1}:
            return None
        remaining += int(np.count_nonzero(s[:steps] != want))
    return Undone(name="missing-first-step", remaining=remaining)


def recording_delay(golden: Trace, other: Mapping[str, Array]) -> Undone | None:
    """Look for populations that were recorded some steps late.

    Parameters
    ----------
    golden : Trace
        The reference.
    other : mapping of str to ndarray of int8
        The recording.

    Returns
    -------
    Undone or None
        With every population shifted back by the fewest steps that make it equal to
        the trace on the steps that both have; nothing was emitted in those before.
    """
    late: dict[str, int] = {}
    remaining = 0
    for name, s in other.items():
        want = golden.populations[name].spikes
        if s.shape != want.shape:
            return None
        shift = next((k for k in range(golden.T) if _is_late(s, want, k)), None)
        if shift is None:
            remaining += int(np.count_nonzero(s != want))
        elif shift:
            late[name] = shift
    if not late:
        return None
    text = ", ".join(f"{name} by {k}" for name, k in late.items())
    return Undone(name=f"recording-delay of {text}", remaining=remaining)


def _is_late(s: Array, want: Array, steps: int) -> bool:
    """Say whether a train is the other, so many steps later, and not just silent."""
    kept = want[: len(want) - steps]
    heard = steps == 0 or bool(kept.any())
    return heard and not s[:steps].any() and np.array_equal(s[steps:], kept)


def number_of_steps(golden: Trace, other: Mapping[str, Array]) -> Undone | None:
    """Look for a recording of fewer or more steps, or with a silent one in front.

    Parameters
    ----------
    golden : Trace
        The reference.
    other : mapping of str to ndarray of int8
        The recording.

    Returns
    -------
    Undone or None
        What is left on the steps that both have.
    """
    lengths = {len(s) for s in other.values()}
    if lengths == {golden.T} or len(lengths) != 1 or 0 in lengths:
        return None
    (T,) = lengths
    found = []
    for first in (0, 1):
        steps, remaining = min(T - first, golden.T), 0
        for name, s in other.items():
            want = golden.populations[name].spikes
            if s.shape[1:] != want.shape[1:] or s[:first].any() or steps < 2:
                break
            got = s[first : first + steps]
            remaining += int(np.count_nonzero(got != want[:steps]))
        else:
            extra = ", the first one empty" if first else ""
            text = f"{T} steps in place of {golden.T}{extra}"
            found.append(Undone(name=text, remaining=remaining))
    return min(found, key=lambda undone: undone.remaining, default=None)


def flattened(golden: Trace, other: Mapping[str, Array]) -> Undone | None:
    """Look for populations whose channels, rows and columns are one axis.

    Parameters
    ----------
    golden : Trace
        The reference.
    other : mapping of str to ndarray of int8
        The recording.

    Returns
    -------
    Undone or None
        What is left in the trace's shapes.
    """
    remaining, flat = 0, []
    for name, s in other.items():
        want = golden.populations[name].spikes
        if s.shape != want.shape:
            flat.append(name)
        if s.size != want.size or s.shape[:2] != want.shape[:2]:
            return None
        remaining += int(np.count_nonzero(s.reshape(want.shape) != want))
    if not flat:
        return None
    return Undone(name=f"flattened {', '.join(flat)}", remaining=remaining)


def sample_order(golden: Trace, other: Mapping[str, Array]) -> Undone | None:
    """Look for samples in another order, the same everywhere.

    Parameters
    ----------
    golden : Trace
        The reference.
    other : mapping of str to ndarray of int8
        The recording.

    Returns
    -------
    Undone or None
        None if a sample is not one of the trace's.
    """
    want = {name: golden.populations[name].spikes for name in other}
    if any(s.shape != want[name].shape for name, s in other.items()):
        return None

    def samples(spikes: Mapping[str, Array]) -> list[bytes]:
        return [
            b"".join(np.ascontiguousarray(s[:, i]).tobytes() for s in spikes.values())
            for i in range(len(golden.samples))
        ]

    ours, theirs = samples(want), samples({name: other[name] for name in want})
    if ours == theirs or sorted(ours) != sorted(theirs):
        return None
    order = [ours.index(sample) for sample in theirs]
    text = ", ".join(map(str, order[:8])) + (", ..." if len(order) > 8 else "")
    return Undone(name=f"sample-order ({text})", remaining=0)


UNDOINGS: dict[str, Callable[[Trace, Mapping[str, Array]], Undone | None]] = {
    "axis-order": axis_order,
    "sample-order": sample_order,
    "channel-order": channel_order,
    "flattened": flattened,
    "missing-first-step": missing_first_step,
    "number-of-steps": number_of_steps,
    "recording-delay": recording_delay,
}
"""What can be undone, by name."""
