"""How members are coded inside a bundle, and how they are decoded without trusting what they say."""

import hashlib
import io
import zlib
from collections.abc import Sequence
from typing import IO, BinaryIO

import zstandard

from pocketlens.bundle.bounded import MAX_WINDOW, Content, copy_bounded
from pocketlens.bundle.manifest import Codec, Member
from pocketlens.bundle.records import decode_into
from pocketlens.bundle.tensor_coding import ZSTD_LEVEL, Span, encode_records
from pocketlens.errors import BundleError

_GRAPH = 2**20
"""Bytes of the largest graph without its weights; of more, zstd would take long to win little."""


def encode(path: str, content: bytes, spans: Sequence[Span] = ()) -> tuple[Member, bytes]:
    """Code a member's content; returns its entry for the manifest and the bytes for the zip.

    Args:
        path: of the member; what ends in `.bin` gets zstd, and small others where the zip's deflate would be larger.
        content: its bytes.
        spans: the tensors in it; none means that it is no blob of weights.
    """
    codec: Codec = "none"
    coded = content
    if spans:
        codec, coded = "tensors", encode_records(content, spans)
    elif path.endswith(".bin") or len(content) <= _GRAPH:
        packed = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(content)
        if path.endswith(".bin") or len(packed) < len(zlib.compress(content, 9)):
            codec, coded = "zstd", packed
    sha256 = hashlib.sha256(content).hexdigest()
    return Member(size=len(content), sha256=sha256, codec=codec, stored_size=len(coded)), coded


def decode(source: IO[bytes], member: Member) -> bytes:
    """A member, decoded and checked, in memory; arguments and errors as of `decode_to`."""
    # BytesIO.getvalue shares its buffer, so the content is held once.
    place = io.BytesIO()
    decode_to(source, member, place)
    return place.getvalue()


def decode_to(source: IO[bytes], member: Member, place: BinaryIO) -> None:
    """Decode a member as it comes, and check it.

    Args:
        source: its coded content, at most `member.stored_size` bytes.
        member: its entry in the manifest.
        place: where to: empty, to be written and read. What is there is right once this returns.
    Raises: BundleError when it decodes to more bytes than it says (noticed before the excess takes memory) or
        to fewer, or its hash differs; zstandard.ZstdError when its zstd is none; OutputError on a full disk.
    """
    content = Content(place, member.size)
    match member.codec:
        case "tensors":
            decode_into(source, content)
        case "zstd":
            # Across frames, so that rubbish after the first frame is an error.
            decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
            with decompressor.stream_reader(source, read_across_frames=True, closefd=False) as reader:
                copy_bounded(reader, content)
        case "none":
            copy_bounded(source, content)
    if content.length != member.size:
        raise BundleError(f"unpacks to {content.length} bytes, its manifest says {member.size}")
    if content.sha256() != member.sha256:
        raise BundleError("its SHA-256 is not the one in the manifest")
