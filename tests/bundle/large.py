"""A bundle large enough to measure memory with: 64 MiB of weights in the largest records there may be, of all kinds."""

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import zstandard
from tests.bundle.conftest import MEMBERS, edit_manifest, pack

from pocketlens.bundle.records import MAGIC, Kind, decode_records, number

RECORD = 2**20
SIZE = 64 * RECORD

INDICES = bytes(byte & 63 for byte in range(256))


def zstd(content: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=False).compress(content)


def record(kind: Kind, payload: bytes) -> bytes:
    return bytes([kind]) + number(RECORD) + number(len(payload)) + payload


def records() -> list[bytes]:
    """One of each kind, of weights as networks have them."""
    draw = np.random.default_rng(0)
    integers = draw.normal(0, 20, RECORD).round().astype(np.int8).tobytes()
    floats = draw.normal(0, 0.1, RECORD // 4).astype("<f4")
    planes = floats.view(np.uint8).reshape(-1, 4).T.tobytes()
    gaps = zstd((draw.geometric(0.46, 460_000).clip(max=200) - 1).astype(np.uint8).tobytes())
    values = draw.integers(1, 9, 460_000).astype(np.uint8).tobytes()
    return [
        record(Kind.ZSTD, zstd(integers)),
        record(Kind.PLANES, b"\x04" + zstd(planes)),
        record(Kind.PALETTE, b"\x04\x3f" + floats[:64].tobytes() + zstd(draw.bytes(RECORD // 4).translate(INDICES))),
        record(Kind.SPARSE, b"\x01" + number(len(gaps)) + gaps + zstd(values)),
        record(Kind.SCALED, number(RECORD) + np.float32(0.7).tobytes()),
        record(Kind.STORED, integers),
        record(Kind.ZEROS, b""),
        record(Kind.ZSTD, zstd(integers)),
    ]


def large_stream() -> bytes:
    """The weights as records."""
    return MAGIC + b"".join(records()) * 8


def write_large(folder: Path) -> Path:
    """Write it into an empty folder."""
    coded = large_stream()
    blob = decode_records(io.BytesIO(coded), SIZE)
    assert len(blob) == SIZE
    contents = {path: content for path, content in MEMBERS.items() if isinstance(content, bytes)}
    digests = {
        path: hashlib.sha256(content).hexdigest() for path, content in (contents | {"weights.bin": blob}).items()
    }
    listing = "".join(f"{digest}  {path}\n" for path, digest in sorted(digests.items()))

    def change(manifest: dict) -> None:
        manifest["fingerprint"] = hashlib.sha256(listing.encode()).hexdigest()
        manifest["members"]["weights.bin"] = {
            "size": SIZE,
            "sha256": digests["weights.bin"],
            "codec": "tensors",
            "stored_size": len(coded),
        }

    pack(folder / "small.lens", whitening=None)
    with zipfile.ZipFile(folder / "small.lens") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    del members["weights.bin.zst"]
    members["weights.bin.plt"] = coded
    edit_manifest(change)(members)
    with zipfile.ZipFile(folder / "large.lens", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return folder / "large.lens"
