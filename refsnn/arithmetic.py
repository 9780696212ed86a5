"""Modes and carriers: in which numbers a spiking network is simulated, chosen openly.

``ordered``: float64, every sum in the one stated order; always there. ``exact``: every
sum and potential is the exact result of the stored numbers, by certificate, so order,
batch, threads, kernel and carrier (float64, float32, int32) cannot change a bit, and
the bits are those of ``ordered``. ``fixed``: integers of a declared format.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from refsnn.accumulators import ACCUMULATORS, accumulator
from refsnn.certificate import Certificate, certify
from refsnn.errors import AccumulatorError, OptionError
from refsnn.fixed import Fixed
from refsnn.layers import LinearMap
from refsnn.network import INPUT, Population, Projection, SpikingNetwork
from refsnn.neurons import potentials
from refsnn.numerics import (
    Array,
    floor_half_up,
    per_channel,
    require_finite,
    round_to_grid,
)
from refsnn.profile import REFSNN
from refsnn.ranges import ranges

MODES = ("exact", "ordered", "fixed")
CARRIERS = tuple(ACCUMULATORS)

Accumulate = Callable[[LinearMap, Array, Array], Array]
"""Adds the terms of a map to sums: :meth:`refsnn.layers.LinearMap.accumulate`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """The numbers that a run is made in; what :func:`resolve` returns.

    Attributes
    ----------
    mode : str
        ``exact``, ``ordered`` or ``fixed``.
    carrier : str
        ``float64``, ``float32`` or ``int32``; ``int64`` in mode ``fixed``.
    bits : int or None
        Bits of the certificate that the run rests on; None without one.
    checked : bool
        Whether potentials are checked in the run, because their range was seen in a
        run and not proved for every input.
    fixed : Fixed or None
        The format of mode ``fixed``.
    """

    mode: str
    carrier: str = "float64"
    bits: int | None = None
    checked: bool = False
    fixed: Fixed | None = None

    @property
    def of_readout(self) -> Arithmetic:
        """The numbers of the readout, which counts in float64 or in integers."""
        return self if self.fixed else dataclasses.replace(self, carrier="float64")

    @property
    def dtype(self) -> type[Any]:
        """Type that sums and potentials are held in."""
        return np.int64 if self.fixed else ACCUMULATORS[self.carrier].dtype

    def unit(self, p: Population) -> Array:
        """Return what one stands for in the carrier.

        Parameters
        ----------
        p : Population
            A population of neurons.

        Returns
        -------
        ndarray of float64, shape () or (C,), potential
            1 for floating point, the grid for integers.
        """
        if self.fixed:
            return np.array(2.0**-self.fixed.fraction)
        if self.carrier == "int32" and p.grid is not None:
            grid: Array = np.ldexp(1.0, -p.grid)
            return grid
        return np.array(1.0)

    def rounds_currents_of(self, p: Population) -> bool:
        """Say whether the image's current into a population is rounded once.

        Parameters
        ----------
        p : Population
            Any population.

        Returns
        -------
        bool
            Whether it is, bias included; if not, its terms are summed like others.
        """
        return p.fed_by_image and (p.grid is not None or self.fixed is not None)

    def image_current(
        self, snn: SpikingNetwork, p: Population, x: Array, accumulate: Accumulate
    ) -> Array:
        """Sum the current that the image causes, bias included; round it once.

        Parameters
        ----------
        snn : SpikingNetwork
            The network, for errors.
        p : Population
            A population that the image feeds.
        x : ndarray of float64, shape (B, C, H, W)
            Analog input.
        accumulate : callable
            Adds the terms of a map to sums.

        Returns
        -------
        ndarray, shape (B, *S)
            What :meth:`current` makes of it.
        """
        acc = np.zeros((len(x), *p.shape))
        acc = image_terms(p.projections, acc, x, accumulate)
        if p.bias is not None:
            acc = acc + p.over("bias")
        where = f"spiking network {snn.name}, current of population {p.name}"
        require_finite(acc, where=where, axes="(sample, *shape)")
        return self.current(snn, p, acc)

    def current(self, snn: SpikingNetwork, p: Population, analog: Array) -> Array:
        """Round the current that the image causes, and express it in the unit.

        Parameters
        ----------
        snn : SpikingNetwork
            The network, for errors.
        p : Population
            A population that the image feeds.
        analog : ndarray of float64, shape (B, *S), potential
            The current, bias included.

        Returns
        -------
        ndarray, shape (B, *S)
            The current in the carrier.

        Raises
        ------
        AccumulatorError
            If it is larger than any image can cause, so that nothing was proved of it.
        """
        if p.grid is not None:
            grid = per_channel(p.grid, p.shape, where=f"population {p.name}, grid")
            analog = round_to_grid(analog, grid)
            if self.mode == "exact":
                _need_image(snn, p, analog)
        unit = per_channel(self.unit(p), p.shape, where="unit")
        scaled = floor_half_up(analog / unit) if self.fixed else analog / unit
        if self.fixed and not (np.abs(scaled) < 2.0**62).all():
            _need_image(snn, p, analog)
        current: Array = scaled.astype(self.dtype)
        return current

    def prepared(self, p: Population) -> Population:
        """Return a population in units of the carrier, without what the image feeds.

        Parameters
        ----------
        p : Population
            A population of neurons.

        Returns
        -------
        Population
            Its projections from other populations, and its bias if it is not part of
            the image's current.
        """
        if self.rounds_currents_of(p):
            inner = tuple(q for q in p.projections if q.source != INPUT)
            p = dataclasses.replace(p, projections=inner, bias=None)
        if self.fixed:
            return self.fixed.quantised(p)
        unit = self.unit(p)
        return p if unit.ndim == 0 else p.in_units_of(unit)

    def require_room(
        self,
        p: Population,
        start: int,
        x: Array,
        s: Array,
        v: Array,
        theta: Array,
        where: str,
    ) -> None:
        """Refuse potentials that the carrier may not have held exactly.

        Parameters
        ----------
        p : Population
            The population.
        start : int
            Number of steps before these.
        x : ndarray, shape (T', B, *S)
            Currents, in the carrier.
        s : ndarray of int8, shape (T', B, *S)
            Spikes.
        v : ndarray, shape (B, *S)
            Potential before these steps, in the carrier.
        theta : ndarray
            Threshold, in the carrier.
        where : str
            Network and population, for the error.

        Raises
        ------
        AccumulatorError
            At the first potential of size 2^p g or more. Until then the run was exact:
            a sum that rounds has at least that size, rounded or not.
        """
        if not self.checked or p.grid is None:
            return
        held = ACCUMULATORS[self.carrier]
        if self.carrier == "int32":
            x, v, limit = x.astype(np.int64), v.astype(np.int64), np.array(2**held.bits)
        else:
            grid = per_channel(p.grid, p.shape, where=f"population {p.name}, grid")
            limit = np.ldexp(1.0, held.bits - grid)
        for t, (u, _) in enumerate(potentials(x, s, v, theta)):
            outside = np.abs(u) >= limit
            if outside.any():
                sample, *neuron = (int(i) for i in np.argwhere(outside)[0])
                raise AccumulatorError(
                    where=f"{where}, step {start + t + 1}, sample {sample}, "
                    f"neuron {tuple(neuron)}",
                    got=f"a potential of {u[(sample, *neuron)]}",
                    expected=f"less than {held.bits} bits of its grid, as in the run "
                    f"that the network was snapped with",
                    do="Run it with --carrier float64, or snap it for this data.",
                )


