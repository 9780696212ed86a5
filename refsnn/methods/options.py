"""Options of the methods; their fields are the keys of ``--set``."""

from __future__ import annotations

import dataclasses

from refsnn.errors import OptionError
from refsnn.neurons import PRESETS


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoOptions:
    """Options of a method that has none."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleOptions:
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
class SRPOptions:
    """Options of SRP.

    Attributes
    ----------
    tau : int
        Observing steps; 0 observes nothing and lets every neuron out.
    """

    tau: int = 4

    def __post_init__(self) -> None:
        if self.tau < 0:
            raise OptionError(where="tau", got=self.tau, expected="0 steps or more")


@dataclasses.dataclass(frozen=True, kw_only=True)
class COSOptions:
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
        for name, least in (("rho", 0), ("rounds", 1)):
            value = getattr(self, name)
            if value < least:
                raise OptionError(where=name, got=value, expected=f"{least} or more")


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
    half : bool
        Part 3: v(0) = theta/2; otherwise 0.
    preset : str
        Rule of the dual-threshold neuron, a key of :data:`refsnn.neurons.PRESETS`; its
        own v(0) is not used.
    neg_threshold : float
        Negative threshold of the presets ``fast-snn`` and ``ungated``, in units of
        potential of the un-normalised network; below 0.
    """

    clip: bool = True
    dual: bool = True
    half: bool = True
    preset: str = "fast-snn"
    neg_threshold: float = -1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.preset not in PRESETS:
            expected = f"one of {', '.join(PRESETS)}"
            raise OptionError(where="preset", got=self.preset, expected=expected)
        free = self.preset in {"fast-snn", "ungated"}
        if not self.neg_threshold < 0 or (not free and self.neg_threshold != -1e-3):
            raise OptionError(
                where=f"neg_threshold of preset {self.preset}",
                got=self.neg_threshold,
                expected="a number below 0" if free else "no other than the preset's",
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class CalibrationOptions(SampleOptions):
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
        if self.batch < 1 or (self.samples and self.batch > self.samples):
            expected = f"1 to {self.samples or 'all'} images, those of the thresholds"
            raise OptionError(where="batch", got=self.batch, expected=expected)
