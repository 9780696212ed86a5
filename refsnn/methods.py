"""The registry of conversion methods: one entry each, with its source.

A method takes a trained network to a spiking one: rewrites of the graph, passes that
may look at training images and end with a clip for every activation, a rule from a
threshold to a neuron and its initial potential, and what finishes the network.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from refsnn.activations import QCFS, Activation, Clip
from refsnn.calibrate import Progress, max_activations, percentile_activations
from refsnn.errors import OptionError
from refsnn.network import Network, SpikingNetwork, Stages
from refsnn.neurons import IF, PRESETS, GatedIF, Neuron
from refsnn.numerics import Array
from refsnn.passes import NeuronRule, fold_batchnorm, set_thresholds


@dataclasses.dataclass(frozen=True, kw_only=True)
class Context:
    """What the passes of a method may draw on.

    Attributes
    ----------
    options : object
        The method's options, an instance of its `options` class.
    images : ndarray of uint8, shape (n, C, H, W)
        Training images, never test images; none for a method that needs none.
    T : int or None
        The number of steps to convert for.
    impl : str
        Implementation for runs of the trained network.
    progress : callable or None
        Told how far a pass over the images is.
    """

    options: Any
    images: Array
    T: int | None
    impl: str
    progress: Progress | None


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


Pass = Callable[[Network, Context], Network]

Finish = Callable[[SpikingNetwork, Context], SpikingNetwork]


def _unfinished(snn: SpikingNetwork, context: Context) -> SpikingNetwork:  # noqa: ARG001 - a finish that does nothing
    return snn


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method:
    """A conversion method.

    Attributes
    ----------
    summary : str
        One line on what it does.
    citation : str
        Where the rule was read.
    rewrites : tuple of callable
        Rewrites of the graph, in order, from Network to Network.
    passes : tuple of callable
        What follows and may look at images, from Network and Context to Network;
        behind the last one every activation has the clip that becomes its threshold.
    neuron : callable
        Neuron model and v(0) for a threshold, given the context.
    activations : tuple of type
        The activations the method takes; empty for any.
    finish : callable
        What is done to the network before its thresholds are normalised to 1.
    rounds : bool
        Whether it means to round activations to spike counts (by v(0) = theta/2 or a
        shift of theta/2 in all), rather than to round them down.
    shifts : bool
        Whether it adds theta/(2T) to every current.
    options : type
        Dataclass of its options; its fields are the keys of ``--set``.
    reconstruction : str
        What is not published and therefore reconstructed; empty if nothing is.
    depends_on_T : bool
        Whether a network is converted for one number of steps only.
    """

    summary: str
    citation: str
    neuron: Callable[[Context], NeuronRule]
    rewrites: tuple[Callable[[Network], Network], ...] = (fold_batchnorm,)
    passes: tuple[Pass, ...] = ()
    activations: tuple[type[Activation], ...] = ()
    finish: Finish = _unfinished
    rounds: bool = True
    shifts: bool = False
    options: type = NoOptions
    reconstruction: str = ""
    depends_on_T: bool = False

    def needs_images(self, options: Any) -> bool:
        """Say whether the method looks at training images.

        Parameters
        ----------
        options : object
            An instance of its options.

        Returns
        -------
        bool
            Whether it does: one with an option `samples`, unless its thresholds are
            the trained clips.
        """
        return hasattr(options, "samples") and not getattr(options, "clip", False)

    def accepts(self, options: Any) -> tuple[type[Activation], ...]:
        """Return the activations that the method takes.

        Parameters
        ----------
        options : object
            An instance of its options.

        Returns
        -------
        tuple of type
            Empty for any; only trained clips if they are to be the thresholds.
        """
        return (Clip, QCFS) if getattr(options, "clip", False) else self.activations

    def unfit(self, ann: Network, options: Any) -> list[str]:
        """List the activations of a network that the method does not take.

        Parameters
        ----------
        ann : Network
            A trained network.
        options : object
            An instance of its options.

        Returns
        -------
        list of str
            Name and kind of each; empty if it takes them all.
        """
        accepted = self.accepts(options)
        return [
            f"{node.name} ({node.op.op})"
            for node in ann.activations
            if accepted and not isinstance(node.op, accepted)
        ]


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


def _with_thresholds(ann: Network, context: Context, lam: dict[str, Array]) -> Network:
    """Set thresholds, and warn of activations that never occurred."""
    silent = [name for name, value in lam.items() if value == 0]
    if silent:
        warnings.warn(
            f"network {ann.name}: {', '.join(silent)} silent on all "
            f"{len(context.images)} training images: dead, without outgoing weights",
            UserWarning,
            stacklevel=4,
        )
    return set_thresholds(ann, lam)


def _max_thresholds(ann: Network, context: Context) -> Network:
    """Theta = the largest activation of the layer."""
    lam = max_activations(
        ann, context.images, impl=context.impl, progress=context.progress
    )
    return _with_thresholds(ann, context, lam)


def _percentile_thresholds(ann: Network, context: Context) -> Network:
    """Theta = a percentile of the activations of the layer."""
    lam = percentile_activations(
        ann,
        context.images,
        context.options.percentile,
        impl=context.impl,
        progress=context.progress,
    )
    return _with_thresholds(ann, context, lam)


def _clips_or_max(ann: Network, context: Context) -> Network:
    """Theta = the trained clip, or the largest activation."""
    return ann if context.options.clip else _max_thresholds(ann, context)


def _integrate_and_fire(v0: float) -> Callable[[Context], NeuronRule]:
    """Make the rule for IF neurons that start at the fraction `v0` of theta."""

    def rule(theta: Array) -> tuple[Neuron, Array]:
        return IF(), v0 * theta

    return lambda context: rule  # noqa: ARG005 - the rule needs no context


def _signed(theta: Array) -> tuple[Neuron, Array]:
    return PRESETS["snm"].neuron(theta), PRESETS["snm"].v0 * theta


def _dual_threshold(context: Context) -> NeuronRule:
    """Make ECL's rule, its parts as switched."""
    options = context.options
    preset = PRESETS[options.preset]
    if options.preset in {"fast-snn", "ungated"}:
        preset = dataclasses.replace(preset, theta_neg=options.neg_threshold)
    v0 = 0.5 if options.half else 0.0

    def rule(theta: Array) -> tuple[Neuron, Array]:
        return preset.neuron(theta) if options.dual else IF(), v0 * theta

    return rule


