"""Error terms: five integers for every neuron that add up to what conversion lost.

Everything is times T and in units of a grid, theta = 1. For one neuron and image, let

    S      = sum of the currents of T steps, without the method's shift 1/(2T)
    n_ref  = clip(floor(S + v_ref), 0, T), v_ref = 1/2 for methods that round, else 0;
             of ECL, v(0) as it is set (`v0`)
    N, N_e = internal and emitted net spike counts
    a      = output of the trained network, in units of theta; of a dead channel, which
             nobody reads, clipped at 1

and, for rectifiers (`--target relu`, and networks of rectifiers),

    propagated    max(S, 0) - T a                 errors of earlier layers
    clipping      min(max(S, 0), T) - max(S, 0)   theta below the activation
    quantisation  n_ref - min(max(S, 0), T)       the output lives on a grid
    unevenness    N - n_ref                       order of arrival
    gating        N_e - N                         SRP's mask

They add up to N_e - T a, exactly. For a network with clips or QCFS activations h and
its own activations as the target, propagated is T (h(S/T) - h(z)), clipping is 0 and
quantisation is n_ref - T h(S/T). The calibration paper's second column, `flooring`, is
clip(floor(S), 0, T) - min(max(S, 0), T); it is not part of the sum. Neither is `bias`,
T times what calibration added to the bias, which is part of S and so of propagated.

Sources: Bu et al., ICLR 2022, Eq. 8-13 (clipping, quantisation, unevenness); the split
by n_ref telescopes exactly where theirs assumes even arrival.

Unevenness has four cases (:mod:`refsnn.cases`), against matched inputs. Against the
trained network, its T a takes the place of n_ref and N_e that of N.

The trained network is the converted one with its activations restored: the same rounded
weights and the same current of the image, evaluated in mode `ordered`. Its outputs, and
QCFS levels, are rounded once to the grid.
"""

from __future__ import annotations

import dataclasses
from functools import reduce
from typing import Any

import numpy as np

from refsnn.activations import QCFS, ReLU
from refsnn.calibrate import Progress
from refsnn.cases import count_cases, count_condition
from refsnn.datasets import Images
from refsnn.errors import OptionError
from refsnn.evaluate import need_data, parts
from refsnn.methods import METHODS, prepared
from refsnn.network import Network, Population, SpikingNetwork
from refsnn.neurons import State
from refsnn.numerics import Array, exact_sum, grid_integers, per_channel
from refsnn.restored import (
    as_trained,
    distance,
    need_made_of,
    restored,
    scales,
    uncalibrated,
)
from refsnn.run import run_snn
from refsnn.sums import LARGEST, added

TERMS = ("propagated", "clipping", "quantisation", "unevenness", "gating")
MORE = ("total", "flooring", "bias")
TARGETS = ("own", "relu")

