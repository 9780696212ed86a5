"""Every method, with its source."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from refsnn.activations import QCFS
from refsnn.errors import OptionError
from refsnn.methods import rules
from refsnn.methods.base import Method
from refsnn.methods.options import (
    AdvancedCodeOptions,
    AdvancedOptions,
    CalibrationOptions,
    CodeOptions,
    COSOptions,
    ECLOptions,
    Options,
    PercentileOptions,
    PoolOptions,
    SampleOptions,
    SRPOptions,
)
from refsnn.network import Network, SpikingNetwork
from refsnn.passes import fold_batchnorm

_CALIBRATION = (
    "Li et al., Converting artificial neural networks to spiking neural networks via "
    "parameter calibration, arXiv 2205.10121"
)
_QCFS = (
    "Bu et al., Optimal ANN-SNN conversion for high-accuracy and "
    "ultra-low-latency spiking neural networks, ICLR 2022"
)
_SRP = (
    "Hao et al., Reducing ANN-SNN conversion error through residual membrane "
    "potential, AAAI 2023"
)

_GRID = "the paper's text was not seen: its threshold grid is as reported by others"
_CODE = (
    "the released algorithm as described by others; its images are augmented at "
    "random, these are not; its batches are drawn by PyTorch, these by NumPy, and "
    "recorded; which batch calibrates is open: here the first"
)

_calibration = partial(
    Method,
    citation=f"{_CALIBRATION}; released code",
    neuron=rules.integrate_and_fire(0.0),
    finish=rules.shifted,
    shifts=True,
    depends_on_T=True,
)

_as_released = partial(
    _calibration,
    passes=(rules.moving_thresholds(search=True),),
    options=CodeOptions,
    reconstruction=_CODE,
)

METHODS: dict[str, Method] = {
    "qcfs": Method(
        summary="theta = lam, v(0) = theta/2, IF neurons, on a QCFS network",
        citation=f"{_QCFS} (Theorem 2)",
        neuron=rules.integrate_and_fire(0.5),
        activations=(QCFS,),
    ),
    "srp": Method(
        summary="qcfs, its neurons let out only if v(tau) > 1e-3 theta after tau "
        "observing steps; all start again at theta/2",
        citation=f"{_SRP}; released code",
        neuron=rules.gated(1e-3, strict=True),
        finish=rules.observed,
        activations=(QCFS,),
        options=SRPOptions,
        reconstruction="the criterion is the released code's; the paper's own text was "
        "not seen",
    ),
    "srp-v0": Method(
        summary="srp with the criterion v(tau) >= 0",
        citation=_SRP,
        neuron=rules.gated(0.0, strict=False),
        finish=rules.observed,
        activations=(QCFS,),
        options=SRPOptions,
        reconstruction="the criterion is the paper's as recalled by others; its text "
        "was not seen",
    ),
    "ecl": Method(
        summary="theta = trained clip, dual-threshold neurons, v(0) = theta/2",
        citation="Liu et al., Efficient ANN-SNN conversion with error compensation "
        "learning, ICML 2025 (abstract); neuron of Hu et al., Fast-SNN, TPAMI 2023",
        passes=(rules.clips_or_max,),
        neuron=rules.dual_threshold,
        options=ECLOptions,
        reconstruction="the paper's equations are not public: the negative spike is "
        "Fast-SNN's, the clip that of Ho and Chang (DAC 2021) or QCFS",
    ),
    "cos": Method(
        summary="qcfs, its initial potentials moved for each image by the spike that "
        "rho steps have too many or too few",
        citation="Hao et al., Bridging the gap between ANNs and SNNs by calibrating "
        "offset spikes, ICLR 2023; released code",
        neuron=rules.integrate_and_fire(0.5),
        finish=rules.offset,
        activations=(QCFS,),
        options=COSOptions,
        reconstruction="saturated neurons, which the released code moves by a "
        "sentinel, stay; more than one round is the paper's iterated form as recalled "
        "by others",
    ),
    "calib-none": _calibration(
        summary="theta = largest activation of the layer, theta/(2T) added to every "
        "current, nothing calibrated",
        passes=(rules.max_thresholds,),
        options=PoolOptions,
    ),
    "calib-light": _calibration(
        summary="theta = smallest squared error, theta/(2T) added to every current, "
        "biases calibrated layer by layer",
        passes=(rules.mmse_thresholds,),
        calibrate=rules.calibrated("bias"),
        options=CalibrationOptions,
        reconstruction=f"{_GRID}, the rest the released code's rule",
    ),
    "calib-potential": _calibration(
        summary="theta = smallest squared error, theta/(2T) added to every current, "
        "v(0) calibrated layer by layer",
        passes=(rules.mmse_thresholds,),
        calibrate=rules.calibrated("potential"),
        starts=True,
        options=CalibrationOptions,
        reconstruction=f"{_GRID}, the rest the released code's rule",
    ),
    "calib-advanced": _calibration(
        summary="theta = smallest squared error, theta/(2T) added to every current, "
        "weights trained layer by layer through the floor, then v(0) calibrated",
        passes=(rules.mmse_thresholds,),
        calibrate=rules.trained,
        trains=True,
        starts=True,
        options=AdvancedOptions,
        reconstruction=f"{_GRID}, steps, rate and schedule are the released code's; "
        "that the loss sees the shift is ours (shift=false: as released)",
    ),
    "calib-none-code": _as_released(
        summary="calib-none with a moving average over batches of the largest "
        "activation",
        passes=(rules.moving_thresholds(search=False),),
    ),
    "calib-light-code": _as_released(
        summary="calib-light with thresholds from 95 candidates, a moving average over "
        "7 batches",
        calibrate=rules.calibrated("bias"),
    ),
    "calib-potential-code": _as_released(
        summary="calib-potential with the thresholds of calib-light-code; what the "
        "released CIFAR script runs as advanced",
        calibrate=rules.calibrated("potential"),
        starts=True,
    ),
    "calib-advanced-code": _as_released(
        summary="calib-advanced with the thresholds of calib-light-code and a loss "
        "without the shift; what the released ImageNet script runs",
        calibrate=rules.trained,
        trains=True,
        starts=True,
        options=AdvancedCodeOptions,
    ),
    "max-norm": Method(
        summary="theta = largest activation of the layer on training images, v(0) = 0",
        citation="Rueckauer et al., Theory and tools for the conversion of analog to "
        "spiking convolutional neural networks, arXiv 1612.04052; the earlier rule "
        "of Diehl et al., IJCNN 2015, takes the largest weight instead where that is "
        "larger",
        passes=(rules.max_thresholds,),
        neuron=rules.integrate_and_fire(0.0),
        rounds=False,
        options=SampleOptions,
    ),
    "percentile": Method(
        summary="theta = 99.9th percentile of the layer's activations on training "
        "images, v(0) = 0",
        citation="Rueckauer et al., arXiv 1612.04052",
        passes=(rules.percentile_thresholds,),
        neuron=rules.integrate_and_fire(0.0),
        rounds=False,
        options=PercentileOptions,
        reconstruction="over all activations, zeros included, with linear "
        "interpolation; the paper leaves both open",
    ),
    "opi": Method(
        summary="max-norm with v(0) = theta/2",
        citation="Bu et al., Optimized potential initialization for low-latency "
        "spiking neural networks, AAAI 2022",
        passes=(rules.max_thresholds,),
        neuron=rules.integrate_and_fire(0.5),
        options=SampleOptions,
        reconstruction="the paper trains the clip; here theta is the largest "
        "activation of a network as it is",
    ),
    "rts": Method(
        summary="max-norm with theta/(2T) added to every current",
        citation="Deng and Gu, Optimal conversion of conventional artificial neural "
        "networks to spiking neural networks, ICLR 2021; released code",
        passes=(rules.max_thresholds,),
        neuron=rules.integrate_and_fire(0.0),
        finish=rules.shifted,
        shifts=True,
        options=SampleOptions,
        depends_on_T=True,
    ),
    "snm": Method(
        summary="theta = largest activation of the layer, signed neurons with memory "
        "(a negative spike at -theta), v(0) = 0",
        citation="Wang et al., Signed neuron with memory, IJCAI 2022; released code",
        passes=(rules.max_thresholds,),
        neuron=lambda context: rules.signed,  # noqa: ARG005 - the rule needs no context
        rounds=False,
        options=SampleOptions,
        reconstruction="one threshold for a layer and a readout of currents, where the "
        "released code has one for each neuron and a spiking output layer",
    ),
}
"""Every method by its name. Adding one is adding an entry."""


def method_named(name: str) -> Method:
    """Return a method by its name.

    Parameters
    ----------
    name : str
        A key of :data:`METHODS`.

    Returns
    -------
    Method
        The method.

    Raises
    ------
    OptionError
        If there is none of that name.
    """
    if name not in METHODS:
        raise OptionError(
            where="method", got=name, expected=f"one of {', '.join(METHODS)}"
        )
    return METHODS[name]


def options_of(name: str) -> dict[str, type]:
    """Name the options of a method.

    Parameters
    ----------
    name : str
        The method.

    Returns
    -------
    dict of str to type
        Types of their values, those of the defaults.
    """
    fields = dataclasses.fields(method_named(name).options)
    return {f.name: type(f.default) for f in fields}


def need_option(name: str, key: str, *, of: str = "") -> None:
    """Refuse an option that a method does not have.

    Parameters
    ----------
    name : str
        The method.
    key : str
        The option.
    of : str
        Whose option it is, for the error.

    Raises
    ------
    OptionError
        If there is none of that name.
    """
    known = options_of(name)
    if key not in known:
        raise OptionError(
            where=f"{of}method {name}",
            got=f"the option {key}",
            expected=f"one of {', '.join(known)}" if known else "no options",
        )


def settings_of(name: str, options: Mapping[str, Any], *, of: str = "") -> Options:
    """Make a method's options, refusing unknown keys and values of another type.

    Parameters
    ----------
    name : str
        The method.
    options : mapping
        Its options; others keep their defaults.
    of : str
        Whose options they are, for the error.

    Returns
    -------
    Options
        Of the method's own class.

    Raises
    ------
    OptionError
        If there is no such method, option or value.
    """
    kinds = options_of(name)
    options = {
        key: value.item() if isinstance(value, np.generic) else value
        for key, value in options.items()
    }
    reals = {k: float(v) for k, v in options.items() if type(v) is int}
    options |= {k: v for k, v in reals.items() if kinds.get(k) is float}
    for key, value in options.items():
        need_option(name, key, of=of)
        kind = kinds[key]
        finite = not isinstance(value, float) or np.isfinite(value)
        if type(value) is not kind or not finite:
            raise OptionError(
                where=f"{of}option {key} of method {name}",
                got=repr(value),
                expected=f"a value of type {kind.__name__}",
            )
    return method_named(name).options(**options)


def settings_in(snn: SpikingNetwork) -> Options:
    """Make the options that a converted network says it was made with.

    Parameters
    ----------
    snn : SpikingNetwork
        The network, of a method of the registry.

    Returns
    -------
    Options
        Of the method's own class.

    Raises
    ------
    OptionError
        If the method has no such option or value.
    """
    return settings_of(snn.method, snn.options, of=f"spiking network {snn.name}, ")


def prepared(snn: SpikingNetwork, ann: Network) -> Network:
    """Return a trained network as the method of a converted one rewrote it.

    Parameters
    ----------
    snn : SpikingNetwork
        The converted network; of an unknown method, batch norms are folded.
    ann : Network
        The trained network it was made of.

    Returns
    -------
    Network
        Its activations are the populations.
    """
    method = METHODS.get(snn.method)
    if method is None:
        return fold_batchnorm(ann)
    return method.rewritten(ann, settings_in(snn))
