"""Activations of the trained network: ReLU, learnable clip, QCFS, and their gradients.

Each is a record with the equation in its docstring. ``lam`` is the trained clip
lambda, which becomes the firing threshold theta after conversion.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from refsnn.errors import DomainError, ShapeError
from refsnn.numerics import Array, Shape, bind, floor_half_up, per_channel
from refsnn.records import Record, ints, tensor


class Activation(Record, abstract=True):
    """Base of the elementwise activations a = h(z), arrays of shape (B, *S)."""

    arity: ClassVar[int | None] = 1
    parameters: ClassVar[int] = 0

    def __call__(self, z: Array) -> Array:
        """Return a = h(z).

        Parameters
        ----------
        z : ndarray, shape (B, *S), activation
            Pre-activations.

        Returns
        -------
        ndarray, shape (B, *S), activation
            The activations.
        """
        raise NotImplementedError

    def gradient(self, z: Array) -> tuple[Array, Array | None]:
        """Return dh/dz and dh/dlam, elementwise.

        Parameters
        ----------
        z : ndarray, shape (B, *S), activation
            Pre-activations.

        Returns
        -------
        dz : ndarray, shape (B, *S)
            Derivative by the pre-activation.
        dlam : ndarray, shape (B, *S), or None
            Derivative by the clip, before the sum over the elements that share it;
            None where there is no clip.
        """
        raise NotImplementedError

    def out_shape(self, shape: Shape) -> Shape:
        """Return the shape of the output.

        Parameters
        ----------
        shape : tuple of int
            S.

        Returns
        -------
        tuple of int
            S again.
        """
        return shape


class ReLU(Activation):
    """Rectifier, h(z) = max(z, 0); derivative 1 for z > 0, else 0."""

    op = "relu"

    def __call__(self, z: Array) -> Array:
        return np.maximum(z, bind(0, z))

    def gradient(self, z: Array) -> tuple[Array, Array | None]:
        return (z > 0).astype(z.dtype), None


class Clipped(Activation, abstract=True):
    """Base of the activations with a clip lambda, scalar or per channel."""

    lam: Array

    def need_lam(self, ok: Array, expected: str) -> None:
        """Refuse clips outside their domain.

        Parameters
        ----------
        ok : ndarray of bool
            Which clips are inside.
        expected : str
            The domain.

        Raises
        ------
        DomainError
            Unless all are.
        """
        if not ok.all():
            raise DomainError(
                where=f"{type(self).__name__}.lam",
                got=f"a smallest value of {self.lam.min()}",
                expected=f"{expected} (it becomes the firing threshold)",
            )

    def lam_over(self, z: Array) -> Array:
        """Shape lam to broadcast over activations.

        Parameters
        ----------
        z : ndarray, shape (B, *S)
            Pre-activations.

        Returns
        -------
        ndarray
            lam in the type of `z`.
        """
        where = f"{type(self).__name__}.lam"
        return bind(per_channel(self.lam, z.shape[1:], where=where), z)

    def out_shape(self, shape: Shape) -> Shape:
        if self.lam.shape not in {(), shape[:1]}:
            raise ShapeError(
                where=f"{type(self).__name__}.lam",
                got=f"shape {self.lam.shape}",
                expected=f"() or {shape[:1]}, one value per channel",
            )
        return shape


class Clip(Clipped):
    r"""Learnable clip, h(z) = min(max(z, 0), lam).

    dh/dz = 1 for 0 < z < lam, else 0; dh/dlam = 1 for z >= lam, else 0. Source: the
    trainable clipping layer (TCL, Ho and Chang, DAC 2021). ECL (ICML 2025) replaces
    ReLU by a "learnable threshold clipping function" whose equation is not public;
    this is its closest published form, a labelled reconstruction. lam = 0 is a dead
    channel, whose output is 0.
    """

    op = "clip"
    lam: Array = tensor("", "C")

    def check(self) -> None:
        self.need_lam(self.lam >= 0, "lam >= 0")

    def __call__(self, z: Array) -> Array:
        return np.minimum(np.maximum(z, bind(0, z)), self.lam_over(z))

    def gradient(self, z: Array) -> tuple[Array, Array | None]:
        lam = self.lam_over(z)
        dz = ((z > 0) & (z < lam)).astype(z.dtype)
        dlam = (z >= lam).astype(z.dtype)
        return dz, dlam


class QCFS(Clipped):
    r"""Quantisation clip-floor-shift activation.

    ::

        h(z) = lam clip(floor(z L / lam + 1/2) / L, 0, 1)

    Source: Bu et al., ICLR 2022, Eq. 15-16 with the shift 1/2. `levels` is L.

    The gradient passes straight through the floor. :meth:`gradient` uses the band of
    the paper's Eq. 18, -lam/(2L) < z < lam - lam/(2L). The paper's Eq. 19 for lam is
    wrong by its authors' own correction; the derivative of the forward formula is
    h/lam - z/lam inside, 1 above, 0 below. The released code passes the gradient on
    another band: see :meth:`gradient_code`.
    """

    op = "qcfs"
    lam: Array = tensor("", "C")
    levels: int = ints(default=4, least=1)

    def check(self) -> None:
        self.need_lam(self.lam > 0, "lam > 0")

    def __call__(self, z: Array) -> Array:
        lam, L = self.lam_over(z), bind(self.levels, z)
        return lam * np.clip(floor_half_up(z * L / lam) / L, bind(0, z), bind(1, z))

    def gradient(self, z: Array) -> tuple[Array, Array | None]:
        lam, L = self.lam_over(z), bind(self.levels, z)
        half = lam / (2 * L)
        inside = (z > -half) & (z < lam - half)
        above = z >= lam - half
        return self._straight_through(z, inside, above)

    def gradient_code(self, z: Array) -> tuple[Array, Array | None]:
        """Return dh/dz and dh/dlam as the released code's automatic derivative.

        Parameters
        ----------
        z : ndarray, shape (B, *S), activation
            Pre-activations.

        Returns
        -------
        dz : ndarray, shape (B, *S)
            1 while the quantised value floor(z L / lam + 1/2) / L lies in [0, 1]; this
            is what the SRP and COS repositories compute, and the older one of QCFS
            (floor, then clamp). The newer one of QCFS clamps first: its band is
            0 <= z <= lam, with the same outputs.
        dlam : ndarray, shape (B, *S)
            h/lam - z/lam there, 1 above, 0 below.
        """
        lam, L = self.lam_over(z), bind(self.levels, z)
        level = floor_half_up(z * L / lam)
        return self._straight_through(z, (level >= 0) & (level <= L), level > L)

    def _straight_through(
        self, z: Array, inside: Array, above: Array
    ) -> tuple[Array, Array]:
        lam = self.lam_over(z)
        dlam = np.where(inside, self(z) / lam - z / lam, above.astype(z.dtype))
        return inside.astype(z.dtype), dlam
