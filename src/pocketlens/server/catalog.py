"""`catalog.json`: what a site holds besides the app. app/src/install/catalog.ts is the reader."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from pocketlens.bundle.archive import open_bundle
from pocketlens.errors import BundleError, UsageError
from pocketlens.runtime.gallery.gallery_file import open_gallery
from pocketlens.server.built_app import PACKED, RUNTIMES
from pocketlens.types import Json

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A file and what the catalog says of it.

    Args:
        source: where it is now.
        entry: its object in the catalog; `path` is where in the site it goes.
    """

    source: Path
    entry: Json

    @property
    def path(self) -> str:
        """Relative to the site's root."""
        return self.entry["path"]


def list_bundle(source: Path) -> Listed:
    """Decode and check a whole bundle. Raises BundleError when it is damaged, from the future or no classifier."""
    with open_bundle(source) as bundle:
        bundle.verify()
        manifest = bundle.manifest
    spec = manifest.spec
    if spec.task != "classification":
        raise BundleError(f"{source}: expected a classifier, got the task {spec.task!r}; the app cannot show it yet")
    embedding = manifest.embedding
    return _listed(
        source,
        "bundles",
        name=spec.name,
        task=spec.task,
        fingerprint=manifest.fingerprint,
        classes=len(spec.class_ids),
        dimensions=embedding.dimensions if embedding else 0,
        input=list(spec.input_shape[1:]),
    )


def list_gallery(source: Path) -> Listed:
    """Check a whole gallery. Raises BundleError when it is damaged or from the future."""
    gallery = open_gallery(source)
    return _listed(
        source,
        "galleries",
        name=gallery.name,
        kind=gallery.kind,
        fingerprint=gallery.backbone.fingerprint,
        entries=len(gallery.entries),
    )


def list_runtimes(app: Path) -> list[Listed]:
    """ONNX Runtime's wasm files of the built app."""
    return [
        Listed(
            source=app / "runtime" / f"{name}{PACKED}",
            entry={
                "provider": provider,
                "path": f"runtime/{name}{PACKED}",
                "encoding": "gzip",
                "glue": f"runtime/{name}.mjs",
                **_content((app / "runtime" / f"{name}{PACKED}").read_bytes()),
            },
        )
        for provider, name in RUNTIMES.items()
    ]


def catalog(title: str, version: str, models: list[Listed], galleries: list[Listed], runtimes: list[Listed]) -> Json:
    """The catalog as JSON. Raises UsageError when its parts do not fit together."""
    _unlike(models, "fingerprint")
    _unlike(galleries, "sha256")
    known = {model.entry["fingerprint"] for model in models}
    for gallery in galleries:
        if gallery.entry["fingerprint"] not in known:
            raise UsageError(
                f"{gallery.source}: this gallery belongs to another bundle, one with the fingerprint "
                f"{gallery.entry['fingerprint'][:12]}; name that bundle too, or build the gallery again"
            )
    return {
        "schema_version": SCHEMA_VERSION,
        "title": title,
        "version": version,
        "models": [model.entry for model in models],
        "galleries": [gallery.entry for gallery in galleries],
        "runtimes": [runtime.entry for runtime in runtimes],
    }


def _listed(source: Path, folder: str, **fields: object) -> Listed:
    content = _content(source.read_bytes())
    stem = re.sub(r"[^a-z0-9]+", "-", source.stem.lower()).strip("-") or "unnamed"
    name = f"{stem}-{content['sha256'][:8]}"
    entry = {"id": name, "path": f"{folder}/{name}{source.suffix.lower()}", **content, **fields}
    return Listed(source=source, entry=entry)


def _content(content: bytes) -> Json:
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _unlike(files: list[Listed], key: str) -> None:
    """Nothing is there twice."""
    seen: dict[str, Path] = {}
    for file in files:
        first = seen.setdefault(file.entry[key], file.source)
        if first is not file.source:
            raise UsageError(f"{first} and {file.source} hold the same; name one of them")
