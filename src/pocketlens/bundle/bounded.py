"""Decoding without trusting what the data say of their size."""

import hashlib
import io
from typing import BinaryIO, Protocol

from pocketlens.errors import BundleError, OutputError

MAX_WINDOW = 2**27
"""Zstd frames that need a larger window, and so more memory to decode, are refused. Level 19 needs 2**23."""

_CHUNK = 256 * 1024


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Content:
    """What a decoder gives, counted and hashed on its way to a file or to memory. It grows with what really comes.

    Args:
        place: empty, to be written and read: `io.BytesIO()`, or a file opened with "w+b".
        limit: bytes that there may be.
    """

    def __init__(self, place: BinaryIO, limit: int) -> None:
        self.limit = limit
        self.length = 0
        self._place = place
        self._digest = hashlib.sha256()

    def write(self, piece: bytes | memoryview) -> None:
        """Keep a piece, of bytes. Raises BundleError when there is more than the limit, OutputError on a full disk."""
        if self.length + len(piece) > self.limit:
            raise excess(self.limit)
        try:
            self._place.write(piece)
        except OSError as error:
            raise OutputError(f"cannot write what is unpacked: {error.strerror or error}; free some space") from error
        self._digest.update(piece)
        self.length += len(piece)

    def read(self, offset: int, length: int) -> bytes:
        """A stretch of what was written."""
        self._place.seek(offset)
        stretch = self._place.read(length)
        self._place.seek(self.length)
        return stretch

    def sha256(self) -> str:
        """Of what was written, 64 lower-case hexadecimal digits."""
        return self._digest.hexdigest()


def copy_bounded(source: _Readable, content: Content) -> None:
    """All of a stream. Raises BundleError as soon as it gives more than the content may hold."""
    while chunk := source.read(_CHUNK):
        content.write(chunk)


def read_bounded(source: _Readable, limit: int) -> bytes:
    """All of a stream. Raises BundleError as soon as it gives more than `limit` bytes."""
    # BytesIO.getvalue shares its buffer, so the content is held once; it grows with what really comes.
    content = io.BytesIO()
    while chunk := source.read(_CHUNK):
        if content.tell() + len(chunk) > limit:
            raise excess(limit)
        content.write(chunk)
    return content.getvalue()


def excess(limit: int) -> BundleError:
    """What to raise where more than `limit` bytes come."""
    return BundleError(f"unpacks to more than the {limit} bytes it says; it is refused as unsafe")
