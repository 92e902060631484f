"""The .gallery file: written whole or not at all, read as if a stranger had made it."""

import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np

from pocketlens.bundle.bounded import read_bounded
from pocketlens.bundle.parse import parse
from pocketlens.bundle.zip_rules import check_directory, naming, zip_entry
from pocketlens.errors import BundleError, ConfigError, OutputError
from pocketlens.runtime.gallery.gallery import Gallery
from pocketlens.runtime.gallery.gallery_json import from_json, to_json
from pocketlens.whole_file import whole_file

HEAD = "gallery.json"

VECTORS = "vectors.bin"

MAX_HEAD_BYTES = 16 * 1024**2

_AGAIN = "copy or build the gallery again"


def write_gallery(path: Path, gallery: Gallery, *, force: bool = False) -> int:
    """Write a gallery under a temporary name beside `path`, then rename it: `path` is whole or untouched.

    Equal galleries give equal bytes.

    Args:
        path: where to; its folder must exist.
        gallery: what to write.
        force: write over an existing file.
    Returns: bytes of the file.
    Raises: OutputError when it exists and `force` is not set, or cannot be written; BundleError when it holds what
        a reader would refuse.
    """
    if path.is_dir():
        raise OutputError(f"{path} is a folder; choose the name of a file in it")
    if path.exists() and not force:
        raise OutputError(f"{path} exists; pass --force to write over it, or choose another name")
    vectors = np.ascontiguousarray(gallery.vectors).tobytes()
    head = to_json(gallery, hashlib.sha256(vectors).hexdigest())
    payload = json.dumps(head, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    with naming(f"cannot write {path}"):
        if len(payload) > MAX_HEAD_BYTES:
            raise BundleError(f"{HEAD} takes {len(payload)} bytes, at most {MAX_HEAD_BYTES} are allowed; split it")
        from_json(parse(payload))
    with whole_file(path) as part, zipfile.ZipFile(part, "w") as archive:
        for name, content in ((HEAD, payload), (VECTORS, vectors)):
            archive.writestr(zip_entry(name, zipfile.ZIP_DEFLATED), content, compresslevel=6)
    return path.stat().st_size


def open_gallery(path: Path) -> Gallery:
    """Read a .gallery file and check all of it.

    Raises: BundleError naming the file and what is wrong.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise BundleError(f"{path}: expected a .gallery file, but it {what}; check the path")
    with naming(path, _AGAIN), zipfile.ZipFile(path) as archive:
        return _read(archive)


def _read(archive: zipfile.ZipFile) -> Gallery:
    check_directory(archive, HEAD, MAX_HEAD_BYTES, "a .gallery file")
    names = sorted(archive.namelist())
    if names != [HEAD, VECTORS]:
        raise BundleError(f"expected the members {HEAD} and {VECTORS}, got {', '.join(names)[:200]}")
    with naming(HEAD), archive.open(HEAD) as source:
        head = from_json(parse(read_bounded(source, MAX_HEAD_BYTES)))
    size = head.shape[0] * head.shape[1]
    if (found := archive.getinfo(VECTORS).file_size) != size:
        raise BundleError(f"{VECTORS} unpacks to {found} bytes, the entries need {size}")
    with naming(VECTORS), archive.open(VECTORS) as source:
        content = read_bounded(source, size)
        if hashlib.sha256(content).hexdigest() != head.vectors_sha256:
            raise BundleError(f"its SHA-256 is not the one in {HEAD}")
    try:
        return head.with_vectors(vectors=np.frombuffer(content, np.int8).reshape(head.shape))
    except ConfigError as error:
        raise BundleError(str(error)) from error
