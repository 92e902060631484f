"""pocketlens recognize: name what is in photos, a video or what the camera sees."""

from pathlib import Path
from typing import Annotated

import typer


def recognize(
    bundle: Annotated[Path, typer.Argument(help="A .lens bundle.")],
    images: Annotated[list[Path] | None, typer.Argument(help="One or more photos.")] = None,
    camera: Annotated[int | None, typer.Option(help="A camera's number, 0 is the first.")] = None,
    video: Annotated[Path | None, typer.Option(help="A video file.")] = None,
    every_ms: Annotated[int, typer.Option(help="Video and camera: an answer at most this often.")] = 500,
    top_k: Annotated[int, typer.Option(help="Answers an image.", min=1)] = 3,
    graph: Annotated[str | None, typer.Option(help="A graph of the bundle; default is the one it prefers.")] = None,
    threads: Annotated[int, typer.Option(help="Threads to compute with.", min=1)] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, all else on stderr.")] = False,
) -> None:
    """Name what is in photos, a video, or in front of a camera. Nothing leaves this machine."""
    from pocketlens.errors import UsageError
    from pocketlens.runtime.recognizer import Recognizer

    sources = [bool(images), camera is not None, video is not None]
    if sum(sources) != 1:
        raise UsageError("give either photos, or --camera N, or --video FILE")
    with Recognizer.open(bundle, graph=graph, threads=threads) as recognizer:
        if images:
            _photos(recognizer, images, top_k, as_json)
        else:
            _stream(recognizer, camera if camera is not None else video, every_ms, top_k, as_json)


def _photos(recognizer, images: list[Path], top_k: int, as_json: bool) -> None:
    import json
    import sys
    from dataclasses import asdict

    from pocketlens.errors import DataError, ImageError

    found, failed = [], []
    for path in images:
        try:
            recognition = recognizer.recognize(path, top_k=top_k)
        except ImageError as error:
            failed.append({"image": str(path), "error": str(error)})
            sys.stderr.write(f"pocketlens: {error}\n")
            continue
        found.append({"image": str(path), **asdict(recognition)})
        if not as_json:
            best, *rest = recognition.answers
            others = ", ".join(f"{a.label} {a.probability:.0%}" for a in rest)
            time_ms = recognition.preprocess_ms + recognition.inference_ms
            print(f"{path.name}: {best.label} {best.probability:.0%}  ({others})  {time_ms:.0f} ms")
    if as_json:
        print(json.dumps({"graph": recognizer.graph_name, "images": found, "failed": failed}, ensure_ascii=False))
    if failed and not found:
        raise DataError("no image could be read")


def _stream(recognizer, source, every_ms: int, top_k: int, as_json: bool) -> None:
    import json
    from dataclasses import asdict

    from pocketlens.runtime.camera import frames

    for frame in frames(source, every_ms=every_ms):
        recognition = recognizer.recognize(frame.image, top_k=top_k)
        if as_json:
            print(json.dumps({"time_s": frame.time_s, **asdict(recognition)}, ensure_ascii=False), flush=True)
        else:
            best = recognition.answers[0]
            print(f"{frame.time_s:8.1f} s  {best.label} {best.probability:.0%}", flush=True)
