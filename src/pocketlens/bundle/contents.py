"""Where the bytes of a bundle are: the download, part by part."""

import io
import itertools
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pocketlens.bundle.archive import Bundle
from pocketlens.bundle.manifest import MANIFEST
from pocketlens.bundle.records import MAGIC
from pocketlens.bundle.tensor_coding import Span

PADDING = "padding"
"""Of a blob: what lies between tensors."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Bytes that serve one purpose.

    Args:
        name: of the purpose.
        size_bytes: as a device holds them.
        stored_bytes: as the file holds them. A record of several tensors is divided by their lengths.
    """

    name: str
    size_bytes: int
    stored_bytes: int


def parts(path: Path, bundle: Bundle, tensors: Mapping[str, Mapping[Span, str]]) -> tuple[Part, ...]:
    """All bytes of a bundle, each counted once, the most of the download first.

    Args:
        path: of the file.
        bundle: the same, open and verified.
        tensors: a blob of weights -> its tensors and what they are. One that is not here is a part of its own.
    """
    found: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    with zipfile.ZipFile(path) as archive:
        manifest = archive.getinfo(MANIFEST)
        found[MANIFEST] = [manifest.file_size, manifest.compress_size]
        for name, member in bundle.manifest.members.items():
            entry = member.stored_name(name)
            spans = _apart(tensors.get(name, {}), member.size)
            if member.codec != "tensors" or not spans:
                found[name] = [member.size, archive.getinfo(entry).compress_size]
                continue
            for what, size, stored in _divided(list(_records(archive.read(entry))), spans):
                found[what][0] += size
                found[what][1] += stored
    rows = [
        Part(name=name, size_bytes=round(size), stored_bytes=round(stored)) for name, (size, stored) in found.items()
    ]
    rest = path.stat().st_size - sum(row.stored_bytes for row in rows)
    rows.append(Part(name="names and checksums of the zip", size_bytes=0, stored_bytes=rest))
    return tuple(sorted(rows, key=lambda row: -row.stored_bytes))


def _apart(spans: Mapping[Span, str], size: int) -> dict[Span, str]:
    """Tensors in order, without those that overlap another or leave the blob."""
    kept, end = {}, 0
    for span in sorted(spans):
        if end <= span.offset < span.end <= size:
            kept[span], end = spans[span], span.end
    return kept


@dataclass(frozen=True)
class _Record:
    """Decoded bytes from `offset` to `end`, and how many the file holds for them."""

    offset: int
    end: int
    stored: int


def _records(stream: bytes) -> Iterator[_Record]:
    """The records of a sound stream."""
    source = io.BytesIO(stream)
    source.seek(len(MAGIC))
    offset = 0
    while (start := source.tell()) < len(stream):
        source.seek(1, io.SEEK_CUR)
        size, length = _number(source), _number(source)
        source.seek(length, io.SEEK_CUR)
        yield _Record(offset, offset + size, source.tell() - start)
        offset += size


def _number(source: IO[bytes]) -> int:
    value = shift = 0
    while (byte := source.read(1)[0]) > 127:
        value |= (byte & 127) << shift
        shift += 7
    return value | byte << shift


def _divided(records: list[_Record], spans: dict[Span, str]) -> Iterator[tuple[str, float, float]]:
    """What each stretch that one record and one tensor share is, its bytes, and its share of the file's."""
    edges = sorted({edge for span in spans for edge in (span.offset, span.end)} | {r.end for r in records} | {0})
    tensors, pieces = iter(spans.items()), iter(records)
    span, what = next(tensors)
    record = next(pieces)
    for start, end in itertools.pairwise(edges):
        while record.end <= start:
            record = next(pieces)
        while span.end <= start and (following := next(tensors, None)) is not None:
            span, what = following
        inside = span.offset <= start < span.end
        length = end - start
        yield what if inside else PADDING, length, record.stored * length / (record.end - record.offset)
