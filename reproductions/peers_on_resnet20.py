"""A trained ResNet-20 in PyTorch and SpikingJelly, spike by spike against refsnn.

Rounded for float32 every spike has to be equal. Left as it is, rounding may decide a
spike: the first difference is shown, and whether the margin's bound explains it.

    pip install 'refsnn[peers]'
    python reproductions/peers_on_resnet20.py --images 100

Ends with 1 if a spike of the rounded network differs, or if one of the other network
differs that rounding does not explain.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from refsnn import datasets, io
from refsnn.compare import compare, distance
from refsnn.conformance import find_adapter, network_arrays, play
from refsnn.convert import convert
from refsnn.errors import answering
from refsnn.margin import judge
from refsnn.network import SpikingNetwork
from refsnn.recording import record
from refsnn.snap import snap

ADAPTERS = ("torch", "spikingjelly")
WEIGHTS = Path(__file__).parents[1] / "weights/resnet20_cifar10_qcfs4.h5"


def against(snn: SpikingNetwork, count: int, T: int, batch: int) -> int:
    """Print how each simulator compares on one network; count what is unexplained."""
    images = datasets.load("cifar10", "test").images[:count]
    wrong = dict.fromkeys(ADAPTERS, 0)
    differing = dict.fromkeys(ADAPTERS, 0)
    firsts: dict[str, str] = {}
    spikes = 0
    seconds = dict.fromkeys(("refsnn", *ADAPTERS), 0.0)
    for begin in range(0, count, batch):
        start = time.perf_counter()
        golden = record(snn, images[begin : begin + batch], T)
        seconds["refsnn"] += time.perf_counter() - start
        spikes += sum(int(abs(p.spikes).sum()) for p in golden.populations.values())
        for name in ADAPTERS:
            adapter = find_adapter(f"refsnn.conformance.adapters.{name}:Adapter")()
            adapter.load(network_arrays(snn, masks=golden.masks))
            start = time.perf_counter()
            got, _ = play(adapter, snn, golden)
            seconds[name] += time.perf_counter() - start
            found = compare(golden, got)
            differing[name] += found.differing
            if found.first is None:
                continue
            if snn.certificate and snn.certificate["accumulator"] == "float32":
                wrong[name] += found.differing  # nothing excuses it
            else:
                verdicts = judge(snn, golden, got).values()
                wrong[name] += sum(v.errors for v in verdicts)
            first = found.first
            firsts.setdefault(
                name,
                f"first: sample {begin + first.sample}, step {first.step}, "
                f"{first.layer} {first.index}: {first.got} in place of {first.want}, "
                f"{distance(golden, snn, first):.3g} theta from the threshold",
            )
    print(f"{snn.name}: {count} images, T = {T}, {spikes:,} spikes")
    for name in ADAPTERS:
        print(
            f"  {name:13} {differing[name]:8,} spikes differ, {wrong[name]} of them "
            f"first and unexplained by rounding  "
            f"({seconds[name]:.0f} s, recording refsnn's {seconds['refsnn']:.0f} s)"
        )
        if name in firsts:
            print(f"  {'':13} {firsts[name]}")
    return sum(wrong.values())


def main() -> int:
    """Compare on the rounded network and on the other; 1 if one is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", nargs="?", type=Path, default=WEIGHTS)
    parser.add_argument("--method", default="qcfs")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("-T", type=int, default=8)
    parser.add_argument("--batch", type=int, default=25)
    asked = parser.parse_args()
    ann = io.load_ann(asked.weights)
    plain = convert(ann, asked.method, exact=False)
    rounded = snap(plain, "float32", T=asked.T)
    return int(
        sum(
            against(snn, asked.images, asked.T, asked.batch) for snn in (rounded, plain)
        )
        > 0
    )


if __name__ == "__main__":
    answering(main)
