"""pocketlens squeeze: run one recipe, measure, write bundle and report."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from pocketlens.cli.console import Console
    from pocketlens.squeeze.plan import Squeezed
    from pocketlens.types import Measurement


def squeeze(
    model: Annotated[
        str,
        typer.Argument(
            help="efficientnet_lite0, timm:NAME, torchvision:NAME, module:factory, a stored graph, .onnx or .pt2."
        ),
    ],
    recipe: Annotated[
        str,
        typer.Option(
            help="A shipped recipe (int8, half, small, fast, tiny-student), int8-best (adds remedies until the file is "
            "true enough), or a TOML file."
        ),
    ] = "int8",
    out: Annotated[
        Path | None, typer.Option(help="The bundle to write; the report goes beside it. [default: NAME.lens]")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="A folder with train/, val/, test/, or with class folders to be split.")
    ] = None,
    calibration: Annotated[
        str | None, typer.Option(help="Images that set the ranges: a folder, a .parquet file, or sample.")
    ] = None,
    calibration_images: Annotated[
        int | None, typer.Option(help="Use so many of them, spread evenly. [default: all]", min=1)
    ] = None,
    test: Annotated[
        str | None, typer.Option(help="Images for the final measurement; class folders make it accuracy.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="A .safetensors file or a checkpoint, or the word random.")
    ] = None,
    classes: Annotated[Path | None, typer.Option(help="A text file, one class name a line, in output order.")] = None,
    preprocessing: Annotated[
        str | None,
        typer.Option(help="Of an .onnx or .pt2 file: imagenet, inception, unit or bytes, with :SIZE, or a JSON file."),
    ] = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option(help="A model that Distil learns from, or NAME=WEIGHTS; may be repeated. [default: the model]"),
    ] = None,
    min_agreement: Annotated[
        float, typer.Option(help="For int8-best: the share of images with the original's answer that is enough.")
    ] = 0.99,
    min_sqnr: Annotated[float, typer.Option(help="For int8-best: the SQNR of the output that is enough, dB.")] = 22.5,
    target: Annotated[str, typer.Option(help="The runtime to make it for and measure it on.")] = "onnxruntime",
    scheme: Annotated[
        str | None,
        typer.Option(help="Make it for a device that is not here: a name that `pocketlens devices --schemes` shows."),
    ] = None,
    threads: Annotated[str, typer.Option(help="Thread counts to time, the first in headlines.")] = "1,2",
    seed: Annotated[int, typer.Option(help="Makes the run repeatable.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Write over an existing bundle and report.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Reuse no stage of an earlier run.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, all else on stderr.")] = False,
) -> None:
    """Run one recipe on a model, measure the files here, write the bundle and its report."""
    import shlex
    import sys
    import tempfile
    from dataclasses import replace

    from pocketlens.cli import inputs
    from pocketlens.cli.console import Console
    from pocketlens.cli.ladder import climb_for
    from pocketlens.recipe import read
    from pocketlens.search import ladder
    from pocketlens.squeeze.plan import SqueezePlan, check_output
    from pocketlens.squeeze.run import run
    from pocketlens.targets.cache import cache_folder

    console = Console(as_json)
    destination = out or Path(f"{Path(model.replace(':', '_')).stem}.lens")
    counts = inputs.read_threads(threads)
    check_output(destination, force)
    runtime = inputs.load_target(target) if scheme is None else inputs.load_device(scheme, target)
    climbs = recipe == ladder.NAME
    chain = ladder.START if climbs else read(recipe)
    wanted = ladder.Wanted(agreement=min_agreement, sqnr_db=min_sqnr)
    loaded = inputs.load_model(model, weights, classes, data, preprocessing)
    splits = inputs.load_data(loaded, data, calibration, test, calibration_images)
    with tempfile.TemporaryDirectory(prefix="pocketlens-") as own:
        plan = SqueezePlan(
            recipe=chain,
            target=runtime,
            out=destination,
            threads=counts,
            seed=seed,
            force=force,
            stages=Path(own) if fresh else cache_folder() / "stages",
            cache=None if fresh else cache_folder(),
            teachers=tuple(inputs.load_teacher(name, loaded) for name in teacher or ()),
            command=shlex.join(["pocketlens", *sys.argv[1:]]),
        )
        climb = climb_for(console, loaded, splits, plan, wanted) if climbs else None
        if climb is not None:
            plan = replace(plan, recipe=climb.recipe)
        result = run(loaded, splits, plan, progress=console.progress, say=console.say)
    _show(console, result)
    console.finish(result.to_json() | ({"ladder": list(climb.rungs)} if climb else {}))


def _stages(result: "Squeezed") -> "Table":
    """What each pass did to size, work and accuracy, on validation images."""
    measured = [(s, s.measurement) for s in result.stages if s.measurement is not None]
    table = _table("after", "download", "on\ndisk", "in\nmemory", "MACs", "vs\nfp32", "same\nanswer", "top-1")
    for stage, m in measured:
        top1 = m.fidelity.get("top1")
        table.add_row(
            stage.record.name,
            *_sizes(m),
            f"{m.macs / 1e6:.0f} M",
            f"{next(iter(m.speedup.values())).estimate:.2f}x" if m.speedup else "-",
            f"{m.fidelity['agreement']:.1%}",
            "-" if top1 is None else f"{top1:.1%}",
        )
    return table


def _show(console: "Console", result: "Squeezed") -> None:
    """The figures as a table, the verdict as a sentence, and where the files are."""
    from rich.markup import escape

    heads = ("", "download", "on\ndisk", "in\nmemory", "latency", "vs\nfp32", "same\nanswer", "SQNR", "top-1")
    table = _table(*heads)
    for m in (result.baseline, *result.graphs):
        spread, ratio = next(iter(m.latency_ms.values()), None), next(iter(m.speedup.values()), None)
        top1 = m.fidelity.get("top1")
        first = m is result.baseline
        table.add_row(
            m.name,
            *_sizes(m),
            f"{spread.median:.2f} ms" if spread else "-",
            "" if first else f"{ratio.estimate:.2f}x" if ratio else "-",
            "" if first else f"{m.fidelity['agreement']:.1%}",
            "" if first else f"{m.fidelity['sqnr_db']:.1f} dB",
            "-" if top1 is None else f"{top1:.1%}",
            style="bold" if m.name == result.preferred else "",
        )
    console.say("", table, "", _stages(result), "")
    for stage in result.stages:
        if stage.verdict:
            console.say(f"  {stage.verdict.outcome:>13}  {stage.verdict.sentence}")
    console.say("", result.verdict.sentence)
    console.say(
        f"download: {', '.join(f'{name} {size / 1e3:.0f} kB' for name, size in result.contents.items() if size)}"
    )
    if made_for := result.made_for:
        console.say(escape(f"made for {made_for['device']}: {made_for['proof']}; {made_for['speed']}"))
    console.say(_calibration(result))
    console.say(f"bundle {result.bundle}   report {result.report}   ({result.seconds['total']:.0f} s)")


def _table(*heads: str) -> "Table":
    """Names to the left, figures to the right; heads of two lines leave room for all on 80 columns."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for place, head in enumerate(heads):
        table.add_column(head, justify="right" if place else "left")
    return table


def _sizes(m: "Measurement") -> tuple[str, str, str]:
    """Download, on disk, in memory."""
    memory = f"{m.peak_memory_bytes / 1e6:.0f} MB" if m.peak_memory_bytes else "-"
    return f"{m.size_bytes / 1e6:.2f} MB", f"{m.disk_bytes / 1e6:.2f} MB", memory


def _calibration(result: "Squeezed") -> str:
    """How sure the model may sound, and whether galleries can be built with it."""
    confidence, embedding = result.confidence, result.embedding
    below = confidence.unknown_below
    unknown = "never says unknown" if below is None else f"unknown where no logit reaches {below:.2f}"
    vectors = "no embedding" if embedding is None else f"embedding {embedding[0]} -> {embedding[1]}"
    return f"confidence at temperature {confidence.temperature:.2f}, {unknown}; {vectors}"
