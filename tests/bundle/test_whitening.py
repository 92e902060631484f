import numpy as np
import pytest

from pocketlens.bundle.coding import encode
from pocketlens.bundle.whitening import MAX_DIMENSIONS, Whitening, member_bytes
from pocketlens.errors import BundleError, ConfigError

BY_HAND = Whitening(
    mean=np.array([1.0, 2.0], np.float32),
    scale=np.array([0.5, 0.25], np.float32),
    codes=np.array([[2, 0], [0, -12]], np.int8),
)


def test_vectors_by_hand() -> None:
    # (5, 3) - (1, 2) = (4, 1); rows (1, 0) and (0, -3): (4, -3), of length 5.
    vectors = BY_HAND.apply(np.array([[5.0, 3.0], [1.0, 2.0]], np.float32))
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, [[0.8, -0.6], [0.0, 0.0]], atol=1e-7)


def test_the_bytes_are_what_the_document_says() -> None:
    content = BY_HAND.to_bytes()
    assert content == np.array([1, 2, 0.5, 0.25], "<f4").tobytes() + bytes([2, 0, 0, 256 - 12])
    assert len(content) == member_bytes(2, 2) == BY_HAND.features * 4 + BY_HAND.dimensions * 4 + 4
    again = Whitening.from_bytes(content, features=2, dimensions=2)
    for name in ("mean", "scale", "codes"):
        assert np.array_equal(getattr(again, name), getattr(BY_HAND, name))


def test_coding_by_hand() -> None:
    # Root mean square sqrt((9 + 9 + 81 + 9) / 4) = sqrt(27), a third of that is sqrt(3); 9 / sqrt(3) is 5.196.
    coded = Whitening.of_rows(np.array([1 + 2**-8, 1 - 2**-12]), np.array([[3.0, -3.0], [9.0, 3.0]]))
    np.testing.assert_allclose(coded.scale, [3**0.5] * 2, rtol=1e-6)
    assert coded.codes.tolist() == [[2, -2], [5, 2]]
    # Between 1 and 2 a bfloat16 has steps of 2^-7.
    assert coded.mean.tolist() == [1 + 2**-7, 1.0]


def test_one_large_number_is_not_cut_off() -> None:
    coded = Whitening.of_rows(np.zeros(10_000), np.eye(1, 10_000) * 12.7)
    assert coded.codes[0, 0] == 127
    np.testing.assert_allclose(coded.scale, [0.1], rtol=1e-6)


def test_coding_turns_vectors_little_and_packs_into_half() -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((64, 200)) * rng.uniform(0.01, 10, (64, 1))
    mean, features = rng.standard_normal(200), rng.standard_normal((50, 200)).astype(np.float32)
    exact = (features - mean) @ rows.T
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    whitening = Whitening.of_rows(mean, rows)
    cosines = (whitening.apply(features) * exact).sum(axis=1)
    assert cosines.min() > 0.99
    member, _ = encode("whitening.bin", whitening.to_bytes(), whitening.spans())
    assert member.codec == "tensors"
    assert member.stored_size < 0.55 * rows.size


def test_vectors_have_unit_length_whatever_the_scale() -> None:
    features = np.random.default_rng(0).standard_normal((5, 2)).astype(np.float32)
    for size in (1e-25, 1.0, 1e25):
        whitening = Whitening(mean=np.zeros(2, np.float32), scale=BY_HAND.scale, codes=BY_HAND.codes)
        np.testing.assert_allclose(np.linalg.norm(whitening.apply(features * np.float32(size)), axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("length", [0, 23, 25])
def test_bytes_of_another_length_are_refused(length: int) -> None:
    with pytest.raises(BundleError, match=f"takes 20 bytes, got {length}; copy or download"):
        Whitening.from_bytes(bytes(length), features=2, dimensions=2)


@pytest.mark.parametrize("place", [0, 8])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_no_map_has_are_refused(place: int, value: float) -> None:
    content = bytearray(BY_HAND.to_bytes())
    content[place : place + 4] = np.float32(value).tobytes()
    with pytest.raises(BundleError, match="the whitening is damaged: the mean must be finite"):
        Whitening.from_bytes(bytes(content), features=2, dimensions=2)


def test_shapes_that_do_not_fit_are_refused() -> None:
    ones = np.ones(2, np.float32)
    with pytest.raises(ConfigError, match=r"codes \(2, 3\) need a mean \(3,\) and a scale \(2,\), got \(2,\)"):
        Whitening(mean=ones, scale=ones, codes=np.ones((2, 3), np.int8))
    many = MAX_DIMENSIONS + 1
    with pytest.raises(ConfigError, match=r"to 1\.\.256 dimensions"):
        Whitening(mean=ones, scale=np.ones(many, np.float32), codes=np.ones((many, 2), np.int8))
