"""Runs that were made."""

from __future__ import annotations

import dataclasses

from refsnn.evaluate import Tally
from refsnn.network import Network, SpikingNetwork
from refsnn.reproduce.declared import Run


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Done:
    """A run that was made: integers.

    Attributes
    ----------
    run : Run
        The declaration.
    T : int
        Number of steps of the conversion.
    data : str
        The data set.
    tally : Tally
        Sums over the images.
    ann : Network
        The trained network.
    snn : SpikingNetwork
        The converted network.
    sha256, net_sha256 : str
        Their hashes.
    """

    run: Run
    T: int
    data: str
    tally: Tally
    ann: Network
    snn: SpikingNetwork
    sha256: str
    net_sha256: str

    @property
    def steps(self) -> tuple[int, ...]:
        """The wanted T that this conversion answers."""
        return self.run.steps if self.run.conversions != self.run.steps else (self.T,)

    @property
    def ann_macs(self) -> int:
        """Multiply-accumulates of the trained network over the images."""
        return self.tally.images * self.ann.macs()
