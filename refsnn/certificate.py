"""Certificates: how many bits the sums and potentials of a network need.

Every operand of a population's channel is a multiple of g = 2^-q. Then every number
that can arise from adding operands, in any order, with or without fused multiply-adds,
with silent inputs skipped or not, is a multiple of g too; and if its size is at most
2^p g it is a number of p bits, which binary floating point of p bits holds without
rounding (p = 53 for float64, 24 for float32) and two's complement of p + 1 bits holds
if it is below 2^p g (p = 31 for int32). So the result of every order is the exact one.

Inputs are integers in a known range. For each neuron, let P and Nn be the sums of the
largest positive and negative parts of its terms, the bias and the image's current
included. Then

    (S) sums:       every sub-sum of a step lies in [-Nn, P];
                    max(P, Nn, 1, |v(0)|, |theta_neg|) <= 2^p g
    (R) recursion:  u <= max(v(0), 1) + (T-1) max(P-1, 0) + P,
                    u >= min(v(0), 0) - T Nn                        (static)
                    or |u| < 2^p g was seen for every u of a run   (for its input only)
    (F) kernels that add a step's terms to the potential one by one:
                    at any time [v_min - Nn, v_max + P]; statically this is (R)
    readout:        counts are integers, T max(P, Nn) <= 2^53 g, always in float64

The static (R): a potential that does not fire is below 1, one that fires is reduced by
1, and a negative spike at u <= 0 leaves at most 1. So v <= max(v(0), 1) + t max(P-1, 0)
after t steps, and each step adds at most P, or takes away at most Nn. It holds for
every neuron with `fires_at_theta`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from weakref import WeakKeyDictionary

import numpy as np

from refsnn.accumulators import READOUT, Accumulator, accumulator
from refsnn.network import INPUT, Population, Projection, SpikingNetwork, Stages
from refsnn.numerics import Array, bits_behind_point, outward, per_channel


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Ranges:
    """What a population's operands can add up to, before any accumulator is chosen.

    Attributes
    ----------
    population : Population
        The population.
    q : ndarray of int64, shape (C,)
        Bits behind the point of each channel.
    P, Nn : ndarray of float64, shape S, potential
        Every sub-sum of the terms of a step lies in [-Nn, P].
    v0 : tuple of ndarray, shape S, potential
        Least and largest initial potential, which COS moves for each image.
    current : tuple of ndarray, shape S, or None
        Least and largest current that an image can cause, bias included, rounded to
        the grid outwards; None if no projection comes from the image.
    faults : tuple of str
        Why nothing can be proved; empty if something can.
    """

    population: Population
    q: Array
    P: Array
    Nn: Array
    v0: tuple[Array, Array]
    current: tuple[Array, Array] | None
    faults: tuple[str, ...]

    @property
    def g(self) -> Array:
        """The grid, broadcastable over S."""
        q = per_channel(self.q, self.population.shape, where="q")
        g: Array = np.ldexp(1.0, -q)
        return g

    def fits(self, q: Array) -> bool:
        """Say whether everything that is added up is a multiple of 2^-q.

        Parameters
        ----------
        q : ndarray of int64, shape (C,)
            Bits behind the point of each channel, which may be fewer than the grid's.

        Returns
        -------
        bool
            Whether it is. A current that the image causes, and an initial potential
            that is moved for each image, can be any multiple of the grid, if there is
            one.
        """
        p, (low, high) = self.population, self.v0
        if p.fed_by_image or (low < high).any():
            return p.grid is not None and bool((self.q <= q).all())
        scaled = (np.ldexp(rows, q[:, None]) for rows in _terms(p))
        return all(bool((rows == np.rint(rows)).all()) for rows in scaled)

    def sums(self) -> Array:
        """Bound the sub-sums of a step, the thresholds and v(0).

        Returns
        -------
        ndarray, shape S, potential
            max(P, Nn, 1, |v(0)|, |theta_neg|).
        """
        p = self.population
        neuron = p.neuron.over(p.shape).potentials.values() if p.neuron else ()
        size = np.maximum(np.maximum(self.P, self.Nn), 1.0)
        for operand in (*self.v0, *neuron):
            size = np.maximum(size, np.abs(operand))
        return size

    def potentials(self, T: int) -> Array:
        """Bound the potentials of every run of T steps.

        Parameters
        ----------
        T : int
            Number of steps.

        Returns
        -------
        ndarray, shape S, potential
            The larger of the two static bounds of (R).
        """
        low, high = self.v0
        up = np.maximum(high, 1.0) + (T - 1) * np.maximum(self.P - 1, 0.0) + self.P
        down = T * self.Nn - np.minimum(low, 0.0)
        bound: Array = np.maximum(up, down)
        return outward(bound, self.g)

    def logits(self, T: int) -> Array:
        """Bound the readout of every run of T steps.

        Parameters
        ----------
        T : int
            Number of steps.

        Returns
        -------
        ndarray, shape S, potential
            T max(P, Nn).
        """
        return outward(T * np.maximum(self.P, self.Nn), self.g)


_KNOWN: WeakKeyDictionary[SpikingNetwork, dict[str, Ranges]] = WeakKeyDictionary()


def ranges(snn: SpikingNetwork) -> dict[str, Ranges]:
    """Return the ranges of every population; computed once for a network.

    Parameters
    ----------
    snn : SpikingNetwork
        A network in canonical form.

    Returns
    -------
    dict of str to Ranges
        By population, in graph order, the readout last.
    """
    snn.need_canonical()
    snn.need_own_conventions()
    if snn not in _KNOWN:
        _KNOWN[snn] = {p.name: ranges_of(snn, p) for p in snn.populations}
    return _KNOWN[snn]


@np.errstate(over="ignore", invalid="ignore")  # as in certify
def ranges_of(snn: SpikingNetwork, p: Population) -> Ranges:
    """Add up what each projection of a population can contribute.

    Parameters
    ----------
    snn : SpikingNetwork
        A network in canonical form, of this package's conventions.
    p : Population
        The population.

    Returns
    -------
    Ranges
        Its ranges.
    """
    P, Nn = np.zeros(p.shape), np.zeros(p.shape)
    image_P, image_Nn = np.zeros(p.shape), np.zeros(p.shape)
    for projection in p.projections:
        up, down = _extremes(snn, projection)
        if projection.source == INPUT:
            image_P, image_Nn = image_P + up, image_Nn + down
        else:
            P, Nn = P + up, Nn + down
    bias = np.zeros(p.shape) if p.bias is None else p.over("bias")
    q = _grid(p)
    current = None
    if p.fed_by_image:  # rounded analog sums: 2^-30 is more than their roundings
        g = np.ldexp(1.0, -per_channel(q, p.shape, where="q"))
        high = np.ceil((image_P * (1 + 2.0**-30) + np.maximum(bias, 0)) / g) * g
        low = np.ceil((image_Nn * (1 + 2.0**-30) + np.maximum(-bias, 0)) / g) * g
        current = (-low, high)
        P, Nn = P + high, Nn + low
    else:
        P, Nn = P + np.maximum(bias, 0), Nn + np.maximum(-bias, 0)
    g = np.ldexp(1.0, -per_channel(q, p.shape, where="q"))
    P, Nn = outward(P, g), outward(Nn, g)
    return Ranges(
        population=p,
        q=q,
        P=P,
        Nn=Nn,
        v0=_starts(snn.stages, np.broadcast_to(p.over("v0"), p.shape), P, Nn),
        current=current,
        faults=tuple(_faults(snn, p)),
    )


def _starts(stages: Stages, v0: Array, P: Array, Nn: Array) -> tuple[Array, Array]:
    """Bound the initial potentials that COS arrives at; see refsnn.neurons.offset."""
    low, high = v0, v0
    for _ in range(stages.rounds if stages.rho else 0):
        most = np.maximum(high, 1.0) + (stages.rho - 1) * np.maximum(P - 1, 0.0) + P
        least = np.minimum(low, 0.0) - stages.rho * Nn
        low, high = low - np.maximum(most, 1.0), high + np.maximum(2.0 - least, 1.0)
    return low, high


def _extremes(snn: SpikingNetwork, projection: Projection) -> tuple[Array, Array]:
    """Bound the terms of one projection, by what its source can emit."""
    shape = snn.shape_of(projection.source)
    if projection.source == INPUT:
        ends = np.zeros((2, *snn.input_shape), dtype=np.uint8)
        ends[1] = 255
        low, high = snn.preprocess(ends)[:, :, 0, 0].astype(np.float64)
        low, high = np.minimum(low, 0), np.maximum(high, 0)  # padding and skipped terms
    else:
        alphabet = _alphabet(snn[projection.source])
        low, high = (np.full(shape[0], float(a)) for a in alphabet)
    window = projection.divisor
    shape = projection.pooled_shape(shape)
    return projection.op.extremes(low * window, high * window, shape)


def _alphabet(p: Population) -> tuple[int, int]:
    alphabet = p.neuron.alphabet if p.neuron else (0,)
    return min(*alphabet, 0), max(*alphabet, 0)


def _grid(p: Population) -> Array:
    """Return the bits behind the point: as stored, or those that the operands need."""
    if p.grid is not None:
        return p.grid
    q = np.zeros(p.shape[0], dtype=np.int64)
    for rows in _operands(p):
        q = np.maximum(q, _finest(rows))
    return q


def _finest(rows: Array) -> Array:
    finest: Array = bits_behind_point(rows).max(axis=1)
    return finest


def _operands(p: Population) -> list[Array]:
    """List what is added and compared, each as rows of a channel."""
    compared = p.neuron.potentials.values() if p.neuron else ()
    return [*_terms(p), *(_rows(value, p.shape[0]) for value in compared)]


def _terms(p: Population) -> list[Array]:
    """List what is added and subtracted, each as rows of a channel."""
    values = [q.op.weight for q in p.projections if q.source != INPUT]
    if p.bias is not None and not p.fed_by_image:
        values.append(p.bias)
    if p.neuron:
        values += [p.theta, p.v0]
    return [_rows(value, p.shape[0]) for value in values]


def _rows(value: Array, C: int) -> Array:
    """Return a value's elements by channel, shape (C, n)."""
    value = np.asarray(value, dtype=np.float64)
    return (
        np.broadcast_to(value, (C,)).reshape(C, 1)
        if value.ndim == 0
        else value.reshape(C, -1)
    )


