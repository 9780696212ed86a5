"""Options of the methods; their fields are the keys of ``--set``."""

from __future__ import annotations

import dataclasses

import numpy as np

from refsnn.calibration import Training
from refsnn.errors import OptionError, need_least
from refsnn.neurons import PRESETS
from refsnn.numerics import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Options of a method that has none, and what is asked of those of every method."""

    @property
    def looks_at_images(self) -> bool:
        """Whether the method looks at training images."""
        return False

    @property
    def takes_clips(self) -> bool:
        """Whether thresholds are the trained clips, which a network then must have."""
        return False

    @property
    def fires_pools(self) -> bool:
        """Whether average pooling gets neurons of its own."""
        return False

    def chosen(self, total: int) -> Array:
        """Choose the training images that the method looks at.

        Parameters
        ----------
        total : int
            Number of images in the training split.

        Returns
        -------
        ndarray of int64
            Their indices, in the order they are looked at.
        """
        return self._indices(total)

    def _indices(self, total: int) -> Array:  # noqa: ARG002 - none of them
        return np.empty(0, dtype=np.int64)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleOptions(Options):
    """Options of a method that looks at training images.

    Attributes
    ----------
    samples : int
        Number of training images, the first ones of the split; 0 takes all.
    """

    samples: int = 0

    def __post_init__(self) -> None:
        if self.samples < 0:
            raise OptionError(
                where="samples",
                got=self.samples,
                expected="a number of images, or 0 for the whole training split",
            )

    @property
    def looks_at_images(self) -> bool:
        """Whether the method looks at training images."""
        return True

    def _indices(self, total: int) -> Array:
        need_samples(self.samples, total)
        return np.arange(self.samples or total, dtype=np.int64)


def need_default(options: Options, when: str, *names: str) -> None:
    """Refuse options that would have no effect.

    Parameters
    ----------
    options : Options
        The options.
    when : str
        When they have none.
    *names : str
        Those that then have to be the default ones.

    Raises
    ------
    OptionError
        If one of them is not.
    """
    usual = {field.name: field.default for field in dataclasses.fields(options)}
    for name in names:
        if getattr(options, name) != usual[name]:
            raise OptionError(
                where=f"{name} {when}",
                got=getattr(options, name),
                expected=f"the default, {usual[name]}: no other has an effect",
            )


def need_samples(samples: int, total: int) -> None:
    """Refuse more images than there are.

    Parameters
    ----------
    samples : int
        Number of training images asked for.
    total : int
        Number of images in the training split.

    Raises
    ------
    OptionError
        If it is too large.
    """
    if samples > total:
        raise OptionError(
            where="training images (samples; batches, batch and trained)",
            got=samples,
            expected=f"at most {total}, the number of training images",
        )


def need_part(name: str, size: int, of: int, whole: str = "samples") -> None:
    """Refuse a batch of more images than there are to draw it from.

    Parameters
    ----------
    name : str
        The option.
    size : int
        Its number of images.
    of : int
        The images; 0 if their number is not known yet.
    whole : str
        The option that says how many they are.

    Raises
    ------
    OptionError
        If it is none or too large.
    """
    if size < 1 or (of and size > of):
        expected = f"1 to {of or 'all'} images, the option {whole}"
        raise OptionError(where=name, got=size, expected=expected)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PercentileOptions(SampleOptions):
    """Options of the method `percentile`.

    Attributes
    ----------
    percentile : float
        Percentile of the activations of a layer, zeros included; above 0, at most 100.
    """

    percentile: float = 99.9

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.percentile <= 100:
            raise OptionError(
                where="percentile", got=self.percentile, expected="above 0, at most 100"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SRPOptions(Options):
    """Options of SRP.

    Attributes
    ----------
    tau : int
        Observing steps; 0 observes nothing and lets every neuron out.
    """

    tau: int = 4

    def __post_init__(self) -> None:
        need_least(0, tau=self.tau)


@dataclasses.dataclass(frozen=True, kw_only=True)
class COSOptions(Options):
    """Options of COS.

    Attributes
    ----------
    rho : int
        Steps by which initial potentials are moved; at most T.
    rounds : int
        How many times: 1 in the released code, more for the iterated form.
    """

    rho: int = 4
    rounds: int = 1

    def __post_init__(self) -> None:
        need_least(0, rho=self.rho)
        need_least(1, rounds=self.rounds)
        if not self.rho:
            need_default(self, "without offset steps (rho=0)", "rounds")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ECLOptions(SampleOptions):
    """Options of ECL; each of its three parts can be switched off.

    Attributes
    ----------
    clip : bool
        Part 1: thresholds are the trained clips; otherwise the largest activations of
        the layers on training images.
    dual : bool
        Part 2: dual-threshold neurons; otherwise IF neurons.
    v0 : float
        Part 3: v(0) in units of theta, one half; 0 to 1.
    preset : str
        Rule of the dual-threshold neuron: ``fast-snn``, ``snm``, ``qffs``, ``ungated``
        (:data:`refsnn.neurons.PRESETS`); its own v(0) is not used.
    neg_threshold : float
        Negative threshold of the presets ``fast-snn`` and ``ungated``, in units of
        potential of the un-normalised network; below 0.
    """

    clip: bool = True
    dual: bool = True
    v0: float = 0.5
    preset: str = "fast-snn"
    neg_threshold: float = -1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.preset not in PRESETS:
            expected = f"one of {', '.join(PRESETS)}"
            raise OptionError(where="preset", got=self.preset, expected=expected)
        if not 0 <= self.v0 <= 1:
            raise OptionError(where="v0", got=self.v0, expected="0 to 1 theta")
        if not self.neg_threshold < 0:
            expected = "a number below 0"
            raise OptionError(
                where="neg_threshold", got=self.neg_threshold, expected=expected
            )
        if self.preset not in {"fast-snn", "ungated"}:
            need_default(self, f"with the preset {self.preset}", "neg_threshold")
        if not self.dual:
            need_default(self, "with IF neurons (dual)", "preset", "neg_threshold")
        if self.clip:
            need_default(self, "where thresholds are trained (clip)", "samples")

    @property
    def takes_clips(self) -> bool:
        """Whether thresholds are the trained clips, which a network then must have."""
        return self.clip

    @property
    def looks_at_images(self) -> bool:
        """Whether the method looks at training images: where it takes no clips."""
        return not self.clip


@dataclasses.dataclass(frozen=True, kw_only=True)
class PoolOptions(SampleOptions):
    """Options of a calibration method that calibrates nothing.

    Attributes
    ----------
    spiking_pool : bool
        Whether average pooling gets neurons of its own (released code of 2021).
    """

    spiking_pool: bool = False

    @property
    def fires_pools(self) -> bool:
        """Whether average pooling gets neurons of its own."""
        return self.spiking_pool


@dataclasses.dataclass(frozen=True, kw_only=True)
class CalibrationOptions(PoolOptions):
    """Options of parameter calibration.

    Attributes
    ----------
    samples : int
        Training images of the threshold search: 7 batches of 128, as the released code
        takes; 0 takes all.
    batch : int
        The first so many of them calibrate biases or potentials.
    channelwise : bool
        Whether every channel has a threshold of its own.
    """

    samples: int = 896
    batch: int = 128
    channelwise: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        need_part("batch", self.batch, self.samples)

    def _indices(self, total: int) -> Array:
        need_part("batch", self.batch, self.samples or total)
        return super()._indices(total)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdvancedOptions(CalibrationOptions, Training):
    """Options of parameter calibration that trains weights.

    Attributes
    ----------
    samples : int
        Training images of the thresholds and of the weights: 1,024, as the released
        code takes for the weights; 0 takes all.
    shift : bool
        Whether the loss sees the shift theta/(2T) that the neurons see; the released
        code's does not.
    """

    samples: int = 1024
    shift: bool = True

    def __post_init__(self) -> None:
        CalibrationOptions.__post_init__(self)
        Training.__post_init__(self)
        need_part("minibatch", self.minibatch, self.samples)

    @property
    def trained(self) -> int | None:
        """Number of the images that train the weights: all."""
        return None

    def _indices(self, total: int) -> Array:
        need_part("minibatch", self.minibatch, self.samples or total)
        return super()._indices(total)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CodeOptions(Options):
    """Options of calibration as released.

    Attributes
    ----------
    batches : int
        Batches that the thresholds move over: 7, where the released code's argument
        says 5 and its loop takes two more.
    batch : int
        Images of a batch; the first one calibrates biases and potentials.
    draw : int
        Seed of the permutation of the training split that the batches come from; the
        order is recorded with the network.
    spiking_pool : bool
        Whether average pooling gets neurons of its own (released code of 2021).
    """

    batches: int = 7
    batch: int = 128
    draw: int = 0
    spiking_pool: bool = False

    def __post_init__(self) -> None:
        need_least(1, batches=self.batches, batch=self.batch)
        need_least(0, draw=self.draw)

    @property
    def looks_at_images(self) -> bool:
        """Whether the method looks at training images."""
        return True

    @property
    def fires_pools(self) -> bool:
        """Whether average pooling gets neurons of its own."""
        return self.spiking_pool

    @property
    def needed(self) -> int:
        """Number of training images looked at."""
        return self.batches * self.batch

    def _indices(self, total: int) -> Array:
        need_samples(self.needed, total)
        return np.random.default_rng(self.draw).permutation(total)[: self.needed]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdvancedCodeOptions(CodeOptions, Training):
    """Options of weight calibration as released.

    Attributes
    ----------
    trained : int
        The first so many of the images train the weights.
    """

    trained: int = 1024

    def __post_init__(self) -> None:
        CodeOptions.__post_init__(self)
        Training.__post_init__(self)
        need_least(1, trained=self.trained)
        need_part("minibatch", self.minibatch, self.trained, "trained")

    @property
    def shift(self) -> bool:
        """Whether the loss sees the shift theta/(2T) that the neurons see."""
        return False

    @property
    def needed(self) -> int:
        """Number of training images looked at."""
        return max(self.batches * self.batch, self.trained)
