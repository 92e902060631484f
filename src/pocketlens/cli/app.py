"""pocketlens app: bundles and galleries as an installable web app."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pocketlens.cli.console import Console


def app(
    bundles: Annotated[list[Path] | None, typer.Argument(help="Bundles (.lens), the first is shown first.")] = None,
    out: Annotated[Path, typer.Option(help="The folder to write; any static HTTPS host can serve it.")] = Path("site"),
    gallery: Annotated[
        list[Path] | None, typer.Option(help="A gallery of one of the bundles; may be repeated.")
    ] = None,
    title: Annotated[str, typer.Option(help="What the app is called.")] = "pocketlens",
    demo: Annotated[
        bool, typer.Option("--demo", help="Squeeze the packaged EfficientNet-Lite0 and add it (remembered).")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a site that is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, all else on stderr.")] = False,
) -> None:
    """Write a static site: the app, which works offline from its first visit on, with these bundles and galleries."""
    from pocketlens.cli.console import Console
    from pocketlens.errors import UsageError
    from pocketlens.server.built_app import built_app
    from pocketlens.server.site import check_out, write_site

    console = Console(as_json)
    if not bundles and not demo:
        raise UsageError("name at least one bundle, or pass --demo")
    # What would fail after minutes of squeezing fails now.
    check_out(out, force)
    built_app()
    chosen = [*(bundles or []), *([_demo_bundle(console)] if demo else [])]
    site = write_site(out, bundles=chosen, galleries=gallery or [], title=title, force=force)
    for entry in (*site.catalog["models"], *site.catalog["galleries"]):
        console.say(f"  {entry['path']}  download {entry['size'] / 1e6:.2f} MB")
    console.say(
        f"site {site.folder}   a first visit downloads {site.first_visit_bytes / 1e6:.1f} MB"
        f"\nnext: pocketlens serve {site.folder}          (add --lan for phones in the same network)"
        "\nor put it on any static HTTPS host; _headers holds the headers for those that read it"
    )
    console.finish(
        {
            "site": str(site.folder),
            "version": site.catalog["version"],
            "models": site.catalog["models"],
            "galleries": site.catalog["galleries"],
            "size_bytes": site.size_bytes,
            "first_visit_bytes": site.first_visit_bytes,
        }
    )


def demo_place() -> Path:
    """Where the demo's bundle is kept: another one for each version of pocketlens, of bundles and of the recipe."""
    import hashlib
    from importlib.metadata import version

    from pocketlens import recipe
    from pocketlens.bundle.manifest import SCHEMA_VERSION
    from pocketlens.targets.cache import cache_folder

    made_by = f"{version('pocketlens')} {SCHEMA_VERSION} {recipe.to_json(recipe.read('int8'))}"
    key = hashlib.sha256(made_by.encode()).hexdigest()[:12]
    return cache_folder() / f"demo-{key}" / "efficientnet-lite0.lens"


def _demo_bundle(console: "Console") -> Path:
    """The packaged model, squeezed with the recipe int8, or as it was kept."""
    from pocketlens import recipe
    from pocketlens.bundle.archive import open_bundle
    from pocketlens.cli import inputs
    from pocketlens.errors import BundleError
    from pocketlens.squeeze.plan import SqueezePlan
    from pocketlens.squeeze.run import run
    from pocketlens.targets.cache import cache_folder

    place = demo_place()
    try:
        with open_bundle(place) as kept:
            kept.verify()
        return place
    except BundleError:
        place.parent.mkdir(parents=True, exist_ok=True)
    model = inputs.load_model("efficientnet_lite0", None, None)
    plan = SqueezePlan(
        recipe=recipe.read("int8"),
        target=inputs.load_target("onnxruntime"),
        out=place,
        force=True,
        stages=cache_folder() / "stages",
        cache=cache_folder(),
        command="pocketlens app --demo",
    )
    run(model, inputs.load_data(model, None, None, None), plan, progress=console.progress, say=console.say)
    return place
