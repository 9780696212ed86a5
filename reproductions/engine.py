"""The event-driven engine against mode `ordered`: every spike of every shipped network.

Each network of ``weights/`` is converted by every method that takes it. Spikes,
logits, counts and masks of both are compared on test images; then, on some, logits and
counts of batches of 1 and 64, of one thread and two, and of a processor without vector
registers.

    python reproductions/engine.py --images 1000 --steps 8 [--networks NAME ..]
        [--methods METHOD[:key=value] ..] [--record FILE]

Ends with 1 if anything differs. A record is a file of lines of JSON, one for each
network and method: what it holds of the same file, images and steps is not asked again.
Each names the code of engine and kernels that was checked; to check other code, begin a
new record.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from error_terms import converted
from tqdm import tqdm

import refsnn
from refsnn import datasets, io
from refsnn.arithmetic import resolve
from refsnn.convert import METHODS, need_fit
from refsnn.engine.network import Engine, prepared
from refsnn.errors import ConversionError, answering
from refsnn.network import Network, SpikingNetwork
from refsnn.recording import spikes_of
from refsnn.run import run_snn

SETTINGS = {"ecl": ("", "v0=0")} | dict.fromkeys(
    ("calib-advanced", "calib-advanced-code"), ("iterations=20",)
)
"""Options that methods are tried with: the engine does not ask how long weights were
trained."""

KEY = ("network", "sha256", "method", "steps", "limit")
"""What tells one check from others in a record."""

BATCH, SAMPLES, SOME = 50, 1024, 64
PLAIN = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}


def methods_of(ann: Network, wanted: list[str] | None) -> list[str]:
    """Name the methods that take a network, with their settings."""
    names = []
    for name in METHODS:
        with suppress(ConversionError):
            need_fit(ann, name)
            names += [f"{name}:{s}" if s else name for s in SETTINGS.get(name, ("",))]
    return [name for name in names if name in (wanted or names)]


def counts(run: Any) -> list[np.ndarray]:
    """Everything that a run tells."""
    parts = [run.logits, *run.masks.values()]
    parts += [run.v0[name] for name in sorted(run.v0)]
    for field in (run.spikes, run.negative, run.synops):
        parts += [field[name] for name in sorted(field)]
    return parts


def compared(snn: SpikingNetwork, images: Any, T: int) -> tuple[int, int, int]:
    """Count spikes, those that differ, and slices of which anything else differs."""
    total = different = others = 0
    for first in tqdm(range(0, len(images), BATCH), disable=None, leave=False):
        x = snn.preprocess(images[first : first + BATCH])
        want, ordered = spikes_of(snn, x, T, mode="ordered")
        run = run_snn(snn, x, T, engine="event")
        pairs = zip(counts(run), counts(ordered), strict=True)
        others += not all(np.array_equal(a, b) for a, b in pairs)
        known = prepared(snn, T, resolve(snn, T))
        engine = Engine(known, x.astype(np.float64), T, dict(run.masks), keeping=False)
        for p in snn.hidden:
            engine.fire(p.name)
            total += int(np.count_nonzero(want[p.name]))
            different += int(np.count_nonzero(engine.spikes(p.name) != want[p.name]))
    return total, different, others


def digest(snn: SpikingNetwork, images: Any, T: int, batch: int, threads: int) -> str:
    """Hash logits, image by image, and sums of counts."""
    logits, sums = [], None
    for first in range(0, len(images), batch):
        x = snn.preprocess(images[first : first + batch])
        run = run_snn(snn, x, T, engine="event", threads=threads)
        logits.append(run.logits)
        found = [a for a in counts(run) if a.dtype == np.int64]
        sums = (
            found if sums is None else [a + b for a, b in zip(sums, found, strict=True)]
        )
    parts = [np.concatenate(logits, axis=1), *(sums or [])]
    return hashlib.sha256(b"".join(a.tobytes() for a in parts)).hexdigest()


def elsewhere(snn: SpikingNetwork, images: Any, T: int, folder: str) -> str:
    """Hash what a processor without vector registers computes."""
    io.save(snn, Path(folder) / "net.h5", force=True)
    np.save(Path(folder) / "images.npy", images)
    done = subprocess.run(  # noqa: S603 - this script again
        [sys.executable, __file__, "--digest", folder, "--steps", str(T)],
        env={**os.environ, **PLAIN, "NUMBA_CACHE_DIR": folder},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout.strip()


def checked(
    ann: Network, method: str, limit: int, T: int, folder: str
) -> dict[str, int]:
    """Check one network by one method: spikes, and what differs."""
    data = ann.provenance["data"]
    test = datasets.load(data, "test").head(limit)
    snn = converted(ann, method, T, SAMPLES, data)
    total, different, others = compared(snn, test.images, T)
    some = test.images[:SOME]
    hashes = {digest(snn, some, T, b, n) for b, n in ((64, 1), (64, 2), (1, 1), (1, 2))}
    hashes.add(elsewhere(snn, some, T, folder))
    return {
        "images": len(test.labels),
        "spikes": total,
        "differ": different,
        "slices": others,
        "digests": len(hashes),
    }


def wrongs(found: dict[str, Any]) -> int:
    """Count what is wrong."""
    return int(found["differ"] + found["slices"] + found["digests"] - 1)


def tell(found: dict[str, Any], seconds: float) -> None:
    """Print what was found."""
    print(
        f"{found['network']:28}{found['method']:35}{found['images']:6} images"
        f"{found['spikes']:15,} spikes: {found['differ']} differ, {found['slices']} "
        f"slices otherwise; {found['digests']} digest of 5 ways ({seconds:.0f} s)",
        flush=True,
    )


def recorded(path: Path | None) -> list[dict[str, Any]]:
    """Read a record, empty if there is none."""
    if path is None or not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def code() -> str:
    """Hash the sources of engine and kernels."""
    folder = Path(refsnn.__file__).parent
    files = sorted([*folder.glob("engine/*.py"), *folder.glob("kernels/*.py")])
    files.append(folder / "neurons" / "offset.py")
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()[:12]


def record(path: Path, found: dict[str, Any]) -> None:
    """Add what was found to a record, in place of what was found before."""
    others = [one for one in recorded(path) if any(one[k] != found[k] for k in KEY)]
    lines = [json.dumps(one) + "\n" for one in (*others, found)]
    io.write_atomically(path, "".join(lines).encode())


def table(found: list[dict[str, Any]]) -> str:
    """Lay out a record in Markdown, a row a network, as they first occur."""
    rows: dict[tuple[str, int], list[str]] = {}
    for one in found:
        row = rows.setdefault((one["network"], one["images"]), [])
        row.append(f"`{one['method']}` {one['spikes']:,}")
    head = "| network | images | spikes compared, by method |\n|---|---|---|\n"
    return head + "".join(
        f"| `{name}` | {images:,} | {', '.join(row)} |\n"
        for (name, images), row in rows.items()
    )


def main() -> None:
    """Check all; end with 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--networks", nargs="+")
    parser.add_argument("--methods", nargs="+", help="such as qcfs ecl:v0=0")
    parser.add_argument("--record", type=Path, help="of what was found, to go on from")
    parser.add_argument("--digest", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.digest:
        snn = io.load_snn(args.digest / "net.h5")
        images = np.load(args.digest / "images.npy")
        print(digest(snn, images, args.steps, 64, 1))
        return
    folder = Path(__file__).parents[1] / "weights"
    names = args.networks or sorted(
        path.stem
        for path in folder.glob("*.h5")
        if not path.stem.endswith(("_train", "_test"))
    )
    right = [one for one in recorded(args.record) if not wrongs(one)]
    known = {tuple(one[k] for k in KEY) for one in right}
    wrong = runs = 0
    with tempfile.TemporaryDirectory() as cache:
        for name in names:
            path = folder / f"{name}.h5"
            ann, sha256 = io.load_ann(path), hashlib.sha256(path.read_bytes())
            for method in methods_of(ann, args.methods):
                key = (name, sha256.hexdigest(), method, args.steps, args.images)
                if key in known:
                    continue
                clock = time.perf_counter()
                found = dict(zip(KEY, key, strict=True))
                found["code"] = code()
                found |= checked(ann, method, args.images, args.steps, cache)
                tell(found, time.perf_counter() - clock)
                wrong += wrongs(found)
                runs += 1
                if args.record:
                    record(args.record, found)
    print(f"{runs} networks and methods, {wrong} differences")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    answering(main)