def image_terms(
    projections: Iterable[Projection], acc: Array, x: Array, accumulate: Accumulate
) -> Array:
    """Add the terms of the projections from the image, in order.

    Parameters
    ----------
    projections : iterable of Projection
        Projections into one population; those from others are passed over.
    acc : ndarray, shape (B, *S)
        The sums so far; terms are computed and added in its type.
    x : ndarray of float64, shape (B, C, H, W)
        Analog input.
    accumulate : callable
        Adds the terms of a map to sums.

    Returns
    -------
    ndarray, shape (B, *S)
        The sums.
    """
    for q in projections:
        if q.source == INPUT:
            acc = accumulate(q.op, acc, q.pooled(x))
    return acc


def _need_image(snn: SpikingNetwork, p: Population, current: Array) -> None:
    """Refuse a current that no image of uint8 pixels can cause."""
    known = ranges(snn)[p.name].current
    if known is None:
        return
    outside = (current < known[0]) | (current > known[1])
    if outside.any():
        index = tuple(int(i) for i in np.argwhere(outside)[0])
        raise AccumulatorError(
            where=f"spiking network {snn.name}, population {p.name}, current of the "
            f"image, (sample, *neuron) {index}",
            got=f"{current[index]}",
            expected=f"{known[0][index[1:]]} to {known[1][index[1:]]}, which pixels of "
            "0 to 255 can cause",
            do="Run an input that is no image in mode ordered.",
        )


