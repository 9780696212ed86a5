"""Initial potentials that differ from image to image, laid out in lanes."""

from __future__ import annotations

import numpy as np

from refsnn.engine.layout import LANES, in_lanes
from refsnn.engine.plan import Plan
from refsnn.numerics import Array


class Starts:
    """The initial potentials of a population, at first those of the network.

    Parameters
    ----------
    plan : Plan
        The population.
    B : int
        Images.

    Attributes
    ----------
    fast, true : ndarray, shape (B, H, W, lanes)
        In the numbers of the plan, and in float64.
    """

    def __init__(self, plan: Plan, B: int) -> None:
        self.plan, lanes = plan, plan.words * LANES
        v0 = np.broadcast_to(plan.population.over("v0"), plan.population.shape)
        own = in_lanes(v0.reshape(plan.shape), lanes, 0.0)
        self.one = in_lanes(np.ldexp(1.0, plan.numbers.q), lanes, 1.0)
        self.true = np.repeat(own[None], B, axis=0)
        self.fast = np.repeat(self._in_numbers(own)[None], B, axis=0)

    def _in_numbers(self, true: Array) -> Array:
        """Express potentials in the numbers of the plan, or in the nearest."""
        scaled = true * self.one
        if self.plan.numbers.filtered:
            np.rint(scaled, out=scaled)
        return scaled.astype(self.plan.numbers.dtype, copy=False)

    def move(self, moved: Array) -> None:
        """Go on with others.

        Parameters
        ----------
        moved : ndarray of float64, shape (B, H, W, lanes), potential
            The initial potentials.
        """
        self.true, self.fast = moved, self._in_numbers(moved)

    def potentials(self) -> Array:
        """Return them as the network has them.

        Returns
        -------
        ndarray of float64, shape (B, *S), potential
            Initial potentials.
        """
        maps = np.moveaxis(self.true[..., : self.plan.shape[0]], -1, 1)
        return np.ascontiguousarray(maps).reshape(-1, *self.plan.population.shape)
