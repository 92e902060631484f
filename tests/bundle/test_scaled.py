"""Scales of biases follow from those of weights: found, coded in a few bytes, and rebuilt to the last bit."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketlens.bundle.records import Kind, decode_records
from pocketlens.bundle.scaled import Scaled, find_scaled
from pocketlens.bundle.tensor_coding import Span, encode_records

RNG = np.random.default_rng(0)


def decoded(coded: bytes, size: int) -> bytes:
    return decode_records(io.BytesIO(coded), size)


def floats(count: int) -> np.ndarray:
    return RNG.uniform(1e-4, 1e-2, count).astype(np.float32)


def test_by_hand() -> None:
    blob = np.arange(1, 17, dtype="<f4").tobytes() + (np.arange(1, 17, dtype="<f4") / 2).tobytes()
    assert find_scaled(blob, [(0, 64), (64, 64)]) == {64: Scaled(0, np.float32(0.5))}
    coded = encode_records(blob, [Span(0, 64, 4), Span(64, 64, 4)])
    # Kind, size 64, 5 bytes of payload: offset 0 and 0.5 in little-endian.
    assert coded.endswith(bytes([Kind.SCALED, 64, 5, 0, 0, 0, 0, 0x3F]))
    assert decoded(coded, len(blob)) == blob


@given(st.floats(2.0**-20, 2.0**20, width=32), st.integers(16, 300), st.integers(0, 2**32 - 1))
def test_any_product_is_found(factor: float, count: int, seed: int) -> None:
    source = np.random.default_rng(seed).lognormal(0, 2, count).astype(np.float32)
    blob = source.tobytes() + (source * np.float32(factor)).tobytes()
    found = find_scaled(blob, [(0, 4 * count), (4 * count, 4 * count)])
    assert found[4 * count].source == 0
    assert (source * found[4 * count].factor).tobytes() == blob[4 * count :]


def test_zeros_among_the_source_stay_zeros() -> None:
    source = floats(32)
    source[[0, 7]] = 0
    blob = source.tobytes() + (source * np.float32(-3)).tobytes()
    assert find_scaled(blob, [(0, 128), (128, 128)])[128].factor == -3


@pytest.mark.parametrize(
    "second",
    [
        np.nextafter(floats(32), np.float32(1)),
        np.zeros(32, np.float32),
        np.full(32, np.nan, np.float32),
        floats(32).astype("<f4").view("<i4"),
    ],
    ids=["other floats", "zeros", "no numbers", "integers"],
)
def test_what_does_not_follow_is_coded_as_it_was(second: np.ndarray) -> None:
    blob = floats(32).tobytes() + second.tobytes()
    assert find_scaled(blob, [(0, 128), (128, 128)]) == {}
    assert decoded(encode_records(blob, [Span(0, 128, 4), Span(128, 128, 4)]), 256) == blob


def test_one_digit_off_does_not_follow() -> None:
    source = floats(100)
    other = source * np.float32(0.3)
    other[70] = np.nextafter(other[70], np.float32(1))
    assert find_scaled(source.tobytes() + other.tobytes(), [(0, 400), (400, 400)]) == {}


def test_the_source_lies_before_and_is_of_the_same_length() -> None:
    source = floats(32)
    blob = (source * np.float32(2)).tobytes() + source.tobytes() + (source[:16] * np.float32(3)).tobytes()
    assert find_scaled(blob, [(0, 128), (128, 128), (256, 64)]) == {128: Scaled(0, np.float32(0.5))}


def test_a_small_tensor_that_follows_shares_no_record() -> None:
    """Scales beside scales are joined, but not with one that costs a few bytes alone."""
    first, second = floats(100), floats(100)
    parts = [first, second, first * np.float32(0.25), second * np.float32(0.75)]
    blob = b"".join(part.tobytes() for part in parts)
    spans = [Span(400 * place, 400, 4) for place in range(4)]
    coded = encode_records(blob, spans)
    assert len(coded) < len(encode_records(blob[:800], spans[:2])) + 24
    assert decoded(coded, len(blob)) == blob


def test_a_long_tensor_that_follows_is_cut_into_records() -> None:
    source = floats(12_000)
    blob = bytes(64) + source.tobytes() + (source * np.float32(0.1)).tobytes()
    coded = encode_records(blob, [Span(64, 48_000, 4), Span(48_064, 48_000, 4)])
    assert decoded(coded, len(blob)) == blob
    assert len(coded) < 48_000


@pytest.mark.filterwarnings("error")
def test_integers_that_are_no_floats_are_looked_at_quietly() -> None:
    """-1 is a quiet NaN, 0x7F800001 a signalling one."""
    biases = np.array([-1, 0x7F800001, -5, 3] * 8, "<i4").tobytes()
    assert find_scaled(biases * 2, [(0, 128), (128, 128)]) == {}
