"""pocketlens recognize: name what is in photos, a video or what the camera sees."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

if TYPE_CHECKING:
    from pocketlens.runtime.recognizer import Picture, Recognizer


class Found(NamedTuple):
    """What was found in one picture: as JSON, the best answer in words, and the others."""

    json: dict[str, Any]
    best: str
    others: list[str]
    time_ms: float


Ask = Callable[["Picture"], Found]


def recognize(
    bundle: Annotated[Path, typer.Argument(help="A .lens bundle.")],
    images: Annotated[list[Path] | None, typer.Argument(help="One or more photos.")] = None,
    camera: Annotated[int | None, typer.Option(help="A camera's number, 0 is the first.")] = None,
    video: Annotated[Path | None, typer.Option(help="A video file.")] = None,
    gallery: Annotated[
        Path | None, typer.Option(help="A .gallery file of this bundle: its entries are the answers.")
    ] = None,
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
        ask = _classes(recognizer, top_k) if gallery is None else _entries(recognizer, gallery, top_k)
        if images:
            _photos(ask, images, recognizer.graph_name, as_json)
        else:
            _stream(ask, camera if camera is not None else video, every_ms, as_json)


def _classes(recognizer: "Recognizer", top_k: int) -> Ask:
    """Answers are the model's classes."""
    from dataclasses import asdict

    def ask(picture: "Picture") -> Found:
        found = recognizer.recognize(picture, top_k=top_k)
        words = [f"{answer.label} {answer.probability:.0%}" for answer in found.answers]
        return Found(
            asdict(found), _guess(words[0], found.unknown), words[1:], found.preprocess_ms + found.inference_ms
        )

    return ask


def _entries(recognizer: "Recognizer", path: Path, top_k: int) -> Ask:
    """Answers are a gallery's entries."""
    from dataclasses import asdict
    from time import perf_counter

    from pocketlens.runtime.gallery.gallery_file import open_gallery
    from pocketlens.runtime.gallery.search import Index

    gallery = open_gallery(path)
    gallery.require_backbone(recognizer.fingerprint, recognizer.spec.name)
    index = Index(gallery)

    def ask(picture: "Picture") -> Found:
        start = perf_counter()
        matches = index.search(recognizer.embed([picture]), top_k)[0]
        time_ms = (perf_counter() - start) * 1e3
        words = [f"{match.label} {match.cosine:.2f}" for match in matches]
        unknown = not matches[0].accepted
        found = {"matches": [asdict(match) for match in matches], "unknown": unknown, "time_ms": time_ms}
        return Found(found, _guess(words[0], unknown), words[1:], time_ms)

    return ask


def _guess(answer: str, unknown: bool) -> str:
    """The first answer in words; of an unknown thing it is a guess."""
    return f"unknown, perhaps {answer}" if unknown else answer


def _photos(ask: Ask, images: list[Path], graph: str, as_json: bool) -> None:
    import json
    import sys

    from pocketlens.errors import DataError, ImageError

    answered, failed = [], []
    for path in images:
        try:
            found = ask(path)
        except ImageError as error:
            failed.append({"image": str(path), "error": str(error)})
            sys.stderr.write(f"pocketlens: {error}\n")
            continue
        answered.append({"image": str(path), **found.json})
        if not as_json:
            print(f"{path.name}: {found.best}  ({', '.join(found.others)})  {found.time_ms:.0f} ms")
    if as_json:
        print(json.dumps({"graph": graph, "images": answered, "failed": failed}, ensure_ascii=False))
    if failed and not answered:
        raise DataError("no image could be read")


def _stream(ask: Ask, source, every_ms: int, as_json: bool) -> None:
    import json

    from pocketlens.runtime.camera import frames

    for frame in frames(source, every_ms=every_ms):
        found = ask(frame.image)
        if as_json:
            print(json.dumps({"time_s": frame.time_s, **found.json}, ensure_ascii=False), flush=True)
        else:
            print(f"{frame.time_s:8.1f} s  {found.best}", flush=True)
