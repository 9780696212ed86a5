"""Walking the trained and the spiking network side by side, layer by layer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from refsnn.arithmetic import Arithmetic
from refsnn.network import INPUT, Network, Population, SpikingNetwork
from refsnn.numerics import Array
from refsnn.run import Simulation, ann_outputs, implementation, processors

CHUNK = 16
"""Images simulated at once; no result depends on it."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Walk:
    """Both networks on the same images, up to some population.

    Populations are taken in graph order: look at one, set it with :meth:`settle`, go
    on. Of the spiking network the spikes of settled populations are held as bits while
    a later one still reads them.

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
        self.snn, self.T, self.impl = snn, T, impl
        chunks = [images[i : i + CHUNK] for i in range(0, len(images), CHUNK)]
        self._x = [snn.preprocess(chunk) for chunk in chunks]
        self._ann = [
            ann_outputs(ann, ann.preprocess(chunk), impl=impl) for chunk in chunks
        ]
        self._bits: list[dict[str, Array]] = [{} for _ in chunks]
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

        return np.concatenate(self._each(advance, self._ann))

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

        def count(chunk: int) -> Array:
            counts: Array = self._fire(name, chunk).sum(axis=0, dtype=np.int64)
            return counts

        return np.concatenate(self._each(count, range(len(self._x))))

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
        counts = [
            self._spikes(source, chunk).sum(axis=0, dtype=np.int64)
            for chunk in range(len(self._x))
        ]
        return np.concatenate(counts) / self.T

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

        def keep(chunk: int) -> None:
            bits = np.packbits(self._fire(name, chunk).astype(bool), axis=0)
            self._bits[chunk][name] = bits
            for source in {q.source for q in population.projections} - {INPUT}:
                if self._last[source] == name:
                    del self._bits[chunk][source]

        self._each(keep, range(len(self._x)))

    def _each(
        self, work: Callable[[Item], Result], items: Iterable[Item]
    ) -> list[Result]:
        """Do some work on every chunk, on threads; results in order."""
        with ThreadPoolExecutor(processors()) as pool:
            return list(pool.map(work, items))

    def _spikes(self, name: str, chunk: int) -> Array:
        """Return held spikes, int8, (T, B, *S)."""
        bits = self._bits[chunk][name]
        return np.unpackbits(bits, axis=0, count=self.T).view(np.int8)

    def _fire(self, name: str, chunk: int) -> Array:
        """Run one population on held spikes, int8, (T, B, *S)."""
        x, ordered = self._x[chunk], Arithmetic(mode="ordered")
        sources = {q.source for q in self.snn[name].projections} - {INPUT}
        trains = {source: self._spikes(source, chunk) for source in sources}
        chosen = implementation(self.impl)
        simulation = Simulation(self.snn, x, self.T, ordered, chosen, None)
        return simulation.fire(name, self.T, trains)