def _faults(snn: SpikingNetwork, p: Population) -> list[str]:
    faults = []
    if snn.stages.rho and p.neuron and p.grid is None:
        faults.append("its initial potentials are moved, and not rounded to a grid")
    if p.fed_by_image and p.grid is None:
        faults.append("its current comes from the image and is not rounded to a grid")
    if p.grid is not None and any((_finest(r) > p.grid).any() for r in _operands(p)):
        faults.append("it has operands that are no multiples of its grid")
    return faults


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Bits:
    """What one population needs.

    Attributes
    ----------
    name : str
        The population.
    grid : tuple of int
        Least and most bits behind the point among its channels.
    sums, recursion, membrane : int or None
        Bits that (S), (R) and (F) need; None where nothing is proved. The readout has
        its T steps under `recursion`.
    neuron : tuple of int
        The worst neuron.
    bound : float
        The largest size that it can reach, in units of theta.
    available : int
        Bits of the accumulator.
    faults : tuple of str
        Why nothing is proved.
    """

    name: str
    grid: tuple[int, int]
    sums: int | None
    recursion: int | None
    membrane: int | None
    neuron: tuple[int, ...]
    bound: float
    available: int
    faults: tuple[str, ...]

    @property
    def bits(self) -> int | None:
        """The bits it needs; None if that is not known."""
        if self.sums is None or self.recursion is None:
            return None
        return max(self.sums, self.recursion)

    @property
    def holds(self) -> bool:
        """Whether the accumulator has them."""
        return self.bits is not None and self.bits <= self.available


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Certificate:
    """What a network needs for an accumulator and a number of steps.

    Attributes
    ----------
    accumulator : str
        The accumulator.
    T : int
        Number of steps.
    static : bool
        Whether (R) is proved for every input; otherwise it was seen in a run.
    populations : tuple of Bits
        In graph order, the readout last.
    """

    accumulator: str
    T: int
    static: bool
    populations: tuple[Bits, ...]

    @property
    def holds(self) -> bool:
        """Whether every sum and every potential is exact."""
        return all(p.holds for p in self.populations)

    @property
    def sums_hold(self) -> bool:
        """Whether every sum of a step, and the readout, is exact."""
        *hidden, readout = self.populations
        return readout.holds and all(
            p.sums is not None and p.sums <= p.available for p in hidden
        )

    @property
    def bits(self) -> int | None:
        """Bits that the neurons need; None if that is not known."""
        bits = [p.bits for p in self.populations[:-1]]
        return (
            None if None in bits else max((b for b in bits if b is not None), default=0)
        )

    @property
    def why_not(self) -> str:
        """The first population that does not fit, and why; empty if all do."""
        for p in self.populations:
            if not p.holds:
                reasons = "; ".join(p.faults) or f"{p.bits} bits, {p.available} there"
                return f"population {p.name}: {reasons}"
        return ""


