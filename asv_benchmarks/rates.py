"""Time against spike rate and T: the figure of the README's section "Speed".

    python asv_benchmarks/rates.py FIGURE [--json F]

Needs the extra ``peers``. ResNet-20 with seeded weights, batch 16, one thread, whose
thresholds are set to a rate; refsnn (mode ``exact``), SpikingJelly and PyTorch take
turns on the same images, medians of CPU time. The peers compute densely, so their time
is measured at every rate only to show that it stays.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from benchmarks.common import dense_macs, seeded, some_images
from matplotlib.figure import Figure
from peers import SpikingJelly, Tuned, tensor
from versus import turns

from refsnn.run import run_snn

SHARES = (0.05, 0.10, 0.15, 0.20)
STEPS = (2, 4, 8, 32)
BATCH = 16
COLOURS = ("#0072b2", "#009e73", "#d55e00", "#cc79a7")


def measured(share: float, T: int, runs: int) -> dict[str, Any]:
    """Time one network for T steps."""
    snn = seeded("resnet20", share)
    x = snn.preprocess(some_images(BATCH, snn.input_shape))
    tuned, jelly, given = Tuned(snn, T), SpikingJelly(snn, T), tensor(x)
    _, cpu = turns(
        {
            "refsnn": lambda: run_snn(snn, x, T, engine="event"),
            "spikingjelly": lambda: jelly(given),
            "torch": lambda: tuned(given),
        },
        runs,
    )
    run = run_snn(snn, x, T, engine="event")
    synops = sum(int(s.sum()) for s in run.synops.values())
    spikes = sum(int(s.sum()) for s in run.spikes.values())
    row: dict[str, Any] = {
        "share": share,
        "T": T,
        "spike_rate": spikes / (sum(p.neurons for p in snn.hidden) * T * BATCH),
        "delivered_share": synops / (dense_macs(snn) * T * BATCH),
    }
    for name, seconds in cpu.items():
        row[name] = statistics.median(seconds) / BATCH * 1e3
    return row


def draw(rows: list[dict[str, Any]]) -> Figure:
    """Draw milliseconds an image against the rate, a colour for each T."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    styles = {"refsnn": "-o", "torch": "--", "spikingjelly": ":"}
    for T, colour in zip(STEPS, COLOURS, strict=True):
        some = [row for row in rows if row["T"] == T]
        rate = [100 * row["spike_rate"] for row in some]
        for name, style in styles.items():
            label = f"T = {T}" if name == "refsnn" else None
            axes.plot(rate, [r[name] for r in some], style, color=colour, label=label)
    for name, style in (("PyTorch", "--"), ("SpikingJelly", ":")):
        axes.plot([], [], style, color="grey", label=f"{name}, float32")
    axes.set_yscale("log")
    axes.set_yticks([0.5, 1, 2, 5, 10, 20, 50, 100])
    axes.yaxis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
    axes.yaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    axes.set_xlabel("spike rate (% of neurons a step)")
    axes.set_ylabel("ms of one core an image")
    axes.set_title("ResNet-20, batch 16; refsnn (float64, solid) and peers")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right center", frameon=False)
    return figure


def main() -> None:
    """Measure and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figure", type=Path)
    parser.add_argument("--json", metavar="F", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for T in STEPS:
        for share in SHARES:
            rows.append(measured(share, T, asked.runs))
            print(rows[-1], flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1) + "\n")
    mpl.rcParams["svg.hashsalt"] = "refsnn"
    draw(rows).savefig(asked.figure, metadata={"Date": None})


if __name__ == "__main__":
    main()
