"""``refsnn demo``: real digits, a shipped network, from an empty folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from refsnn import datasets, io
from refsnn.cli import arguments, common, results
from refsnn.cli.summary import print_result
from refsnn.evaluate import evaluate, result

NETWORK = "digits_qcfs.h5"
METHOD = "qcfs"
STEPS = (1, 2, 4, 8, 16, 32)


def demo(
    out: Annotated[
        Path | None,
        typer.Option(
            "--report", "--out", help="Write DIR/report.html and DIR/result.json."
        ),
    ] = None,
    json: arguments.JsonOption = None,
) -> None:
    """Convert a network trained on handwritten digits and run it on test images."""
    clock = time.perf_counter()
    results.need_json_target(json)
    results.need_report_folder(out)
    ann = io.load_ann(datasets.weights_folder() / NETWORK)
    data = common.test_images(common.data_name(ann, None), None)
    snn = common.converted(ann, METHOD, None, None, None)
    with common.progress("running") as report:
        tally = evaluate(snn, data, max(STEPS), ann=ann, progress=report)
    answer = result(
        snn,
        data,
        tally,
        sha256=io.content_sha256(ann),
        seconds=round(time.perf_counter() - clock, 3),
        ann=ann,
    )
    results.write_json(answer, json)
    results.write_report(out, snn, data, answer, STEPS)
    if json != "-":
        print_result(answer, STEPS)
