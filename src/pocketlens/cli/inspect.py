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
    """Show a model's layers, parameters, arithmetic and input; of a bundle, figures and where its bytes are."""
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
    from dataclasses import asdict

    from rich.table import Table

    from pocketlens.bundle.archive import open_bundle
    from pocketlens.bundle.contents import parts
    from pocketlens.report.figures import known, present

    with open_bundle(path) as bundle:
        bundle.verify()
        manifest = bundle.manifest
        found = parts(path, bundle, _tensors(path, bundle))
    size = path.stat().st_size
    console.say(
        f"[bold]{manifest.spec.name}[/]  download {size / 1e6:.2f} MB, schema {manifest.schema_version}, "
        f"made by {manifest.created_with} on {manifest.created}"
    )
    for graph in manifest.graphs:
        measured = graph.measurement
        mark = "preferred" if graph.name == manifest.preferred else ""
        timed = measured.get("latency_ms")
        latency = timed.get("median") if isinstance(timed, dict) else None
        said = [
            f"{name} {measured[field] / 1e6:.2f} MB"
            for name, field in (("on disk", "disk_bytes"), ("in memory", "peak_memory_bytes"))
            if present(measured.get(field))
        ]
        said += [f"{latency:.2f} ms"] if present(latency) else []
        said += [f"same answer {measured['agreement']:.1%}"] if known(measured.get("agreement")) else []
        console.say(f"  {graph.name:>8}  {', '.join(said) or 'not measured'}  {mark}")
    table = Table(box=None)
    for column in ("part", "on disk", "download", "share"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for part in found:
        table.add_row(part.name, f"{part.size_bytes:,}", f"{part.stored_bytes:,}", f"{part.stored_bytes / size:.1%}")
    console.say(table)
    parts_json = [asdict(part) for part in found]
    console.finish({"bundle": str(path), "size_bytes": size, "parts": parts_json, **manifest.to_json()})


def _tensors(path: Path, bundle) -> dict[str, dict]:
    """Each blob of weights -> its tensors and what they are; nothing where the package onnx is not installed."""
    try:
        from pocketlens.targets.onnxruntime.blob import external_roles
    except ImportError:
        return {}
    from pocketlens.bundle.zip_rules import naming

    found: dict[str, dict] = {}
    for graph in bundle.manifest.graphs:
        if graph.weights is not None:
            content = bundle.read(graph.graph)
            with naming(path), naming(graph.graph):
                found[graph.weights] = external_roles(content) | found.get(graph.weights, {})
    return found
