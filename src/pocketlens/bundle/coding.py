"""How members are coded inside a bundle, and how they are decoded without trusting what they say."""

import hashlib
import io
from typing import IO, Protocol

import zstandard

from pocketlens.bundle.manifest import Codec, Member
from pocketlens.errors import BundleError

ZSTD_LEVEL = 19

MAX_WINDOW = 2**27
"""Frames that need a larger window, and so more memory to decode, are refused. Level 19 needs 2**23."""

_CHUNK = 256 * 1024


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def codec_for(path: str) -> Codec:
    """Which codec a member gets: blobs of weights gain 10% or more from zstd over the zip's own deflate."""
    return "zstd" if path.endswith(".bin") else "none"


def encode(path: str, content: bytes) -> tuple[Member, bytes]:
    """Code a member's content; returns its entry for the manifest and the bytes for the zip."""
    codec = codec_for(path)
    coded = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(content) if codec == "zstd" else content
    sha256 = hashlib.sha256(content).hexdigest()
    return Member(size=len(content), sha256=sha256, codec=codec, stored_size=len(coded)), coded


def decode(source: IO[bytes], member: Member) -> bytes:
    """Decode and check a member.

    Args:
        source: its coded content, at most `member.stored_size` bytes.
        member: its entry in the manifest.
    Raises: BundleError when it decodes to more bytes than it says (noticed before the excess takes memory) or
        to fewer, or its hash differs; zstandard.ZstdError when it is no zstd.
    """
    if member.codec == "zstd":
        # Across frames, so that rubbish after the first frame is an error.
        decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
        with decompressor.stream_reader(source, read_across_frames=True, closefd=False) as reader:
            content = read_bounded(reader, member.size)
    else:
        content = read_bounded(source, member.size)
    if len(content) != member.size:
        raise BundleError(f"unpacks to {len(content)} bytes, its manifest says {member.size}")
    if hashlib.sha256(content).hexdigest() != member.sha256:
        raise BundleError("its SHA-256 is not the one in the manifest")
    return content


def read_bounded(source: _Readable, limit: int) -> bytes:
    """All of a stream. Raises BundleError as soon as it gives more than `limit` bytes."""
    # BytesIO.getvalue shares its buffer, so the content is held once; it grows with what really comes.
    content = io.BytesIO()
    while chunk := source.read(_CHUNK):
        if content.tell() + len(chunk) > limit:
            raise BundleError(f"unpacks to more than the {limit} bytes it says; it is refused as unsafe")
        content.write(chunk)
    return content.getvalue()