@np.errstate(over="ignore", invalid="ignore")  # what overflows needs too many bits
def certify(
    snn: SpikingNetwork,
    accumulator_name: str = "float64",
    *,
    T: int,
    recursion: Mapping[str, int] | None = None,
) -> Certificate:
    """Say how many bits a network needs, and whether an accumulator has them.

    Parameters
    ----------
    snn : SpikingNetwork
        A network in canonical form.
    accumulator_name : str
        A key of :data:`ACCUMULATORS`.
    T : int
        Number of steps.
    recursion : mapping of str to int, optional
        Bits of the largest potential of each population in a run; static by default.

    Returns
    -------
    Certificate
        A pure function of the network; static ones are computed once for each T. The
        readout is held in float64 always.
    """
    if recursion is not None:
        return _certify(snn, accumulator_name, T, recursion)
    known = _CERTIFIED.setdefault(snn, {})
    key = (accumulator_name, T)
    if key not in known:
        known[key] = _certify(snn, accumulator_name, T, None)
    return known[key]


_CERTIFIED: WeakKeyDictionary[SpikingNetwork, dict[tuple[str, int], Certificate]] = (
    WeakKeyDictionary()
)


def _certify(
    snn: SpikingNetwork,
    accumulator_name: str,
    T: int,
    recursion: Mapping[str, int] | None,
) -> Certificate:
    """Certify every population."""
    held = accumulator(accumulator_name)
    T = max(T, snn.stages.tau)  # the observing steps are certified too
    known = ranges(snn)
    *hidden, readout = known.values()
    populations = [_bits(r, held, T, recursion) for r in hidden]
    populations.append(_readout_bits(readout, T))
    return Certificate(
        accumulator=accumulator_name,
        T=T,
        static=recursion is None,
        populations=tuple(populations),
    )


