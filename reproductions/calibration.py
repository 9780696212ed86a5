"""Parameter calibration on one network: accuracy, seconds, mismatch, bound, losses.

    python reproductions/calibration.py ANN.h5 calib-none calib-light \
        calib-advanced:iterations=500 --steps 8 16 32 64 --limit 1000 --out DIR

One line for each method and T. With ``--out`` figures of the largest T: the activation
mismatch of every method, the second-order bound against the loss change of the last
one, and the losses of the layers whose weights were trained.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from refsnn import datasets, io, plotting, propagation
from refsnn.convert import convert, needs_images, parse_options
from refsnn.errors import answering
from refsnn.evaluate import evaluate


def main() -> None:
    """Print the table and draw the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", type=Path)
    parser.add_argument("methods", nargs="+")
    parser.add_argument("--steps", type=int, nargs="+", default=[8, 16, 32, 64])
    parser.add_argument("--data")
    parser.add_argument("--limit", type=int, help="test images")
    parser.add_argument("--few", type=int, default=50, help="of them in the figures")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    ann = io.load_ann(args.network)
    name = args.data or ann.provenance.get("data", "")
    data = datasets.load(name, "test").head(args.limit)
    mismatch: dict[str, Any] = {}
    losses: dict[str, list[float]] = {}

    def watch(population: str, t: int, loss: float) -> None:
        if not t:
            losses[population] = []
        losses[population].append(loss)

    head = f"{'method':36}{'T':>4}{'ANN':>7}{'SNN':>7}{'images':>8}"
    print(f"{head}{'convert s':>11}{'run s':>8}")
    for text in args.methods:
        for T in sorted(args.steps):
            method, _, settings = text.partition(":")
            pairs = dict(pair.split("=") for pair in settings.split(",") if pair)
            options, start = parse_options(method, pairs), time.perf_counter()
            some = None
            if needs_images(method, options):
                some = datasets.load(name, "train").images
            how: dict[str, Any] = {"T": T, "images": some, "options": options}
            snn = convert(ann, method, **how, watch=watch)
            made = time.perf_counter()
            tally = evaluate(snn, data, T, ann=ann)
            seconds = (made - start, time.perf_counter() - made)
            print(
                f"{text:36}{T:4}{tally.ann_correct:7,}{int(tally.correct[-1]):7,}"
                f"{tally.images:8,}{seconds[0]:11.1f}{seconds[1]:8.1f}",
                flush=True,
            )
        if args.out:
            few = data.head(args.few)
            found = propagation.propagate(snn, ann, few, T)
            mismatch[text] = propagation.layout(found)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        figures = {
            "mismatch": plotting.activation_mismatch(mismatch),
            "bound": plotting.loss_bound(mismatch[text]),
        }
        if losses:
            figures["losses"] = plotting.training_losses(losses)
        for stem, figure in figures.items():
            figure.savefig(args.out / f"{stem}.png", dpi=120, facecolor="white")


if __name__ == "__main__":
    answering(main)
