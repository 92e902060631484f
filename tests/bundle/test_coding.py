import hashlib
import io
import tracemalloc
import zlib
from dataclasses import replace

import pytest
import zstandard

from pocketlens.bundle.bounded import read_bounded
from pocketlens.bundle.coding import decode, encode
from pocketlens.bundle.manifest import Member
from pocketlens.errors import BundleError

CONTENT = bytes(range(256)) * 40


def member(content: bytes, coded: bytes) -> Member:
    return Member(size=len(content), sha256=hashlib.sha256(content).hexdigest(), codec="zstd", stored_size=len(coded))


def test_blobs_get_zstd_and_graphs_the_smaller_of_it_and_of_the_zips_deflate() -> None:
    entry, coded = encode("weights.bin", CONTENT)
    assert (entry.codec, entry.size, entry.stored_size) == ("zstd", 10240, len(coded))
    assert len(coded) < 400
    assert zstandard.decompress(coded) == CONTENT
    assert entry.stored_name("weights.bin") == "weights.bin.zst"
    entry, coded = encode("graphs/int8.onnx", CONTENT)
    assert (entry.codec, entry.stored_name("graphs/int8.onnx")) == ("zstd", "graphs/int8.onnx.zst")
    assert len(coded) < len(zlib.compress(CONTENT, 9))
    entry, coded = encode("graphs/int8.onnx", b"little")
    assert (entry.codec, coded, entry.stored_name("graphs/int8.onnx")) == ("none", b"little", "graphs/int8.onnx")


@pytest.mark.parametrize("name", ["weights.bin", "graph.onnx"])
@pytest.mark.parametrize("content", [b"", b"x", CONTENT, bytes(1_000_000)], ids=["empty", "one", "some", "long"])
def test_round_trip(name: str, content: bytes) -> None:
    entry, coded = encode(name, content)
    assert decode(io.BytesIO(coded), entry) == content


@pytest.mark.parametrize("name", ["weights.bin", "graph.onnx"])
def test_other_content_of_the_same_size_is_refused(name: str) -> None:
    entry, _ = encode(name, CONTENT)
    _, coded = encode(name, CONTENT[::-1])
    with pytest.raises(BundleError, match="SHA-256"):
        decode(io.BytesIO(coded), entry)


def test_fewer_bytes_than_stated_are_refused() -> None:
    entry, coded = encode("weights.bin", CONTENT)
    with pytest.raises(BundleError, match="unpacks to 10240 bytes, its manifest says 10241"):
        decode(io.BytesIO(coded), replace(entry, size=10241))


def test_a_bomb_is_refused_before_it_takes_memory() -> None:
    coded = zstandard.ZstdCompressor(level=19).compress(bytes(300_000_000))
    assert len(coded) < 30_000
    bomb = replace(member(b"", coded), size=1000)
    tracemalloc.start()
    try:
        with pytest.raises(BundleError, match="more than the 1000 bytes it says"):
            decode(io.BytesIO(coded), bomb)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_a_bomb_that_states_a_huge_size_takes_no_memory_either() -> None:
    # The frame and the manifest both promise 2 GB, and nothing of the kind follows.
    entry, coded = encode("weights.bin", b"little")
    tracemalloc.start()
    try:
        with pytest.raises(BundleError, match="unpacks to 6 bytes"):
            decode(io.BytesIO(coded), replace(entry, size=2 * 1024**3))
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_a_frame_that_needs_a_huge_window_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=28)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    coded = compressor.compress(CONTENT) + compressor.flush()
    with pytest.raises(zstandard.ZstdError):
        decode(io.BytesIO(coded), member(CONTENT, coded))


def test_rubbish_after_the_frame_is_refused() -> None:
    coded = zstandard.compress(CONTENT) + b"rubbish after the end"
    with pytest.raises(zstandard.ZstdError):
        decode(io.BytesIO(coded), member(CONTENT, coded))


def test_read_bounded_takes_exactly_its_limit() -> None:
    assert read_bounded(io.BytesIO(b"12345"), 5) == b"12345"
    with pytest.raises(BundleError, match="more than the 4 bytes"):
        read_bounded(io.BytesIO(b"12345"), 4)
