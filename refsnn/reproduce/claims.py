"""Claims of the papers, decided by what their rows name, from integers alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from refsnn.methods import METHODS
from refsnn.reproduce.done import Done
from refsnn.reproduce.facts import Tolerances
from refsnn.reproduce.terms import mean_size, outside, shares
from refsnn.reproduce.verdicts import tolerance

CLAIM_VERDICTS = (
    "holds",
    "reached by a reconstruction",
    "does not hold",
    "not run",
)

LEAST = 0.05
"""Share of a term that a part has to take off at every T, to be said to reduce it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """The verdict on a claim.

    Attributes
    ----------
    id : str
        Its name in ``claims.csv``.
    claim : str
        What is claimed.
    verdict : str
        One of :data:`CLAIM_VERDICTS`.
    evidence : str
        The numbers.
    """

    id: str
    claim: str
    verdict: str
    evidence: str


class NoRunError(Exception):
    """No run of the reproduction decides the claim."""


Decider = Callable[[Sequence[Done], Tolerances, str], tuple[bool, str]]
"""Runs, tolerances and the claim's words, to whether it holds and the evidence."""

_DECIDERS: dict[str, Decider] = {}


def _decides(claim: str) -> Callable[[Decider], Decider]:
    def register(decider: Decider) -> Decider:
        _DECIDERS[claim] = decider
        return decider

    return register


def decided() -> tuple[str, ...]:
    """Name the claims that a test is built of.

    Returns
    -------
    tuple of str
        Their names.
    """
    return tuple(_DECIDERS)


def decide(
    claims: Sequence[str],
    done: Sequence[Done],
    facts: Mapping[str, Mapping[str, str]],
    known: Tolerances,
) -> list[Claim]:
    """Decide claims.

    Parameters
    ----------
    claims : sequence of str
        Their names.
    done : sequence of Done
        The runs of the reproduction.
    facts : mapping of str to mapping
        What :func:`refsnn.reproduce.facts.load_claims` returned.
    known : Tolerances
        The tolerances.

    Returns
    -------
    list of Claim
        One for each. What a reconstruction of its method confirms is reached, and does
        not hold plainly; a claim whose row says why it is not run is not.
    """
    answers = []
    for name in claims:
        row = facts[name]
        test = _DECIDERS.get(name) or _untested(row["how_it_is_decided"])
        try:
            holds, evidence = test(done, known, row["claim"])
            verdict = "holds" if holds else "does not hold"
            if holds and row["paper"] == "ECL":
                verdict = "reached by a reconstruction"
                evidence += f" ({METHODS['ecl'].reconstruction})"
        except NoRunError as error:
            verdict, evidence = "not run", str(error)
        answers.append(
            Claim(id=name, claim=row["claim"], verdict=verdict, evidence=evidence)
        )
    return answers


def _untested(how: str) -> Decider:
    """Return what stands for a test that no run can make, with the row's reason."""

    def decider(
        done: Sequence[Done], known: Tolerances, claim: str
    ) -> tuple[bool, str]:
        raise NoRunError(how.removeprefix("not run: "))

    return decider


def _all(done: Sequence[Done], label: str, network: str = "") -> list[Done]:
    """Return the runs of a method, by T; those of a network whose name has a part."""
    found = [d for d in done if d.run.label == label and network in d.run.network]
    if not found:
        raise NoRunError(f"it needs a run of {label}{' on ' * bool(network)}{network}")
    return sorted(found, key=lambda d: d.T)


def _calibrated_by(done: Sequence[Done], method: str, network: str = "") -> list[Done]:
    """Return the runs of a method, with other options where no run has the defaults."""
    others = [d for d in done if d.run.method == method]
    plain = [d for d in others if d.run.label == method]
    label = method if plain or not others else others[0].run.label
    return _all(done, label, network)


def _one(done: Sequence[Done], label: str) -> Done:
    """Return the run of a method, with the most steps."""
    return _all(done, label)[-1]


def _beside(done: Sequence[Done], other: Done, label: str) -> Done:
    """Return the run of a method on the network of another run."""
    return _one([d for d in done if d.run.network == other.run.network], label)


