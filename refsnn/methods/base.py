"""What a method is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from refsnn.activations import QCFS, Activation, Clip
from refsnn.calibrate import Progress
from refsnn.errors import OptionError
from refsnn.methods.options import Options
from refsnn.network import Network, SpikingNetwork
from refsnn.numerics import Array
from refsnn.passes import NeuronRule, fold_batchnorm, spiking_pools


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
        Implementation of all that is run to convert.
    progress : callable or None
        Told how far a pass over the images, or calibration, is.
    watch : callable or None
        Told every loss of weights that are trained: population, iteration, loss.
    folder : Path or None
        Where trained weights are kept as they are finished.
    statistics : Path or None
        Where statistics of activations are kept.
    """

    options: Any
    images: Array
    T: int | None
    impl: str
    progress: Progress | None
    watch: Callable[[str, int, float], None] | None = None
    folder: Path | None = None
    statistics: Path | None = None


Pass = Callable[[Network, Context], Network]

Finish = Callable[[SpikingNetwork, Context], SpikingNetwork]


Calibrate = Callable[[SpikingNetwork, Network, Context], SpikingNetwork]


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
        Rewrites of the graph, in order, from Network to Network; options whose
        `fires_pools` is true add their own.
    passes : tuple of callable
        What follows and may look at images, from Network and Context to Network;
        behind the last one every activation has the clip that becomes its threshold.
    neuron : callable
        Neuron model and v(0) for a threshold, given the context.
    activations : tuple of type
        The activations the method takes; empty for any.
    finish : callable
        What is done to the network before its thresholds are normalised to 1; None for
        nothing.
    rounds : bool
        Whether it means to round activations to spike counts (by v(0) = theta/2 or a
        shift of theta/2 in all), rather than to round them down.
    shifts : bool
        Whether it adds theta/(2T) to every current.
    calibrate : callable
        What is set in the normalised network by comparing runs, given the trained
        network behind the rewrites; None for nothing.
    trains : bool
        Whether that changes weights.
    starts : bool
        Whether it sets v(0), neuron by neuron.
    options : type
        Dataclass of its options, derived from :class:`refsnn.methods.Options`; its
        fields are the keys of ``--set``.
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
    finish: Finish | None = None
    rounds: bool = True
    shifts: bool = False
    calibrate: Calibrate | None = None
    trains: bool = False
    starts: bool = False
    options: type[Options] = Options
    reconstruction: str = ""
    depends_on_T: bool = False

    def __post_init__(self) -> None:
        if not issubclass(self.options, Options):
            raise OptionError(
                where=f"options of a method ({self.summary})",
                got=self.options.__name__,
                expected="a dataclass derived from refsnn.methods.Options",
            )

    @property
    def calibrated(self) -> bool:
        """Whether biases or potentials are other than the thresholds make them."""
        return self.calibrate is not None

    def rewritten(self, ann: Network, options: Options) -> Network:
        """Apply the rewrites of the graph.

        Parameters
        ----------
        ann : Network
            A trained network.
        options : Options
            Its options.

        Returns
        -------
        Network
            The network whose activations become populations.
        """
        for rewrite in self.rewrites:
            ann = rewrite(ann)
        return spiking_pools(ann) if options.fires_pools else ann

    def accepts(self, options: Options) -> tuple[type[Activation], ...]:
        """Return the activations that the method takes.

        Parameters
        ----------
        options : Options
            Its options.

        Returns
        -------
        tuple of type
            Empty for any; only trained clips if they are to be the thresholds.
        """
        return (Clip, QCFS) if options.takes_clips else self.activations

    def unfit(self, ann: Network, options: Options) -> list[str]:
        """List the activations of a network that the method does not take.

        Parameters
        ----------
        ann : Network
            A trained network.
        options : Options
            Its options.

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