def _bits(
    r: Ranges, held: Accumulator, T: int, recursion: Mapping[str, int] | None
) -> Bits:
    """Certify the neurons of one population."""
    name, neuron = r.population.name, r.population.neuron
    faults = list(r.faults)
    if held.integer and r.population.grid is None:
        faults.append("it has no stored grid, in units of which integers count")
    unsummed = bool(faults)
    sums = r.sums() / r.g
    if recursion is None and neuron and not neuron.fires_at_theta:
        faults.append(f"how far the potential of {neuron.op} can rise is not known")
    reach = r.potentials(T) / r.g if recursion is None else sums
    worst = np.unravel_index(int(np.argmax(np.maximum(sums, reach))), sums.shape)
    bits = int(held.need(reach).max()) if recursion is None else recursion.get(name)
    membrane = bits
    if recursion is not None and bits is not None:  # a potential, and a step's terms
        most = 2.0**bits + np.maximum(r.P, r.Nn) / r.g
        membrane = int(held.need(most).max())
    return Bits(
        name=name,
        grid=(int(r.q.min()), int(r.q.max())),
        sums=None if unsummed else int(held.need(sums).max()),
        recursion=None if faults else bits,
        membrane=None if faults else membrane,
        neuron=tuple(int(i) for i in worst),
        bound=float(np.maximum(r.sums(), reach * r.g)[worst]),
        available=held.bits,
        faults=tuple(faults),
    )


def _readout_bits(r: Ranges, T: int) -> Bits:
    """Certify the readout, which counts in float64."""
    reach = r.logits(T)
    need = READOUT.need(np.maximum(reach, r.g) / r.g)
    worst = np.unravel_index(int(np.argmax(reach / r.g)), reach.shape)
    bits = None if r.faults else int(need.max())
    return Bits(
        name=r.population.name,
        grid=(int(r.q.min()), int(r.q.max())),
        sums=bits,
        recursion=bits,
        membrane=bits,
        neuron=tuple(int(i) for i in worst),
        bound=float(reach[worst]),
        available=READOUT.bits,
        faults=r.faults,
    )