def terms_of(d: Done, target: str = "own") -> dict[int, Mapping[str, Any]]:
    """Return the error terms that were recorded of a run.

    Parameters
    ----------
    d : Done
        The run.
    target : str
        What they are against.

    Returns
    -------
    dict of int to mapping
        By T.

    Raises
    ------
    NoRunError
        If there are none.
    """
    found = {e["T"]: e for e in d.errors if e["target"] == target}
    if not found:
        raise NoRunError(f"it needs error terms (target {target}) of {d.run.label}")
    return found


def _text(found: Mapping[str, float]) -> str:
    return ", ".join(f"{case} {share:.2f} %" for case, share in found.items())


@_decides("SRP-1")
def _four_categories(
    done: Sequence[Done], known: Tolerances, claim: str
) -> tuple[bool, str]:
    lines, holds = [], True
    for T, terms in terms_of(_one(done, "qcfs")).items():
        by_population = terms["populations"]
        bounds = [outside(p, T, terms["grid"]) for p in by_population.values()]
        holds = holds and all(least == 0 <= most for least, most in bounds)
        least, most = (sum(ends) for ends in zip(*bounds, strict=True))
        below = sum(p["cases"]["E"] for p in by_population.values())
        worst = max(by_population, key=lambda name: _uneven(by_population[name]))
        lines.append(
            f"T = {T}: {_text(shares(terms))}; N < 0 at {below:,} neurons; by the "
            f"spikes that are uneven, {least:,} to {most:,} neurons are in none of "
            f"the four; most in {worst}"
        )
    return holds, "; ".join(lines)


def _uneven(population: Mapping[str, Any]) -> float:
    return float(sum(population["cases"].values()) / population["neurons"])


@_decides("SRP-2")
def _largest_category(
    done: Sequence[Done], known: Tolerances, claim: str
) -> tuple[bool, str]:
    lines, holds = [], True
    for T, terms in terms_of(_one(done, "qcfs")).items():
        found = shares(terms)
        holds = holds and found["A"] == max(found.values())
        lines.append(f"T = {T}: {_text(found)}")
    return holds, "; ".join(lines)


@_decides("SRP-3")
def _condition(done: Sequence[Done], known: Tolerances, claim: str) -> tuple[bool, str]:
    lines, holds = [], True
    for T, terms in terms_of(_one(done, "qcfs")).items():
        populations = terms["populations"].values()
        below, exceptions, in_case, neurons = (
            sum(p["condition"]["below"] for p in populations),
            sum(p["condition"]["exceptions"] for p in populations),
            sum(p["cases"]["A"] for p in populations),
            sum(p["neurons"] for p in populations),
        )
        holds = holds and exceptions == 0
        lines.append(
            f"T = {T}: {exceptions} exceptions among {neurons:,} neurons; v(T) < 0 "
            f"alone is necessary, and of {below:,} with it {in_case:,} are in case A"
        )
    condition = "case A <=> N > 0 and v(T) < -(N - 1) theta"
    return holds, f"{condition}; {'; '.join(lines)}"


@_decides("ECL-1")
def _at_two_steps(
    done: Sequence[Done], known: Tolerances, claim: str
) -> tuple[bool, str]:
    d = _all(done, "ecl", "resnet18")[-1]
    published, ours = _percentage(claim), 100 * d.correct(2) / d.images
    allowed = tolerance(published, ours, d.images, 2, known)
    evidence = f"{ours:.2f} % at T = 2, published {published} %, within {allowed:.2f}"
    return ours >= published - allowed, evidence


def _percentage(claim: str) -> float:
    """Return the first percentage that a claim states."""
    return float(claim.partition(" %")[0].split()[-1])


def _parts(
    done: Sequence[Done], label: str, decisive: str, target: str
) -> tuple[bool, str]:
    """Say what a part of ECL does to the terms: the run with all parts, and without."""
    without = _one(done, label)
    d = _beside(done, without, "ecl")
    lines, holds, found = [], True, False
    both = terms_of(d, target), terms_of(without, target)
    for T in sorted(both[0].keys() & both[1].keys()):
        parts = []
        for term in ("clipping", "quantisation", "unevenness"):
            sizes = [mean_size(terms[T], term) for terms in both]
            if any(sizes):
                parts.append(f"{term} {sizes[1]:.4f} to {sizes[0]:.4f}")
            if term == decisive:
                holds = holds and sizes[0] <= (1 - LEAST) * sizes[1]
                found = found or sizes[1] > 0
        lines.append(f"T = {T}: {', '.join(parts)} spikes a neuron")
    return holds and found, f"{d.run.network}, {label} to ecl: {'; '.join(lines)}"


