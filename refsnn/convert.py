"""Conversion by a method of the registry."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from refsnn.calibrate import Progress
from refsnn.errors import ConversionError, DataError, OptionError
from refsnn.io import content_sha256
from refsnn.methods import (
    METHODS,
    Context,
    Method,
    method_named,
    need_option,
    options_of,
    settings_of,
)
from refsnn.network import Network, SpikingNetwork
from refsnn.neurons import IF
from refsnn.numerics import Array
from refsnn.passes import (
    activations_to_neurons,
    canonical_form,
    need_linear_output,
    set_thresholds,
)
from refsnn.run import need_network, need_steps
from refsnn.snap import T_MAX, snap

__all__ = [
    "METHODS",
    "Context",
    "Method",
    "convert",
    "method_named",
    "need_fit",
    "needs_images",
    "parse_options",
]


def need_fit(
    ann: Network,
    name: str,
    *,
    options: Mapping[str, Any] | None = None,
    max_pool_on_spikes: bool = False,
) -> None:
    """Refuse a network that a method cannot take, before anything is computed.

    Parameters
    ----------
    ann : Network
        A trained network.
    name : str
        The method.
    options : mapping, optional
        Its options; others keep their defaults.
    max_pool_on_spikes : bool
        Whether max pooling is taken to mean the maximum of spikes.

    Raises
    ------
    ConversionError
        If the method does not take one of the activations, or the graph is not made of
        populations joined by linear maps.
    """
    method, settings = method_named(name), settings_of(name, options or {})
    unfit = method.unfit(ann, settings)
    if unfit:
        raise ConversionError(
            where=f"network {ann.name}, method {name}",
            got=f"the activations {', '.join(unfit)}",
            expected=f"{' or '.join(cls.op for cls in method.accepts(settings))} only",
            do=_others(ann),
        )
    need_linear_output(ann)
    ann = method.rewritten(ann, settings)
    clipped = {node.name: np.array(1.0) for node in ann.activations}
    activations_to_neurons(
        set_thresholds(ann, clipped),
        lambda theta: (IF(), theta),
        max_pool_on_spikes=max_pool_on_spikes,
    )


def _others(ann: Network) -> str:
    """Name the methods that take all activations of a network."""
    names = [n for n, m in METHODS.items() if not m.unfit(ann, m.options())]
    return f"Methods for these activations: {', '.join(names)}." if names else ""


def needs_images(name: str, options: Mapping[str, Any]) -> bool:
    """Say whether a method looks at training images.

    Parameters
    ----------
    name : str
        The method.
    options : mapping
        Its options; others keep their defaults.

    Returns
    -------
    bool
        Whether :func:`convert` needs `images`.
    """
    return settings_of(name, options).looks_at_images


def parse_options(name: str, settings: Mapping[str, str]) -> dict[str, Any]:
    """Turn texts into a method's options.

    Parameters
    ----------
    name : str
        The method.
    settings : mapping of str to str
        Options as typed, ``key=value``.

    Returns
    -------
    dict
        Options with the types of their defaults.

    Raises
    ------
    OptionError
        If a key is unknown or a value cannot be read.
    """
    kinds = options_of(name)
    options: dict[str, Any] = {}
    for key, text in settings.items():
        need_option(name, key)
        kind = kinds[key]
        try:
            options[key] = READ[kind](text)
        except (ValueError, KeyError):
            raise OptionError(
                where=f"option {key} of method {name}",
                got=repr(text),
                expected=f"a value of type {kind.__name__}"
                + " (true or false)" * (kind is bool),
            ) from None
    return options


READ: dict[type, Callable[[str], Any]] = {
    int: int,
    float: float,
    str: str,
    bool: {"true": True, "false": False}.__getitem__,
}
"""How a typed option is read, by its type."""


def _training_images(name: str, images: Array | None) -> Array:
    """Refuse to look at images that are none."""
    if not isinstance(images, np.ndarray) or not images.size:
        raise DataError(
            where=f"method {name}",
            got="no images" if images is None else f"a {type(images).__name__}",
            expected="an array of training images",
        )
    return images


def convert(
    ann: Network,
    method: str,
    *,
    T: int | None = None,
    images: Array | None = None,
    options: Mapping[str, Any] | None = None,
    max_pool_on_spikes: bool = False,
    exact: bool = True,
    impl: str = "kernel",
    progress: Progress | None = None,
    watch: Callable[[str, int, float], None] | None = None,
    folder: Path | None = None,
    statistics: Path | None = None,
) -> SpikingNetwork:
    """Convert a trained network into a spiking one.

    Parameters
    ----------
    ann : Network
        The trained network.
    method : str
        A key of :data:`METHODS`.
    T : int, optional
        The number of steps, for methods that depend on it.
    images : ndarray of uint8, shape (n, C, H, W), optional
        Training images, for methods that look at them.
    options : mapping, optional
        The method's options; others keep their defaults.
    max_pool_on_spikes : bool
        Whether max pooling is taken to mean the maximum of the spikes at every step,
        whatever the method; a network with max pooling is refused otherwise.
    exact : bool
        Whether to end with rounding to grids that are certified for float64 and every
        T up to 1024, so that the network runs in mode ``exact``; see
        :mod:`refsnn.snap`. Without it the network runs in mode ``ordered``.
    impl : str
        ``kernel`` or ``definition``, for all that is run to convert.
    progress : callable, optional
        Told how far a pass over the images, or calibration, is.
    watch : callable, optional
        Told every loss of weights that are trained: population, iteration, loss.
    folder : Path, optional
        Where the trained weights of each layer are kept as they are finished; a call
        that was interrupted and is made again takes them from there. The network is
        the same to the bit; `watch` is not told what was trained before. The files
        stay, see :func:`refsnn.calibration.forget`.
    statistics : Path, optional
        Where the largest activations and percentiles over `images` are kept, for other
        conversions of the same network to find; by content, so that any may share it.

    Returns
    -------
    SpikingNetwork
        The network in canonical form, with all that is needed to repeat it.

    Raises
    ------
    OptionError
        If the method, an option or T does not exist or fit.
    ConversionError
        If the method does not take the network.
    DataError
        If the method needs training images and there are none.

    Warns
    -----
    UserWarning
        If a certificate was asked for and there is none: then nothing is rounded.
    """
    need_network(ann, Network)
    chosen = method_named(method)
    settings = settings_of(method, options or {})
    if T is not None:
        need_steps(T)
    elif chosen.depends_on_T:
        raise OptionError(
            where=f"method {method}",
            got="no T",
            expected="the number of steps to convert for",
        )
    need_fit(ann, method, options=options, max_pool_on_spikes=max_pool_on_spikes)
    samples = None
    seen = np.empty((0, *ann.input_shape), dtype=np.uint8)
    if settings.looks_at_images:
        train = _training_images(method, images)
        samples = settings.chosen(len(train))
        seen = train[samples]
    context = Context(
        options=settings,
        images=seen,
        T=T,
        impl=impl,
        progress=progress,
        watch=watch,
        folder=folder,
        statistics=statistics,
    )
    ready = ann
    with np.errstate(over="ignore", invalid="ignore"):  # records refuse the result
        ready = plain = chosen.rewritten(ready, settings)
        for step in chosen.passes:
            ready = step(ready, context)
        snn = activations_to_neurons(
            ready, chosen.neuron(context), max_pool_on_spikes=max_pool_on_spikes
        )
        if chosen.finish:
            snn = chosen.finish(snn, context)
        snn = canonical_form(snn)
        if chosen.calibrate:
            snn = chosen.calibrate(snn, plain, context)
    snn = dataclasses.replace(
        snn,
        method=method,
        options=dataclasses.asdict(settings),
        T=T if chosen.depends_on_T else None,
        ann_sha256=content_sha256(ann),
        samples=samples,
    )
    return _snapped(snn, max(T or 0, T_MAX)) if exact else snn


def _snapped(snn: SpikingNetwork, T: int) -> SpikingNetwork:
    """Round to certified grids, or leave the network as it is and say so."""
    try:
        return snap(snn, T=T)
    except ConversionError as error:
        text = f"{error}. The network is left as it is and runs in mode ordered."
        warnings.warn(text, UserWarning, stacklevel=3)
        return snn
