"""Fixed-point arithmetic: integers of a declared format and accumulator.

Parameters are rounded to Qm.n: a sign bit, m bits before and n behind the point, as
integers r = floor(w 2^n + 1/2), halves up (a negative threshold is rounded down, which
changes no decision). The current that the image causes is a sum and may be larger than
the format; it is rounded to n bits behind the point in the same way. A membrane is a
two's complement integer of the accumulator's width; per step

    u = v + the sum of the step's terms, brought into range by the overflow rule

and firing and reset are those of the neuron. The readout counts in 64 bits.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable

import numpy as np

from refsnn.errors import AccumulatorError, OptionError
from refsnn.network import Population
from refsnn.numerics import Array, floor_half_up

OVERFLOWS = ("error", "wrap", "saturate-step", "saturate-each")
"""What happens to a potential that leaves the accumulator.

``error``: the run ends. ``wrap``: two's complement, whatever the order of additions.
``saturate-step``: the exact sum of a step is clipped once. ``saturate-each``: the
potential is clipped after every addition, terms in the order of mode `ordered`.
"""

WIDEST = 48
"""Widest accumulator, so that the exact sum of a step fits 64 bits."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fixed:
    """A fixed-point format.

    Parameters
    ----------
    format : str
        ``Qm.n``, the format of the parameters.
    accumulator : int
        Bits of the membrane, its sign included; it has n bits behind the point too.
    overflow : str
        One of :data:`OVERFLOWS`.
    """

    format: str = "Q7.16"
    accumulator: int = 32
    overflow: str = "error"

    def __post_init__(self) -> None:
        known = re.fullmatch(r"Q(\d{1,2})\.(\d{1,2})", self.format)
        if not known or sum(map(int, known.groups())) > WIDEST - 1:
            expected = f"Qm.n with m + n below {WIDEST}, such as Q7.8"
            raise OptionError(where="format", got=repr(self.format), expected=expected)
        if not 2 <= self.accumulator <= WIDEST:
            expected = f"2 to {WIDEST} bits"
            raise OptionError(
                where="accumulator", got=self.accumulator, expected=expected
            )
        if self.overflow not in OVERFLOWS:
            expected = f"one of {', '.join(OVERFLOWS)}"
            raise OptionError(
                where="overflow", got=repr(self.overflow), expected=expected
            )
        if 2**self.fraction > self.highest:
            raise OptionError(
                where=f"accumulator of {self.accumulator} bits",
                got=f"a largest value of {self.highest}",
                expected=f"at least the threshold, 2^{self.fraction} in {self.format}",
            )

    def __str__(self) -> str:
        """Say it in a few words."""
        return f"{self.format} in {self.accumulator} bits, overflow {self.overflow}"

    @property
    def fraction(self) -> int:
        """Bits behind the point."""
        return int(self.format.partition(".")[2])

    @property
    def parameter(self) -> int:
        """The smallest size that a parameter cannot have, in units of 2^-n."""
        return 1 << sum(map(int, self.format[1:].split(".")))

    @property
    def highest(self) -> int:
        """The largest value of the accumulator, in units of 2^-n."""
        return (1 << self.accumulator - 1) - 1

    def quantised(self, p: Population) -> Population:
        """Return a population in units of 2^-n, its parameters rounded to the format.

        Parameters
        ----------
        p : Population
            A canonical population, without projections from the image.

        Returns
        -------
        Population
            The same population, all operands integers.

        Raises
        ------
        OptionError
            If a parameter does not fit the format.
        """
        unit = np.array(2.0**-self.fraction)
        grid = np.full(p.shape[:1], self.fraction)
        neuron = p.neuron and p.neuron.on_grid(grid)
        p = dataclasses.replace(p, neuron=neuron).in_units_of(unit)
        projections = tuple(
            q.with_weight(floor_half_up(q.op.weight)) for q in p.projections
        )
        bias = None if p.bias is None else floor_half_up(p.bias)
        v0 = floor_half_up(p.v0)
        values = {"weights": [q.op.weight for q in projections], "v(0)": [v0]}
        values["thresholds"] = []
        if p.neuron:
            values["thresholds"] = [p.theta, *p.neuron.potentials.values()]
        values["bias"] = [] if bias is None else [bias]
        for name, arrays in values.items():
            self._need_fit(p, name, arrays)
        if p.neuron and (v0.min() < -self.highest - 1 or v0.max() > self.highest):
            raise OptionError(
                where=f"population {p.name}, v(0)",
                got=f"{v0.min():.0f} to {v0.max():.0f} units of 2^-{self.fraction}",
                expected=f"what an accumulator of {self.accumulator} bits holds",
                do="Give the accumulator more bits.",
            )
        return dataclasses.replace(
            p, projections=projections, bias=bias, v0=v0, grid=None
        )

    def _need_fit(self, p: Population, name: str, arrays: Iterable[Array]) -> None:
        for array in arrays:
            least, most = float(array.min()), float(array.max())
            if least < -self.parameter or most >= self.parameter:
                raise OptionError(
                    where=f"population {p.name}, {name}",
                    got=f"{least * 2.0**-self.fraction} to "
                    f"{most * 2.0**-self.fraction}",
                    expected=f"numbers that {self.format} holds",
                    do="Give the format more bits before the point.",
                )

    def charged(self, v: Array, terms: Iterable[Array], where: str) -> Array:
        """Charge a potential with the terms of a step.

        Parameters
        ----------
        v : ndarray of int64, shape (B, *S)
            Potential.
        terms : iterable of ndarray of int64
            The terms in order; for rules without an order their sum will do.
        where : str
            Network, population and step, for the error.

        Returns
        -------
        ndarray of int64, shape (B, *S)
            u.

        Raises
        ------
        AccumulatorError
            Under the rule ``error``, at the first neuron that overflows.
        """
        least, most = -self.highest - 1, self.highest
        u = v
        for term in terms:
            u = u + term.reshape(v.shape)
            if self.overflow == "saturate-each":
                u = np.clip(u, least, most)
        if self.overflow == "wrap":
            wrapped: Array = (u - least) % (2**self.accumulator) + least
            return wrapped
        if self.overflow == "error":
            outside = (u < least) | (u > most)
            if outside.any():
                sample, *neuron = (int(i) for i in np.argwhere(outside)[0])
                raise AccumulatorError(
                    where=f"{where}, sample {sample}, neuron {tuple(neuron)}",
                    got=f"a potential of {int(u[(sample, *neuron)])} units of "
                    f"2^-{self.fraction}",
                    expected=f"{least} to {most}, which {self.accumulator} bits hold",
                    do="Take a wider accumulator, or another overflow rule.",
                )
        return np.clip(u, least, most)
