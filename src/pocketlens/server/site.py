"""Put a site together: the built app, bundles, galleries, and the catalog that lists them."""

import gzip
import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from pocketlens.errors import OutputError, UsageError
from pocketlens.server.built_app import PACKED, app_files, built_app
from pocketlens.server.catalog import Listed, catalog, list_bundle, list_gallery, list_runtimes
from pocketlens.server.headers import headers_file
from pocketlens.types import Json

CATALOG = "catalog.json"

PLACEHOLDER = "__SITE_VERSION__"
"""In the built sw.js; with the version in its place, a change of the site is a change of the service worker."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """A site on disk.

    Args:
        folder: any static HTTPS host can serve it, under any path.
        catalog: what it holds besides the app.
        size_bytes: of all its files.
        first_visit_bytes: what a first visit downloads from a host that compresses text; WebGPU's runtime is not in it.
    """

    folder: Path
    catalog: Json
    size_bytes: int
    first_visit_bytes: int


def write_site(
    out: Path,
    *,
    bundles: Sequence[Path],
    galleries: Sequence[Path] = (),
    title: str = "pocketlens",
    force: bool = False,
    app: Path | None = None,
) -> Site:
    """Write a site whole or not at all: it is built beside `out`, then takes its place.

    Args:
        out: the folder to make; an empty one may be there.
        bundles: at least one.
        galleries: each of one of the bundles, by its fingerprint.
        title: the app shows it.
        force: replace a site that is there; nothing else is ever replaced.
        app: the built app; None means the one that pocketlens carries.
    Raises: OutputError when `out` cannot be written or the app is not built, BundleError for a bundle or gallery that
        is damaged, UsageError when they do not fit together.
    """
    if not bundles:
        raise UsageError("a site needs at least one bundle; name one, or use --demo")
    if not title.strip() or not title.isprintable():
        raise UsageError(f"--title must be one line of text, got {title!r}")
    check_out(out, force)
    built = built_app() if app is None else built_app(app)
    models = [list_bundle(path) for path in bundles]
    collections = [list_gallery(path) for path in galleries]
    runtimes = list_runtimes(built)
    version = _version(built, catalog(title, "", models, collections, runtimes))
    listing = catalog(title, version, models, collections, runtimes)
    with _whole_folder(out) as part:
        _copy_app(built, part, version)
        for file in (*models, *collections):
            (part / file.path).parent.mkdir(exist_ok=True)
            shutil.copyfile(file.source, part / file.path)
        (part / CATALOG).write_text(json.dumps(listing, ensure_ascii=False, indent=2) + "\n", "utf-8")
        (part / "_headers").write_text(headers_file(), "utf-8")
        (part / ".nojekyll").touch()  # GitHub Pages would leave out files that start with an underscore
    return Site(
        folder=out,
        catalog=listing,
        size_bytes=sum(path.stat().st_size for path in out.rglob("*") if path.is_file()),
        first_visit_bytes=_first_visit(out, [*models, *collections, *runtimes]),
    )


def is_site(folder: Path) -> bool:
    """Whether `write_site` made that folder."""
    return (folder / CATALOG).is_file() and (folder / "sw.js").is_file()


def check_out(out: Path, force: bool) -> None:
    """Raise OutputError unless a site may be written to `out`."""
    if not out.resolve().parent.is_dir():
        raise OutputError(f"the folder {out.parent} does not exist; make it, or name another --out")
    if not out.exists():
        return
    if not out.is_dir():
        raise OutputError(f"{out} is a file; name a folder")
    if not any(out.iterdir()):
        return
    if not is_site(out):
        raise OutputError(f"{out} holds something else than a site and is left alone; name another --out")
    if not force:
        raise OutputError(f"{out} holds a site; pass --force to replace it, or name another --out")


def _version(app: Path, listing: Json) -> str:
    """Of everything that the site holds; the date is not in it, so equal sites need no update."""
    digest = hashlib.sha256(json.dumps(listing, sort_keys=True).encode())
    for path in app_files(app):
        digest.update(f"{path.as_posix()}\n".encode() + hashlib.sha256((app / path).read_bytes()).digest())
    return digest.hexdigest()[:16]


def _copy_app(app: Path, part: Path, version: str) -> None:
    for path in app_files(app):
        (part / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(app / path, part / path)
    worker = part / "sw.js"
    script = worker.read_text("utf-8")
    if PLACEHOLDER not in script:
        raise OutputError(f"{app / 'sw.js'} has no place for the site's version; build the app again")
    worker.write_text(script.replace(PLACEHOLDER, version), "utf-8")


def _first_visit(out: Path, listed: Sequence[Listed]) -> int:
    large = {file.path: file.entry.get("provider") for file in listed}
    total = 0
    for path in app_files(out):
        name = path.as_posix()
        if name in large:
            total += 0 if large[name] == "webgpu" else (out / path).stat().st_size
        elif not name.endswith(PACKED) and not name.startswith((".", "_")):
            total += len(gzip.compress((out / path).read_bytes(), mtime=0))
    return total


@contextmanager
def _whole_folder(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its place when all went well, and goes away when anything did not."""
    out = out.resolve()
    part = out.with_name(f".{out.name}.{token_hex(4)}.part")
    old = out.with_name(f".{out.name}.{token_hex(4)}.old")
    try:
        part.mkdir()
        yield part
        if out.exists():
            out.rename(old)
        try:
            part.rename(out)
        except OSError:
            if old.exists():
                old.rename(out)
            raise
    except OSError as error:
        raise OutputError(
            f"cannot write {out}: {error.strerror or error}; free some space, or name another --out"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if out.exists():
            shutil.rmtree(old, ignore_errors=True)
