"""What each method, and each part of one, takes off each error term.

    python reproductions/error_terms.py weights/digits_qcfs.h5 \
        qcfs srp cos ecl ecl:dual=false ecl:v0=0 --steps 1 2 4 8 16 32

One table of accuracy, spikes and operations for every method and T, and one of the mean
sizes of the five terms of `refsnn.analysis`, in spikes a neuron, with the shares of the
unevenness cases. The terms of one neuron add up exactly; mean sizes do not.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from tqdm import tqdm

from refsnn import datasets, io
from refsnn.analysis import TERMS, decompose, layout
from refsnn.cases import CASES
from refsnn.convert import convert, needs_images, parse_options
from refsnn.errors import answering
from refsnn.evaluate import evaluate
from refsnn.network import Network, SpikingNetwork


def converted(
    ann: Network, text: str, T: int, samples: int, data: str
) -> SpikingNetwork:
    """Convert by `METHOD` or `METHOD:key=value,key=value`."""
    method, _, settings = text.partition(":")
    pairs = dict(pair.split("=") for pair in settings.split(",") if pair)
    options = parse_options(method, pairs)
    images = None
    if needs_images(method, options):
        images = datasets.load(data, "train").head(samples).images
    return convert(ann, method, T=T, images=images, options=options)


def row(
    ann: Network, snn: SpikingNetwork, T: int, data: Any, limit: int, target: str
) -> dict[str, Any]:
    """Run a network at one T: integers, and mean sizes of terms."""
    tally = evaluate(snn, data, T)
    terms = layout(decompose(snn, ann, data.head(limit), T, target=target))
    neurons = sum(p["neurons"] for p in terms["populations"].values())
    unit = 2.0 ** -terms["grid"] / neurons

    def mean(key: str) -> float:
        sizes = (p["absolute"][key] for p in terms["populations"].values())
        return sum(sizes) * unit

    def share(case: str) -> float:
        found = (p["cases"][case] for p in terms["populations"].values())
        return 100 * sum(found) / neurons

    observed = tally.observing.get("synops", {})
    return {
        "correct": int(tally.correct[-1]),
        "images": tally.images,
        "spikes": sum(int(n.sum()) for n in (*tally.spikes.values(),)),
        "negative": sum(int(n.sum()) for n in tally.negative.values()),
        "operations": sum(
            int(n.sum()) for n in (*tally.synops.values(), *observed.values())
        ),
        "terms": {key: mean(key) for key in (*TERMS, "total")},
        "cases": {case: share(case) for case in CASES},
    }


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", type=Path)
    parser.add_argument("methods", nargs="+")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--data")
    parser.add_argument("--limit", type=int, help="test images")
    parser.add_argument("--terms-limit", type=int, default=100, help="of the terms")
    parser.add_argument("--samples", type=int, default=2000, help="training images")
    parser.add_argument("--target", default="relu", choices=["own", "relu"])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    ann = io.load_ann(args.network)
    name = args.data or ann.provenance.get("data", "")
    data = datasets.load(name, "test").head(args.limit)
    jobs = [(text, T) for text in args.methods for T in args.steps]
    rows = {}
    for text, T in tqdm(jobs, disable=None):
        snn = converted(ann, text, T, args.samples, name)
        if snn.stages.rho > T:
            continue  # its offset steps do not fit
        rows[text, T] = row(ann, snn, T, data, args.terms_limit, args.target)
    print(f"{ann.name}, {len(data.labels)} test images of {name}, target {args.target}")
    head = f"{'method':28}{'T':>4}{'correct':>9}{'spikes':>14}{'negative':>12}"
    print(f"\n{head}{'operations':>17}")
    for (text, T), r in rows.items():
        print(
            f"{text:28}{T:4}{r['correct']:9,}{r['spikes']:14,}{r['negative']:12,}"
            f"{r['operations']:17,}"
        )
    print(f"\n{'method':28}{'T':>4}" + "".join(f"{k:>13}" for k in (*TERMS, "total")))
    for (text, T), r in rows.items():
        print(f"{text:28}{T:4}" + "".join(f"{v:13.4f}" for v in r["terms"].values()))
    print(f"\n{'cases, % of neurons':28}{'T':>4}" + "".join(f"{c:>9}" for c in CASES))
    for (text, T), r in rows.items():
        print(f"{text:28}{T:4}" + "".join(f"{v:9.3f}" for v in r["cases"].values()))
    if args.json:
        listed = [{"method": m, "T": T, **r} for (m, T), r in rows.items()]
        args.json.write_text(json.dumps(listed, indent=1) + "\n")


if __name__ == "__main__":
    answering(main)
