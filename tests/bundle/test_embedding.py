import pytest

from pocketlens.bundle.embedding import Embedding
from pocketlens.bundle.fields import Fields
from pocketlens.bundle.manifest import Member
from pocketlens.errors import BundleError

EMBEDDING = Embedding(features=10, dimensions=3, whitening="embedding/whitening.bin")


def member(size: int) -> Member:
    return Member(size=size, sha256="a" * 64, codec="zstd", stored_size=1)


def test_round_trip() -> None:
    assert Embedding.from_fields(Fields(EMBEDDING.to_json())) == EMBEDDING


def test_its_member_has_the_size_that_its_shape_makes() -> None:
    EMBEDDING.check_member({"embedding/whitening.bin": member(4 * 10 + 4 * 3 + 30)})
    with pytest.raises(BundleError, match=r"10 features to 3 dimensions takes 82 bytes, member .* has 81"):
        EMBEDDING.check_member({"embedding/whitening.bin": member(81)})
    with pytest.raises(BundleError, match=r"embedding needs 'embedding/whitening\.bin', which is not a member"):
        EMBEDDING.check_member({})
