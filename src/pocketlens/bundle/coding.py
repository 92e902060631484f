"""How members are coded inside a bundle, and how they are decoded without trusting what they say."""

import hashlib
from collections.abc import Sequence
from typing import IO

import zstandard

from pocketlens.bundle.bounded import MAX_WINDOW, read_bounded
from pocketlens.bundle.manifest import Codec, Member
from pocketlens.bundle.records import decode_records
from pocketlens.bundle.tensor_coding import ZSTD_LEVEL, Span, encode_records
from pocketlens.errors import BundleError


def encode(path: str, content: bytes, spans: Sequence[Span] = ()) -> tuple[Member, bytes]:
    """Code a member's content; returns its entry for the manifest and the bytes for the zip.

    Args:
        path: of the member; what ends in `.bin` gains by a codec of its own over the zip's deflate.
        content: its bytes.
        spans: the tensors in it; none means that it is no blob of weights.
    """
    codec: Codec = "none"
    coded = content
    if spans:
        codec, coded = "tensors", encode_records(content, spans)
    elif path.endswith(".bin"):
        codec, coded = "zstd", zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(content)
    sha256 = hashlib.sha256(content).hexdigest()
    return Member(size=len(content), sha256=sha256, codec=codec, stored_size=len(coded)), coded


def decode(source: IO[bytes], member: Member) -> bytes:
    """Decode and check a member.

    Args:
        source: its coded content, at most `member.stored_size` bytes.
        member: its entry in the manifest.
    Raises: BundleError when it decodes to more bytes than it says (noticed before the excess takes memory) or
        to fewer, or its hash differs; zstandard.ZstdError when its zstd is none.
    """
    match member.codec:
        case "tensors":
            content = decode_records(source, member.size)
        case "zstd":
            # Across frames, so that rubbish after the first frame is an error.
            decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
            with decompressor.stream_reader(source, read_across_frames=True, closefd=False) as reader:
                content = read_bounded(reader, member.size)
        case "none":
            content = read_bounded(source, member.size)
    if len(content) != member.size:
        raise BundleError(f"unpacks to {len(content)} bytes, its manifest says {member.size}")
    if hashlib.sha256(content).hexdigest() != member.sha256:
        raise BundleError("its SHA-256 is not the one in the manifest")
    return content
