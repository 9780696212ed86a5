"""Gradient steps: Adam, stochastic gradient descent, the cosine schedule."""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from refsnn.numerics import Array


class Moments(NamedTuple):
    """What an optimiser carries from step to step.

    Attributes
    ----------
    first, second : ndarray, the shape of the parameter
        Moving averages of the gradient and of its square; descent has no second.
    """

    first: Array
    second: Array


def at_rest(parameter: Array) -> Moments:
    """Return the moments before the first step.

    Parameters
    ----------
    parameter : ndarray
        The parameter.

    Returns
    -------
    Moments
        Zeros.
    """
    return Moments(np.zeros_like(parameter), np.zeros_like(parameter))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adam:
    """Adam, without decay.

    ::

        m <- beta1 m + (1 - beta1) g        v <- beta2 v + (1 - beta2) g^2
        w <- w - rate / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + eps)

    Source: Kingma and Ba, ICLR 2015, algorithm 1.

    Attributes
    ----------
    beta1, beta2, eps : float
        The paper's defaults.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def step(
        self, w: Array, g: Array, moments: Moments, t: int, rate: float
    ) -> tuple[Array, Moments]:
        """Take one step.

        Parameters
        ----------
        w, g : ndarray
            Parameter and gradient.
        moments : Moments
            Before the step.
        t : int
            Number of this step, from 1.
        rate : float
            Learning rate.

        Returns
        -------
        w : ndarray
            The parameter after it.
        moments : Moments
            After the step.
        """
        m = self.beta1 * moments.first + (1 - self.beta1) * g
        v = self.beta2 * moments.second + (1 - self.beta2) * g**2
        root = np.sqrt(v / (1 - self.beta2**t)) + self.eps
        return w - rate / (1 - self.beta1**t) * m / root, Moments(m, v)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Descent:
    """Gradient descent with momentum: m <- momentum m + g, w <- w - rate m.

    Attributes
    ----------
    momentum : float
        The released code's of 2021 by default.
    """

    momentum: float = 0.9

    def step(
        self,
        w: Array,
        g: Array,
        moments: Moments,
        t: int,  # noqa: ARG002 - it corrects no bias
        rate: float,
    ) -> tuple[Array, Moments]:
        """Take one step.

        Parameters
        ----------
        w, g : ndarray
            Parameter and gradient.
        moments : Moments
            Before the step.
        t : int
            Number of this step.
        rate : float
            Learning rate.

        Returns
        -------
        w : ndarray
            The parameter after it.
        moments : Moments
            After the step.
        """
        m = self.momentum * moments.first + g
        return w - rate * m, Moments(m, moments.second)


OPTIMISERS: dict[str, Adam | Descent] = {"adam": Adam(), "sgd": Descent()}
"""Optimisers by the name they have as an option."""


def cosine(rate: float, t: int, steps: int) -> float:
    """Return a learning rate that falls to 0 as half a cosine.

    Parameters
    ----------
    rate : float
        At the start.
    t : int
        Steps already taken.
    steps : int
        Steps in all.

    Returns
    -------
    float
        rate (1 + cos(pi t / steps)) / 2 (Loshchilov and Hutter, ICLR 2017, Eq. 5).
    """
    return rate * (1 + math.cos(math.pi * t / steps)) / 2