@_decides("ECL-2")
def _learned_clip(
    done: Sequence[Done], known: Tolerances, claim: str
) -> tuple[bool, str]:
    label = next((d.run.label for d in done if d.run.options.get("clip") is False), "")
    label = label or "ecl:clip=False"
    without = _one(done, label)
    d = _beside(done, without, "ecl")
    if terms_of(d, "relu") == terms_of(without, "relu"):
        raise NoRunError(
            f"{label} is the same network as ecl on {d.run.network}: the largest "
            "activation of a clipped layer is its clip; it needs one without clips"
        )
    return _parts(done, label, "clipping", "relu")


@_decides("ECL-3")
def _dual_threshold(
    done: Sequence[Done], known: Tolerances, claim: str
) -> tuple[bool, str]:
    return _parts(done, "ecl:dual=False", "quantisation", "own")


@_decides("ECL-4")
def _initial_potential(
    done: Sequence[Done], known: Tolerances, claim: str
) -> tuple[bool, str]:
    swept = [d for d in done if d.run.method == "ecl" and {*d.run.options} == {"v0"}]
    if not swept:
        raise NoRunError("it needs runs of ecl over v0")
    half = _beside(done, swept[0], "ecl")
    of_network = [d for d in swept if d.run.network == half.run.network]
    all_of = {float(d.run.options["v0"]): terms_of(d) for d in of_network}
    if not min(all_of) < 0.5 < max(all_of):
        raise NoRunError("it needs runs of ecl with v0 below and above one half")
    all_of = dict(sorted({**all_of, 0.5: terms_of(half)}.items()))
    lines, holds = [], True
    for T in terms_of(half):
        sizes = {
            term: [mean_size(terms[T], term) for terms in all_of.values()]
            for term in ("unevenness", "quantisation")
        }
        uneven = dict(zip(all_of, sizes["unevenness"], strict=True))
        holds = holds and min(uneven, key=uneven.__getitem__) == 0.5
        texts = (
            f"{term} {', '.join(f'{size:.4f}' for size in found)}"
            for term, found in sizes.items()
        )
        lines.append(f"T = {T}: {', '.join(texts)}")
    heads = ", ".join(f"{v0:g}" for v0 in all_of)
    where = f"{half.run.network}, v(0)/theta = {heads}"
    return holds, f"{where}; spikes a neuron, {'; '.join(lines)}"


@_decides("ECL-5")
def _less_energy(
    done: Sequence[Done], known: Tolerances, claim: str
) -> tuple[bool, str]:
    lines, holds = [], True
    for d in {d.run.network: d for d in _all(done, "ecl")}.values():
        T = min(2, d.T)
        for name, table in d.energy().items():
            if "ratio" in table:
                ratio = table["ratio"][T - 1]
                holds = holds and ratio < 1
                lines.append(f"{d.run.network}, T = {T}, {name} {ratio:.3f}")
    if not lines:
        raise NoRunError("it needs the networks' counts of ecl")
    return holds, f"energy SNN/ANN: {'; '.join(lines)}"


@_decides("CAL-1")
def _mismatch(done: Sequence[Done], known: Tolerances, claim: str) -> tuple[bool, str]:
    runs = _calibrated_by(done, "calib-none")
    plain = {d.T: d for d in runs if d.counts and not d.counts["batch_norms"]}
    normed = {d.T: d for d in runs if d.counts and d.counts["batch_norms"]}
    T = max(plain.keys() & normed.keys(), default=0)
    if not T:
        there = [
            ", ".join(
                f"{d.run.network} (T = {d.T})"
                for d in runs
                if d.counts and bool(d.counts["batch_norms"]) == has
            )
            or "none"
            for has in (True, False)
        ]
        raise NoRunError(
            "it needs calib-none at one T on a network with batch norms and on one "
            f"without; here with them: {there[0]}; without: {there[1]}"
        )
    lost = [
        100 * (d.correct() - d.correct(T)) / d.images for d in (normed[T], plain[T])
    ]
    evidence = (
        f"T = {T}: lost {lost[0]:.2f} points with batch norms, {lost[1]:.2f} without"
    )
    return lost[0] - lost[1] > known.s(T), evidence


