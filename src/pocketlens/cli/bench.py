"""pocketlens bench: models side by side on this device."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pocketlens.types import Artifact, Target


def bench(
    models: Annotated[
        list[str], typer.Argument(help="Bundles (b.lens, or b.lens:int8 for one graph), .onnx files, model names.")
    ],
    test: Annotated[
        str, typer.Option(help="Images to compare answers on: a folder, a .parquet file, or sample.")
    ] = "sample:test",
    weights: Annotated[Path | None, typer.Option(help="For a model name: its checkpoint, or the word random.")] = None,
    target: Annotated[str, typer.Option(help="The runtime.")] = "onnxruntime",
    threads: Annotated[str, typer.Option(help="Thread counts to time.")] = "1,2",
    rounds: Annotated[int, typer.Option(help="Turns of each model; more narrow the intervals.", min=3)] = 21,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, all else on stderr.")] = False,
) -> None:
    """Race models against the first one, interleaved, each in its own process, and compare their answers with it."""
    import tempfile

    from pocketlens.cli import inputs
    from pocketlens.cli.console import Console
    from pocketlens.datasets import splits
    from pocketlens.errors import UsageError
    from pocketlens.measure import Entrant, MeasurePlan, measure
    from pocketlens.squeeze.plan import flat
    from pocketlens.verdict import latency_clause

    console = Console(as_json)
    counts = inputs.read_threads(threads)
    if len(models) < 2:
        raise UsageError("bench needs two models or more; the first is what the others are compared with")
    runtime = inputs.load_target(target)
    with tempfile.TemporaryDirectory(prefix="pocketlens-") as scratch:
        artifacts = _artifacts(models, weights, runtime, Path(scratch))
        spec = artifacts[0].spec
        images = splits.load(test, spec.class_ids, spec.labels)
        plan = MeasurePlan(threads=counts, rounds=rounds)
        entrants = [Entrant(artifact=a, download_bytes=_download(m)) for m, a in zip(models, artifacts, strict=True)]
        measured = measure(
            artifacts[0], entrants[1:], target=runtime, images=images, plan=plan, progress=console.progress
        )
    for m in measured:
        console.say(f"[bold]{m.name}[/]  {m.size_bytes / 1e6:.2f} MB, peak memory {m.peak_memory_bytes / 1e6:.0f} MB")
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


def _artifacts(models: list[str], weights: Path | None, target: "Target", scratch: Path) -> "list[Artifact]":
    """One artifact a model, named after what the user typed."""
    from dataclasses import replace

    from pocketlens.bundle.archive import open_bundle
    from pocketlens.bundle.unpack import unpack
    from pocketlens.errors import UsageError
    from pocketlens.types import Artifact

    made: list[Artifact | Path] = []
    for place, name in enumerate(models):
        folder = scratch / str(place)
        folder.mkdir()
        path, _, graph = name.partition(":") if ".lens" in name else (name, "", "")
        if path.endswith(".lens"):
            with open_bundle(Path(path)) as bundle:
                made.append(replace(unpack(bundle, folder, graph or None), name=name))
        elif name.endswith(".onnx"):
            made.append(Path(name))
        else:
            from pocketlens.cli.inputs import load_model

            made.append(target.lower(load_model(name, weights, None), name, folder))
    specs = [a.spec for a in made if isinstance(a, Artifact)]
    if not specs:
        raise UsageError("an .onnx file does not say its preprocessing: put a bundle or a model name beside it")
    return [
        a if isinstance(a, Artifact) else Artifact(name=str(a), target=target.name, spec=specs[0], graph=a)
        for a in made
    ]


def _download(model: str) -> int | None:
    """A bundle's own bytes; None lets the artifact's count."""
    path = Path(model.partition(":")[0])
    return path.stat().st_size if path.suffix == ".lens" else None