def _gated(tolerance: float, *, strict: bool) -> Callable[[Context], NeuronRule]:
    """Make the rule for SRP: keep a neuron above `tolerance` theta."""

    def rule(theta: Array) -> tuple[Neuron, Array]:
        return GatedIF(tolerance=tolerance * theta, strict=strict), theta / 2

    return lambda context: rule if context.options.tau else _half


def _half(theta: Array) -> tuple[Neuron, Array]:
    return IF(), theta / 2


def _observed(snn: SpikingNetwork, context: Context) -> SpikingNetwork:
    return dataclasses.replace(snn, stages=Stages(tau=context.options.tau))


def _offset(snn: SpikingNetwork, context: Context) -> SpikingNetwork:
    stages = Stages(rho=context.options.rho, rounds=context.options.rounds)
    return dataclasses.replace(snn, stages=stages)


def _shifted(snn: SpikingNetwork, context: Context) -> SpikingNetwork:
    """Add theta/(2T) to every current."""
    T = context.T
    populations = []
    for p in snn.populations:
        if p.neuron is not None and T is not None:
            shift = p.over("theta") / (2 * T)
            bias = np.asarray(shift if p.bias is None else p.over("bias") + shift)
            if bias.size == p.shape[0]:
                bias = bias.reshape(-1)
            p = dataclasses.replace(p, bias=bias)  # noqa: PLW2901 - the same one, shifted
        populations.append(p)
    return dataclasses.replace(snn, populations=tuple(populations))


_QCFS = (
    "Bu et al., Optimal ANN-SNN conversion for high-accuracy and "
    "ultra-low-latency spiking neural networks, ICLR 2022"
)
_SRP = (
    "Hao et al., Reducing ANN-SNN conversion error through residual membrane "
    "potential, AAAI 2023"
)