BATCH = 20
"""Images of one thread at once; no result depends on it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Errors:
    """Error terms of one population, sums over neurons and images that add up.

    Attributes
    ----------
    channels : tuple of dict of str to int
        For each channel the terms, `total` = N_e - T a, `flooring` and `bias`, in units
        of 2^-grid charge.
    absolute : dict of str to int
        Sums of the sizes of the terms and of the total.
    cases, against_ann : dict of str to int
        Neurons by case, against matched inputs and against the trained network.
    condition : dict of str to int
        What :func:`refsnn.cases.count_condition` found.
    repaired, damaged : int
        Neurons whose spikes a mask took away, with n_ref = 0 and with n_ref > 0.
    neurons : int
        Neurons, over all images.
    """

    channels: tuple[dict[str, int], ...]
    absolute: dict[str, int]
    cases: dict[str, int]
    against_ann: dict[str, int]
    condition: dict[str, int]
    repaired: int
    damaged: int
    neurons: int

    def term(self, name: str) -> int:
        """Sum a term over the channels.

        Parameters
        ----------
        name : str
            One of :data:`TERMS` or :data:`MORE`.

        Returns
        -------
        int
            In units of 2^-grid charge.
        """
        return sum(channel[name] for channel in self.channels)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decomposition:
    """Error terms of a network over some images.

    Attributes
    ----------
    images : int
        Number of images.
    T : int
        Number of steps.
    grid : int
        Bits behind the point of the unit: the finest of the network.
    populations : dict of str to Errors
        In graph order.
    distance : float
        Largest distance, in units of theta, between an activation of the restored
        network and that of the trained network's file.
    """

    images: int
    T: int = dataclasses.field(metadata=LARGEST)
    grid: int = dataclasses.field(metadata=LARGEST)
    populations: dict[str, Errors]
    distance: float = dataclasses.field(metadata=LARGEST)


def decompose(
    snn: SpikingNetwork,
    ann: Network,
    data: Images,
    T: int,
    *,
    target: str = "own",
    batch: int = BATCH,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Decomposition:
    """Split what a converted network loses into terms, over labelled images.

    Parameters
    ----------
    snn : SpikingNetwork
        The network, rounded to grids (mode ``exact``).
    ann : Network
        The trained network it was made of.
    data : Images
        Images.
    T : int
        Number of steps.
    target : str
        ``own``: against the activations of the trained network; ``relu``: against
        rectifiers on the same pre-activations.
    batch, threads, progress : optional
        As in :func:`refsnn.evaluate.evaluate`.

    Returns
    -------
    Decomposition
        Sums over the images.

    Raises
    ------
    OptionError
        If the network has no grids, or is another one's.
    """
    _need_pair(snn, ann, T, target)
    need_data(data, snn.classes)

    def of(images: Array, labels: Array) -> Decomposition:  # noqa: ARG001 - a loss needs no label
        return _decompose(snn, ann, images, T, target)

    return reduce(added, parts(of, data, batch, threads, progress))


def _need_pair(snn: SpikingNetwork, ann: Network, T: int, target: str) -> None:
    if target not in TARGETS:
        raise OptionError(where="target", got=target, expected=" or ".join(TARGETS))
    need_made_of(snn, ann)
    unrounded = not snn.hidden or any(p.grid is None for p in snn.hidden)
    if unrounded or snn.method not in METHODS:
        raise OptionError(
            where=f"spiking network {snn.name}, method {snn.method!r}",
            got="no neurons, weights that were not rounded to grids, or an unknown "
            "method",
            expected="a network that `convert` made, in mode exact",
            do="The terms are integers on the grids of its certificate.",
        )
    finest = snn.finest_grid()
    if int(T) << finest >= 2**62:
        expected = f"fewer than 2^{62 - finest} on its grid of 2^-{finest}"
        raise OptionError(where="T", got=T, expected=expected)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Frame:
    """What the terms of one population are measured with."""

    T: int
    one: Array  # 2^q: theta in units of the channel's grid, broadcastable over S
    v_ref: Array  # twice it, in units of the grid
    shift: Array
    change: Array  # of the bias, by calibration
    levels: int | None
    rectifier: bool


def neuron_terms(
    snn: SpikingNetwork, ann: Network, images: Array, T: int, *, target: str = "own"
) -> dict[str, dict[str, Array]]:
    """Return the error terms of every neuron and image.

    Parameters
    ----------
    snn : SpikingNetwork
        As in :func:`decompose`.
    ann : Network
        As in :func:`decompose`.
    images : ndarray of uint8, shape (B, C, H, W)
        Images.
    T : int
        Number of steps.
    target : str
        As in :func:`decompose`.

    Returns
    -------
    dict of str to dict of str to ndarray of int64, shape (B, *S)
        By population: the terms of :data:`TERMS` and :data:`MORE`, in units of
        2^-q charge with q the `grid` of the neuron's channel.
    """
    _need_pair(snn, ann, T, target)
    return {
        name: m.terms for name, m in _measured(snn, ann, images, T, target)[0].items()
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Measured:
    """What was found of one population, arrays over (B, *S)."""

    terms: dict[str, Array]
    n_ref: Array
    N: Array
    emitted: Array
    w: Array  # twice v(T) - v(0) + v_ref, without the shift, in units of the grid


def _measured(
    snn: SpikingNetwork, ann: Network, images: Array, T: int, target: str
) -> tuple[dict[str, _Measured], float]:
    """Run both networks; return what was found, and the distance of the activations."""
    x = snn.preprocess(images)
    charge: dict[str, Array] = {}
    last: dict[str, State] = {}

    def watch(
        population: Population,
        start: int,
        x: Array,
        s: Array,  # noqa: ARG001 - an observer is told everything
        state: State,
    ) -> None:
        p, one = population, _one(population)
        S = np.rint(x * one).astype(np.int64).sum(axis=0)
        charge[p.name] = S + charge[p.name] if start else S
        last[p.name] = State(state.v.copy(), state.N)

    run = run_snn(snn, x, T, observe=watch)
    ann = prepared(snn, ann)
    frames = _frames(snn, ann, T, target)
    added = {name: (f.shift + f.change) / f.one for name, f in frames.items()}
    moved = METHODS[snn.method].trains
    activations = restored(as_trained(snn, ann) if moved else snn, ann, x, added)
    answer = {}
    for name, frame in frames.items():
        N = last[name].N
        emitted = N * run.masks.get(name, 1)
        terms, n_ref = _terms(frame, charge[name], N, emitted, activations[name])
        v0 = run.v0.get(name, snn[name].over("v0"))
        moved = np.rint((last[name].v - v0) * frame.one).astype(np.int64)
        w = 2 * (moved - T * frame.shift) + frame.v_ref
        answer[name] = _Measured(terms=terms, n_ref=n_ref, N=N, emitted=emitted, w=w)
    return answer, distance(snn, ann, images, activations)


def _decompose(
    snn: SpikingNetwork, ann: Network, images: Array, T: int, target: str
) -> Decomposition:
    """Take the terms of every population on a batch."""
    measured, gap = _measured(snn, ann, images, T, target)
    return Decomposition(
        images=len(images),
        T=T,
        grid=(finest := snn.finest_grid()),
        populations={p.name: _errors(p, finest, measured[p.name]) for p in snn.hidden},
        distance=gap,
    )


def _one(p: Population) -> Array:
    grid = np.zeros(p.shape[:1], dtype=np.int64) if p.grid is None else p.grid
    one: Array = np.ldexp(1.0, per_channel(grid, p.shape, where="grid"))
    return one


def _frames(
    snn: SpikingNetwork, ann: Network, T: int, target: str
) -> dict[str, _Frame]:
    """Collect what the method and the activation mean for each population."""
    method = METHODS[snn.method]
    v_ref = snn.options.get("v0", 0.5) if method.rounds else 0.0
    plain = uncalibrated(ann, scales(snn)) if method.calibrated else {}
    frames = {}
    for p in snn.hidden:
        one, op = _one(p), ann[p.name].op
        shift = 1 / (2 * T) if method.shifts else 0.0
        change = np.zeros_like(one)
        if p.name in plain:
            before = plain[p.name]
            biases = [0 if q.bias is None else q.over("bias") for q in (p, before)]
            change = np.rint((biases[0] - biases[1] - shift) * one)
        frames[p.name] = _Frame(
            T=T,
            one=one.astype(np.int64),
            v_ref=np.rint(2 * v_ref * one).astype(np.int64),
            shift=np.rint(one * shift).astype(np.int64),
            change=np.asarray(change).astype(np.int64),
            levels=op.levels if isinstance(op, QCFS) else None,
            rectifier=target == "relu" or isinstance(op, ReLU),
        )
    return frames


def _errors(p: Population, finest: int, found: _Measured) -> Errors:
    """Add up the terms of one population, in units of the finest grid."""
    terms, n_ref, N, emitted = found.terms, found.n_ref, found.N, found.emitted
    one = _one(p).astype(np.int64)
    grid = np.zeros(p.shape[:1], dtype=np.int64) if p.grid is None else p.grid
    shifts = [finest - int(q) for q in grid]
    channels = [
        {name: exact_sum(term[:, c]) << shift for name, term in terms.items()}
        for c, shift in enumerate(shifts)
    ]
    sizes = {
        name: sum(
            exact_sum(np.abs(term[:, c])) << shift for c, shift in enumerate(shifts)
        )
        for name, term in terms.items()
    }
    masked = emitted != N
    return Errors(
        channels=tuple(channels),
        absolute=sizes,
        cases=count_cases(n_ref, N),
        against_ann=count_cases(emitted * one - terms["total"], emitted * one),
        condition=count_condition(n_ref, N, found.w, one),
        repaired=int((masked & (n_ref == 0)).sum()),
        damaged=int((masked & (n_ref > 0)).sum()),
        neurons=int(N.size),
    )


def _terms(
    frame: _Frame,
    charge: Array,
    N: Array,
    emitted: Array,
    activations: tuple[Array, Array],
) -> tuple[dict[str, Array], Array]:
    """Return the terms of every neuron, and n_ref."""
    T, one = frame.T, frame.one
    S = charge - T * frame.shift
    wholes, rest = np.divmod(S, one)
    n_ref = np.clip(wholes + (2 * rest + frame.v_ref >= 2 * one), 0, T)
    clipped, rectified = np.clip(S, 0, T * one), np.maximum(S, 0)
    if frame.rectifier:
        Ta = T * grid_integers(np.maximum(activations[0], 0.0), one)
        own, split = rectified, clipped - rectified
    else:
        Ta = T * grid_integers(activations[1], one)
        own, split = _own(frame, S), 0 * S
    return {
        "propagated": own - Ta,
        "clipping": split,
        "quantisation": n_ref * one - own - split,
        "unevenness": (N - n_ref) * one,
        "gating": (emitted - N) * one,
        "total": emitted * one - Ta,
        "flooring": np.clip(wholes, 0, T) * one - clipped,
        "bias": 0 * S + T * frame.change,
    }, n_ref


def _own(frame: _Frame, S: Array) -> Array:
    """Return T h(S/T) of a clip or QCFS activation, in units of the grid."""
    T, one = frame.T, frame.one
    if frame.levels is None:
        return np.clip(S, 0, T * one)
    L = frame.levels
    level = np.clip(_floor_ratio(L, S, T * one), 0, L)
    return T * grid_integers(level / L, one)


def _floor_ratio(L: int, S: Array, whole: Array) -> Array:
    """Return floor(L S / whole + 1/2) of integers, without leaving 64 bits."""
    wholes, rest = np.divmod(S, whole)
    inside = np.zeros_like(S)
    for k in range(1, L + 1):  # where L rest / whole + 1/2 reaches k
        bound = -(-(2 * k - 1) * whole.astype(object) // (2 * L))
        inside = inside + (rest >= np.asarray(bound, dtype=np.int64))
    return wholes * L + inside


def layout(decomposition: Decomposition) -> dict[str, Any]:
    """Lay out a decomposition as JSON values.

    Parameters
    ----------
    decomposition : Decomposition
        What :func:`decompose` returned.

    Returns
    -------
    dict
        Integers in units of 2^-grid charge; `total` is the sum of the five terms.
    """
    keys = (*TERMS, *MORE)
    return {
        "images": decomposition.images,
        "T": decomposition.T,
        "grid": decomposition.grid,
        "ann_distance": decomposition.distance,
        "populations": {
            name: {
                **{key: errors.term(key) for key in keys},
                "absolute": errors.absolute,
                "cases": errors.cases,
                "against_ann": errors.against_ann,
                "condition": errors.condition,
                "repaired": errors.repaired,
                "damaged": errors.damaged,
                "neurons": errors.neurons,
                "channels": list(errors.channels),
            }
            for name, errors in decomposition.populations.items()
        },
    }
