"""Coding a blob of weights as records: each tensor in the way that makes it smallest."""

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import zstandard
from numpy.typing import NDArray

from pocketlens.bundle.records import MAGIC, MAX_ITEM, MAX_RECORD, SKIP, Kind, number
from pocketlens.bundle.scaled import find_scaled
from pocketlens.errors import ConfigError

ZSTD_LEVEL = 19

SMALL = 8192
"""Neighbours below this share a record: a record of their own would cost more than it saves."""

_SMALLEST_RECORD = 2**14

_PADDING = 64
"""Gaps below this are taken for padding."""


@dataclass(frozen=True, order=True)
class Span:
    """Where a tensor lies in a blob.

    Args:
        offset: of its first byte.
        length: in bytes.
        item: bytes of one number, or of the short vector that numbers were clustered by.
    """

    offset: int
    length: int
    item: int = 1

    @property
    def end(self) -> int:
        """The offset behind it."""
        return self.offset + self.length


def encode_records(blob: bytes, spans: Sequence[Span] = ()) -> bytes:
    """The blob as records; `records.decode_records` gives it back bit for bit.

    Args:
        blob: all weights.
        spans: its tensors, in any order and not overlapping; what none covers is coded as single bytes.
    Raises: ConfigError when spans overlap or leave the blob.
    """
    # What a record needs while it is decoded stays small beside the blob.
    largest = min(max(len(blob) // 32, _SMALLEST_RECORD), MAX_RECORD)
    whole = list(_complete(len(blob), spans))
    scaled = find_scaled(blob, [(span.offset, span.length) for span in whole if span.item == 4])
    coded = bytearray(MAGIC)
    for span in _joined(whole, scaled):
        follows = scaled.get(span.offset)
        for piece in _pieces(span, largest):
            if follows is None:
                kind, payload = smallest(blob[piece.offset : piece.end], piece.item)
            else:
                source = follows.source + piece.offset - span.offset
                kind, payload = Kind.SCALED, number(source) + follows.factor.astype("<f4").tobytes()
            coded += bytes([kind]) + number(piece.length) + number(len(payload)) + payload
    return bytes(coded)


def smallest(content: bytes, item: int) -> tuple[Kind, bytes]:
    """The kind that codes one piece in the fewest bytes, and its payload."""
    if not any(content):
        return Kind.ZEROS, b""
    ways = {Kind.STORED: content, Kind.ZSTD: _zstd(content)}
    if len(content) % item == 0:
        items = np.frombuffer(content, np.uint8).reshape(-1, item)
        if item > 1:
            ways[Kind.PLANES] = bytes([item]) + _zstd(items.T.tobytes())
        ways |= {kind: bytes([item]) + coded for kind, coded in _palette(items) + _sparse(items)}
    kind = min(ways, key=lambda k: (len(ways[k]), k))
    return kind, ways[kind]


def _palette(items: NDArray[np.uint8]) -> list[tuple[Kind, bytes]]:
    """Indices into the distinct items, where these are few. Of single bytes zstd makes as much without a codebook."""
    if items.shape[1] == 1:
        return []
    whole = items.view(np.dtype((np.void, items.shape[1]))).reshape(-1)
    book, indices = np.unique(whole, return_inverse=True)
    if len(book) > 256:
        return []
    coded = bytes([len(book) - 1]) + book.tobytes() + _zstd(indices.astype(np.uint8).tobytes())
    return [(Kind.PALETTE, coded)]


def _sparse(items: NDArray[np.uint8]) -> list[tuple[Kind, bytes]]:
    """Values and gaps, where at least half of the items are zero."""
    places = np.flatnonzero(items.any(1))
    if 2 * len(places) > len(items):
        return []
    before = np.diff(places, prepend=-1) - 1
    skips = before // SKIP
    gaps = np.full(len(places) + int(skips.sum()), SKIP, np.uint8)
    gaps[np.arange(len(places)) + np.cumsum(skips)] = before % SKIP
    coded = _zstd(gaps.tobytes())
    return [(Kind.SPARSE, number(len(coded)) + coded + _zstd(items[places].tobytes()))]


def _complete(size: int, spans: Sequence[Span]) -> Iterator[Span]:
    """Spans in order, and what lies between them, which goes with the one before it where it is padding."""
    end = 0
    held: Span | None = None
    for span in sorted(spans):
        if not (span.offset >= end and span.length > 0 and span.end <= size and 0 < span.item <= MAX_ITEM):
            raise ConfigError(f"{span} overlaps another or leaves its blob of {size} bytes")
        yield from _between(held, end, span.offset)
        held, end = span, span.end
    yield from _between(held, end, size)


def _between(before: Span | None, start: int, end: int) -> Iterator[Span]:
    """The span before a gap, and the gap."""
    if before is not None and before.length < SMALL and end - start < _PADDING:
        yield Span(before.offset, end - before.offset, before.item)
        return
    if before is not None:
        yield before
    if start < end:
        yield Span(start, end - start)


def _joined(spans: Sequence[Span], apart: Container[int]) -> Iterator[Span]:
    """Small neighbours of equal items as one, but for those that begin at the offsets `apart`."""
    held: Span | None = None
    for span in spans:
        alone = held is None or held.offset in apart or span.offset in apart
        if held is not None and not alone and max(span.length, held.length) < SMALL and span.item == held.item:
            held = Span(held.offset, span.end - held.offset, held.item)
            continue
        if held is not None:
            yield held
        held = span
    if held is not None:
        yield held


def _pieces(span: Span, largest: int) -> Iterator[Span]:
    """A span cut into records, at whole items."""
    step = largest - largest % span.item
    for offset in range(span.offset, span.end, step):
        yield Span(offset, min(step, span.end - offset), span.item)


def _zstd(content: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_content_size=False).compress(content)