METHODS: dict[str, Method] = {
    "qcfs": Method(
        summary="theta = lam, v(0) = theta/2, IF neurons, on a QCFS network",
        citation=f"{_QCFS} (Theorem 2)",
        neuron=_integrate_and_fire(0.5),
        activations=(QCFS,),
    ),
    "srp": Method(
        summary="qcfs, its neurons let out only if v(tau) > 1e-3 theta after tau "
        "observing steps; all start again at theta/2",
        citation=f"{_SRP}; released code",
        neuron=_gated(1e-3, strict=True),
        finish=_observed,
        activations=(QCFS,),
        options=SRPOptions,
        reconstruction="the criterion is the released code's; the paper's own text was "
        "not seen",
    ),
    "srp-v0": Method(
        summary="srp with the criterion v(tau) >= 0",
        citation=_SRP,
        neuron=_gated(0.0, strict=False),
        finish=_observed,
        activations=(QCFS,),
        options=SRPOptions,
        reconstruction="the criterion is the paper's as recalled by others; its text "
        "was not seen",
    ),
    "ecl": Method(
        summary="theta = trained clip, dual-threshold neurons, v(0) = theta/2",
        citation="Liu et al., Efficient ANN-SNN conversion with error compensation "
        "learning, ICML 2025 (abstract); neuron of Hu et al., Fast-SNN, TPAMI 2023",
        passes=(_clips_or_max,),
        neuron=_dual_threshold,
        options=ECLOptions,
        reconstruction="the paper's equations are not public: the negative spike is "
        "Fast-SNN's, the clip that of Ho and Chang (DAC 2021) or QCFS",
    ),
    "cos": Method(
        summary="qcfs, its initial potentials moved for each image by the spike that "
        "rho steps have too many or too few",
        citation="Hao et al., Bridging the gap between ANNs and SNNs by calibrating "
        "offset spikes, ICLR 2023; released code",
        neuron=_integrate_and_fire(0.5),
        finish=_offset,
        activations=(QCFS,),
        options=COSOptions,
        reconstruction="saturated neurons, which the released code moves by a "
        "sentinel, stay; more than one round is the paper's iterated form as recalled "
        "by others",
    ),
    "max-norm": Method(
        summary="theta = largest activation of the layer on training images, v(0) = 0",
        citation="Rueckauer et al., Theory and tools for the conversion of analog to "
        "spiking convolutional neural networks, arXiv 1612.04052; the earlier rule "
        "of Diehl et al., IJCNN 2015, takes the largest weight instead where that is "
        "larger",
        passes=(_max_thresholds,),
        neuron=_integrate_and_fire(0.0),
        rounds=False,
        options=SampleOptions,
    ),
    "percentile": Method(
        summary="theta = 99.9th percentile of the layer's activations on training "
        "images, v(0) = 0",
        citation="Rueckauer et al., arXiv 1612.04052",
        passes=(_percentile_thresholds,),
        neuron=_integrate_and_fire(0.0),
        rounds=False,
        options=PercentileOptions,
        reconstruction="over all activations, zeros included, with linear "
        "interpolation; the paper leaves both open",
    ),
    "opi": Method(
        summary="max-norm with v(0) = theta/2",
        citation="Bu et al., Optimized potential initialization for low-latency "
        "spiking neural networks, AAAI 2022",
        passes=(_max_thresholds,),
        neuron=_integrate_and_fire(0.5),
        options=SampleOptions,
        reconstruction="the paper trains the clip; here theta is the largest "
        "activation of a network as it is",
    ),
    "rts": Method(
        summary="max-norm with theta/(2T) added to every current",
        citation="Deng and Gu, Optimal conversion of conventional artificial neural "
        "networks to spiking neural networks, ICLR 2021; released code",
        passes=(_max_thresholds,),
        neuron=_integrate_and_fire(0.0),
        finish=_shifted,
        shifts=True,
        options=SampleOptions,
        depends_on_T=True,
    ),
    "snm": Method(
        summary="theta = largest activation of the layer, signed neurons with memory "
        "(a negative spike at -theta), v(0) = 0",
        citation="Wang et al., Signed neuron with memory, IJCAI 2022; released code",
        passes=(_max_thresholds,),
        neuron=lambda context: _signed,  # noqa: ARG005 - the rule needs no context
        rounds=False,
        options=SampleOptions,
        reconstruction="one threshold for a layer and a readout of currents, where the "
        "released code has one for each neuron and a spiking output layer",
    ),
}
"""Every method by its name. Adding one is adding an entry."""
