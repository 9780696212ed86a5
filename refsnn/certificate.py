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
from refsnn.network import SpikingNetwork
from refsnn.ranges import Ranges, ranges


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
        The largest size that it can reach, in units of theta; of its sums where
        potentials are those of a run.
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
