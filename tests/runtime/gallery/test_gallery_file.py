import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.runtime.gallery.conftest import MakeGallery

from pocketlens.errors import BundleError, OutputError
from pocketlens.runtime.gallery.gallery_file import HEAD, VECTORS, open_gallery, write_gallery


@pytest.fixture
def path(make_gallery: MakeGallery, tmp_path: Path) -> Path:
    place = tmp_path / "colours.gallery"
    write_gallery(place, make_gallery())
    return place


def rewrite(path: Path, change: Callable[[dict[str, bytes]], None], method: int = zipfile.ZIP_DEFLATED) -> None:
    """The same zip with other members."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def with_head(**changes: Any) -> Callable[[dict[str, bytes]], None]:
    """Changes fields of gallery.json; a value of `...` removes one."""

    def change(members: dict[str, bytes]) -> None:
        head = json.loads(members[HEAD]) | changes
        members[HEAD] = json.dumps({k: v for k, v in head.items() if v is not ...}).encode()

    return change


def test_what_is_written_is_read(path: Path, make_gallery: MakeGallery) -> None:
    found, made = open_gallery(path), make_gallery()
    assert (found.vectors == made.vectors).all()
    for field in ("name", "kind", "backbone", "entries", "threshold", "margin", "false_accept_rate", "created"):
        assert getattr(found, field) == getattr(made, field)


def test_the_file_is_as_the_document_says(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == [HEAD, VECTORS]
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.read(VECTORS) == bytes([127, 0, 0, 102, 0, 76, 0, 127, 0])
        head = json.loads(archive.read(HEAD))
    assert list(head) == [
        *("schema_version", "name", "kind", "created", "created_with", "backbone", "threshold", "margin"),
        *("false_accept_rate", "entries", "vectors_sha256"),
    ]
    assert head["entries"][0] == {"id": "red", "label": "Red", "vectors": 2}


def test_equal_galleries_give_equal_files(path: Path, make_gallery: MakeGallery, tmp_path: Path) -> None:
    write_gallery(tmp_path / "again.gallery", make_gallery())
    assert (tmp_path / "again.gallery").read_bytes() == path.read_bytes()


def test_an_existing_file_needs_force(path: Path, make_gallery: MakeGallery, tmp_path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(OutputError, match="pass --force"):
        write_gallery(path, make_gallery(name="other"))
    assert path.read_bytes() == before
    write_gallery(path, make_gallery(name="other"), force=True)
    assert open_gallery(path).name == "other"
    with pytest.raises(OutputError, match="is a folder"):
        write_gallery(tmp_path, make_gallery(), force=True)
    with pytest.raises(OutputError, match="cannot write"):
        write_gallery(tmp_path / "no" / "g.gallery", make_gallery())
    assert [p.name for p in tmp_path.iterdir()] == ["colours.gallery"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_head(schema_version=2), "newer pocketlens.*upgrade"),
        (with_head(name=...), "name: expected a text, but the field is missing"),
        (with_head(extra=1), "does not know: extra"),
        (with_head(name="a\x1b[2J"), "name: expected a text without control characters"),
        (with_head(kind="people"), "products or landmarks"),
        (with_head(threshold="0.5"), "threshold: expected a finite number, got a text"),
        (with_head(threshold=7), "`threshold` is a cosine"),
        (with_head(margin=-1), "`margin`"),
        (with_head(false_accept_rate=True), "false_accept_rate"),
        (with_head(created="yesterday"), "created: expected a date"),
        (with_head(vectors_sha256="0" * 64), r"vectors\.bin: its SHA-256"),
        (with_head(entries=[]), "0 bytes|9 bytes|needs an entry"),
        (with_head(entries=[{"id": "a", "label": "a", "vectors": 10**6}]), "at most 200000|in 1..200000"),
        (with_head(entries=[{"id": "a", "label": "a", "vectors": 150_000}] * 2), "at most 200000 vectors, got 300000"),
        (
            with_head(entries=[{"id": "a", "label": "a", "vectors": 2}, {"id": "a", "label": "b", "vectors": 1}]),
            "one id",
        ),
        (with_head(entries=[{"id": "a", "label": "a", "vectors": 4}]), "9 bytes, the entries need 12"),
        (with_head(backbone={"name": "b", "fingerprint": "0" * 63, "dimensions": 3}), "fingerprint"),
        (with_head(backbone={"name": "b", "fingerprint": "0" * 64, "dimensions": 10**9}), "dimensions"),
        (lambda members: members.update({HEAD: b"{"}), "no valid JSON"),
        (lambda members: members.update({HEAD: b"[]"}), "expected an object"),
        (lambda members: members.update({HEAD: b" " * (17 * 1024**2)}), "unpacks to 17825792 bytes"),
        (lambda members: members.pop(HEAD), r"no gallery\.json"),
        (lambda members: members.pop(VECTORS), "expected the members"),
        (lambda members: members.update({"more.bin": b""}), "expected the members"),
        (lambda members: members.update({"../evil": b""}), "refused as unsafe"),
    ],
)
def test_what_a_stranger_may_send(change: Callable[[dict[str, bytes]], None], message: str, path: Path) -> None:
    rewrite(path, change)
    with pytest.raises(BundleError, match=message) as caught:
        open_gallery(path)
    assert str(caught.value).startswith(str(path))


def test_a_vector_of_zeros_is_refused(path: Path, make_gallery: MakeGallery) -> None:
    import hashlib

    zeros = bytes(9)
    rewrite(path, lambda members: members.update({VECTORS: zeros}))
    rewrite(path, with_head(vectors_sha256=hashlib.sha256(zeros).hexdigest()))
    with pytest.raises(BundleError, match="vector 0 is all zeros"):
        open_gallery(path)


def test_another_compression_is_refused(path: Path) -> None:
    rewrite(path, lambda members: None, zipfile.ZIP_LZMA)
    with pytest.raises(BundleError, match="compressed by method 14"):
        open_gallery(path)


def test_no_gallery_at_all(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="does not exist"):
        open_gallery(tmp_path / "none.gallery")
    with pytest.raises(BundleError, match="is a folder"):
        open_gallery(tmp_path)
    (tmp_path / "empty.gallery").write_bytes(b"")
    with pytest.raises(BundleError, match=r"empty\.gallery.*copy or build"):
        open_gallery(tmp_path / "empty.gallery")


def test_no_damage_gets_through(path: Path, make_gallery: MakeGallery) -> None:
    """Any byte changed or any tail lost gives the same gallery or BundleError, never another exception."""
    whole, want, rng = path.read_bytes(), make_gallery(), random.Random(0)
    for _ in range(400):
        damaged = bytearray(whole)
        if rng.random() < 0.3:
            del damaged[rng.randrange(len(damaged)) :]
        else:
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            found = open_gallery(path)
        except BundleError:
            continue
        assert np.array_equal(found.vectors, want.vectors)
        assert found.entries == want.entries
