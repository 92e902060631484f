"""Galleries go from Python to the app and back, and are searched alike."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from tests.app.jobs import RunJobs

from pocketlens.errors import BundleError
from pocketlens.runtime.gallery.gallery import Backbone, Entry, Gallery, codes
from pocketlens.runtime.gallery.gallery_file import open_gallery, write_gallery
from pocketlens.runtime.gallery.search import Index

DIMENSIONS = 40


@pytest.fixture
def gallery() -> Gallery:
    """30 things, known by one to three vectors each."""
    rng = np.random.default_rng(0)
    entries = tuple(Entry(id=f"thing {n}", label=f"Ding «{n}» 物", vectors=1 + n % 3) for n in range(30))
    vectors = rng.normal(0, 1, (sum(entry.vectors for entry in entries), DIMENSIONS))
    return Gallery(
        name="Dinge",
        kind="landmarks",
        backbone=Backbone(name="lite0", fingerprint="ab" * 32, dimensions=DIMENSIONS),
        entries=entries,
        vectors=codes(vectors),
        threshold=0.55,
        margin=0.03,
        false_accept_rate=0.05,
    )


@pytest.fixture
def path(gallery: Gallery, tmp_path: Path) -> Path:
    """It as a file."""
    file = tmp_path / "things.gallery"
    write_gallery(file, gallery)
    return file


def test_there_and_back(gallery: Gallery, path: Path, tmp_path: Path, run_jobs: RunJobs) -> None:
    (result,) = run_jobs(tmp_path, [{"task": "gallery", "gallery": path.name, "out": "back.gallery"}])
    assert "ok" in result, result
    back = open_gallery(tmp_path / "back.gallery")
    assert back.vectors.tolist() == gallery.vectors.tolist()
    for field in ("name", "kind", "backbone", "entries", "threshold", "margin", "false_accept_rate", "created"):
        assert getattr(back, field) == getattr(gallery, field)


@pytest.mark.parametrize("simd", [False, True])
def test_matches_are_those_of_python(
    simd: bool, gallery: Gallery, path: Path, tmp_path: Path, run_jobs: RunJobs
) -> None:
    rng = np.random.default_rng(1)
    near = gallery.vectors[rng.integers(0, len(gallery.vectors), 20)] / 127 + rng.normal(0, 0.15, (20, DIMENSIONS))
    queries = np.concatenate([near, rng.normal(0, 1, (10, DIMENSIONS)), np.zeros((1, DIMENSIONS))]).astype(np.float32)
    queries /= np.maximum(np.linalg.norm(queries, axis=1, keepdims=True), 1e-9)
    jobs = [
        {"task": "search", "gallery": path.name, "vector": query.tolist(), "count": 5, "simd": simd}
        for query in queries
    ]
    accepted = []
    for result, wanted in zip(run_jobs(tmp_path, jobs), Index(gallery).search(queries), strict=True):
        matches = result["ok"]
        assert [match["id"] for match in matches] == [match.id for match in wanted]
        assert [match["label"] for match in matches] == [match.label for match in wanted]
        assert [match["accepted"] for match in matches] == [match.accepted for match in wanted]
        # The app's query has 16 bits a number.
        np.testing.assert_allclose(
            [match["cosine"] for match in matches], [match.cosine for match in wanted], atol=1e-4
        )
        accepted.append(wanted[0].accepted)
    assert len(set(accepted)) == 2


@pytest.mark.parametrize("member", ["gallery.json", "vectors.bin"])
def test_damage_is_refused_by_both(member: str, path: Path, tmp_path: Path, run_jobs: RunJobs) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = {info.filename: bytearray(archive.read(info)) for info in archive.infolist()}
    entries[member][50] ^= 1
    with zipfile.ZipFile(tmp_path / "bad.gallery", "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, bytes(content))
    with pytest.raises(BundleError):
        open_gallery(tmp_path / "bad.gallery")
    (result,) = run_jobs(tmp_path, [{"task": "gallery", "gallery": "bad.gallery", "out": "back"}])
    assert result["failure"]["code"] == "gallery"
