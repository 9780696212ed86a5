"""Conversion methods: a registry of names, options, passes and citations."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from refsnn.activations import QCFS, Activation
from refsnn.calibrate import Progress, max_activations
from refsnn.errors import ConversionError, DataError, OptionError
from refsnn.io import content_sha256
from refsnn.network import Network, SpikingNetwork
from refsnn.neurons import IF, Neuron
from refsnn.numerics import Array
from refsnn.passes import (
    NeuronRule,
    activations_to_neurons,
    canonical_form,
    fold_batchnorm,
    set_thresholds,
)
from refsnn.run import need_network, need_steps
from refsnn.snap import T_MAX, snap


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
    options: type = NoOptions
    reconstruction: str = ""
    depends_on_T: bool = False

    @property
    def needs_images(self) -> bool:
        """Whether the method looks at training images."""
        return "samples" in {f.name for f in dataclasses.fields(self.options)}

    def unfit(self, ann: Network) -> list[str]:
        """List the activations of a network that the method does not take.

        Parameters
        ----------
        ann : Network
            A trained network.

        Returns
        -------
        list of str
            Name and kind of each; empty if it takes them all.
        """
        return [
            f"{node.name} ({node.op.op})"
            for node in ann.activations
            if self.activations and not isinstance(node.op, self.activations)
        ]


def _max_thresholds(ann: Network, context: Context) -> Network:
    lam = max_activations(
        ann, context.images, impl=context.impl, progress=context.progress
    )
    silent = [name for name, value in lam.items() if value == 0]
    if silent:
        warnings.warn(
            f"network {ann.name}: {', '.join(silent)} silent on all "
            f"{len(context.images)} training images: dead, without outgoing weights",
            UserWarning,
            stacklevel=3,
        )
    return set_thresholds(ann, lam)


def _integrate_and_fire(v0: float) -> Callable[[Context], NeuronRule]:
    """Make the rule for IF neurons that start at the fraction `v0` of theta."""

    def rule(theta: Array) -> tuple[Neuron, Array]:
        return IF(), v0 * theta

    return lambda context: rule  # noqa: ARG005 - the rule needs no context


METHODS: dict[str, Method] = {
    "qcfs": Method(
        summary="theta = lam, v(0) = theta/2, IF neurons, on a QCFS network",
        citation="Bu et al., Optimal ANN-SNN conversion for high-accuracy and "
        "ultra-low-latency spiking neural networks, ICLR 2022 (Theorem 2)",
        neuron=_integrate_and_fire(0.5),
        activations=(QCFS,),
    ),
    "max-norm": Method(
        summary="theta = largest activation of the layer on training images, v(0) = 0",
        citation="Rueckauer et al., Theory and tools for the conversion of analog to "
        "spiking convolutional neural networks, arXiv 1612.04052; the earlier rule "
        "of Diehl et al., IJCNN 2015, takes the largest weight instead where that is "
        "larger",
        passes=(_max_thresholds,),
        neuron=_integrate_and_fire(0.0),
        options=SampleOptions,
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


def need_fit(ann: Network, name: str, *, max_pool_on_spikes: bool = False) -> None:
    """Refuse a network that a method cannot take, before anything is computed.

    Parameters
    ----------
    ann : Network
        A trained network.
    name : str
        The method.
    max_pool_on_spikes : bool
        Whether max pooling is taken to mean the maximum of spikes.

    Raises
    ------
    ConversionError
        If the method does not take one of the activations, or the graph is not made of
        populations joined by linear maps.
    """
    method = method_named(name)
    unfit = method.unfit(ann)
    if unfit:
        raise ConversionError(
            where=f"network {ann.name}, method {name}",
            got=f"the activations {', '.join(unfit)}",
            expected=f"{' or '.join(cls.op for cls in method.activations)} only",
        )
    for rewrite in method.rewrites:
        ann = rewrite(ann)
    clipped = {node.name: np.array(1.0) for node in ann.activations}
    activations_to_neurons(
        set_thresholds(ann, clipped),
        lambda theta: (IF(), theta),
        max_pool_on_spikes=max_pool_on_spikes,
    )


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
    fields = {f.name: f for f in dataclasses.fields(method_named(name).options)}
    options: dict[str, Any] = {}
    for key, text in settings.items():
        _need_key(name, key, list(fields))
        kind = type(fields[key].default)
        try:
            options[key] = READ[kind](text)
        except (ValueError, KeyError):
            raise OptionError(
                where=f"option {key} of method {name}",
                got=repr(text),
                expected=f"a value of type {kind.__name__}",
            ) from None
    return options


READ: dict[type, Callable[[str], Any]] = {
    int: int,
    float: float,
    str: str,
    bool: {"true": True, "false": False}.__getitem__,
}
"""How a typed option is read, by its type."""


def _need_key(name: str, key: str, known: list[str]) -> None:
    if key not in known:
        raise OptionError(
            where=f"method {name}",
            got=f"the option {key}",
            expected=f"one of {', '.join(known)}" if known else "no options",
        )


def _settings(name: str, options: Mapping[str, Any]) -> Any:
    """Make a method's options, refusing unknown keys and values of another type."""
    fields = {f.name: f for f in dataclasses.fields(method_named(name).options)}
    options = {
        key: value.item() if isinstance(value, np.generic) else value
        for key, value in options.items()
    }
    for key, value in options.items():
        _need_key(name, key, list(fields))
        kind: type = type(fields[key].default)
        finite = not isinstance(value, float) or np.isfinite(value)
        if type(value) is not kind or not finite:
            raise OptionError(
                where=f"option {key} of method {name}",
                got=repr(value),
                expected=f"a value of type {kind.__name__}",
            )
    return method_named(name).options(**options)


