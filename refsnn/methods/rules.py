"""Thresholds, neurons and finishing touches that the methods are made of."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np

from refsnn import calibration
from refsnn.calibrate import max_activations, percentile_activations
from refsnn.calibration.kept import kept
from refsnn.io import content_sha256
from refsnn.methods.base import Calibrate, Context, Pass
from refsnn.network import Network, SpikingNetwork, Stages
from refsnn.neurons import IF, PRESETS, GatedIF, Neuron
from refsnn.numerics import Array
from refsnn.passes import NeuronRule, set_thresholds


def _with_thresholds(
    ann: Network, images: Array, lam: dict[str, Array], found: str = "silent"
) -> Network:
    """Set thresholds, and warn of those that are 0; `found` says of what."""
    silent = [
        name if value.all() == value.any() else f"channels of {name}"
        for name, value in lam.items()
        if not value.all()
    ]
    if silent:
        warnings.warn(
            f"network {ann.name}: {', '.join(silent)} {found} on all "
            f"{len(images)} training images: dead, without outgoing weights",
            UserWarning,
            stacklevel=4,
        )
    return set_thresholds(ann, lam)


def max_thresholds(ann: Network, context: Context) -> Network:
    """Theta = the largest activation of the layer.

    Parameters
    ----------
    ann : Network
        A trained network.
    context : Context
        Options, images, T.

    Returns
    -------
    Network
        With clips.
    """
    lam = _statistic(ann, context, "largest", max_activations)
    return _with_thresholds(ann, context.images, lam)


def _statistic(
    ann: Network, context: Context, name: str, measure: Callable[..., dict[str, Array]]
) -> dict[str, Array]:
    """Measure a number for each activation, or find it measured."""
    names = [activation.name for activation in ann.activations]

    def values() -> Array:
        how = {"impl": context.impl, "progress": context.progress}
        found = measure(ann, context.images, **how)
        return np.array([found[one] for one in names])

    inputs = (name, content_sha256(ann), context.images)
    known = kept(context.statistics, inputs, values)
    return {one: np.asarray(value) for one, value in zip(names, known, strict=True)}


def percentile_thresholds(ann: Network, context: Context) -> Network:
    """Theta = a percentile of the activations of the layer.

    Parameters
    ----------
    ann : Network
        A trained network.
    context : Context
        Options, images, T.

    Returns
    -------
    Network
        With clips.
    """
    percentile = context.options.percentile
    measure = partial(percentile_activations, percentile=percentile)
    lam = _statistic(ann, context, f"percentile {percentile!r}", measure)
    found = f"zero up to percentile {percentile:g}"
    return _with_thresholds(ann, context.images, lam, found)


def mmse_thresholds(ann: Network, context: Context) -> Network:
    """Theta = the threshold with the smallest squared error for these T steps.

    Parameters
    ----------
    ann : Network
        A trained network.
    context : Context
        Options, images, T.

    Returns
    -------
    Network
        With clips.
    """
    lam = calibration.mmse_thresholds(
        ann,
        context.images,
        context.T or 1,
        channelwise=context.options.channelwise,
        impl=context.impl,
        progress=context.progress,
    )
    return _with_thresholds(ann, context.images, lam)


def moving_thresholds(*, search: bool) -> Pass:
    """Theta = a moving average over batches, as released.

    Parameters
    ----------
    search : bool
        Whether for the smallest squared error, or of the largest activation.

    Returns
    -------
    callable
        A pass of a method.
    """

    def step(ann: Network, context: Context) -> Network:
        options = context.options
        images = context.images[: options.batches * options.batch]
        lam = calibration.moving_thresholds(
            ann,
            images,
            context.T or 1,
            batch=options.batch,
            search=search,
            impl=context.impl,
            progress=context.progress,
        )
        return _with_thresholds(ann, images, lam)

    return step


def calibrated(part: str) -> Calibrate:
    """Calibrate biases or potentials on the first batch of images.

    Parameters
    ----------
    part : str
        ``bias`` or ``potential``.

    Returns
    -------
    callable
        What a method calibrates by.
    """

    def calibrate(
        snn: SpikingNetwork, ann: Network, context: Context
    ) -> SpikingNetwork:
        return calibration.calibrate_parameters(
            snn,
            ann,
            context.images[: context.options.batch],
            context.T or 1,
            part=part,
            impl=context.impl,
            progress=context.progress,
        )

    return calibrate


def trained(snn: SpikingNetwork, ann: Network, context: Context) -> SpikingNetwork:
    """Train weights layer by layer, then calibrate potentials.

    Parameters
    ----------
    snn : SpikingNetwork
        The network in canonical form.
    ann : Network
        The trained network behind the rewrites.
    context : Context
        Options (among them `trained`, the number of images that train, and `shift`),
        images, T.

    Returns
    -------
    SpikingNetwork
        The calibrated network.
    """
    options = context.options
    snn = calibration.calibrate_weights(
        snn,
        ann,
        context.images[: options.trained],
        context.T or 1,
        options,
        shift=options.shift,
        impl=context.impl,
        progress=context.progress,
        watch=context.watch,
        folder=context.folder,
    )
    return calibrated("potential")(snn, ann, context)


def clips_or_max(ann: Network, context: Context) -> Network:
    """Theta = the trained clip, or the largest activation.

    Parameters
    ----------
    ann : Network
        A trained network.
    context : Context
        Options, images, T.

    Returns
    -------
    Network
        With clips.
    """
    return ann if context.options.clip else max_thresholds(ann, context)


def integrate_and_fire(v0: float) -> Callable[[Context], NeuronRule]:
    """Make the rule for IF neurons that start at the fraction `v0` of theta.

    Parameters
    ----------
    v0 : float
        Fraction of theta.

    Returns
    -------
    callable
        From a context to a rule.
    """

    def rule(theta: Array) -> tuple[Neuron, Array]:
        return IF(), v0 * theta

    return lambda context: rule  # noqa: ARG005 - the rule needs no context


def signed(theta: Array) -> tuple[Neuron, Array]:
    """Return the signed neuron with memory, v(0) = 0.

    Parameters
    ----------
    theta : ndarray, potential
        The threshold.

    Returns
    -------
    tuple
        Neuron and v(0).
    """
    return PRESETS["snm"].neuron(theta), PRESETS["snm"].v0 * theta


def dual_threshold(context: Context) -> NeuronRule:
    """Make ECL's rule, its parts as switched.

    Parameters
    ----------
    context : Context
        Options, images, T.

    Returns
    -------
    callable
        The rule.
    """
    options = context.options
    preset = PRESETS[options.preset]
    if options.preset in {"fast-snn", "ungated"}:
        preset = dataclasses.replace(preset, theta_neg=options.neg_threshold)

    def rule(theta: Array) -> tuple[Neuron, Array]:
        return preset.neuron(theta) if options.dual else IF(), options.v0 * theta

    return rule


def gated(tolerance: float, *, strict: bool) -> Callable[[Context], NeuronRule]:
    """Make the rule for SRP: keep a neuron above `tolerance` theta.

    Parameters
    ----------
    tolerance : float
        Fraction of theta.
    strict : bool
        Whether it has to lie above the tolerance.

    Returns
    -------
    callable
        From a context to a rule.
    """

    def rule(theta: Array) -> tuple[Neuron, Array]:
        return GatedIF(tolerance=tolerance * theta, strict=strict), theta / 2

    return lambda context: rule if context.options.tau else half


def half(theta: Array) -> tuple[Neuron, Array]:
    """Return an IF neuron that starts at half its threshold.

    Parameters
    ----------
    theta : ndarray, potential
        The threshold.

    Returns
    -------
    tuple
        Neuron and v(0).
    """
    return IF(), theta / 2


def observed(snn: SpikingNetwork, context: Context) -> SpikingNetwork:
    """Observe tau steps first.

    Parameters
    ----------
    snn : SpikingNetwork
        The network before its thresholds are normalised.
    context : Context
        Options, images, T.

    Returns
    -------
    SpikingNetwork
        With its stages.
    """
    return dataclasses.replace(snn, stages=Stages(tau=context.options.tau))


def offset(snn: SpikingNetwork, context: Context) -> SpikingNetwork:
    """Move initial potentials by rho steps.

    Parameters
    ----------
    snn : SpikingNetwork
        The network before its thresholds are normalised.
    context : Context
        Options, images, T.

    Returns
    -------
    SpikingNetwork
        With its stages.
    """
    stages = Stages(rho=context.options.rho, rounds=context.options.rounds)
    return dataclasses.replace(snn, stages=stages)


def shifted(snn: SpikingNetwork, context: Context) -> SpikingNetwork:
    """Add theta/(2T) to every current.

    Parameters
    ----------
    snn : SpikingNetwork
        The network before its thresholds are normalised.
    context : Context
        Options, images, T.

    Returns
    -------
    SpikingNetwork
        With larger biases.
    """
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
