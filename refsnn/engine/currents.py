"""The current that an image causes in a population, laid out in lanes."""

from __future__ import annotations

import dataclasses

import numpy as np

from refsnn import kernels
from refsnn.arithmetic import Arithmetic
from refsnn.engine.geometry import as_map
from refsnn.engine.layout import LANES, in_lanes
from refsnn.engine.plan import Plan
from refsnn.kernels.currents import image_currents
from refsnn.layers import Conv2d
from refsnn.network import INPUT, SpikingNetwork
from refsnn.numerics import Array, aligned, per_channel
from refsnn.ranges import ranges


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Currents:
    """The current of one population that the image feeds.

    Attributes
    ----------
    plan : Plan
        The population.
    arithmetic : Arithmetic
        The numbers of the run.
    kernel : dict of str to ndarray, or None
        Operands of the kernel, if the image comes by one convolution.
    """

    plan: Plan
    arithmetic: Arithmetic
    kernel: dict[str, Array] | None

    def __call__(self, snn: SpikingNetwork, x: Array) -> tuple[Array, Array]:
        """Compute the current of some images.

        Parameters
        ----------
        snn : SpikingNetwork
            The network.
        x : ndarray of float64, shape (B, C, H, W)
            Analog input.

        Returns
        -------
        fast, true : ndarray, shape (B, H', W', lanes)
            In the numbers of the plan, and in float64.
        """
        if self.kernel is None:
            return self._as_defined(snn, x)
        _, H, W = self.plan.shape
        shape = (len(x), H, W, self.plan.words * LANES)
        fast: Array = np.empty(shape, dtype=self.plan.numbers.dtype)
        true = np.empty(shape)
        k = self.kernel
        outside = image_currents(
            *((0,) * self.plan.words, x, k["weights"], k["bias"]),
            *((int(k["shape"][0]), int(k["shape"][1])), k["rows"], k["columns"]),
            *(k["one"], k["bounds"], true, fast, k["scale"]),
        )
        return self._as_defined(snn, x) if outside else (fast, true)

    def _as_defined(self, snn: SpikingNetwork, x: Array) -> tuple[Array, Array]:
        """Compute the current as its definition does, and lay it out."""
        p = self.plan.population
        plain = dataclasses.replace(self.arithmetic, carrier="float64")
        true = plain.image_current(snn, p, x, kernels.accumulate)
        true = true.reshape(len(x), *as_map(p.shape))
        lanes = self.plan.words * LANES
        true = np.moveaxis(true, 1, 0)
        fast = self.plan.numbers.of(true)
        return in_lanes(fast, lanes, 0.0), in_lanes(true, lanes, 0.0)


def image_current(snn: SpikingNetwork, plan: Plan, arithmetic: Arithmetic) -> Currents:
    """Prepare the current of a population that the image feeds.

    Parameters
    ----------
    snn : SpikingNetwork
        The network.
    plan : Plan
        The population.
    arithmetic : Arithmetic
        The numbers of the run.

    Returns
    -------
    Currents
        The current, as a function of the images.
    """
    p = plan.population
    fed = [q for q in p.projections if q.source == INPUT]
    op, kernel = fed[0].op, None
    plain = len(fed) == 1 and not fed[0].pool and (p.bias is None or p.bias.ndim < 2)
    if plain and type(op) is Conv2d and op.groups == 1:
        kernel = _operands(snn, plan, op)
    return Currents(plan=plan, arithmetic=arithmetic, kernel=kernel)


def _operands(snn: SpikingNetwork, plan: Plan, op: Conv2d) -> dict[str, Array]:
    """Lay out a first layer for its kernel."""
    p, lanes = plan.population, plan.words * LANES
    O, _, P, Q = op.weight.shape
    _, H, W = plan.shape
    (top, _), (left, _) = op.pads
    rows = np.arange(H)[:, None] * op.stride[0] + np.arange(P) * op.dilation[0] - top
    columns = np.arange(W)[:, None] * op.stride[1] + np.arange(Q) * op.dilation[1]
    _, height, width = snn.input_shape
    bias = np.zeros(O) if p.bias is None else np.broadcast_to(p.bias, (O,))
    bounds = ranges(snn)[p.name].current or ()
    grid = per_channel(p.grid, p.shape[:1], where="grid")  # type: ignore[arg-type]  # of() has looked
    return {
        "weights": aligned(in_lanes(op.weight.astype(np.float64), lanes, 0.0)),
        "bias": aligned(in_lanes(bias.astype(np.float64), lanes, 0.0)),
        "shape": np.array([P, Q]),
        "rows": _inside(rows, height),
        "columns": _inside(columns - left, width),
        "one": in_lanes(np.ldexp(1.0, grid), lanes, 1.0),
        "scale": in_lanes(np.ldexp(1.0, plan.numbers.q), lanes, 1.0)
        if plan.numbers.dtype is np.int32
        else np.zeros(0),
        "bounds": np.stack(
            [in_lanes(bound.reshape(plan.shape), lanes, 0.0) for bound in bounds]
        ),
    }


def _inside(index: Array, size: int) -> Array:
    inside: Array = np.where((index >= 0) & (index < size), index, -1).astype(np.int64)
    return inside
