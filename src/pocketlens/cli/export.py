"""pocketlens export: the bare model file with its preprocessing, for one's own app."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    bundle: Annotated[Path, typer.Argument(help="A .lens bundle.")],
    format: Annotated[str, typer.Option(help="onnx (tflite and openvino come later).")] = "onnx",
    graph: Annotated[str | None, typer.Option(help="A graph of the bundle; default is the one it prefers.")] = None,
    out: Annotated[Path | None, typer.Option(help="The file to write. [default: BUNDLE.onnx]")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over existing files.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, all else on stderr.")] = False,
) -> None:
    """Write one ONNX file with its weights inside, and a Python snippet that feeds it as the bundle says."""
    from pocketlens.cli.console import Console
    from pocketlens.errors import UnknownNameError
    from pocketlens.targets.onnxruntime.standalone import write_standalone

    console = Console(as_json)
    if format != "onnx":
        raise UnknownNameError("format", format, ["onnx"])
    destination = out or bundle.with_suffix(".onnx")
    written = write_standalone(bundle, destination, graph=graph, force=force)
    console.say(f"{destination}  {written.size_bytes / 1e6:.2f} MB, graph {written.graph}\n{written.snippet}")
    console.finish(
        {
            "file": str(destination),
            "graph": written.graph,
            "size_bytes": written.size_bytes,
            "snippet": str(written.snippet),
        }
    )
