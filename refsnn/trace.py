"""Traces: what every neuron of a network did at every step, for others to compare."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from refsnn.arithmetic import CARRIERS, MODES
from refsnn.errors import DomainError, ShapeError
from refsnn.fixed import Fixed
from refsnn.numerics import Array, Shape
from refsnn.profile import Profile


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Recorded:
    """What a population did.

    Attributes
    ----------
    spikes : ndarray of int8, shape (T, B, *S)
        Spikes that were emitted: -1, 0 or +1.
    theta, v0 : ndarray, shape (), (C,) or S, potential
        Threshold and initial potential; the latter (B, *S) where the method moved it
        for each image.
    mask : ndarray of bool, shape (B, *S), or None
        Neurons that were let out; the others fired and reset, and emitted nothing.
    v : ndarray of float64, shape (T, B, *S), potential, or None
        Potential after the reset of every step.
    current : ndarray of float64, shape (T or 1, B, *S), potential, or None
        Current of every step, bias included; one if it is constant.
    input_current : ndarray of float64, shape (B, *S), potential, or None
        The part of the current that the image causes, if there is one: with the bias
        and rounded, if the population has a grid or the mode is ``fixed``.
    """

    spikes: Array
    theta: Array
    v0: Array
    mask: Array | None = None
    v: Array | None = None
    current: Array | None = None
    input_current: Array | None = None

    def __post_init__(self) -> None:
        if self.spikes.dtype != np.int8 or np.abs(self.spikes).max(initial=0) > 1:
            expected = "int8, values -1, 0 and +1"
            got = f"{self.spikes.dtype} up to {np.abs(self.spikes).max(initial=0)}"
            raise DomainError(where="spikes", got=got, expected=expected)
        steps, *rest = self.spikes.shape
        constant = [(), tuple(rest[1:2]), tuple(rest[1:])]
        shapes = {
            "theta": constant,
            "v0": [*constant, tuple(rest)],
            "v": [(steps, *rest)],
            "current": [(steps, *rest), (1, *rest)],
            "input_current": [tuple(rest)],
            "mask": [tuple(rest)],
        }
        for name, allowed in shapes.items():
            value = getattr(self, name)
            if value is not None and value.shape not in allowed:
                expected = " or ".join(map(str, dict.fromkeys(allowed)))
                raise ShapeError(
                    where=name, got=f"shape {value.shape}", expected=expected
                )

    def of(self, samples: Array) -> Recorded:
        """Return the record of some of the samples.

        Parameters
        ----------
        samples : ndarray of int, shape (n,)
            Their indices.

        Returns
        -------
        Recorded
            The record.
        """
        moved = self.v0.shape == self.spikes.shape[1:]

        def some(value: Array | None, axis: int) -> Array | None:
            return None if value is None else value.take(samples, axis=axis)

        return dataclasses.replace(
            self,
            spikes=self.spikes[:, samples],
            v0=self.v0[samples] if moved else self.v0,
            mask=some(self.mask, 0),
            v=some(self.v, 1),
            current=some(self.current, 1),
            input_current=some(self.input_current, 0),
        )

    @property
    def shape(self) -> Shape:
        """The population's shape S."""
        return self.spikes.shape[2:]

    @property
    def counts(self) -> Array:
        """Net number of spikes, positive minus negative, int64, shape (B, *S)."""
        counts: Array = self.spikes.sum(axis=0, dtype=np.int64)
        return counts


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """What a network did on some images.

    Attributes
    ----------
    network : str
        The network's name.
    network_sha256 : str
        Its content hash.
    input_sha256 : str
        Hash of the images, see :func:`images_sha256`.
    samples : ndarray of int64, shape (B,)
        Numbers of the images in their split.
    profile : Profile
        The conventions.
    mode, carrier : str
        The numbers it was computed in.
    bits : int or None
        Bits of the certificate; None without one.
    populations : mapping of str to Recorded
        In graph order.
    readout : ndarray of float64, shape (T, B, classes)
        Logits at every t.
    versions : mapping of str to str
        Versions of the libraries.
    fixed : Fixed or None
        The format of mode ``fixed``.
    """

    network: str
    network_sha256: str
    input_sha256: str
    samples: Array
    profile: Profile
    mode: str
    carrier: str
    bits: int | None
    populations: Mapping[str, Recorded]
    readout: Array
    versions: Mapping[str, str]
    fixed: Fixed | None = None

    def __post_init__(self) -> None:
        if (self.mode == "fixed") != (self.fixed is not None):
            raise DomainError(
                where=f"trace of {self.network}",
                got=f"mode {self.mode}, fixed-point format {self.fixed}",
                expected="a format in mode fixed, and only there",
            )
        for field, known in (
            ("mode", MODES),
            ("carrier", CARRIERS if self.fixed is None else ("int64",)),
        ):
            if getattr(self, field) not in known:
                raise DomainError(
                    where=f"trace of {self.network}, {field}",
                    got=getattr(self, field),
                    expected=f"one of {', '.join(known)}",
                )
        for field, rank in (("samples", 1), ("readout", 3)):
            if getattr(self, field).ndim != rank:
                raise ShapeError(
                    where=f"trace of {self.network}, {field}",
                    got=f"shape {getattr(self, field).shape}",
                    expected=f"{rank} axes",
                )
        want = (*self.readout.shape[:1], *self.samples.shape)
        for name, recorded in self.populations.items():
            if recorded.spikes.shape[:2] != want or self.readout.shape[:2] != want:
                raise ShapeError(
                    where=f"trace of {self.network}, population {name}",
                    got=f"spikes of shape {recorded.spikes.shape}",
                    expected=f"{want} steps and samples, as the readout",
                )

    def of(self, samples: Array) -> Trace:
        """Return the trace of some of the samples.

        Parameters
        ----------
        samples : ndarray of int, shape (n,)
            Their indices along the samples' axis.

        Returns
        -------
        Trace
            The trace; the hash of the images is still that of all.
        """
        populations = {
            name: recorded.of(samples) for name, recorded in self.populations.items()
        }
        return dataclasses.replace(
            self,
            samples=self.samples[samples],
            populations=populations,
            readout=self.readout[:, samples],
        )

    @property
    def masks(self) -> dict[str, Array]:
        """Neurons that were let out, (B, *S), of populations that have a mask."""
        return {
            name: recorded.mask
            for name, recorded in self.populations.items()
            if recorded.mask is not None
        }

    @property
    def numbers(self) -> dict[str, Any]:
        """Mode and format that repeat it; ``ordered`` has the bits of ``exact``."""
        return {"mode": "fixed" if self.fixed else "ordered", "fixed": self.fixed}

    @property
    def T(self) -> int:
        """Number of steps."""
        return len(self.readout)


def images_sha256(images: Array) -> str:
    """Hash images.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, C, H, W)
        Pixels.

    Returns
    -------
    str
        SHA-256 of the shape, as in ``(2, 3, 32, 32)``, NUL, and the bytes in C order.
    """
    return hashlib.sha256(f"{images.shape}\0".encode() + images.tobytes()).hexdigest()
