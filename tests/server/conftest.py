"""A small app, a small bundle, a site of both, and that site over real HTTP."""

import gzip
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from tests.bundle.conftest import pack

from pocketlens.bundle.archive import open_bundle
from pocketlens.runtime.gallery.gallery import Backbone, Entry, Gallery
from pocketlens.runtime.gallery.gallery_file import write_gallery
from pocketlens.server.built_app import PACKED, RUNTIMES
from pocketlens.server.site import write_site
from pocketlens.server.static import site_app

Get = Callable[..., tuple[int, dict[str, str], bytes]]

SCRIPT = "export const answer = 42;\n" * 100


def write_app(folder: Path) -> Path:
    """What Vite makes, in small."""
    files = {
        "index.html": b"<!doctype html><title>pocketlens</title>",
        "sw.js": b"const version = '__SITE_VERSION__';",
        "assets/index-abc12345.js": SCRIPT.encode(),
        "pocketlens.webmanifest": b'{"name": "pocketlens"}',
    }
    for name in RUNTIMES.values():
        files[f"runtime/{name}{PACKED}"] = gzip.compress(name.encode() * 50, mtime=0)
        files[f"runtime/{name}.mjs"] = b"export default 1;"
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return write_app(tmp_path / "app")


@pytest.fixture
def lens(tmp_path: Path) -> Path:
    path = tmp_path / "Tiny Model.lens"
    pack(path)
    return path


def write_gallery_of(bundle: Path, path: Path, fingerprint: str | None = None) -> Path:
    """A gallery of two things that belongs to a bundle, or to the one with that fingerprint."""
    with open_bundle(bundle) as opened:
        own = opened.manifest.fingerprint
    gallery = Gallery(
        name="Shelf",
        kind="products",
        backbone=Backbone(name="tiny", fingerprint=fingerprint or own, dimensions=4),
        entries=(Entry(id="a", label="Apple"), Entry(id="b", label="Pear")),
        vectors=np.array([[127, 0, 0, 0], [0, 127, 0, 0]], np.int8),
        threshold=0.5,
        margin=0.05,
    )
    write_gallery(path, gallery)
    return path


@pytest.fixture
def site(app: Path, lens: Path, tmp_path: Path) -> Path:
    return write_site(tmp_path / "site", bundles=[lens], app=app).folder


@pytest.fixture
def get(site: Path) -> Iterator[Get]:
    """Ask the site, served by uvicorn: status, headers (lower case), body."""
    server = uvicorn.Server(uvicorn.Config(site_app(site), port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]

    def ask(path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, body

    yield ask
    server.should_exit = True
    thread.join()
