"""refsnn beside SpikingJelly and PyTorch: the same weights, images and threads.

    python asv_benchmarks/versus.py [--quick] [--json F]

Needs the extra ``peers``. One process; the three take turns, so that load of the
machine meets all of them; medians are compared. A ratio is the peer's median by
refsnn's. On a busy machine compare times of the CPU, with one thread each (threads
that wait for another spin, and count as busy).
refsnn runs in mode ``exact``: its spikes are compared with those of mode ``ordered``,
float64 throughout. The peers hold the same weights in float32, and so differ.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.common import dense_macs, seeded, some_images
from peers import SpikingJelly, Tuned, tensor

from refsnn import __version__, io
from refsnn.arithmetic import resolve
from refsnn.convert import convert
from refsnn.engine.network import Engine, prepared
from refsnn.environment import processor
from refsnn.network import SpikingNetwork
from refsnn.recording import spikes_of
from refsnn.run import run_snn

CHECKED = 2
"""Images whose every spike is compared."""

PEERS = ("torch", "spikingjelly", "numba", "numpy")

WEIGHTS = Path(__file__).parents[1] / "weights"

TRAINED = {
    "resnet18": ((4, 16), (8, 16)),
    "resnet20": ((4, 16), (8, 16), (8, 1)),
}
"""Trained networks, each with the T and batches that it is run with."""


def engine_spikes(snn: SpikingNetwork, x: np.ndarray, T: int) -> dict[str, np.ndarray]:
    """Every spike that the event-driven kernels write."""
    engine = Engine(
        prepared(snn, T, resolve(snn, T)), x.astype(float), T, {}, keeping=False
    )
    for p in snn.hidden:
        engine.fire(p.name)
    return {p.name: engine.spikes(p.name) for p in snn.hidden}


def different(one: dict[str, np.ndarray], two: dict[str, np.ndarray]) -> int:
    """Count spikes that differ."""
    return sum(int(np.count_nonzero(one[name] != two[name])) for name in one)


Times = dict[str, list[float]]


def turns(work: dict[str, Callable[[], Any]], runs: int) -> tuple[Times, Times]:
    """Time each in turn, by the clock and of CPU, after a run that is not counted."""
    for run in work.values():
        run()
    seconds: Times = {name: [] for name in work}
    cpu: Times = {name: [] for name in work}
    for _ in range(runs):
        for name, run in work.items():
            run()  # threads of the one before it, which spin while they wait, give up
            begin, used = time.perf_counter(), time.process_time()
            run()
            seconds[name].append(time.perf_counter() - begin)
            cpu[name].append(time.process_time() - used)
    return seconds, cpu


def versus(
    label: str, snn: SpikingNetwork, T: int, batch: int, runs: int, threads: int
) -> dict[str, Any]:
    """Compare on one network; a row of the table."""
    x = snn.preprocess(some_images(batch, snn.input_shape))
    tuned, jelly = Tuned(snn, T), SpikingJelly(snn, T)
    given = tensor(x)
    seconds, cpu = turns(
        {
            "refsnn": lambda: run_snn(snn, x, T, engine="event", threads=threads),
            "spikingjelly": lambda: jelly(given),
            "torch": lambda: tuned(given),
        },
        runs,
    )
    run = run_snn(snn, x, T, engine="event", threads=threads)
    few = x[:CHECKED]
    want, _ = spikes_of(snn, few, T, mode="ordered")
    seen: dict[str, torch.Tensor] = {}
    jelly(given[:CHECKED], watch=seen)
    theirs = {name: s.numpy().astype(np.int8) for name, s in seen.items()}
    fired = (*run.spikes.values(), *run.negative.values())
    spikes = sum(int(s.sum()) for s in fired)
    synops = sum(int(s.sum()) for s in run.synops.values())
    neurons = sum(p.neurons for p in snn.hidden)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    used = {name: statistics.median(values) for name, values in cpu.items()}
    macs = dense_macs(snn) * T * batch
    return {
        "network": label,
        "T": T,
        "batch": batch,
        "spike_rate": spikes / (neurons * T * batch),
        "delivered_share": synops / macs,
        "images": len(few),
        "differing_spikes": different(engine_spikes(snn, few, T), want),
        "differing_spikes_float32_peer": different(theirs, want),
        "marked": sum(run.marked.values()) / (neurons * batch),
        "seconds": seconds,
        "cpu_seconds": cpu,
        "cpu_ratio_spikingjelly": used["spikingjelly"] / used["refsnn"],
        "cpu_ratio_torch": used["torch"] / used["refsnn"],
        "ratio_spikingjelly": median["spikingjelly"] / median["refsnn"],
        "ratio_torch": median["torch"] / median["refsnn"],
        "torch_gmacs_per_core": macs / median["torch"] / threads / 1e9,
        "refsnn_gadds_per_core": synops / median["refsnn"] / threads / 1e9,
        "threads": threads,
        "machine": f"{processor()}, {os.cpu_count()} cores",
        "versions": {"refsnn": __version__} | {name: version(name) for name in PEERS},
    }


def rows(quick: bool, threads: int) -> list[dict[str, Any]]:
    """Compare on every network, and print as they come."""
    runs = 3 if quick else 5
    share = 0.10
    cases = [
        (f"{name}, seeded, {share:.0%}", seeded(name, share), 4, 16)
        for name in ("resnet18", "resnet20")
    ]
    if not quick:
        wide = seeded("resnet18", 0.05)
        cases += [("resnet18, seeded, 5%", wide, T, 16) for T in (4, 8)]
        for name, shapes in TRAINED.items():
            ann = io.load_ann(WEIGHTS / f"{name}_cifar10_qcfs4.h5")
            net, both = convert(ann, "qcfs"), convert(ann, "ecl")
            label = f"{name}, trained (QCFS, L = 4)"
            cases += [(label, net, T, batch) for T, batch in shapes]
            dual = "the same, dual thresholds (ECL)"
            cases += [(dual, both, T, batch) for T, batch in shapes if batch > 1]
        cases += [("vgg16, seeded, 10%", seeded("vgg16-single", share), 4, 16)]
    answers = []
    for label, snn, T, batch in cases:
        row = versus(label, snn, T, batch, runs, threads)
        answers.append(row)
        each = 1e3 / batch
        times = " ".join(
            f"{name} {statistics.median(s) * each:.2f}"
            for name, s in row["seconds"].items()
        )
        cpu = " ".join(
            f"{name} {statistics.median(s) * each:.2f}"
            for name, s in row["cpu_seconds"].items()
        )
        print(
            f"{label}, T = {T}, batch {batch}: delivered "
            f"{row['delivered_share']:.1%}, ms an image: {times}; "
            f"ratios {row['ratio_spikingjelly']:.2f} {row['ratio_torch']:.2f}; "
            f"ms of CPU: {cpu}; ratios {row['cpu_ratio_spikingjelly']:.2f} "
            f"{row['cpu_ratio_torch']:.2f}; "
            f"differing {row['differing_spikes']} "
            f"({row['differing_spikes_float32_peer']} in float32), marked "
            f"{row['marked']:.1e}, torch {row['torch_gmacs_per_core']:.0f} GMAC/s, "
            f"refsnn {row['refsnn_gadds_per_core']:.0f} G/s a core",
            flush=True,
        )
    return answers


def main() -> int:
    """Run; 1 if a spike of refsnn differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two seeded networks")
    parser.add_argument("--json", metavar="F", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    answers = rows(asked.quick, asked.threads)
    if asked.json:
        asked.json.write_text(json.dumps(answers, indent=1) + "\n")
    return int(any(row["differing_spikes"] for row in answers))


if __name__ == "__main__":
    sys.exit(main())
