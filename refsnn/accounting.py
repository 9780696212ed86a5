"""Energy: exact operation counts times named, cited tables.

Counts come first. Two tables in use differ 32-fold in what a MAC costs against a
synaptic operation (4.6/0.9 and 12.5/0.077), so an energy is never shown without its
table's name. A negative spike costs one operation like a positive one; a spike that
passes a pooling window is counted once for every synapse behind the window. MACs are
dense counts with padding taps, as published counts are; synaptic operations stop at the
borders.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from refsnn.numerics import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class EnergyTable:
    """Energy of each operation, in pJ.

    Attributes
    ----------
    synop : float
        One synaptic operation: one spike at one synapse.
    first_mac : float
        One multiply-accumulate of the analog first layer.
    ann_mac : float or None
        One multiply-accumulate of the trained network; None where the table has none.
    update : float
        One update of one neuron.
    source : str
        Where the numbers were read.
    status : str
        What about them is verified.
    """

    synop: float
    first_mac: float
    ann_mac: float | None
    update: float
    source: str
    status: str

    def ann_pJ(self, macs: int) -> float | None:
        """Return the energy of the trained network.

        Parameters
        ----------
        macs : int
            Multiply-accumulates.

        Returns
        -------
        float or None
            Energy in pJ; None if the table has no such entry.
        """
        return None if self.ann_mac is None else self.ann_mac * macs

    def snn_pJ(
        self, synops: Array, first_layer_macs: int, neurons: int, observed: Array
    ) -> list[float]:
        """Return the energy of a spiking network up to each step.

        Parameters
        ----------
        synops : ndarray of int64, shape (T,)
            Synaptic operations of each step.
        first_layer_macs : int
            Multiply-accumulates of the constant current, computed once.
        neurons : int
            Neurons updated in each step.
        observed : ndarray of int64, shape (tau,)
            Synaptic operations of each observing step; they are paid at every T.

        Returns
        -------
        list of float, length T
            Energy in pJ of steps 1..t.
        """
        steps = np.arange(1, len(synops) + 1, dtype=np.int64) + len(observed)
        updates = neurons * steps
        energy = (
            self.synop * (np.cumsum(synops) + observed.sum())
            + self.update * updates
            + self.first_mac * first_layer_macs
        )
        return [float(value) for value in energy]


ENERGY_TABLES: dict[str, EnergyTable] = {
    "horowitz-45nm": EnergyTable(
        synop=0.9,
        first_mac=4.6,
        ann_mac=4.6,
        update=0.0,
        source="32-bit floating point at 45 nm and 0.9 V: addition 0.9 pJ, "
        "multiplication 3.7 pJ. M. Horowitz, Computing's energy problem, ISSCC 2014",
        status="read in a re-tabulation (PMC8934428, Table 3)",
    ),
    "sop-77fj": EnergyTable(
        synop=0.077,
        first_mac=12.5,
        ann_mac=12.5,
        update=0.0,
        source="77 fJ a synaptic operation: Qiao et al., Front. Neurosci. 2015 "
        "(ROLLS); 12.5 pJ a FLOP, used beside it with one FLOP a MAC "
        "(arXiv 2409.03368, App. F)",
        status="the origin of 12.5 pJ is not verified",
    ),
    "loihi": EnergyTable(
        synop=23.6,
        first_mac=23.6,
        ann_mac=None,
        update=81.0,
        source="Loihi: 23.6 pJ a synaptic operation, 81 pJ an update of an active "
        "neuron. M. Davies et al., IEEE Micro 2018",
        status="both numbers read in the source of keras-spiking; every neuron is "
        "charged at every step; a connection of the analog first layer counts as one "
        "synaptic operation; the chip runs no ANN",
    ),
}
"""Energy tables by name."""


def energies(
    synops: Array,
    *,
    observed: Array,
    neurons: int,
    first_layer_macs: int,
    ann_macs: int | None,
) -> dict[str, dict[str, Any]]:
    """Return the energy of counted operations under every table.

    Parameters
    ----------
    synops : ndarray of int64, shape (T,)
        Synaptic operations of each step.
    observed : ndarray of int64, shape (tau,)
        Those of each observing step.
    neurons : int
        Neurons updated in each step.
    first_layer_macs : int
        Multiply-accumulates of the constant current, computed once.
    ann_macs : int or None
        Multiply-accumulates of the trained network.

    Returns
    -------
    dict
        By table: ``ann_pJ`` (None if unknown) and ``snn_pJ``, one number for each t.
    """
    return {
        name: {
            "ann_pJ": None if ann_macs is None else table.ann_pJ(ann_macs),
            "snn_pJ": table.snn_pJ(synops, first_layer_macs, neurons, observed),
        }
        for name, table in ENERGY_TABLES.items()
    }


def counts(result: Mapping[str, Any]) -> list[tuple[str, int, int, int, str, int]]:
    """Count what every population did in all steps, over all images.

    Parameters
    ----------
    result : mapping
        A ``refsnn-result``.

    Returns
    -------
    list of tuple
        Name, neurons, spikes, negative spikes, spikes of both signs a neuron and step
        with four decimals, synaptic operations.
    """
    rows = []
    for name, p in result["snn"]["populations"].items():
        spikes, negative, synops = (
            sum(p[key]) for key in ("spikes", "negative", "synops")
        )
        rate = (spikes + negative) / (p["neurons"] * result["images"] * result["T"])
        rows.append((name, p["neurons"], spikes, negative, f"{rate:.4f}", synops))
    return rows


def microjoules(result: Mapping[str, Any], t: int | None) -> list[str]:
    """Return the energy of an image under every table, in uJ with three decimals.

    Parameters
    ----------
    result : mapping
        A ``refsnn-result``.
    t : int or None
        The steps; None for the trained network.

    Returns
    -------
    list of str
        By table; a dash where it is not known.
    """
    tables = result["energy"].values()
    energies = [e["ann_pJ"] if t is None else e["snn_pJ"][t - 1] for e in tables]
    return [
        "-" if pJ is None else f"{pJ / result['images'] / 1e6:,.3f}" for pJ in energies
    ]
