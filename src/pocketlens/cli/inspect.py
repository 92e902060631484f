"""pocketlens inspect: what is in a model, before anything runs."""

from pathlib import Path
from typing import Annotated

import typer


def inspect(
    model: Annotated[str, typer.Argument(help="A model as squeeze takes it, or a .lens bundle.")],
    weights: Annotated[
        Path | None, typer.Option(help="A .safetensors file or a checkpoint, or the word random.")
    ] = None,
    classes: Annotated[Path | None, typer.Option(help="A text file, one class name a line, in output order.")] = None,
    preprocessing: Annotated[
        str | None,
        typer.Option(help="Of an .onnx or .pt2 file: imagenet, inception, unit or bytes, with :SIZE, or a JSON file."),
    ] = None,
    layers: Annotated[bool, typer.Option("--layers", help="List every layer.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, all else on stderr.")] = False,
) -> None:
    """Show a model's layers, parameters, arithmetic and input, or what a bundle holds and what it measured."""
    from pocketlens.cli.console import Console

    console = Console(as_json)
    if Path(model).suffix == ".lens":
        _bundle(console, Path(model))
    else:
        _model(console, model, weights, classes, preprocessing, layers)


def _model(
    console, name: str, weights: Path | None, classes: Path | None, preprocessing: str | None, every_layer: bool
) -> None:
    from collections import Counter
    from dataclasses import asdict

    from rich.table import Table

    from pocketlens.bundle.spec_json import spec_to_json
    from pocketlens.cli.inputs import load_model
    from pocketlens.models.cost import count_macs, count_parameters, layer_costs
    from pocketlens.models.exported import FORMATS
    from pocketlens.models.hazards import hazards
    from pocketlens.models.stated import stated_preprocessing

    path = Path(name)
    silent = path.suffix.lower() in FORMATS and stated_preprocessing(path, preprocessing) is None
    model = load_model(name, weights, classes, preprocessing="bytes" if silent else preprocessing)
    costs = layer_costs(model)
    kinds = Counter(cost.kind for cost in costs)
    parameters, macs = count_parameters(model), count_macs(model)
    found = hazards(model)
    p = model.spec.preprocessing
    feeding = (
        "the file does not say how images become it, so squeeze will ask for --preprocessing"
        if silent
        else f"short side {p.resize} {p.interpolation}, centre {p.crop}, (pixel - {p.mean}) / {p.std}"
    )
    console.say(
        f"[bold]{model.spec.name}[/]  {parameters / 1e6:.2f} M parameters ({parameters * 4 / 1e6:.1f} MB in float32), "
        f"{macs / 1e6:.0f} M multiply-accumulates\n"
        f"  input {'x'.join(map(str, model.spec.input_shape))}: {feeding}\n"
        f"  {len(model.spec.class_ids) or 'unnamed'} classes; {', '.join(sorted(model.facts)) or 'no batch norm'}\n"
        f"  {', '.join(f'{n} {kind}' for kind, n in kinds.most_common())}"
    )
    for hazard in found:
        console.say(f"  [yellow]![/] {hazard}")
    if every_layer:
        table = Table(box=None)
        for column in ("layer", "kind", "parameters", "MACs", "output"):
            table.add_column(column, justify="left" if column in ("layer", "kind") else "right")
        for cost in costs:
            shape = "x".join(map(str, cost.output_shape))
            table.add_row(cost.name, cost.kind, f"{cost.parameters:,}", f"{cost.macs:,}", shape)
        console.say(table)
    console.finish(
        {
            "spec": spec_to_json(model.spec),
            "preprocessing_stated": not silent,
            "parameters": parameters,
            "macs": macs,
            "facts": sorted(model.facts),
            "kinds": dict(kinds),
            "hazards": list(found),
            "layers": [asdict(cost) for cost in costs],
        }
    )


def _bundle(console, path: Path) -> None:
    from pocketlens.bundle.archive import open_bundle

    with open_bundle(path) as bundle:
        bundle.verify()
        manifest = bundle.manifest
    console.say(
        f"[bold]{manifest.spec.name}[/]  {path.stat().st_size / 1e6:.2f} MB, schema {manifest.schema_version}, "
        f"made by {manifest.created_with} on {manifest.created}"
    )
    for graph in manifest.graphs:
        measured = graph.measurement
        mark = "preferred" if graph.name == manifest.preferred else ""
        latency = measured.get("latency_ms", {}).get("median")
        same = measured.get("agreement")
        figures = f"{latency:.2f} ms, same answer {same:.1%}" if latency and same is not None else "not measured"
        console.say(f"  {graph.name:>8}  {figures}  {mark}")
    console.finish({"bundle": str(path), "size_bytes": path.stat().st_size, **manifest.to_json()})
