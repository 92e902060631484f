"""What a bundle says about its graphs' second output, and where the whitening of it lies."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pocketlens.bundle.fields import Fields
from pocketlens.bundle.whitening import MAX_DIMENSIONS, MAX_FEATURES, member_bytes
from pocketlens.errors import BundleError
from pocketlens.types import Json

if TYPE_CHECKING:
    from pocketlens.bundle.manifest import Member


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """Every graph of the bundle has an output `embedding`, (n, features), that one whitening turns into vectors.

    Args:
        features: length of the output.
        dimensions: length of a vector, at most `features`.
        whitening: the member that holds the Whitening.
    """

    features: int
    dimensions: int
    whitening: str

    def check_member(self, members: "Mapping[str, Member]") -> None:
        """Raise BundleError when the whitening's member is not there or not of the size that its shape makes."""
        if self.whitening not in members:
            raise BundleError(f"embedding needs {self.whitening[:80]!r}, which is not a member")
        expected, got = member_bytes(self.features, self.dimensions), members[self.whitening].size
        if got != expected:
            raise BundleError(
                f"embedding: a whitening of {self.features} features to {self.dimensions} dimensions takes "
                f"{expected} bytes, member {self.whitening!r} has {got}"
            )

    def to_json(self) -> Json:
        """As JSON-able data; docs/bundle.md says what each field means."""
        return {"features": self.features, "dimensions": self.dimensions, "whitening": self.whitening}

    @classmethod
    def from_fields(cls, fields: Fields) -> "Embedding":
        """The inverse of `to_json`. Raises ConfigError naming the field."""
        with fields:
            features = fields.integer("features", low=1, high=MAX_FEATURES)
            return cls(
                features=features,
                dimensions=fields.integer("dimensions", low=1, high=min(features, MAX_DIMENSIONS)),
                whitening=fields.text("whitening"),
            )
