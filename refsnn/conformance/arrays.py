"""A spiking network as plain arrays, which is all that an adapter gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from refsnn.errors import OptionError
from refsnn.layers import Conv2d
from refsnn.network import INPUT, Population, Projection, SpikingNetwork
from refsnn.neurons import IF, DualThresholdIF, GatedIF
from refsnn.numerics import Array, Shape


def network_arrays(
    snn: SpikingNetwork,
    *,
    masks: Mapping[str, Array] | None = None,
    units: Mapping[str, Array] | None = None,
) -> dict[str, Any]:
    """Lay a network out for an implementation that knows nothing of refsnn.

    Parameters
    ----------
    snn : SpikingNetwork
        A network in canonical form, every population on its grid.
    masks : mapping of str to ndarray of bool, shape (B, *S), optional
        Neurons that are let out, by population, for the batch that will run.
    units : mapping of str to ndarray, shape (C,), optional
        Thresholds by population, if its potentials are wanted in other units.

    Returns
    -------
    dict
        ``populations``: a list in topological order, the readout last, of ``name``,
        ``shape``, ``neuron`` (``IF``, ``DualThresholdIF``, or None for the readout),
        ``theta``, ``theta_neg`` (None for IF), ``v0``, ``mask``, ``bias`` (or None) and
        ``projections``: ``from``, ``op`` (``conv2d``, ``linear``, ``identity``),
        ``weight``, ``stride``, ``padding``, ``dilation``, ``groups`` and ``pool`` (k
        for sums over windows of k x k, ``global``, or None). Numbers are NumPy arrays
        that broadcast over (B, *S), but for weights: conv2d (O, I, kh, kw); linear (O,
        I); identity (C,), by channel. Into a population without rows and columns the
        source is flattened, and every element of it is a channel. Populations that the
        image feeds get its current, bias included, from the caller.

    Raises
    ------
    OptionError
        If the network has what this layout does not: other conventions, offset steps,
        maxima, windows that overlap, a readout fed by the image; or masks are missing.
    """
    snn.need_canonical()
    snn.need_own_conventions()
    if snn.stages.rho or snn.readout.fed_by_image:
        expected = "none of both, for an adapter"
        got = "offset steps of COS, or a readout that the image feeds"
        raise OptionError(where=snn.name, got=got, expected=expected)
    gated = {p.name for p in snn.hidden if isinstance(p.neuron, GatedIF)}
    if gated - set(masks or {}):
        raise OptionError(
            where=snn.name,
            got="a network with masks (SRP), without them",
            expected="the masks of the batch that will run: masks=trace.masks",
        )
    masks, units = masks or {}, units or {}
    return {
        "populations": [
            _population(snn, p, masks.get(p.name), units.get(p.name))
            for p in snn.populations
        ]
    }


def _population(
    snn: SpikingNetwork, p: Population, mask: Array | None, unit: Array | None
) -> dict[str, Any]:
    if unit is not None:
        p = p.in_units_of(1 / unit)
    neuron = p.neuron
    dual = neuron if isinstance(neuron, DualThresholdIF) else None
    if type(neuron) not in (IF, GatedIF, DualThresholdIF, type(None)) or (
        dual and (dual.strict or not dual.guard)
    ):
        expected = "IF, GatedIF, or a guarded DualThresholdIF that is not strict"
        raise OptionError(where=p.name, got=repr(neuron), expected=expected)
    fed = p.fed_by_image and p.grid is not None
    biased = p.bias is not None and not fed
    return {
        "name": p.name,
        "shape": p.shape,
        "neuron": None if neuron is None else "DualThresholdIF" if dual else "IF",
        "theta": np.array(p.over("theta")),
        "theta_neg": np.array(dual.over(p.shape).theta_neg) if dual else None,
        "v0": np.array(p.over("v0")),
        "mask": None if mask is None else np.array(mask),
        "bias": np.array(p.over("bias")) if biased else None,
        "projections": [
            _projection(q, snn.shape_of(q.source))
            for q in p.projections
            if q.source != INPUT
        ],
    }


def _projection(q: Projection, shape: Shape) -> dict[str, Any]:
    op = q.op
    conv = op if isinstance(op, Conv2d) else None
    if conv and len(conv.padding) != 2:
        expected = "as many zeros behind as before"
        got = f"padding {conv.padding}"
        raise OptionError(where=q.source, got=got, expected=expected)
    return {
        "from": q.source,
        "op": op.op,
        "weight": np.array(op.weight),
        "stride": conv.stride if conv else (1, 1),
        "padding": conv.padding if conv else (0, 0),
        "dilation": conv.dilation if conv else (1, 1),
        "groups": conv.groups if conv else 1,
        "pool": _pool(q, shape),
    }


def _pool(q: Projection, shape: Shape) -> int | str | None:
    """Return k for windows of k x k, ``global`` for whole channels, or None."""
    if not q.pool:
        return None
    (pool, *more) = q.pool
    k = pool.kernel[0]
    if q.maxima or more or pool.kernel != pool.stride:
        expected = "one sum over windows side by side"
        raise OptionError(where=q.source, got=repr(q.pool), expected=expected)
    if pool.kernel == shape[1:]:
        return "global"
    if pool.kernel != (k, k):
        expected = "square windows, or whole channels"
        raise OptionError(where=q.source, got=repr(q.pool), expected=expected)
    return k
