"""Decoding without trusting what the data say of their size."""

import io
from typing import Protocol

from pocketlens.errors import BundleError

MAX_WINDOW = 2**27
"""Zstd frames that need a larger window, and so more memory to decode, are refused. Level 19 needs 2**23."""

_CHUNK = 256 * 1024


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def read_bounded(source: _Readable, limit: int) -> bytes:
    """All of a stream. Raises BundleError as soon as it gives more than `limit` bytes."""
    # BytesIO.getvalue shares its buffer, so the content is held once; it grows with what really comes.
    content = io.BytesIO()
    while chunk := source.read(_CHUNK):
        if content.tell() + len(chunk) > limit:
            raise BundleError(f"unpacks to more than the {limit} bytes it says; it is refused as unsafe")
        content.write(chunk)
    return content.getvalue()
