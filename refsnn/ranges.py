"""How large the sums of every population can be, and on which grid they lie.

The bounds of :mod:`refsnn.certificate`: for each neuron the largest sums of positive
and of negative terms, and the range of its initial potential.
"""

from __future__ import annotations

import dataclasses
from weakref import WeakKeyDictionary

import numpy as np

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