@_decides("CAL-2")
def _clipping_and_flooring(
    done: Sequence[Done], known: Tolerances, claim: str
) -> tuple[bool, str]:
    lines, holds = [], []
    for d in _calibrated(done):
        moved = METHODS[d.run.method].starts
        for T, terms in terms_of(d).items():
            alone = {
                name: {**terms, "populations": {name: p}}
                for name, p in terms["populations"].items()
            }
            left = {name: mean_size(one, "unevenness") for name, one in alone.items()}
            name = min(left, key=lambda population: left[population])
            pair = [mean_size(alone[name], s) for s in ("clipping", "quantisation")]
            if not moved:
                holds.append(left[name] == 0)
            lines.append(
                f"{d.run.label}, T = {T}: in {name} clipping {pair[0]:.4f}, flooring "
                f"(of the shifted input) {pair[1]:.4f}, left over {left[name]:.4f}"
                f"{' since v(0) is moved' if moved else ''}; in all populations left "
                f"over {mean_size(terms, 'unevenness'):.4f} spikes a neuron"
            )
    if not holds:
        raise NoRunError("it needs error terms of a method that leaves v(0)")
    local = "by construction nothing is left over where input arrives evenly"
    return all(holds), f"{local}; {'; '.join(lines)}"


@_decides("CAL-3")
def _second_order(
    done: Sequence[Done], known: Tolerances, claim: str
) -> tuple[bool, str]:
    lines, holds = [], True
    for d, p in _propagated(done):
        measured, first, second, bound = (
            p[key] / p["images"] for key in ("measured", "first", "second", "bound")
        )
        near = 0.5 <= second / measured <= 2 if measured > 0 else False
        holds = holds and near and measured <= bound
        lines.append(
            f"{d.run.network}, {d.run.label}, T = {p['T']}: measured {measured:.4g}, "
            f"second order {second:.4g} (first {first:.4g}), bound {bound:.4g}"
        )
    if not lines:
        raise NoRunError("it needs errors followed to the loss (propagation)")
    rule = "holds if the second order is within a factor of 2 and the bound above"
    return holds, f"{rule}; {'; '.join(lines)}"


@_decides("CAL-4")
def _thirty_two_steps(
    done: Sequence[Done], known: Tolerances, claim: str
) -> tuple[bool, str]:
    lines, holds = [], True
    for method in ("calib-light", "calib-advanced"):
        runs = [d for d in _calibrated_by(done, method) if 32 in d.steps]
        if not runs:
            raise NoRunError(f"it needs a run of {method} at T = 32")
        for d in runs:
            ann, snn = (100 * d.correct(T) / d.images for T in (None, 32))
            allowed = tolerance(ann, snn, d.images, 32, known)
            holds = holds and ann - snn <= allowed
            lines.append(
                f"{d.run.network}, {d.run.label}: {snn:.2f} %, lost {ann - snn:.2f} of "
                f"{ann:.2f} %, tolerance {allowed:.2f}"
            )
    return holds, f"T = 32; {'; '.join(lines)}"


@_decides("CAL-5")
def _vgg16(done: Sequence[Done], known: Tolerances, claim: str) -> tuple[bool, str]:
    best = _calibrated_by(done, "calib-advanced", "vgg16")[-1]
    nones = _calibrated_by(done, "calib-none", "vgg16")
    none = next((d for d in nones if d.T == best.T), None)
    if none is None:
        raise NoRunError(f"it needs a run of calib-none on a vgg16 at T = {best.T}")
    accuracies = [100 * d.correct(d.T) / d.images for d in (none, best)]
    gained = accuracies[1] - accuracies[0]
    evidence = (
        f"T = {best.T}: {accuracies[0]:.2f} to {accuracies[1]:.2f} %, {gained:.2f}"
    )
    return gained >= _percentage(claim) - known.s(best.T), evidence


def _calibrated(done: Sequence[Done]) -> list[Done]:
    """Return the runs of calibration methods with error terms."""
    found = [d for d in done if d.run.method.startswith("calib-") and d.errors]
    if not found:
        raise NoRunError("it needs error terms of a calibration method")
    return found


def _propagated(done: Sequence[Done]) -> Iterator[tuple[Done, Mapping[str, Any]]]:
    """Walk over what was followed to the loss in calibration's runs."""
    for d in done:
        if d.run.method.startswith("calib-"):
            for p in d.propagation:
                yield d, p
