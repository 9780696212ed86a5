"""One population in mode ``ordered`` on the event-driven kernels.

Nothing is certified here: weights and biases are any float64 numbers, and what counts
are the roundings of one stated order of additions. The filter of
:mod:`refsnn.engine.filter` decides most neurons all the same. Its potential u' in
integers and the true one, u, of real sums differ by at most h = ceil(n / 2) after n
terms, in units of 2^-q. It is an integer, so a neuron that is not marked has

    u' - 2^q >=  h + 1,  so u 2^q >= 2^q + 1,  or
    u' - 2^q <= -h - 1,  so u 2^q <= 2^q - 1.

The potential of mode ``ordered``, of float64 sums in their order, differs from u by the
roundings of its operations: at most 2 for a term (a product, a sum) and 3 for a step
(bias, charge, reset), each of a number below 2^30 units, so of at most 2^-23 units. As
long as there are fewer than 2^22 of them, that is less than half a unit, and the
float64 potential is on the same side of theta as u is. By induction over steps every
spike of an unmarked neuron is that of mode ``ordered``. Marked ones are computed again
by their definition, term by term.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from refsnn import neurons
from refsnn.engine.calls import call_of
from refsnn.engine.geometry import Windows, windows
from refsnn.engine.layout import LANES, from_words
from refsnn.engine.plan import Part, Plan, prepare
from refsnn.engine.served import why_ordinary
from refsnn.kernels import doubts
from refsnn.network import SpikingNetwork
from refsnn.neurons import IF
from refsnn.numerics import Array
from refsnn.profile import REFSNN
from refsnn.ranges import ranges_of

ROUNDINGS = 2**22
"""Roundings of a neuron's run that the filter has room for."""

FINE = 4
"""As that of :mod:`refsnn.engine.filter`: here the ordinary kernels, which take longer
than many doubts, would serve where it is not met."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Ordered:
    """A population, prepared.

    Attributes
    ----------
    plan : Plan
        Its layout, in filtered integers.
    T : int
        Number of steps.
    seen : tuple of (str, Windows)
        Source and layout of every projection, in graph order.
    """

    plan: Plan
    T: int
    seen: tuple[tuple[str, Windows], ...]

    def fire(self, spikes: Mapping[str, Array]) -> Array:
        """Take the population through all steps.

        Parameters
        ----------
        spikes : mapping of str to ndarray of uint16, shape (B, T, H, W, words)
            Spikes of its sources, as :func:`refsnn.engine.layout.in_words` packs them.

        Returns
        -------
        ndarray of uint16, shape (B, T, H', W', words)
            Its spikes: those of mode ``ordered``.
        """
        _, H, W = self.plan.shape
        B = len(next(iter(spikes.values())))
        shape, places, parts, end = (H, W, self.plan.words), {}, [], 0
        for name, words in spikes.items():
            places[name, 1] = end
            parts.append(words.reshape(-1))
            end += words.size
        own = B * self.T * H * W * self.plan.words
        parts.append(np.zeros(own + 16 * LANES, dtype=np.uint16))
        arena = np.concatenate(parts)
        doubtful = np.zeros((B, *shape), dtype=np.uint16)
        for part in self.plan.parts:
            self._gather(part, arena, places, end, doubtful)
        fired = arena[end : end + own].reshape(B, self.T, *shape).copy()
        sites = np.argwhere(from_words(doubtful, self.plan.shape[0]))
        if len(sites):
            doubts.set_at(fired, sites, self._again(sites, spikes))
        return fired

    def _gather(
        self,
        part: Part,
        arena: Array,
        places: Mapping[tuple[str, int], int],
        end: int,
        doubtful: Array,
    ) -> None:
        """Compute some channels in integers; mark who is in doubt."""
        call = call_of(
            *(part, places, places),
            {
                "steps": self.T,
                "listed": self.T,
                "positive": end,
                "negative": -1,
                "gate": -1,
                "keep": -1,
                "worst": part.job["worst"] * self.T,
            },
        )
        doubts.gather_doubtful(
            *(call.registers, call.window, arena, call.tables, call.job),
            *(call.lists, call.taps, call.fast, *call.room()),
            *(len(doubtful) * call.job.height, doubtful.reshape(-1)),
        )

    def _again(self, sites: Array, spikes: Mapping[str, Array]) -> Array:
        """Compute some neurons as defined; return their spikes, (T, K)."""
        p = self.plan.population
        current = np.zeros((self.T, len(sites)))
        for source, w in self.seen:
            width = len(w.weight) // w.groups
            layout = (width, w.rows, w.columns, w.first)
            weight = np.ascontiguousarray(w.weight, dtype=np.float64)
            doubts.add_at(current, sites, spikes[source], weight, *layout)
        at = tuple(sites[:, 1 : 1 + len(p.shape)].T)

        def of(field: str) -> Array:
            values: Array = np.broadcast_to(p.over(field), p.shape)[at]
            return values

        if p.bias is not None:
            current = current + of("bias")
        state = neurons.initial_state(of("v0"), (1, len(sites)))
        s, _ = neurons.unroll(IF(), current[:, None], state, of("theta"))
        first: Array = s[:, 0]
        return first


def ordered(snn: SpikingNetwork, name: str, T: int) -> Ordered | None:
    """Prepare a population for mode ``ordered``.

    Parameters
    ----------
    snn : SpikingNetwork
        A network in canonical form.
    name : str
        A population of IF neurons.
    T : int
        Number of steps.

    Returns
    -------
    Ordered or None
        None if the ordinary kernels have to serve: it is fed by the image, has no
        event-driven kernel, a source spikes negatively, or the filter has no room for
        its sums or roundings, or need not look twice.
    """
    p = snn[name]
    plain = type(p.neuron) is IF and snn.profile == REFSNN and not snn.stages.rho
    if p.fed_by_image or not plain or why_ordinary(snn, p):
        return None
    if any(len(snn[source].signs) > 1 for source in p.sources):
        return None
    plan = prepare(snn, p, ranges_of(snn, p), T, "float64", FINE)
    seen = [(q.source, windows(q, snn.shape_of(q.source))) for q in p.projections]
    laid = tuple((source, w) for source, w in seen if w is not None)
    terms = sum(w.weight[0].size for _, w in laid)
    if not plan.numbers.filtered or T * (2 * terms + 3) >= ROUNDINGS:
        return None
    return Ordered(plan=plan, T=T, seen=laid)


def counts(words: Array, C: int) -> Array:
    """Count spikes over all steps.

    Parameters
    ----------
    words : ndarray of uint16, shape (B, T, H, W, words)
        Spikes.
    C : int
        Channels.

    Returns
    -------
    ndarray of int64, shape (B, C, H, W)
        Their number.
    """
    B, _, H, W, size = words.shape
    by_pixel = np.zeros((B, H, W, size * LANES), dtype=np.int64)
    doubts.counts_of(words, by_pixel)
    return np.moveaxis(by_pixel[..., :C], -1, 1)
