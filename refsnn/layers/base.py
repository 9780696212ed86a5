"""What every layer has."""

from __future__ import annotations

from typing import ClassVar

from refsnn.errors import ShapeError
from refsnn.numerics import Array, Shape
from refsnn.records import Record


class Layer(Record, abstract=True):
    """Base of the layers: `arity` inputs (None for two or more), one output."""

    arity: ClassVar[int | None] = 1

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return 0

    def out_shape(self, *shapes: Shape) -> Shape:
        """Return the shape of the output, or refuse the input's.

        Parameters
        ----------
        *shapes : tuple of int
            S of each input.

        Returns
        -------
        tuple of int
            S of the output.

        Raises
        ------
        ShapeError
            If the layer cannot take these shapes.
        """
        raise NotImplementedError

    def __call__(self, *xs: Array) -> Array:
        """Apply the layer.

        Parameters
        ----------
        *xs : ndarray, shape (M, *S)
            The inputs.

        Returns
        -------
        ndarray, shape (M, *S')
            The output.
        """
        raise NotImplementedError

    def _need(self, ok: bool, got: object, expected: str) -> None:
        if not ok:
            raise ShapeError(where=self.op, got=got, expected=expected)

    def _need_map(self, shape: Shape, channels: int | None = None) -> None:
        wanted = "C" if channels is None else channels
        self._need(
            len(shape) == 3 and channels in (None, shape[0]),
            f"an input of shape {shape}",
            f"({wanted}, H, W)",
        )
