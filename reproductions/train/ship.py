"""Take a network into ``weights/`` and tell of it in ``weights/networks.json``.

``python reproductions/train/ship.py DIR/NAME.h5`` for one that ``train.py`` wrote. For
a network of others give ``--origin`` and ``--licence``. Its predictions of the whole
test split are counted here, whatever the file says. A network that is too large to keep
is rounded with ``--bits N``: the weights of each layer to integers of N bits times a
power of two, so that the file compresses; the accuracy before stands in the entry.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from door import guarded

from refsnn import datasets, io
from refsnn.errors import OptionError
from refsnn.evaluate import ann_predictions
from refsnn.layers import Conv2d, Linear
from refsnn.network import Network, Node
from refsnn.reproduce.jobs import INEXACT

REPRODUCTIONS = Path(__file__).parents[1]
WEIGHTS = REPRODUCTIONS.parent / "weights"


def counted(ann: Any, data: str) -> dict[str, Any]:
    """Count correct predictions on the test split, with and without filled images."""
    test = datasets.load(data, "test")
    right = ann_predictions(ann, test) == test.labels
    exact = np.delete(right, list(INEXACT.get(data, ())))
    return {
        "data_sha256": {"test": test.sha256},
        "accuracy": round(float(right.mean()), 6),
        "correct": int(right.sum()),
        "images": len(right),
        "correct_exact": int(exact.sum()),
        "images_exact": len(exact),
    }


def rounded(ann: Network, bits: int) -> Network:
    """Round each layer's weights to integers of some bits times a power of two."""

    def on_grid(node: Node) -> Node:
        if not isinstance(node.op, (Conv2d, Linear)):
            return node
        w = node.op.weight
        g = bits - 1 - int(np.frexp(np.abs(w).max())[1])
        most = 2 ** (bits - 1)
        integers = np.clip(np.rint(np.ldexp(w, g)), -most, most - 1)
        grid = np.ldexp(integers, -g).astype(w.dtype)
        return replace(node, op=replace(node.op, weight=grid))

    return replace(ann, nodes=tuple(on_grid(node) for node in ann.nodes))


WRITTEN = ("data_sha256", "recipe", "hours", "selection")
"""What ``train.py`` writes into every file."""

SINCE = ("machine", "unlike_pytorch")
"""What earlier versions did not write."""


def trained(name: str, about: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """What ``train.py`` wrote down; what it did not from the entry before."""
    recipe = f"reproductions/train/recipes/{name}.toml"
    if not (REPRODUCTIONS.parent / recipe).exists():
        sys.exit(f"{recipe} is missing")
    if missing := [key for key in WRITTEN if key not in about]:
        raise OptionError(
            where=f"network {name}",
            got=f"no {', '.join(missing)} in its file",
            expected="a network that train.py exported",
            do="For a network of others give --origin and --licence.",
        )
    since = {key: about.get(key, before.get(key)) for key in SINCE}
    return {
        "data_sha256": about["data_sha256"],
        "recipe": recipe,
        "seed": about["recipe"]["seed"],
        "epochs": about["recipe"]["epochs"],
        "hours": about["hours"],
        **{key: value for key, value in since.items() if value is not None},
        "licence": "BSD-3-Clause",
        "selection": about["selection"],
    }


def main() -> None:
    """Evaluate, write the network, then the entry."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--data", help="data set, if the file does not name it")
    parser.add_argument("--origin", help="where a network of others comes from")
    parser.add_argument("--licence", help="its licence")
    parser.add_argument("--bits", type=int, help="bits to round each weight to")
    given = parser.parse_args()
    if given.bits is not None and given.bits < 2:
        parser.error(f"--bits {given.bits}: expected at least 2")
    ann = io.load_ann(given.file)
    about = dict(ann.provenance)
    data = given.data or about.get("data")
    if data is None:
        parser.error("the file does not name its data set: give --data")
    entry: dict[str, Any] = {"data": data}
    if given.bits:
        before = about.get("correct")  # as train.py counted at the export
        before = counted(ann, data)["correct"] if before is None else before
        ann = rounded(ann, given.bits)
        entry |= {"bits": given.bits, "correct_before": before}
    entry |= counted(ann, data)
    target, listed = WEIGHTS / given.file.name, WEIGHTS / "networks.json"
    manifest = json.loads(listed.read_text())
    if given.origin:
        entry |= {"origin": given.origin, "licence": given.licence}
    else:
        earlier = manifest["files"].get(target.name, {})
        entry |= trained(given.file.stem, about, earlier)
    about |= {key: value for key, value in entry.items() if key != "recipe"}
    packed = bool(given.bits)
    io.save(replace(ann, provenance=about), target, force=True, compressed=packed)
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    manifest["files"][target.name] = {"sha256": digest, **entry}
    manifest["files"] = dict(sorted(manifest["files"].items()))
    io.write_atomically(listed, (json.dumps(manifest, indent=2) + "\n").encode())
    print(f"{target.name}: {entry['correct']} of {entry['images']} correct, {digest}")


if __name__ == "__main__":
    guarded(main)
