"""Walking the trained and the spiking network side by side, layer by layer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from refsnn.arithmetic import Arithmetic
from refsnn.engine.geometry import as_map
from refsnn.engine.layout import from_words, in_words
from refsnn.errors import OptionError
from refsnn.network import INPUT, Network, Population, Projection, SpikingNetwork
from refsnn.numerics import Array
from refsnn.run import Simulation, ann_outputs, implementation, processors
from refsnn.run.threads import shared

CHUNK = 16
"""Images simulated at once; no result depends on it."""


class Walk:
    """Both networks on the same images, up to some population.

    Populations are taken in graph order: look at one, set it with :meth:`settle`, go
    on. Of the spiking network the spikes of settled populations are held as bits while
    a later one still reads them. It runs in mode `ordered`, on the event-driven kernels
    where they can serve: no network is certified before it is calibrated.

    Parameters
    ----------
    snn : SpikingNetwork
        A canonical network of IF neurons; runs in mode `ordered`.
    ann : Network
        The trained network, batch norms folded.
    images : ndarray of uint8, shape (n, C, H, W)
        Images.
    T : int
        Number of steps.
    impl : str
        ``kernel`` or ``definition``.

    Raises
    ------
    OptionError
        If its neurons spike negatively.
    """

    def __init__(
        self,
        snn: SpikingNetwork,
        ann: Network,
        images: Array,
        T: int,
        *,
        impl: str = "kernel",
    ) -> None:
        signed = [p.name for p in snn.hidden if min(p.signs) < 0]
        if signed:
            raise OptionError(
                where=f"spiking network {snn.name}, calibration",
                got=f"neurons with negative spikes in {', '.join(signed)}",
                expected="neurons that spike or do not",
            )
        self.snn, self.T, self.impl = snn, T, impl
        chunks = [images[i : i + CHUNK] for i in range(0, len(images), CHUNK)]
        self._x = [snn.preprocess(chunk) for chunk in chunks]
        self._ann = [
            ann_outputs(ann, ann.preprocess(chunk), impl=impl) for chunk in chunks
        ]
        self._words: list[dict[str, Array]] = [{} for _ in chunks]
        self._last = {q.source: p.name for p in snn.populations for q in p.projections}

    def activations(self, name: str) -> Array:
        """Take the trained network on to an activation.

        Parameters
        ----------
        name : str
            The activation, a later one than in the last call.

        Returns
        -------
        ndarray of float64, shape (n, *S), activation
            Its outputs.
        """

        def advance(outputs: Iterator[tuple[str, Array]]) -> Array:
            return next(value for node, value in outputs if node == name)

        return np.concatenate(shared(advance, self._ann, processors()))

    def counts(self, name: str) -> Array:
        """Run a population on the spikes of its settled sources.

        Parameters
        ----------
        name : str
            The population.

        Returns
        -------
        ndarray of int64, shape (n, *S)
            Its spikes in T steps.
        """
        fire = self._firing(name)

        def count(chunk: int) -> Array:
            return self._counted(name, fire(chunk))

        return np.concatenate(shared(count, range(len(self._x)), processors()))

    def averages(self, source: str) -> Array:
        """Return what a source puts out on average.

        Parameters
        ----------
        source : str
            A settled population whose spikes are held, or ``INPUT``.

        Returns
        -------
        ndarray of float64, shape (n, *S)
            Spikes divided by T, or the image.
        """
        if source == INPUT:
            return np.concatenate(self._x).astype(np.float64)
        counts = [self._counted(source, words[source]) for words in self._words]
        return np.concatenate(counts) / self.T

    def inputs(self, q: Projection) -> Array:
        """Return what the map of a projection draws on, on average.

        Parameters
        ----------
        q : Projection
            From a settled population whose spikes are held, or from ``INPUT``.

        Returns
        -------
        ndarray of float64, shape (n, *S)
            The source behind the pooling. Maxima are of the spikes of every step, whose
            average is never less than the maximum of averages.
        """
        if q.source == INPUT or not q.maxima:
            return q.pooled(self.averages(q.source))

        def add(words: dict[str, Array]) -> Array:
            train = self._train(q.source, words[q.source]).astype(np.float64)
            total: Array = np.sum([q.pooled(s) for s in train], axis=0)
            return total / self.T

        return np.concatenate(shared(add, self._words, processors()))

    def settle(self, population: Population) -> None:
        """Set a population, run it and hold its spikes.

        Parameters
        ----------
        population : Population
            The population as it is from here on.
        """
        name = population.name
        populations = tuple(
            population if p.name == name else p for p in self.snn.populations
        )
        self.snn = dataclasses.replace(self.snn, populations=populations)

        fire = self._firing(name)

        def keep(chunk: int) -> None:
            words = self._words[chunk]
            words[name] = fire(chunk)
            for source in population.sources:
                if self._last[source] == name:
                    del words[source]

        shared(keep, range(len(self._x)), processors())

    def _counted(self, name: str, words: Array) -> Array:
        """Count spikes over all steps, (B, *S)."""
        from refsnn.engine.ordered import counts  # noqa: PLC0415 - loads Numba

        shape = self.snn[name].shape
        return counts(words, shape[0]).reshape(len(words), *shape)

    def _train(self, source: str, words: Array) -> Array:
        """Return the spikes of a chunk, int8, (T, B, *S)."""
        shape = self.snn[source].shape
        bits = from_words(words, shape[0])
        bits = bits.reshape(*bits.shape[:2], *shape).swapaxes(0, 1)
        return np.ascontiguousarray(bits).view(np.int8)

    def _firing(self, name: str) -> Callable[[int], Array]:
        """Return what runs one population on the held spikes of a chunk, to words."""
        sources = self.snn[name].sources
        if self.impl == "kernel":
            from refsnn.engine.ordered import ordered  # noqa: PLC0415 - loads Numba

            fast = ordered(self.snn, name, self.T)
            if fast:
                return lambda chunk: fast.fire(
                    {source: self._words[chunk][source] for source in sources}
                )
        return lambda chunk: self._fire(name, chunk)

    def _fire(self, name: str, chunk: int) -> Array:
        """Run one population on its ordinary kernel, or by its definition."""
        x, words = self._x[chunk], self._words[chunk]
        exactly = Arithmetic(mode="ordered")
        trains = {
            source: self._train(source, words[source])
            for source in self.snn[name].sources
        }
        chosen = implementation(self.impl)
        simulation = Simulation(self.snn, x, self.T, exactly, chosen, None)
        s = simulation.fire(name, self.T, trains).astype(bool).swapaxes(0, 1)
        return in_words(s.reshape(*s.shape[:2], *as_map(s.shape[2:])))
