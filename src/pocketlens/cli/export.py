"""pocketlens export: the bare model file with its preprocessing, for one's own app."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    bundle: Annotated[Path, typer.Argument(help="A .lens bundle.")],
    format: Annotated[str, typer.Option(help="onnx, tflite or openvino.")] = "onnx",
    graph: Annotated[str | None, typer.Option(help="A graph of the bundle; default is the one it prefers.")] = None,
    out: Annotated[Path | None, typer.Option(help="The file to write. [default: BUNDLE.onnx, .tflite or .xml]")] = None,
    calibration: Annotated[
        str, typer.Option(help="For tflite and openvino: images that set the ranges, as for squeeze.")
    ] = "sample",
    force: Annotated[bool, typer.Option("--force", help="Write over existing files.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, all else on stderr.")] = False,
) -> None:
    """Write one model file, and code that feeds it as the bundle says: Python, Kotlin, Swift and JavaScript.

    ONNX comes out of the bundle as it is. For the others the model is lowered again, under that runtime's scheme, from
    what `squeeze` kept on this machine.
    """
    from pocketlens.cli.console import Console
    from pocketlens.errors import UnknownNameError
    from pocketlens.squeeze.export import FORMATS
    from pocketlens.squeeze.export import export as write
    from pocketlens.targets.cache import cache_folder

    console = Console(as_json)
    if format not in FORMATS:
        raise UnknownNameError("format", format, FORMATS)
    written = write(
        bundle,
        format,
        out or bundle.with_suffix(FORMATS[format][1]),
        stages=cache_folder() / "stages",
        calibration=calibration,
        graph=graph,
        force=force,
        progress=console.progress,
    )
    console.say(f"{written.files[0]}  {written.size_bytes / 1e6:.2f} MB on disk, graph {written.graph}")
    for path in (*written.files[1:], *written.snippets.values()):
        console.say(str(path))
    console.finish(
        {
            "file": str(written.files[0]),
            "files": [str(path) for path in written.files],
            "graph": written.graph,
            "size_bytes": written.size_bytes,
            "snippet": str(written.snippets["python"]),
            "snippets": {language: str(path) for language, path in written.snippets.items()},
        }
    )
