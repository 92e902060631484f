"""The codec "tensors": a blob of weights as records, each coded in the way that suits its tensor.

docs/bundle.md has the format byte by byte. Records are small and stand alone, so that a blob is rebuilt while it
arrives, and in little more memory than it takes itself.
"""

import io
from enum import IntEnum
from typing import IO

import numpy as np
import zstandard
from numpy.typing import NDArray

from pocketlens.bundle.bounded import MAX_WINDOW, read_bounded
from pocketlens.errors import BundleError

MAGIC = b"PLT1"
"""Name and version of the format."""

MAX_RECORD = 2**20
"""No record may decode to more, so that none needs more memory beside the blob."""

MAX_ITEM = 16
"""Bytes of an item: of a number, or of a short vector of numbers."""

SKIP = 255
"""A gap in a sparse record that says: so many zeros, and no value behind them."""


class Kind(IntEnum):
    """How a record is coded."""

    ZEROS = 0
    STORED = 1
    ZSTD = 2
    PLANES = 3
    PALETTE = 4
    SPARSE = 5


def decode_records(source: IO[bytes], limit: int) -> bytes:
    """The blob that records hold.

    Args:
        source: magic and records, to its end.
        limit: bytes that the blob may have.
    Raises: BundleError when it is no such stream, is cut short or damaged, or holds more; zstandard.ZstdError.
    """
    if (magic := source.read(len(MAGIC))) != MAGIC:
        raise BundleError(f"weights must begin with {MAGIC!r}, got {magic!r}; a newer pocketlens may read them")
    # BytesIO.getvalue shares its buffer, so the blob is held once; it grows with what really comes.
    blob = io.BytesIO()
    while head := source.read(1):
        size, length = _number(source), _number(source)
        if size > MAX_RECORD or length > 2 * MAX_RECORD or blob.tell() + size > limit:
            raise BundleError(f"a record of {size} bytes is more than may come here; it is refused as unsafe")
        payload = source.read(length)
        if len(payload) != length:
            raise BundleError("is cut short within a record")
        blob.write(_decode(head[0], payload, size))
    return blob.getvalue()


def _decode(kind: int, payload: bytes, size: int) -> bytes | memoryview:
    """One record's content."""
    match kind:
        case Kind.ZEROS if not payload:
            content: bytes | memoryview = bytes(size)
        case Kind.STORED:
            content = payload
        case Kind.ZSTD:
            content = unzstd(payload, size)
        case Kind.PLANES | Kind.PALETTE | Kind.SPARSE if payload and 0 < payload[0] <= MAX_ITEM:
            items, rest = divmod(size, payload[0])
            if rest:
                raise BundleError(f"a record of {size} bytes cannot hold items of {payload[0]}")
            undo = {Kind.PLANES: _planes, Kind.PALETTE: _palette, Kind.SPARSE: _sparse}[Kind(kind)]
            content = undo(payload[1:], payload[0], items).data.cast("B")
        case _:
            raise BundleError(f"a record of kind {kind} is damaged, or of a newer pocketlens")
    if len(content) != size:
        raise BundleError(f"a record decodes to {len(content)} bytes, it says {size}")
    return content


def _planes(coded: bytes, width: int, items: int) -> NDArray[np.uint8]:
    """Items whose first bytes come first, then their second bytes ..."""
    planes = np.frombuffer(unzstd(coded, items * width), np.uint8)
    if len(planes) != items * width:
        raise BundleError("planes of a record are cut short")
    return np.ascontiguousarray(planes.reshape(width, items).T).reshape(-1)


def _palette(coded: bytes, width: int, items: int) -> NDArray[np.uint8]:
    """Items by their index in a codebook."""
    entries = coded[0] + 1 if coded else 0
    end = 1 + entries * width
    book = np.frombuffer(coded[1:end], np.uint8)
    indices = np.frombuffer(unzstd(coded[end:], items), np.uint8)
    if len(book) != entries * width or len(indices) != items or (items and int(indices.max()) >= entries):
        raise BundleError("a record names an entry that its codebook lacks")
    return book.reshape(entries, width)[indices].reshape(-1)


def _sparse(coded: bytes, width: int, items: int) -> NDArray[np.uint8]:
    """Values that are not zero, and how many zeros stand before each."""
    stream = io.BytesIO(coded)
    length = _number(stream)
    gaps = np.frombuffer(unzstd(stream.read(length), items), np.uint8)
    values = np.frombuffer(unzstd(stream.read(), items * width), np.uint8)
    ends = np.cumsum(np.where(gaps == SKIP, SKIP, gaps.astype(np.int64) + 1))
    places = ends[gaps != SKIP] - 1
    if len(values) != len(places) * width or (len(places) and int(places[-1]) >= items):
        raise BundleError("a sparse record has values that it has no room for")
    content = np.zeros((items, width), np.uint8)
    content[places] = values.reshape(-1, width)
    return content.reshape(-1)


def unzstd(coded: bytes, limit: int) -> bytes:
    """Undo zstd, across frames, so that rubbish behind the first is an error. Raises as `read_bounded` does."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
    with decompressor.stream_reader(io.BytesIO(coded), read_across_frames=True) as reader:
        return read_bounded(reader, limit)


def number(value: int) -> bytes:
    """A whole number as LEB128: 7 bits a byte, the low ones first, the top bit set in all but the last."""
    coded = bytearray()
    while value > 127:
        coded.append(value & 127 | 128)
        value >>= 7
    coded.append(value)
    return bytes(coded)


def _number(source: IO[bytes]) -> int:
    value = 0
    for shift in range(0, 35, 7):
        byte = source.read(1)
        if not byte:
            raise BundleError("is cut short within a number")
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value
    raise BundleError("holds a number of more than 35 bits")
