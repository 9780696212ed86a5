"""What snapping changes, and that nothing else does: ResNet-20 on CIFAR-10.

A pretrained ReLU ResNet-20 (Y. Idelbayev, pytorch_resnet_cifar10, BSD-2) is converted
with the largest activations as thresholds and snapped for float64, float32 and int32.
The first tables show what that changes; then the spikes of the float32 network are
compared between carriers, batches, threads, schedules, kernels, a plain processor and
another BLAS: every one of them has to be equal.

    python reproductions/exactness.py relu-resnet20-cifar10.npz --images 1000

CIFAR-10 is found as everywhere (`refsnn data list`). Ends with 1 if a spike differs.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from refsnn import datasets, io
from refsnn.arithmetic import certified
from refsnn.convert import convert
from refsnn.differences import differences
from refsnn.errors import answering
from refsnn.exchange import from_state_dict, read_state_dict
from refsnn.recording import spikes_of
from refsnn.snap import changes, snap

THRESHOLDS, CALIBRATION = 2000, 128
TARGETS = [("float64", True)] + [
    (target, static) for target in ("float32", "int32") for static in (False, True)
]
ENVIRONMENTS: dict[str, dict[str, str]] = {
    "this processor": {},
    "plain processor": {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
    "another BLAS": {"OPENBLAS_CORETYPE": "Nehalem"},
}


def digest(snn: Any, images: Any, T: int, batch: int, threads: int, **how: str) -> str:
    """Hash every spike and logit, image by image."""

    def of(first: int) -> list[bytes]:
        x = snn.preprocess(images[first : first + batch])
        spikes, run = spikes_of(snn, x, T, **how)
        trains = [*spikes.values(), run.logits]
        return [
            hashlib.sha256(b"".join(a[:, i].tobytes() for a in trains)).digest()
            for i in range(len(x))
        ]

    with ThreadPoolExecutor(threads) as pool:
        parts = pool.map(of, range(0, len(images), batch))
        return hashlib.sha256(b"".join(chain.from_iterable(parts))).hexdigest()


def choices() -> list[dict[str, Any]]:
    """List ways to run one network, each of which has to give the same bits."""
    usual = {"batch": 16, "threads": 2, "carrier": "float64"}
    return [
        usual,
        {**usual, "carrier": "float32"},
        {**usual, "carrier": "int32"},
        {**usual, "batch": 1},
        {**usual, "batch": 64},
        {**usual, "threads": 1},
        {**usual, "schedule": "step"},
        {**usual, "schedule": "step", "carrier": "float32"},
        {**usual, "mode": "ordered"},
    ]


def elsewhere(snn: Any, images: Any, T: int) -> dict[str, str]:
    """Hash the spikes in processes with other code generators and libraries."""
    answers = {}
    with tempfile.TemporaryDirectory() as folder:
        io.save(snn, Path(folder) / "net.h5")
        np.save(Path(folder) / "images.npy", images)
        for name, extra in ENVIRONMENTS.items():
            cache = {"NUMBA_CACHE_DIR": str(Path(folder) / name.replace(" ", "-"))}
            done = subprocess.run(  # noqa: S603 - this script again
                [sys.executable, __file__, "--digest", folder, "--steps", str(T)],
                env={**os.environ, **cache, **extra},
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                sys.exit(done.stderr)
            answers[name] = done.stdout.strip()
    return answers


def tables(before: Any, test: Any, train: Any, T: int) -> dict[str, Any]:
    """Snap for every carrier and say what changed."""
    answers: dict[str, Any] = {}
    for target, static in TARGETS:
        clock = time.perf_counter()
        images = None if static else train.images[:CALIBRATION]
        steps = 1024 if target == "float64" else T
        after = snap(before, target, T=steps, images=images)
        certificate, _ = certified(after, target, T)
        print(f"\n{target}, potentials {'proved' if static else 'as seen in a run'}:")
        for bits, (name, change) in zip(
            certificate.populations, changes(before, after).items(), strict=True
        ):
            print(
                f"  {name:18} grid 2^-{change.grid[0]}..2^-{change.grid[1]}  bits: "
                f"sums {bits.sums}, recursion {bits.recursion} of {bits.available}; "
                f"weights: max {change.weight:.1e}, a neuron {change.neuron:.1e}, "
                f"relative {change.relative:.1e}, zeroed {change.zeroed}"
            )
        with tqdm(total=len(test.labels), disable=None) as bar:
            seen = differences(
                before,
                after,
                test,
                T,
                progress=lambda done, _, bar=bar: bar.update(done - bar.n),
            )
        print(
            f"  changed: {seen.changed:,} of {seen.steps:,} neuron-steps "
            f"({seen.changed / seen.spikes:.4%} of {seen.spikes:,} spikes), "
            f"{seen.predictions[-1]} of {seen.images} predictions; correct "
            f"{seen.correct[-1]} before, {seen.correct_after[-1]} after "
            f"({time.perf_counter() - clock:.0f} s)",
            flush=True,
        )
        answers[f"{target}, {'static' if static else 'run'}"] = {
            name: np.asarray(value).tolist()
            for name, value in dataclasses.asdict(seen).items()
        }
    return answers


def main() -> None:
    """Print the tables; end with 1 if a choice changes a bit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path, nargs="?")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--digest", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    T = args.steps
    if args.digest:
        snn, images = (
            io.load_snn(args.digest / "net.h5"),
            np.load(args.digest / "images.npy"),
        )
        print(digest(snn, images, T, batch=16, threads=2, carrier="float32"))
        return
    if args.weights is None:
        parser.error("the weights of the trained network (.npz) are missing")
    ann = from_state_dict(read_state_dict(args.weights), "resnet20-a", name="resnet20")
    train = datasets.load("cifar10", "train").head(THRESHOLDS)
    test = datasets.load("cifar10", "test").head(args.images)
    before = convert(ann, "max-norm", images=train.images, exact=False)
    print(f"ResNet-20, max-norm, T = {T}, {args.images} test images of {test.name}")
    answers = tables(before, test, train, T)
    few = test.images[:64]
    snn = snap(before, "float32", T=T, images=np.concatenate([train.images[:128], few]))
    hashes = {
        ", ".join(f"{k} {v}" for k, v in how.items()): digest(snn, few, T, **how)
        for how in tqdm(choices(), disable=None)
    }
    hashes |= elsewhere(snn, few, T)
    print("\nspikes and logits of the float32 network, 64 images:")
    for name, sha256 in hashes.items():
        print(f"  {sha256[:16]}  {name}")
    if args.json:
        answers = {"changes": answers, "hashes": hashes}
        args.json.write_text(json.dumps(answers, indent=1) + "\n")
    different = len(set(hashes.values())) - 1
    print(f"{len(hashes)} ways to run it, {different} of them with other bits")
    sys.exit(different > 0)


if __name__ == "__main__":
    answering(main)
