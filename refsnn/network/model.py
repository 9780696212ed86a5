"""What a trained and a spiking network have in common."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from refsnn.errors import DomainError, ShapeError
from refsnn.numerics import Array, Shape
from refsnn.records import Ints, Tensor, frozen, json_values, plain_text


def channel_values(where: str, field: str, given: Any, channels: int) -> Array:
    """Return one number for each channel of the image, or refuse what is none.

    Parameters
    ----------
    where : str
        The network, for the error.
    field : str
        What the numbers are.
    given : array_like, shape (C,)
        The numbers.
    channels : int
        C.

    Returns
    -------
    ndarray of float64, shape (C,)
        The numbers.

    Raises
    ------
    ShapeError
        If they are more or fewer.
    """
    kind = Tensor(dims=("C",), optional=False, unit="")
    numbers = kind.normalise(given, f"{where}, {field}")
    value = frozen(np.asarray(numbers, dtype=np.float64))
    if value.shape != (channels,):
        raise ShapeError(
            where=where,
            got=f"{field} {value.tolist()}",
            expected=f"{channels} numbers, one for each input channel",
        )
    return value


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """What a trained and a spiking network have in common.

    Parameters
    ----------
    name : str
        Name of the network.
    input_shape : tuple of int
        (C, H, W) of the images.
    classes : int
        Number of classes.
    mean, std : ndarray, shape (C,)
        Normalisation of pixels scaled to 0..1: input = (x/255 - mean) / std.
    provenance : mapping
        Data, recipe, seed, script, accuracy, library versions: JSON values.
    """

    name: str
    input_shape: Shape
    classes: int
    mean: Array
    std: Array
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def _check_header(self) -> None:
        """Normalise the common fields, or refuse them."""
        where = f"network {plain_text(self.name, 'name of the network')}"
        shape = Ints(length=3, least=1).normalise(self.input_shape, f"{where}, shape")
        classes = Ints(length=None, least=1).normalise(
            self.classes, f"{where}, classes"
        )
        object.__setattr__(self, "input_shape", shape)
        object.__setattr__(self, "classes", classes)
        for field in ("mean", "std"):
            value = channel_values(where, field, getattr(self, field), shape[0])
            object.__setattr__(self, field, value)
        if not (self.std > 0).all():
            raise DomainError(
                where=where, got=f"std {self.std.tolist()}", expected="numbers above 0"
            )
        provenance = json_values(self.provenance, f"{where}, provenance")
        object.__setattr__(self, "provenance", provenance)

    def warn_of_normalisation(self) -> None:
        """Warn of mean and std that are hardly those of pixels divided by 255.

        For the functions that bring a trained network in, which call this themselves.

        Warns
        -----
        UserWarning
            If a mean lies outside [0, 1], or a std above 1.
        """
        usual = ((self.mean >= 0) & (self.mean <= 1) & (self.std <= 1)).all()
        if not usual:
            warnings.warn(
                f"network {self.name}: mean {self.mean.tolist()}, std "
                f"{self.std.tolist()}: its input is (x/255 - mean) / std, so a mean is "
                "expected from 0 to 1, a std up to 1; divide those of pixels 0 to 255 "
                "by 255",
                UserWarning,
                stacklevel=3,
            )

    def preprocess(self, images: Array) -> Array:
        """Turn images into the analog input of the network.

        Parameters
        ----------
        images : ndarray of uint8, shape (B, C, H, W)
            Pixels, 0..255.

        Returns
        -------
        ndarray of float32, shape (B, C, H, W)
            (x/255 - mean) / std, computed in float64 and rounded once.

        Raises
        ------
        ShapeError, DomainError
            If the images have another shape or type.
        """
        where = f"images for network {self.name}"
        if not isinstance(images, np.ndarray):
            got = f"a {type(images).__name__}"
            raise DomainError(where=where, got=got, expected="an array of uint8 pixels")
        if images.dtype != np.uint8:
            raise DomainError(where=where, got=images.dtype, expected="uint8 pixels")
        if images.ndim != 4 or images.shape[1:] != self.input_shape:
            raise ShapeError(
                where=where,
                got=f"shape {images.shape}",
                expected=f"(B, {', '.join(map(str, self.input_shape))})",
            )
        mean, std = self.mean[:, None, None], self.std[:, None, None]
        return ((images / 255 - mean) / std).astype(np.float32)

    def need_input(self, x: Array) -> None:
        """Refuse an array that is not an analog input of this network.

        Parameters
        ----------
        x : ndarray, shape (B, C, H, W)
            What :meth:`preprocess` returned.

        Raises
        ------
        ShapeError, DomainError
            If its shape or type is another, or a value is not finite.
        """
        where = f"input of network {self.name}"
        if not isinstance(x, np.ndarray):
            got = f"a {type(x).__name__}"
            raise DomainError(where=where, got=got, expected="an array")
        if x.dtype.kind != "f" or x.dtype.itemsize > 8:
            raise DomainError(
                where=where,
                got=f"type {x.dtype}",
                expected="normalised values, float64 or narrower",
                do="Call network.preprocess(images) first.",
            )
        if x.ndim != 4 or x.shape[1:] != self.input_shape or len(x) == 0:
            raise ShapeError(
                where=where,
                got=f"shape {x.shape}",
                expected=f"(B, {', '.join(map(str, self.input_shape))}), B at least 1",
            )
        if not np.isfinite(x).all():
            raise DomainError(where=where, got="NaN or infinity", expected="numbers")