def _training_images(name: str, images: Array | None, samples: int) -> Array:
    """Return the images that a method looks at."""
    if not isinstance(images, np.ndarray) or not images.size:
        raise DataError(
            where=f"method {name}",
            got="no images" if images is None else f"a {type(images).__name__}",
            expected="an array of training images",
        )
    if samples > len(images):
        raise OptionError(
            where=f"option samples of method {name}",
            got=samples,
            expected=f"at most {len(images)}, the number of training images",
        )
    return images[: samples or None]


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
        ``kernel`` or ``definition``, for runs of the trained network.
    progress : callable, optional
        Told how far a pass over the images is.

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
    settings = _settings(method, options or {})
    if T is not None:
        need_steps(T)
    elif chosen.depends_on_T:
        raise OptionError(
            where=f"method {method}",
            got="no T",
            expected="the number of steps to convert for",
        )
    need_fit(ann, method, max_pool_on_spikes=max_pool_on_spikes)
    samples = None
    seen = np.empty((0, *ann.input_shape), dtype=np.uint8)
    if chosen.needs_images:
        seen = _training_images(method, images, settings.samples)
        samples = np.arange(len(seen), dtype=np.int64)
    context = Context(options=settings, images=seen, T=T, impl=impl, progress=progress)
    ready = ann
    with np.errstate(over="ignore", invalid="ignore"):  # records refuse the result
        for rewrite in chosen.rewrites:
            ready = rewrite(ready)
        for step in chosen.passes:
            ready = step(ready, context)
        snn = canonical_form(
            activations_to_neurons(
                ready, chosen.neuron(context), max_pool_on_spikes=max_pool_on_spikes
            )
        )
    snn = dataclasses.replace(
        snn,
        method=method,
        options=dataclasses.asdict(settings),
        T=T if chosen.depends_on_T else None,
        ann_sha256=content_sha256(ann),
        samples=samples,
    )
    return _snapped(snn) if exact else snn


def _snapped(snn: SpikingNetwork) -> SpikingNetwork:
    """Round to certified grids, or leave the network as it is and say so."""
    try:
        return snap(snn, T=T_MAX)
    except ConversionError as error:
        text = f"{error}. The network is left as it is and runs in mode ordered."
        warnings.warn(text, UserWarning, stacklevel=3)
        return snn