def resolve(
    snn: SpikingNetwork,
    T: int,
    *,
    mode: str | None = None,
    carrier: str | None = None,
    fixed: Fixed | None = None,
) -> Arithmetic:
    """Choose the numbers of a run, or refuse those without a certificate.

    Parameters
    ----------
    snn : SpikingNetwork
        A network in canonical form.
    T : int
        Number of steps.
    mode : str, optional
        One of :data:`MODES`. By default ``fixed`` if a format is given, ``exact`` if
        a carrier is, and otherwise the network's own, but ``ordered`` if the network is
        not certified for these T steps.
    carrier : str, optional
        One of :data:`CARRIERS`; float64 by default.
    fixed : Fixed, optional
        The format of mode ``fixed``.

    Returns
    -------
    Arithmetic
        The choice.

    Raises
    ------
    OptionError
        If a name is unknown, the options do not go together, or mode ``exact`` is
        asked for where nothing is proved; with the bits needed and available.
    """
    if mode not in (None, *MODES):
        raise OptionError(where="mode", got=mode, expected=f"one of {', '.join(MODES)}")
    if carrier is not None:
        accumulator(carrier)
    if mode == "fixed" or fixed is not None:
        if mode not in (None, "fixed") or carrier is not None:
            got = f"mode {mode}, carrier {carrier} and a fixed-point format"
            raise OptionError(where="mode", got=got, expected="mode fixed, no carrier")
        chosen = fixed or Fixed()
        _need_integers(snn, T, chosen)
        return Arithmetic(mode="fixed", carrier="int64", fixed=chosen)
    if mode == "ordered":
        if carrier not in (None, "float64"):
            raise OptionError(
                where="carrier", got=carrier, expected="float64 in mode ordered"
            )
        return Arithmetic(mode="ordered")
    held = carrier or "float64"
    foreign = snn.profile != REFSNN  # nothing is proved of other conventions
    if mode is None and carrier is None and (snn.mode == "ordered" or foreign):
        return Arithmetic(mode="ordered")
    certificate, seen = certified(snn, held, T)
    if certificate.holds:
        bits = certificate.bits
        return Arithmetic(mode="exact", carrier=held, bits=bits, checked=seen)
    if mode is None and carrier is None:
        return Arithmetic(mode="ordered")
    raise OptionError(
        where=f"spiking network {snn.name}, mode exact on {held}, T = {T}",
        got=certificate.why_not,
        expected=f"{ACCUMULATORS[held].bits} bits or fewer in every population",
        do=f"Snap the network for {held} (refsnn convert --snap {held} -T {T}), or run "
        "it in mode ordered.",
    )


def rounded_for(snn: SpikingNetwork) -> str | None:
    """Name the carrier that a network was rounded for, if it is another network for it.

    Parameters
    ----------
    snn : SpikingNetwork
        A network in canonical form.

    Returns
    -------
    str or None
        ``float32`` or ``int32``; None for float64, which changes nothing, and under
        other conventions, of which nothing is proved.
    """
    name = (snn.certificate or {}).get("accumulator", "float64")
    return None if name == "float64" or snn.profile != REFSNN else name


def _need_integers(snn: SpikingNetwork, T: int, fixed: Fixed) -> None:
    """Refuse a fixed-point run whose sums 64 bits do not hold, or that moves v(0)."""
    where = f"spiking network {snn.name}, mode fixed"
    if snn.stages.rho:
        raise OptionError(
            where=where,
            got="initial potentials that are moved for each image (COS)",
            expected="a method without offset steps",
        )
    for name, r in ranges(snn).items():
        steps = T if r.population.neuron is None else 1
        size = steps * max(float(r.P.max()), float(r.Nn.max())) * 2.0**fixed.fraction
        if not size < 2.0**62:
            raise OptionError(
                where=f"{where}, population {name}, format {fixed.format}",
                got=f"sums of up to {size:.3g} units",
                expected="fewer than 2^62",
                do="Give the format fewer bits behind the point.",
            )


def certified(
    snn: SpikingNetwork, name: str, T: int, *, static: bool = False
) -> tuple[Certificate, bool]:
    """Certify a network, by proof or else by the run that it was snapped with.

    Parameters
    ----------
    snn : SpikingNetwork
        A network in canonical form.
    name : str
        The accumulator.
    T : int
        Number of steps.
    static : bool
        Whether only a proof for every input will do.

    Returns
    -------
    certificate : Certificate
        The certificate.
    seen : bool
        Whether it rests on a stored run, of this accumulator and at least T steps.
    """
    proved = certify(snn, name, T=T)
    stored = snn.certificate or {}
    fits = stored.get("accumulator") == name and stored.get("T", 0) >= T
    if proved.holds or static or not fits or "recursion" not in stored:
        return proved, False
    return certify(snn, name, T=T, recursion=stored["recursion"]), True


def rounding(snn: SpikingNetwork, fixed: Fixed) -> dict[str, float]:
    """Report what the rounding of parameters to a fixed-point format changed.

    Parameters
    ----------
    snn : SpikingNetwork
        A network in canonical form.
    fixed : Fixed
        The format.

    Returns
    -------
    dict of str to float
        ``max_weight_change`` in units of theta, ``zeroed`` weights, ``weights``.
    """
    chosen = Arithmetic(mode="fixed", carrier="int64", fixed=fixed)
    most, zeroed, count = 0.0, 0, 0
    for p in snn.populations:
        unit = float(chosen.unit(p))
        inner = [q.op.weight for q in _inner(chosen, p)]
        for old, new in zip(
            inner, (q.op.weight for q in chosen.prepared(p).projections), strict=True
        ):
            most = max(most, float(np.abs(new * unit - old).max()))
            zeroed += int(np.count_nonzero((new == 0) & (old != 0)))
            count += old.size
    return {"max_weight_change": most, "zeroed": zeroed, "weights": count}


def _inner(chosen: Arithmetic, p: Population) -> Iterable[Any]:
    rounds = chosen.rounds_currents_of(p)
    return [q for q in p.projections if not (rounds and q.source == INPUT)]
