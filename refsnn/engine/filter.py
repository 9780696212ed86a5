"""Filtered evaluation: exact float64 results from int32 sums.

As geometric predicates do: compute cheaply with a proven bound on the error, decide
where the bound allows it, and compute again exactly where it does not.

Let a population's operands W', I (bias or image), v(0) be any real numbers, and let
each be rounded once to a multiple of 2^-q: R(w) = rint(w 2^q), so that

    |R(w) 2^-q - w| <= 2^-q / 2.                                                   (1)

theta = 1 is 2^q exactly. The population is run in integers: u' is the potential after
the charge of step t, u the true one (a real number; float64 holds it by certificate).
Let n be the number of terms added so far, or more: spikes listed, as often as a window
counts them, where rows are looked up by fours those that the windows of a tile see
together, one for each element and sign of a window of the channel itself, one for each
step of a constant current, and one for v(0). (Sums that are looked up are sums of
rounded rows.) Suppose that all earlier decisions of the neuron were right. Then both
have subtracted the same spikes times theta, without error, and by (1)

    |u' 2^-q - u| <= n 2^-q / 2,   so with h = ceil(n / 2):   |u' - u 2^q| <= h.   (2)

- If u' - 2^q > h, then u > theta: it fires in exact arithmetic too.
- If u' - 2^q < -h, then u < theta: it does not.
- Otherwise the neuron is *marked*.

A negative threshold, and SRP's tolerance, are not multiples of 2^-q. Let c = floor of
it times 2^q. If u' - c > h then u' >= c + 1 + h, so u 2^q >= c + 1 > c, and it lies
above; if u' - c < -h it lies below; otherwise the neuron is marked.

A marked neuron is computed again from the first step on in float64, from the same
lists, and its bits are written anew. Its sources are exact, since they were computed
before. By induction over steps, and over populations in their order, every spike is
the exact one. What a marked neuron's integers do afterwards does not matter, nor
whether they wrap.

Observing steps, behind which COS moves initial potentials, ask of the last potential
whether it is below 0, and whether it is at theta or above. Both are multiples of 2^-q,
so by (2) a neuron that is not near one of them, and was in doubt at no step, has the
integers' answers. All others, and those that are wrong by these answers, are taken
through the steps in float64, from the lists, which gives their new v(0); their bits are
not written anew, since nobody reads them. The run that follows begins with that v(0),
rounded once, as any other.

For those of the others nothing wraps: q is chosen so that the static bound on |u| (see
:mod:`refsnn.certificate`) leaves |u'| + h and both thresholds below 2^30, channel by
channel. Sums of a step may be added in any order, since integers modulo 2^32 do not
mind. A population whose terms are multiples of 2^-q anyway, as those of weights of few
bits, needs no filter: its potentials are integers, so thresholds round to them. Where h
could leave too many in doubt, were all sources to spike at every step, float64 is used,
or, of a population that the image does not feed and whose v(0) is not moved, integers
all the same if they spike seldom enough. That 2^30 leaves room does not depend on it.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from refsnn.numerics import Array
from refsnn.ranges import Ranges

ROOM = 30
"""Bits that potentials, thresholds and bounds stay below, so that their differences
fit into int32."""

FINE = 7
"""Integers always serve if a neuron's doubt, 2 h, spans 2^-FINE theta at most, whatever
its sources do; only time depends on it."""

FINE_OF_SPIKES = 9
"""Otherwise they serve if it spans 2^-FINE_OF_SPIKES theta at most by the spikes there
are, on average: then about 1 neuron in 100 is in doubt, in 64 steps, which takes as
long as integers save. Only time depends on it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Numbers:
    """The numbers that a population is run in.

    Attributes
    ----------
    dtype : type
        ``int32``, ``float32`` or ``float64``.
    q : ndarray of int64, shape (C,)
        One is 2^q of them.
    filtered : bool
        Whether operands are rounded, and doubtful neurons computed again.
    """

    dtype: type
    q: Array
    filtered: bool

    @property
    def whole(self) -> bool:
        """Whether sums are exact integers, and thresholds can be rounded to them."""
        return self.dtype is np.int32 and not self.filtered

    @property
    def terms(self) -> int:
        """Terms up to which integers serve, see :data:`FINE_OF_SPIKES`."""
        return int(np.ldexp(1.0, int(self.q.min()) - FINE_OF_SPIKES))

    def of(self, values: Array, *, down: bool = False) -> Array:
        """Express potentials in these numbers.

        Parameters
        ----------
        values : ndarray of float64, shape (C, ...), potential
            Potentials.
        down : bool
            Whether they are thresholds, which are rounded down.

        Returns
        -------
        ndarray
            The same, or the nearest, halves to even.
        """
        q = self.q.reshape(-1, *[1] * (values.ndim - 1))
        scaled = np.ldexp(values, q)
        if self.filtered:
            scaled = np.floor(scaled) if down else np.rint(scaled)
        with np.errstate(invalid="ignore"):  # a weight that meets no pixel may be large
            return scaled.astype(self.dtype)


def numbers(
    r: Ranges, T: int, terms: int, carrier: str, fine: int | None = None
) -> Numbers:
    """Choose the numbers that a population is run in.

    Parameters
    ----------
    r : Ranges
        What its operands can add up to.
    T : int
        Number of steps.
    terms : int
        Terms of a step, at most.
    carrier : str
        The carrier of the run, by whose certificate it is exact.
    fine : int, optional
        Integers serve if doubts are at most 2^-fine theta; by default `FINE`.

    Returns
    -------
    Numbers
        For float64 integers where they can serve, filtered or not.
    """
    none = np.zeros_like(r.q)
    if carrier == "float32":
        return Numbers(dtype=np.float32, q=none, filtered=False)
    if carrier == "int32":
        return Numbers(dtype=np.int32, q=r.q, filtered=False)
    most = 1 + T * terms
    reach = np.maximum(r.potentials(T), r.sums())
    reach = np.broadcast_to(reach, r.population.shape).reshape(len(r.q), -1)
    room = float(2**ROOM - most)
    if room <= 0 or not np.isfinite(reach).all():
        return Numbers(dtype=np.float64, q=none, filtered=False)
    q = np.frexp(room / reach.max(axis=1))[1].astype(np.int64) - 1
    if r.fits(q):
        return Numbers(dtype=np.int32, q=q, filtered=False)
    if (np.ldexp(1.0, q - (FINE if fine is None else fine)) < most).any():
        return Numbers(dtype=np.float64, q=none, filtered=False)
    return Numbers(dtype=np.int32, q=q, filtered=True)
