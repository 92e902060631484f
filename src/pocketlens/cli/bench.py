"""pocketlens bench: models side by side on this device."""

from pathlib import Path
from typing import Annotated

import typer


def bench(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Bundles (b.lens, or b.lens:int8 for one graph), .onnx, .xml or .tflite files, model names."
        ),
    ],
    test: Annotated[
        str, typer.Option(help="Images to compare answers on: a folder, a .parquet file, or sample.")
    ] = "sample:test",
    weights: Annotated[Path | None, typer.Option(help="For a model name: its checkpoint, or the word random.")] = None,
    target: Annotated[
        str, typer.Option(help="The runtime, or several: onnxruntime,openvino,litert races each model on each.")
    ] = "onnxruntime",
    calibration: Annotated[
        str, typer.Option(help="A bundle on another runtime: images that set its ranges there.")
    ] = "sample",
    threads: Annotated[str, typer.Option(help="Thread counts to time.")] = "1,2",
    rounds: Annotated[int, typer.Option(help="Turns of each model; more narrow the intervals.", min=3)] = 21,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, all else on stderr.")] = False,
) -> None:
    """Race models against the first one, interleaved, each in its own process, and compare their answers with it."""
    import tempfile
    from dataclasses import replace

    from pocketlens.cli import inputs
    from pocketlens.cli.console import Console
    from pocketlens.cli.runners import runners
    from pocketlens.datasets import splits
    from pocketlens.errors import UsageError
    from pocketlens.measure import MeasurePlan, measure
    from pocketlens.squeeze.plan import flat
    from pocketlens.verdict import latency_clause

    console = Console(as_json)
    counts = inputs.read_threads(threads)
    targets = inputs.load_targets(target)
    if len(models) * len(targets) < 2:
        raise UsageError(
            "bench needs two models or more, or two targets; the first is what the others are compared with"
        )
    with tempfile.TemporaryDirectory(prefix="pocketlens-") as scratch:
        entrants = runners(models, targets, Path(scratch), weights, calibration)
        first = entrants[0].artifact
        images = splits.load(test, first.spec.class_ids, first.spec.labels)
        plan = MeasurePlan(threads=counts, rounds=rounds)
        measured = measure(first, entrants[1:], target=targets[0], images=images, plan=plan, progress=console.progress)
    if entrants[0].download_bytes is not None:
        measured = (replace(measured[0], size_bytes=entrants[0].download_bytes), *measured[1:])
    for m in measured:
        console.say(
            f"[bold]{m.name}[/]  download {m.size_bytes / 1e6:.2f} MB, on disk {m.disk_bytes / 1e6:.2f} MB, "
            f"in memory {m.peak_memory_bytes / 1e6:.0f} MB; {m.conditions['runtime']}"
        )
        for count, spread in m.latency_ms.items():
            against = "" if m is measured[0] else f"   {latency_clause(m.speedup[count])}"
            console.say(
                f"  {count} thread{'s' if count > 1 else ''}: {spread.median:.2f} ms "
                f"(p10 {spread.p10:.2f}, p90 {spread.p90:.2f}){against}"
            )
        if m is not measured[0]:
            console.say(
                f"  same answer as {measured[0].name}: {m.fidelity['agreement']:.1%} of {m.fidelity['n']} images"
            )
    console.finish({"models": {m.name: flat(m) for m in measured}})
