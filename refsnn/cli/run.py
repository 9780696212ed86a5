"""``refsnn run``: a network over test images."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from refsnn import io
from refsnn.arithmetic import resolve
from refsnn.cli import arguments, common, results
from refsnn.cli.summary import marks, print_result
from refsnn.errors import OptionError
from refsnn.evaluate import BATCH, evaluate, result
from refsnn.network import Network, SpikingNetwork
from refsnn.restored import need_made_of
from refsnn.run import engine_of


def run(
    file: Annotated[Path, typer.Argument(help="Trained or converted network (HDF5).")],
    T: Annotated[int, typer.Option("-T", "--steps", help="Number of time steps.")],
    method: arguments.MethodOption = None,
    options: arguments.SetOption = None,
    max_pool: arguments.MaxPoolOption = False,
    data: arguments.DataOption = None,
    ann: Annotated[
        Path | None,
        typer.Option("--ann", help="The trained network of a converted one."),
    ] = None,
    limit: arguments.LimitOption = None,
    batch: Annotated[int, typer.Option("--batch", help="Images at once.")] = BATCH,
    threads: Annotated[
        int | None, typer.Option("--threads", help="Default: one for each processor.")
    ] = None,
    impl: Annotated[
        arguments.Impl,
        typer.Option("--impl", help="Compiled kernels or NumPy definitions."),
    ] = arguments.Impl["kernel"],
    schedule: Annotated[
        arguments.Schedule,
        typer.Option("--schedule", help="Order of layers and steps."),
    ] = arguments.Schedule["layer"],
    engine: arguments.EngineOption = arguments.Engine["auto"],
    mode: arguments.ModeOption = None,
    carrier: arguments.CarrierOption = None,
    json: arguments.JsonOption = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", help="Write DIR/report.html and DIR/result.json."),
    ] = None,
) -> None:
    """Run a network over test images: accuracy, spikes, operations, energy.

    A trained network is converted on the fly with --method. Batch, threads, impl,
    schedule and engine never change a result.
    """
    clock = time.perf_counter()
    fixed, options = common.split_fixed(mode, method, options)
    numbers: dict[str, Any] = {
        "mode": mode and mode.value,
        "carrier": carrier and carrier.value,
        "fixed": fixed,
    }
    results.need_json_target(json)
    results.need_report_folder(report)
    network = io.load_network(file)
    trained = _trained(network, ann)
    images = common.test_images(common.data_name(network, data), limit)
    snn = common.spiking(
        network, method, T, options, data, impl.value, max_pool=max_pool
    )
    arithmetic = resolve(snn, T, **numbers)
    if mode is None:
        common.say_if_not_exact(snn, arithmetic.mode, T)
    how: dict[str, Any] = {"impl": impl.value, "schedule": schedule.value}
    chosen = engine_of(snn, arithmetic, **how, engine=engine.value)
    with common.progress("running") as tell:
        tally = evaluate(
            snn,
            images,
            T,
            ann=trained,
            batch=batch,
            threads=threads,
            **numbers,
            **how,
            engine=chosen,
            progress=tell,
        )
    answer = result(
        snn,
        images,
        tally,
        sha256=io.content_sha256(network),
        seconds=round(time.perf_counter() - clock, 3),
        ann=trained,
        arithmetic=arithmetic,
        **how,
        engine=chosen,
    )
    results.write_json(answer, json)
    results.write_report(
        report, snn, images, answer, marks(answer), impl=impl.value, **numbers
    )
    if json != "-":
        print_result(answer, marks(answer))


def _trained(network: Network | SpikingNetwork, path: Path | None) -> Network | None:
    """Return the trained network, of a converted one if it is given and its own."""
    if path is None:
        return network if isinstance(network, Network) else None
    if isinstance(network, Network):
        raise OptionError(
            where=f"network {network.name}",
            got="--ann",
            expected="--ann with a converted network only",
        )
    ann = io.load_ann(path)
    need_made_of(network, ann)
    return ann
