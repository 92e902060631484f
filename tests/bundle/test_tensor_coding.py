import io

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pocketlens.bundle.records import Kind, decode_records
from pocketlens.bundle.tensor_coding import Span, encode_records, smallest
from pocketlens.errors import ConfigError

RNG = np.random.default_rng(0)


def decoded(coded: bytes, size: int) -> bytes:
    return decode_records(io.BytesIO(coded), size)


@pytest.mark.parametrize(
    ("kind", "content", "item"),
    [
        (Kind.ZEROS, bytes(1000), 1),
        (Kind.STORED, RNG.bytes(1000), 1),
        (Kind.ZSTD, b"weights " * 200, 1),
        (Kind.PLANES, RNG.normal(1, 0.01, 4000).astype("<f4").tobytes(), 4),
        (Kind.PALETTE, np.frombuffer(RNG.bytes(256), "<u4")[RNG.integers(0, 64, 5000)].tobytes(), 4),
        (Kind.SPARSE, ((RNG.random(20_000) < 0.02) * RNG.integers(1, 255, 20_000)).astype(np.uint8).tobytes(), 1),
    ],
    ids=lambda value: value.name if isinstance(value, Kind) else "",
)
def test_each_kind_wins_where_it_suits(kind: Kind, content: bytes, item: int) -> None:
    chosen, payload = smallest(content, item)
    assert chosen is kind
    assert len(payload) <= len(content)
    assert decoded(encode_records(content, [Span(0, len(content), item)]), len(content)) == content


def test_single_tensors_are_smaller_than_one_stream() -> None:
    parts = [
        RNG.normal(0, 20, 30_000).round().clip(-127, 127).astype(np.int8).tobytes(),
        RNG.normal(1, 0.1, 5_000).astype("<f4").tobytes(),
        RNG.normal(0, 3, 30_000).round().astype(np.int8).tobytes(),
    ]
    blob = b"".join(parts)
    spans = [Span(0, 30_000), Span(30_000, 20_000, 4), Span(50_000, 30_000)]
    coded = encode_records(blob, spans)
    assert len(coded) < len(zstandard.ZstdCompressor(level=19).compress(blob))
    assert decoded(coded, len(blob)) == blob


def test_padding_costs_next_to_nothing() -> None:
    blob = b"\x01\x02\x03".ljust(64, b"\0") * 30
    spans = [Span(64 * i, 3) for i in range(30)]
    assert len(encode_records(blob, spans)) < 60
    assert decoded(encode_records(blob, spans), len(blob)) == blob


@given(st.binary(max_size=400), st.lists(st.tuples(st.integers(0, 40), st.integers(1, 60), st.integers(1, 16))))
def test_any_blob_and_any_spans_come_back(blob: bytes, asked: list[tuple[int, int, int]]) -> None:
    spans, end = [], 0
    for gap, length, item in asked:
        if end + gap + length > len(blob):
            break
        spans.append(Span(end + gap, length, item))
        end += gap + length
    assert decoded(encode_records(blob, spans), len(blob)) == blob


@pytest.mark.parametrize(
    "spans",
    [[Span(0, 8), Span(4, 8)], [Span(90, 20)], [Span(0, 0)], [Span(0, 8, 0)], [Span(0, 34, 17)], [Span(-1, 4)]],
    ids=["overlapping", "beyond the end", "empty", "no item", "a large item", "before the start"],
)
def test_wrong_spans_are_refused(spans: list[Span]) -> None:
    with pytest.raises(ConfigError, match="overlaps another or leaves its blob of 100 bytes"):
        encode_records(bytes(100), spans)
