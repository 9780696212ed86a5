"""Candidates: a network under another convention, or with a fault put in."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import cast

from refsnn.compare.faults import Fault
from refsnn.errors import DomainError
from refsnn.network import SpikingNetwork
from refsnn.neurons import Neuron
from refsnn.neurons import under as neuron_under
from refsnn.numerics import Array
from refsnn.profile import Profile


@dataclasses.dataclass(frozen=True, kw_only=True)
class Changed:
    """A network under a candidate.

    Attributes
    ----------
    kind : str
        What was changed; empty for the network as it is.
    name : str
        The same, and where.
    snn : SpikingNetwork
        The changed network.
    scales : mapping of str to float
        What the image's currents are multiplied by, by population.
    rounds : int
        How often it is run, its state not reset between; the last run counts.
    masked : bool
        Whether masks are obeyed.
    """

    kind: str = ""
    name: str = ""
    snn: SpikingNetwork
    scales: Mapping[str, float] = dataclasses.field(default_factory=dict)
    rounds: int = 1
    masked: bool = True

    def currents(self, plain: Mapping[str, Array]) -> dict[str, Array]:
        """Return the image's currents in the changed network's units.

        Parameters
        ----------
        plain : mapping of str to ndarray, shape (B, *S), potential
            The currents.

        Returns
        -------
        dict of str to ndarray, shape (B, *S), potential
            The currents.
        """
        return {name: x * self.scales.get(name, 1.0) for name, x in plain.items()}

    def but(self, kind: str, name: str, **changes: object) -> Changed:
        """Return it with one more change.

        Parameters
        ----------
        kind, name : str
            What is changed; and where.
        **changes : object
            Fields.

        Returns
        -------
        Changed
            The candidate, named by both changes.
        """
        return dataclasses.replace(
            self,
            kind="; ".join(filter(None, (self.kind, kind))),
            name="; ".join(filter(None, (self.name, name))),
            **changes,  # type: ignore[arg-type]  # its own fields
        )


def under(base: Changed, name: str, profile: Profile) -> Changed | None:
    """Put a network under other conventions.

    Parameters
    ----------
    base : Changed
        The network.
    name : str
        What differs.
    profile : Profile
        The conventions.

    Returns
    -------
    Changed or None
        None where they are not defined.
    """
    if base.snn.stages.rho:
        return None
    try:
        for p in base.snn.hidden:
            neuron_under(cast(Neuron, p.neuron), profile)
    except DomainError:
        return None
    changed = dataclasses.replace(base, kind=name, name=name)  # a fault comes behind
    snn = dataclasses.replace(base.snn, profile=profile)
    return changed.but(base.kind, base.name, snn=snn)


def faulted(base: Changed, faults: Mapping[str, Fault]) -> Changed | None:
    """Put faults into populations.

    Parameters
    ----------
    base : Changed
        The network.
    faults : mapping of str to Fault
        By population.

    Returns
    -------
    Changed or None
        None if one changes nothing there.
    """
    populations, scales = [], dict(base.scales)
    for p in base.snn.populations:
        fault = faults.get(p.name)
        broken = fault.change(p) if fault else p
        if broken is None:
            return None
        populations.append(broken)
        if fault:
            scales[p.name] = scales.get(p.name, 1.0) * fault.input_scale
    by_fault: dict[str, list[str]] = {}
    for population, fault in faults.items():
        by_fault.setdefault(fault.name, []).append(population)
    name = "; ".join(f"{f} in {', '.join(where)}" for f, where in by_fault.items())
    whole = all(p.grid is not None for p in populations)
    snn = dataclasses.replace(
        base.snn,
        populations=tuple(populations),
        mode=base.snn.mode if whole else "ordered",
    )
    return base.but("; ".join(by_fault), name, snn=snn, scales=scales)
