import base64
import contextlib
import io
import json
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pocketlens.bundle.records import MAGIC, decode_records, number
from pocketlens.errors import BundleError

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())


@pytest.mark.parametrize("vector", VECTORS["good"], ids=lambda v: v["name"])
def test_vectors_are_decoded(vector: dict[str, str]) -> None:
    coded, blob = base64.b64decode(vector["coded"]), base64.b64decode(vector["blob"])
    assert decode_records(io.BytesIO(coded), VECTORS["limit"]) == blob
    assert decode_records(io.BytesIO(coded), len(blob)) == blob


@pytest.mark.parametrize("vector", VECTORS["bad"], ids=lambda v: v["name"])
def test_vectors_are_refused(vector: dict[str, str]) -> None:
    with pytest.raises((BundleError, zstandard.ZstdError)):
        decode_records(io.BytesIO(base64.b64decode(vector["coded"])), VECTORS["limit"])


@pytest.mark.parametrize("vector", VECTORS["good"][1:], ids=lambda v: v["name"])
def test_one_byte_too_many_is_refused(vector: dict[str, str]) -> None:
    coded, blob = base64.b64decode(vector["coded"]), base64.b64decode(vector["blob"])
    with pytest.raises(BundleError):
        decode_records(io.BytesIO(coded), len(blob) - 1)
    with pytest.raises((BundleError, zstandard.ZstdError)):
        decode_records(io.BytesIO(coded + b"\x00"), len(blob))


def test_a_number_of_several_bytes() -> None:
    # 300 = 2 * 128 + 44
    assert (number(0), number(127), number(128), number(300)) == (b"\x00", b"\x7f", b"\x80\x01", b"\xac\x02")


def test_an_absurd_size_is_refused_before_it_takes_memory() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(BundleError, match="refused as unsafe"):
            decode_records(io.BytesIO(MAGIC + b"\x00" + number(2**34) + b"\x00"), 2**31)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_a_blob_takes_little_more_memory_than_itself() -> None:
    size, records = 2**17, 60
    payload = zstandard.ZstdCompressor(level=3).compress(bytes(range(256)) * 512)
    coded = MAGIC + (b"\x02" + number(size) + number(len(payload)) + payload) * records
    tracemalloc.start()
    try:
        assert len(decode_records(io.BytesIO(coded), size * records)) == size * records
        assert tracemalloc.get_traced_memory()[1] < 1.15 * size * records
    finally:
        tracemalloc.stop()


def test_a_bomb_in_a_record_is_refused_before_it_takes_memory() -> None:
    # A frame of 8,192 blocks, each a zero 131,072 times: 1 GiB in 32 kB, in a record that says 1 kB.
    frame = b"\x28\xb5\x2f\xfd\x00\x38" + b"\x02\x00\x10\x00" * 8191 + b"\x03\x00\x10\x00"
    coded = MAGIC + b"\x02" + number(1000) + number(len(frame)) + frame
    tracemalloc.start()
    try:
        with pytest.raises(BundleError, match="more than the 1000 bytes it says"):
            decode_records(io.BytesIO(coded), 2**31)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_product_is_rounded_once() -> None:
    # What C makes of a double is the float32 nearest to it, of two the even one; the doubles here are exact.
    draw = np.random.default_rng(0)
    values = draw.integers(0, 2**32, 4000, np.uint32).view(np.float32)
    values = values[np.abs(values) < 1e37]
    factor = np.float32(draw.uniform(-3, 3))
    coded = MAGIC + stored(values.tobytes())
    coded += b"\x06" + number(values.nbytes) + number(5) + number(0) + factor.tobytes()
    products = np.frombuffer(decode_records(io.BytesIO(coded), 2 * values.nbytes)[values.nbytes :], "<f4")
    assert products.tobytes() == struct.pack(f"<{len(values)}f", *(float(v) * float(factor) for v in values))


def stored(content: bytes) -> bytes:
    return b"\x01" + number(len(content)) + number(len(content)) + content


@given(st.binary(max_size=300))
def test_rubbish_is_refused_or_small(rubbish: bytes) -> None:
    with contextlib.suppress(BundleError, zstandard.ZstdError):
        assert len(decode_records(io.BytesIO(MAGIC + rubbish), 1000)) <= 1000
