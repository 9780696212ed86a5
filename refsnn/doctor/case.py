"""A network under examination, and what it should be."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import NamedTuple

import numpy as np

from refsnn.calibrate import by_channel, watch_ann
from refsnn.datasets import Images
from refsnn.errors import OptionError
from refsnn.methods import METHODS, prepared
from refsnn.network import Network, Population, SpikingNetwork
from refsnn.numerics import Array
from refsnn.restored import need_made_of, scales, uncalibrated

BATCH = 50
"""Images of the trained network at once; no result depends on it."""

V0_LOOSE = 0.05
"""Distance from one half, in theta, of v(0) and shift where the method is unknown."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """A converted network, the trained one it was made of, and images.

    Parameters
    ----------
    ann : Network
        The trained network.
    snn : SpikingNetwork
        The converted one, in canonical form.
    data : Images
        Labelled images.
    T : int
        Number of steps.

    Raises
    ------
    OptionError
        If the two networks have other graphs, or the converted one says that it was
        made of another one than this.
    """

    ann: Network
    snn: SpikingNetwork
    data: Images
    T: int

    def __post_init__(self) -> None:
        self.snn.need_canonical()
        want = {n.name: self.ready.shapes[n.name] for n in self.ready.activations}
        got = {p.name: p.shape for p in self.snn.hidden}
        self._need_same("population", want, got)
        if self.snn.ann_sha256:
            need_made_of(self.snn, self.ann)
        self._need_same(
            "input of",
            _wires(self.expected),
            _wires({p.name: p for p in self.snn.populations}),
        )

    @cached_property
    def ready(self) -> Network:
        """The trained network as the method rewrote it, batch norms folded."""
        return prepared(self.snn, self.ann)

    @cached_property
    def expected(self) -> dict[str, Population]:
        """What the populations should be, by their own thresholds, without shift."""
        return uncalibrated(self.ready, scales(self.snn))

    def _need_same(
        self, what: str, want: Mapping[str, object], got: Mapping[str, object]
    ) -> None:
        """Refuse a converted network whose graph is another one's."""
        reasons = [f"no {what} {n}" for n in want if n not in got]
        reasons += [f"{what} {n}, which is none of its" for n in got if n not in want]
        reasons += [
            f"{what} {n} is {got[n]}, where {due} is due"
            for n, due in want.items()
            if n in got and got[n] != due
        ]
        if reasons:
            raise OptionError(
                where=f"converted network {self.snn.name}",
                got="; ".join(reasons),
                expected="a population for every activation of the trained network "
                f"{self.ann.name}, of its name, shape and inputs",
                do="An activation left without neurons has to be converted, too.",
            )

    @property
    def shift(self) -> float:
        """What the method adds to every current, in units of theta."""
        method = METHODS.get(self.snn.method)
        return 1 / (2 * self.T) if method and method.shifts else 0.0

    def shift_of(self, p: Population) -> float:
        """Return what is added to every current of a population, in units of theta.

        Parameters
        ----------
        p : Population
            One of the network's.

        Returns
        -------
        float
            0 for the readout. Of an unknown method: 0 if v(0) makes one half alone,
            else the mean distance of the biases from the trained network's.
        """
        if p.neuron is None:
            return 0.0
        if self.snn.method in METHODS:
            return self.shift
        if abs(float(np.mean(p.v0)) - 0.5) <= V0_LOOSE:
            return 0.0
        return float(np.mean(self.more_bias(p)))

    def more_bias(self, p: Population) -> Array:
        """Subtract the trained network's bias from that of a population.

        Parameters
        ----------
        p : Population
            One of the network's.

        Returns
        -------
        ndarray, broadcastable over S, in units of theta
            The method's shift, if nothing else was changed.
        """
        model = self.expected[p.name]
        own = np.zeros(()) if model.bias is None else model.over("bias")
        return (np.zeros(()) if p.bias is None else p.over("bias")) - own

    @cached_property
    def activity(self) -> dict[str, Array]:
        """Sums of every channel's activations over the images, by activation."""
        return self.sums(lambda name, a: a)  # noqa: ARG005 - nothing is done to them

    def sums(
        self, what: Callable[[str, Array], Array], *, readout: bool = False
    ) -> dict[str, Array]:
        """Add up something of the trained network's activations.

        Parameters
        ----------
        what : callable
            From an activation's name and outputs, shape (B, *S), to as many numbers.
        readout : bool
            Whether the logits take part.

        Returns
        -------
        dict of str to ndarray, shape (C,)
            Sums over images, rows and columns, by activation.
        """
        names = {p.name for p in (self.snn.populations if readout else self.snn.hidden)}
        total: dict[str, Array] = {}

        def observe(name: str, a: Array) -> None:
            if name in names:
                rows = by_channel(what(name, a))
                total[name] = total.get(name, 0) + rows.sum(axis=1)

        watch_ann(self.ready, self.data.images, observe, batch=BATCH)
        return total

    def having(self, snn: SpikingNetwork, T: int | None = None) -> Case:
        """Return the case of another network.

        Parameters
        ----------
        snn : SpikingNetwork
            The network.
        T : int, optional
            Its number of steps, if that is another too.

        Returns
        -------
        Case
            The case.
        """
        return Case(ann=self.ann, snn=snn, data=self.data, T=self.T if T is None else T)

    def changed(
        self, change: Callable[[Population], Population], **fields: object
    ) -> Case:
        """Change every population, and give up the grids, which hold no longer.

        Parameters
        ----------
        change : callable
            From a population to another.
        **fields
            Fields of the network that change too.

        Returns
        -------
        Case
            The case of the network that results.
        """
        populations = tuple(
            dataclasses.replace(change(p), grid=None) for p in self.snn.populations
        )
        how: dict[str, object] = {"mode": "ordered", "certificate": None, **fields}
        return self.having(
            dataclasses.replace(self.snn, populations=populations, **how)  # type: ignore[arg-type]  # its fields
        )

    def rescaled(self, factors: Mapping[str, Array]) -> Case:
        """Multiply thresholds, v(0) and the shift staying what they are of theta.

        Parameters
        ----------
        factors : mapping of str to ndarray, shape () or (C,)
            Factor of each population's threshold.

        Returns
        -------
        Case
            The case of the network that results.
        """
        one = np.array(1.0)

        def change(p: Population) -> Population:
            own = factors.get(p.name, one)
            projections = tuple(
                q.with_weight(
                    q.op.normalised(factors.get(q.source, one), 1, own).weight
                )
                for q in p.projections
            )
            bias = p.bias
            if bias is not None:
                shift = 0.0 if p.neuron is None else self.shift
                shaped = own.reshape(-1, *[1] * (bias.ndim - 1)) if own.ndim else own
                bias = (bias - shift) / shaped + shift
            return dataclasses.replace(
                p, projections=projections, bias=bias, scale=p.scale * own
            )

        return self.changed(change)

    def at_steps(self, T: int) -> Case:
        """Run another number of steps, with the shift that belongs to it.

        Parameters
        ----------
        T : int
            Number of steps.

        Returns
        -------
        Case
            The case of the network for that many steps.
        """
        fixed = self.snn.T is not None
        more = (1 / T - 1 / self.T) / 2 if self.shift else 0.0

        def change(p: Population) -> Population:
            if p.neuron is None or p.bias is None or not more:
                return p
            return dataclasses.replace(p, bias=p.bias + more)

        case = self.changed(change, T=T if fixed else None)
        return self.having(case.snn, T)


def _wires(populations: Mapping[str, Population]) -> dict[str, str]:
    """Tell in words which projections populations have, and of which shapes."""
    return {
        name: ", ".join(
            f"{q.op.op} {q.op.weight.shape} from {q.source}" for q in p.projections
        )
        for name, p in populations.items()
    }


class Sign(NamedTuple):
    """By what a fault shows itself.

    Attributes
    ----------
    number : float
        How bad it is; what it measures is in `measures`.
    layer : str
        The population where it is worst.
    measures : str
        What the number is.
    """

    number: float
    layer: str
    measures: str


def worst(numbers: Mapping[str, float], measures: str) -> Sign | None:
    """Return the sign of the population with the largest number.

    Parameters
    ----------
    numbers : mapping of str to float
        By population; empty if there is no sign.
    measures : str
        What they are.

    Returns
    -------
    Sign or None
        The first of the largest.
    """
    if not numbers:
        return None
    layer = max(numbers, key=lambda name: numbers[name])
    return Sign(float(numbers[layer]), layer, measures)
