"""The codec "tensors": a blob of weights as records, each coded in the way that suits its tensor.

docs/bundle.md has the format byte by byte. A record reads nothing but itself and what was decoded before it, so that
a blob is rebuilt while it arrives, and in little more memory than it takes itself.
"""

import io
from enum import IntEnum
from typing import IO

import numpy as np
import zstandard
from numpy.typing import NDArray

from pocketlens.bundle.bounded import MAX_WINDOW, Content, excess
from pocketlens.errors import BundleError

MAGIC = b"PLT1"
"""Name and version of the format."""

_LATER = tuple(b"PLT%d" % version for version in range(2, 10))

MAX_RECORD = 2**20
"""No record may decode to more, so that none needs more memory beside the blob."""

MAX_ITEM = 16
"""Bytes of an item: of a number, or of a short vector of numbers."""

SKIP = 255
"""A gap in a sparse record that says: so many zeros, and no value behind them."""

_GAPS_AT_ONCE = 2**14
"""What is computed for each gap takes 9 times its memory."""


class Kind(IntEnum):
    """How a record is coded."""

    ZEROS = 0
    STORED = 1
    ZSTD = 2
    PLANES = 3
    PALETTE = 4
    SPARSE = 5
    SCALED = 6


def decode_records(source: IO[bytes], limit: int) -> bytes:
    """The blob that records hold, in memory; arguments and errors as of `decode_into`, `limit` bytes at most."""
    blob = io.BytesIO()
    decode_into(source, Content(blob, limit))
    return blob.getvalue()


def decode_into(source: IO[bytes], blob: Content) -> None:
    """Decode records, one after the other as they come.

    Args:
        source: magic and records, to its end.
        blob: empty; what records hold goes there.
    Raises: BundleError when it is no such stream, is cut short or damaged, or holds more than the blob may;
        zstandard.ZstdError.
    """
    if (magic := source.read(len(MAGIC))) != MAGIC:
        if magic in _LATER:
            raise BundleError(
                f"weights are in the format {magic.decode()}, of a newer pocketlens; upgrade to read them"
            )
        raise BundleError(f"weights must begin with {MAGIC!r}, got {magic!r}")
    while head := source.read(1):
        size, length = _number(source), _number(source)
        if size > MAX_RECORD or length > 2 * MAX_RECORD or blob.length + size > blob.limit:
            raise BundleError(f"a record of {size} bytes is more than may come here; it is refused as unsafe")
        payload = source.read(length)
        if len(payload) != length:
            raise BundleError("is cut short within a record")
        content = _decode(head[0], payload, size, blob)
        if len(content) != size:
            raise BundleError(f"a record decodes to {len(content)} bytes, it says {size}")
        blob.write(content)


def _decode(kind: int, payload: bytes, size: int, blob: Content) -> bytes | memoryview:
    """One record's content."""
    match kind:
        case Kind.ZEROS if not payload:
            return bytes(size)
        case Kind.STORED:
            return payload
        case Kind.ZSTD:
            return unzstd(payload, size)
        case Kind.PLANES | Kind.PALETTE | Kind.SPARSE if payload and 0 < payload[0] <= MAX_ITEM:
            items, rest = divmod(size, payload[0])
            if rest:
                raise BundleError(f"a record of {size} bytes cannot hold items of {payload[0]}")
            undo = {Kind.PLANES: _planes, Kind.PALETTE: _palette, Kind.SPARSE: _sparse}[Kind(kind)]
            return undo(payload[1:], payload[0], items).data
        case Kind.SCALED:
            return _scaled(payload, size, blob).data
        case _:
            raise BundleError(f"a record of kind {kind} is damaged, or of a newer pocketlens")


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
    coded_gaps = stream.read(length)
    if len(coded_gaps) != length:
        raise BundleError("gaps of a record are cut short")
    gaps = np.frombuffer(unzstd(coded_gaps, items), np.uint8)
    values = np.frombuffer(unzstd(stream.read(), items * width), np.uint8)
    content = np.zeros((items, width), np.uint8)
    end = taken = 0
    for start in range(0, len(gaps), _GAPS_AT_ONCE):
        some = gaps[start : start + _GAPS_AT_ONCE]
        valued = some != SKIP
        # Each gap and its value: at most 255, as a gap of 255 has no value.
        ends = end + np.cumsum(some + valued, dtype=np.int64)
        places = ends[valued] - 1
        some_values = values[width * taken : width * (taken + len(places))]
        if len(some_values) != width * len(places) or (len(places) and int(places[-1]) >= items):
            raise BundleError("a sparse record has values that it has no room for")
        content[places] = some_values.reshape(-1, width)
        end, taken = int(ends[-1]), taken + len(places)
    if width * taken != len(values):
        raise BundleError("a sparse record has values that it has no room for")
    return content.reshape(-1)


def _scaled(payload: bytes, size: int, blob: Content) -> NDArray[np.uint8]:
    """Floats that are others of the blob times a factor, each product rounded to float32."""
    stream = io.BytesIO(payload)
    offset, rest = _number(stream), stream.read()
    if len(rest) != 4 or size % 4 or offset % 4 or offset + size > blob.length:
        raise BundleError("a record scales what is not there before it, or no whole floats")
    factor = np.frombuffer(rest, "<f4")[0]
    with np.errstate(over="ignore", invalid="ignore"):
        products = np.frombuffer(blob.read(offset, size), "<f4") * factor
    if not np.isfinite(factor) or not np.isfinite(products).all():
        raise BundleError("a record scales to what is no finite number")
    return products.astype("<f4", copy=False).view(np.uint8)


def unzstd(coded: bytes, limit: int) -> bytes:
    """Undo zstd, across frames: rubbish behind the first is an error. Raises BundleError, zstandard.ZstdError."""
    if not coded:
        raise BundleError("has nothing where zstd should be")
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
    with decompressor.stream_reader(coded, read_across_frames=True) as reader:
        # To the end of all frames, or one byte too far.
        content = reader.read(limit + 1)
    if len(content) > limit:
        raise excess(limit)
    return content


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
