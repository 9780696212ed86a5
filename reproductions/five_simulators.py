"""One NIR file, four simulators, no agreement: and what explains each of them.

Five integrate-and-fire neurons get dyadic currents (every sum is exact in binary32) for
eight steps: an exact tie, a residual charge, several thresholds at once, a deep
negative potential, one early charge. Each simulator reads the same NIR graph by its own
importer; then refsnn looks for the conventions under which its own neurons emit the
same spikes. Ends with 1 if anything is left over.

    pip install 'refsnn[peers]'
    python reproductions/five_simulators.py --sinabs VENV/bin/python

sinabs needs another version of NIR than the others: give the Python of an environment
that has it (`python -m venv VENV; VENV/bin/pip install sinabs`).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import numpy as np
import torch

from refsnn.compare import explain_neurons
from refsnn.errors import answering
from refsnn.profile import PROFILES

T = 8
CURRENTS = np.array(
    [[0.5] * T, [0.75] * T, [2.5] * T, [-3.0] + [0.75] * 7, [1.5] + [0.0] * 7]
).T
"""Shape (T, neurons)."""

SINABS = """
import json, sys
import nir, numpy, torch
from sinabs.nir import from_nir
one = numpy.ones(5, dtype=numpy.float32)
nodes = {
    "input": nir.Input(numpy.array([5])),
    "linear": nir.Linear(numpy.eye(5, dtype=numpy.float32)),
    "neurons": nir.IF(r=one, v_threshold=one),
    "output": nir.Output(numpy.array([5])),
}
edges = [("input", "linear"), ("linear", "neurons"), ("neurons", "output")]
net = from_nir(nir.NIRGraph(nodes=nodes, edges=edges), batch_size=1)
out = net(torch.tensor(json.loads(sys.argv[1]), dtype=torch.float32))
out = out[0] if isinstance(out, tuple) else out
print(json.dumps(out.detach().numpy().astype(int).tolist()))
"""


def graph() -> nir.NIRGraph:
    """Return the file's content: currents into neurons of threshold 1, reset to 0."""
    one = np.ones(5, dtype=np.float32)
    return nir.NIRGraph(
        nodes={
            "input": nir.Input(np.array([5])),
            "linear": nir.Linear(np.eye(5, dtype=np.float32)),
            "neurons": nir.IF(r=one, v_threshold=one, v_reset=0 * one),
            "output": nir.Output(np.array([5])),
        },
        edges=[("input", "linear"), ("linear", "neurons"), ("neurons", "output")],
    )


def norse(file: Path) -> Any:
    """Run Norse."""
    from norse.torch import from_nir  # noqa: PLC0415 - a simulator a function

    net, state, out = from_nir(nir.read(file)), None, []
    for x in torch.tensor(CURRENTS, dtype=torch.float32):
        spikes, state = net(x[None], state)
        out.append(spikes[0].detach().numpy())
    return out


def spikingjelly(file: Path) -> Any:
    """Run SpikingJelly; its importer needs the step dt = 1."""
    from spikingjelly.activation_based.nir_exchange import (  # noqa: PLC0415
        import_from_nir,
    )

    net, state, out = import_from_nir(nir.read(file), dt=1.0), None, []
    for x in torch.tensor(CURRENTS, dtype=torch.float32):
        spikes, state = net(x[None], state)
        out.append(spikes[0].detach().numpy())
    return out


def snntorch(file: Path) -> Any:
    """Run snnTorch: the neurons that its importer makes of nir.IF."""
    from snntorch.import_nir import import_from_nir  # noqa: PLC0415

    net = dict(import_from_nir(nir.read(file)).named_modules())["neurons"]
    potential, out = torch.zeros(1, 5), []
    for x in torch.tensor(CURRENTS, dtype=torch.float32):
        spikes, potential = net(x[None], potential)
        out.append(spikes[0].detach().numpy())
    return out


def sinabs(python: str) -> Any:
    """Run sinabs in its own environment; its NIR knows no v_reset, so the graph is made
    there, of the same nodes.
    """
    command = [python, "-c", SINABS, json.dumps(CURRENTS.tolist())]
    done = subprocess.run(  # noqa: S603 - the Python that the caller names
        command, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    """Print the table; 1 if a difference is left unexplained."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sinabs", metavar="PYTHON", help="Python that has sinabs")
    asked = parser.parse_args()
    runs: dict[str, Callable[[Path], Any]] = {
        "norse": norse,
        "spikingjelly": spikingjelly,
        "snntorch": snntorch,
    }
    if asked.sinabs:
        runs["sinabs"] = lambda _: sinabs(asked.sinabs)
    else:
        print("sinabs is not run (--sinabs PYTHON)")
    left = 0
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "neurons.nir"
        nir.write(file, graph())
        for name, run in runs.items():
            spikes = np.array(run(file)).astype(np.int8)
            trains = " ".join("".join(map(str, train)) for train in spikes.T)
            found = explain_neurons(CURRENTS[:, None], spikes[:, None])
            why = found.name if found else "refsnn's own conventions"
            left += found.remaining if found else 0
            print(f"{name:13} {trains} {spikes.sum():3} spikes; {why}")
            print(f"{'':13} its preset: {PROFILES[name].profile}")
    print(f"{left} spikes left unexplained")
    return int(left > 0)


if __name__ == "__main__":
    answering(main)
