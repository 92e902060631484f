"""What one reader of bundles refuses, the other does too."""

import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from tests.app.jobs import RunJobs

from pocketlens.bundle.archive import open_bundle, write_bundle
from pocketlens.bundle.confidence import Confidence
from pocketlens.bundle.manifest import GraphEntry
from pocketlens.errors import BundleError
from pocketlens.types import ModelSpec, Preprocessing

SPEC = ModelSpec(
    name="colours",
    input_shape=(3, 8, 8),
    preprocessing=Preprocessing(resize=8, crop=(8, 8), interpolation="bilinear"),
    class_ids=("c0", "c1", "c2"),
    labels=("red", "grün", "蓝"),
)

CONTENT = bytes(range(256)) * 2000


@pytest.fixture
def lens(tmp_path: Path) -> Path:
    """A bundle whose graph no runtime needs to open."""
    path = tmp_path / "whole.lens"
    write_bundle(
        path,
        spec=SPEC,
        graphs=(GraphEntry(name="float", graph="graphs/float.onnx", weights="weights.bin"),),
        preferred="float",
        recipe={"steps": [1, 2.5, None, True]},
        baseline={},
        target={"name": "Zürich"},
        members={"graphs/float.onnx": b"a graph" * 1000, "weights.bin": CONTENT},
        confidence=Confidence(temperature=0.8, unknown_below=-1.5),
    )
    return path


def _python_reads(path: Path) -> bool:
    try:
        with open_bundle(path) as bundle:
            bundle.verify()
    except BundleError:
        return False
    return True


def test_a_whole_bundle_is_read_alike(lens: Path, tmp_path: Path, run_jobs: RunJobs) -> None:
    (result,) = run_jobs(tmp_path, [{"task": "bundle", "bundle": lens.name}])
    with open_bundle(lens) as bundle:
        wanted = bundle.manifest.to_json()
    for free in ("recipe", "baseline", "target"):
        del wanted[free]
    assert result["ok"] == wanted


def _manifest(change: Callable[[Any], object]) -> Callable[[dict[str, bytes]], None]:
    def apply(entries: dict[str, bytes]) -> None:
        data = json.loads(entries["manifest.json"])
        change(data)
        entries["manifest.json"] = json.dumps(data).encode()

    return apply


def _weights(stored: bytes) -> Callable[[dict[str, bytes]], None]:
    def apply(entries: dict[str, bytes]) -> None:
        entries["weights.bin.zst"] = stored
        _manifest(lambda data: data["members"]["weights.bin"].update(stored_size=len(stored)))(entries)

    return apply


def _text(old: bytes, new: bytes) -> Callable[[dict[str, bytes]], None]:
    def apply(entries: dict[str, bytes]) -> None:
        assert old in entries["manifest.json"]
        entries["manifest.json"] = entries["manifest.json"].replace(old, new, 1)

    return apply


CHANGES: dict[str, tuple[str, Callable[[dict[str, bytes]], object]]] = {
    "newer": ("newer", _manifest(lambda data: data.update(schema_version=3))),
    "unknown field": ("corrupt", _manifest(lambda data: data.update(extra=1))),
    "no confidence": ("corrupt", _manifest(lambda data: data.pop("confidence"))),
    "schema 1 with confidence": ("corrupt", _manifest(lambda data: data.update(schema_version=1))),
    "unknown codec": ("unsupported", _manifest(lambda data: data["members"]["weights.bin"].update(codec="xz"))),
    "another hash": ("corrupt", _manifest(lambda data: data["members"]["weights.bin"].update(sha256="0" * 64))),
    "temperature 0": ("corrupt", _manifest(lambda data: data["confidence"].update(temperature=0))),
    "a key twice": ("corrupt", _text(b'"preferred"', b'"preferred":"float","preferred"')),
    "not a number": ("corrupt", _text(b"2.5", b"NaN")),
    "an infinity": ("corrupt", _text(b"2.5", b"1e999")),
    "no JSON": ("corrupt", lambda entries: entries.update({"manifest.json": b"{"})),
    "a byte order mark": ("corrupt", _text(b"{", b"\xef\xbb\xbf{")),
    "no UTF-8": ("corrupt", _text(b"red", b"\xff\xfe")),
    "a member too many": ("corrupt", lambda entries: entries.update({"more": b""})),
    "a member too few": ("corrupt", lambda entries: entries.pop("weights.bin.zst")),
    "an unsafe name": ("corrupt", lambda entries: entries.update({"../more": b""})),
    "weights too long": ("corrupt", _weights(zstandard.compress(CONTENT + b"x"))),
    "weights too short": ("corrupt", _weights(zstandard.compress(CONTENT[:-1]))),
    "a bomb": ("corrupt", _weights(zstandard.compress(bytes(10**8)))),
    "other weights": ("corrupt", _weights(zstandard.compress(CONTENT[::-1]))),
    "weights and rubbish": ("corrupt", _weights(zstandard.compress(CONTENT) + b"rubbish")),
    "weights cut short": ("corrupt", _weights(zstandard.compress(CONTENT)[:-9])),
    "a window of 256 MiB": ("corrupt", _weights(bytes.fromhex("28b52ffd00900100000000"))),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_bad_bundle_is_refused_by_both(name: str, lens: Path, tmp_path: Path, run_jobs: RunJobs) -> None:
    code, change = CHANGES[name]
    with zipfile.ZipFile(lens) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    change(entries)
    bad = tmp_path / "bad.lens"
    with zipfile.ZipFile(bad, "w") as archive:
        for entry, content in entries.items():
            archive.writestr(entry, content)
    assert not _python_reads(bad)
    (result,) = run_jobs(tmp_path, [{"task": "bundle", "bundle": bad.name}])
    assert result["failure"]["code"] == code, result


def test_several_frames_are_read_by_both(lens: Path, tmp_path: Path, run_jobs: RunJobs) -> None:
    with zipfile.ZipFile(lens) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    skippable = struct.pack("<II", 0x184D2A57, 5) + b"notes"
    halves = zstandard.compress(CONTENT[:1000]) + skippable + zstandard.compress(CONTENT[1000:])
    _weights(halves)(entries)
    path = tmp_path / "frames.lens"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, content in entries.items():
            archive.writestr(entry, content)
    assert _python_reads(path)
    (result,) = run_jobs(tmp_path, [{"task": "bundle", "bundle": path.name}])
    assert "ok" in result, result


def test_damaged_bytes_are_refused_by_both(lens: Path, tmp_path: Path, run_jobs: RunJobs) -> None:
    whole = lens.read_bytes()
    names = []
    # The zip's own dates and attributes tell nothing, so not every byte matters; what Python refuses the app must.
    for place in range(0, len(whole), len(whole) // 150):
        damaged = bytearray(whole)
        damaged[place] ^= 0x41
        path = tmp_path / f"{place}.lens"
        path.write_bytes(damaged)
        if not _python_reads(path):
            names.append(path.name)
    assert len(names) > 50
    results = run_jobs(tmp_path, [{"task": "bundle", "bundle": name} for name in names])
    read = [name for name, result in zip(names, results, strict=True) if "ok" in result]
    assert not read
