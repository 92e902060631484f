"""pocketlens gallery: things known by example, enrolled from folders of photos."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pocketlens.cli.console import Console
    from pocketlens.runtime.gallery.examples import Examples
    from pocketlens.runtime.gallery.gallery import Gallery
    from pocketlens.runtime.recognizer import Recognizer

gallery = typer.Typer(no_args_is_help=True, help="Know things by example: build, evaluate and edit galleries.")

_Bundle = Annotated[Path, typer.Option(help="The .lens bundle that will search in the gallery.")]
_Graph = Annotated[str | None, typer.Option(help="A graph of the bundle; default is the one it prefers.")]
_Threads = Annotated[int, typer.Option(help="Threads to compute with.", min=1)]
_Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, all else on stderr.")]
_Validation = Annotated[
    Path | None,
    typer.Option(help="Photos to set the threshold by; folders that are not in the gallery count as unseen."),
]
_Rate = Annotated[float, typer.Option(help="Share of unseen things that may be taken for one in the gallery.")]
_Out = Annotated[Path | None, typer.Option(help="Write here instead of over the gallery.")]


@gallery.command()
def build(
    folder: Annotated[Path, typer.Argument(help="One sub-folder of photos for each thing.")],
    bundle: _Bundle,
    out: Annotated[Path, typer.Option(help="The .gallery file to write.")],
    name: Annotated[str | None, typer.Option(help="Of the gallery; default is the folder's.")] = None,
    kind: Annotated[str, typer.Option(help="products or landmarks: where the app shows it.")] = "products",
    false_accept_rate: _Rate = 0.05,
    validation: _Validation = None,
    graph: _Graph = None,
    per_class: Annotated[int | None, typer.Option(help="Use so many photos of each thing.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Which photos --per-class takes.", min=0)] = 0,
    threads: _Threads = 1,
    force: Annotated[bool, typer.Option("--force", help="Write over an existing gallery.")] = False,
    as_json: _Json = False,
) -> None:
    """Enrol folders of photos, and set when a match counts."""
    from rich.markup import escape

    from pocketlens.cli.console import Console
    from pocketlens.errors import OutputError
    from pocketlens.runtime.gallery.build import backbone_of, build_gallery
    from pocketlens.runtime.gallery.gallery import read_kind
    from pocketlens.runtime.gallery.gallery_file import write_gallery
    from pocketlens.runtime.recognizer import Recognizer

    console, which = Console(as_json), read_kind(kind)
    if out.exists() and not force:
        raise OutputError(f"{out} exists; pass --force to write over it, or choose another name")
    with Recognizer.open(bundle, graph=graph, threads=threads) as recognizer:
        backbone = backbone_of(recognizer)
        examples = _read(console, recognizer, folder, per_class, seed)
        held_out = None if validation is None else _read(console, recognizer, validation)
        names = _labels(recognizer)
    made, point = build_gallery(
        examples,
        backbone,
        name=name or folder.resolve().name,
        kind=which,
        labels=names,
        validation=held_out,
        false_accept_rate=false_accept_rate,
    )
    size = write_gallery(out, made, force=force)
    console.say(
        f"[bold]{escape(str(out))}[/]  {len(made.entries)} entries of {len(examples.vectors)} photos, "
        f"{size / 1e3:.0f} kB"
    )
    console.say(f"  {point.sentence()}")
    console.finish(
        {
            **_facts(out, made),
            "photos": len(examples.vectors),
            "skipped": examples.skipped,
            "operating_point": point.to_json(),
        }
    )


@gallery.command("eval")
def evaluate(
    path: Annotated[Path, typer.Argument(metavar="GALLERY", help="A .gallery file.")],
    bundle: _Bundle,
    data: Annotated[Path, typer.Option(help="Photos that were not enrolled, one sub-folder a thing.")],
    unseen: Annotated[Path | None, typer.Option(help="Photos of things that the gallery does not hold.")] = None,
    false_accept_rate: _Rate = 0.05,
    graph: _Graph = None,
    threads: _Threads = 1,
    as_json: _Json = False,
) -> None:
    """Recall, mean average precision, AUROC and false accepts on photos that were not enrolled."""
    from rich.markup import escape

    from pocketlens.cli.console import Console
    from pocketlens.runtime.gallery.evaluate import evaluate_gallery
    from pocketlens.tasks import LEVEL

    console = Console(as_json)
    with _opened(path, bundle, graph, threads) as (found, recognizer):
        examples = _read(console, recognizer, data)
        others = None if unseen is None else _read(console, recognizer, unseen)
    figures = evaluate_gallery(found, examples, others, rate=false_accept_rate)
    console.say(
        f"[bold]{escape(str(path))}[/]  {figures['known']} photos of its {figures['entries']} entries, "
        f"{figures['unseen']} of others; intervals at {LEVEL:.0%} confidence"
    )
    rate = f"{false_accept_rate:.0%} false accepts"
    for key, words in (
        ("recall_at_1", "recall@1"),
        ("recall_at_5", "recall@5"),
        ("map", "mean average precision"),
        ("accepted_recall_at_1", "recall@1, accepted"),
        ("false_accept_rate", "false accepts"),
        ("auroc", "AUROC"),
        ("recall_at_rate", f"recall@1 at {rate}"),
    ):
        value, interval = figures[key], figures.get(f"{key}_interval")
        spread = f"  ({interval[0]:.1%} to {interval[1]:.1%})" if interval else ""
        console.say(f"  {words:>32}  {'not measured' if value is None else f'{value:.1%}'}{spread}")
    console.finish({"gallery": str(path), "skipped": examples.skipped, **figures})


@gallery.command()
def show(
    path: Annotated[Path, typer.Argument(metavar="GALLERY", help="A .gallery file.")],
    as_json: _Json = False,
) -> None:
    """What a gallery holds."""
    from rich.markup import escape

    from pocketlens.cli.console import Console
    from pocketlens.runtime.gallery.gallery_file import open_gallery

    console, found = Console(as_json), open_gallery(path)
    rate = found.false_accept_rate
    measured = "not measured" if rate is None else f"{rate:.1%}"
    console.say(
        f"[bold]{escape(found.name)}[/]  {found.kind}, {len(found.entries)} entries, {len(found.vectors)} vectors of "
        f"{found.backbone.dimensions}, {path.stat().st_size / 1e3:.0f} kB\n"
        f"  of the bundle {escape(found.backbone.name)} ({found.backbone.fingerprint[:12]}), made by "
        f"{escape(found.created_with)} on {found.created}\n"
        f"  a match counts from cosine {found.threshold:.4g} and a lead of {found.margin:g}; false accepts: {measured}"
    )
    for entry in found.entries:
        several = f"  {entry.vectors} vectors" if entry.vectors > 1 else ""
        console.say(f"  {escape(entry.id)}  {escape(entry.label)}{several}")
    console.finish(_facts(path, found))


@gallery.command()
def add(
    path: Annotated[Path, typer.Argument(metavar="GALLERY", help="A .gallery file.")],
    folder: Annotated[Path, typer.Argument(help="One sub-folder of photos for each thing.")],
    bundle: _Bundle,
    validation: _Validation = None,
    false_accept_rate: _Rate = 0.05,
    out: _Out = None,
    graph: _Graph = None,
    threads: _Threads = 1,
    force: Annotated[bool, typer.Option("--force", help="Write over an existing --out.")] = False,
    as_json: _Json = False,
) -> None:
    """Enrol more things, or more photos of a thing."""
    from pocketlens.cli.console import Console
    from pocketlens.runtime.gallery.build import set_by_validation
    from pocketlens.runtime.gallery.edit import add as enrol

    console = Console(as_json)
    with _opened(path, bundle, graph, threads) as (found, recognizer):
        examples = _read(console, recognizer, folder)
        held_out = None if validation is None else _read(console, recognizer, validation)
        names = _labels(recognizer)
    made = enrol(found, examples, names)
    if held_out is not None:
        made, point = set_by_validation(made, held_out, false_accept_rate)
        console.say(f"  {point.sentence()}")
    _replace(console, path, out, made, force)


@gallery.command()
def remove(
    path: Annotated[Path, typer.Argument(metavar="GALLERY", help="A .gallery file.")],
    entries: Annotated[list[str], typer.Argument(help="Ids of entries, as `show` lists them.")],
    out: _Out = None,
    force: Annotated[bool, typer.Option("--force", help="Write over an existing --out.")] = False,
    as_json: _Json = False,
) -> None:
    """Forget entries."""
    from pocketlens.cli.console import Console
    from pocketlens.runtime.gallery.edit import remove as forget
    from pocketlens.runtime.gallery.gallery_file import open_gallery

    _replace(Console(as_json), path, out, forget(open_gallery(path), entries), force)


@contextmanager
def _opened(path: Path, bundle: Path, graph: str | None, threads: int) -> "Iterator[tuple[Gallery, Recognizer]]":
    """A gallery and the bundle that it belongs to."""
    from pocketlens.runtime.gallery.gallery_file import open_gallery
    from pocketlens.runtime.recognizer import Recognizer

    found = open_gallery(path)
    with Recognizer.open(bundle, graph=graph, threads=threads) as recognizer:
        found.require_backbone(recognizer.fingerprint, recognizer.spec.name)
        yield found, recognizer


def _read(
    console: "Console", recognizer: "Recognizer", folder: Path, per_class: int | None = None, seed: int = 0
) -> "Examples":
    """Embed a folder; what cannot be used is named."""
    from rich.markup import escape

    from pocketlens.runtime.gallery.examples import read_examples

    found = read_examples(recognizer, folder, per_class=per_class, seed=seed, progress=console.progress)
    for name, reason in found.skipped.items():
        console.say(f"  [yellow]![/] {escape(f'{folder / name}: {reason}')}")
    return found


def _labels(recognizer: "Recognizer") -> dict[str, str]:
    """Readable names that the bundle has for its own classes, which folders may be called by."""
    spec = recognizer.spec
    return {name: spec.label(index) for index, name in enumerate(spec.class_ids)}


def _facts(path: Path, found: "Gallery") -> dict[str, Any]:
    """What every verb's JSON says of a gallery."""
    return {
        "gallery": str(path),
        "size_bytes": path.stat().st_size,
        "name": found.name,
        "kind": found.kind,
        "backbone": asdict(found.backbone),
        "threshold": found.threshold,
        "margin": found.margin,
        "false_accept_rate": found.false_accept_rate,
        "created": found.created,
        "created_with": found.created_with,
        "vectors": len(found.vectors),
        "entries": [asdict(entry) for entry in found.entries],
    }


def _replace(console: "Console", path: Path, out: Path | None, made: "Gallery", force: bool) -> None:
    """Write an edited gallery, over itself unless another place was named."""
    from rich.markup import escape

    from pocketlens.runtime.gallery.gallery_file import write_gallery

    place = out or path
    write_gallery(place, made, force=force or out is None)
    console.say(f"[bold]{escape(str(place))}[/]  {len(made.entries)} entries, {len(made.vectors)} vectors")
    if made.false_accept_rate is None:
        console.say(
            "  threshold and margin are as before; what they let through now is unknown: measure it with `eval`"
        )
    console.finish(_facts(place, made))
