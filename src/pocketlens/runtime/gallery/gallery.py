"""A gallery: entries, each with the vectors that it is known by, and when a match counts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Literal, cast, get_args
from unicodedata import category

import numpy as np
from numpy.typing import NDArray

from pocketlens.bundle.whitening import MAX_DIMENSIONS
from pocketlens.errors import BundleError, ConfigError

SCHEMA_VERSION = 1

MAX_VECTORS = 200_000
"""Of a gallery: 51 MB at 256 dimensions, and some 20 ms a search."""

_TEXT_LIMIT = 200

_CODE = 127
"""The largest code of a vector."""

Kind = Literal["products", "landmarks"]

KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing that the gallery knows.

    Args:
        id: unique in the gallery; of a built one the name of the class folder.
        label: for people.
        vectors: how many of the gallery's vectors are its own, at least 1.
    """

    id: str
    label: str
    vectors: int = 1

    def __post_init__(self) -> None:
        _require_text("id", self.id)
        _require_text("label", self.label)
        if self.vectors < 1:
            raise ConfigError(f"`vectors` must be at least 1, got {self.vectors}; leave the entry out")


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """The bundle whose embeddings a gallery holds.

    Args:
        name: of its model.
        fingerprint: of the bundle, 64 hexadecimal digits.
        dimensions: of a vector.
    """

    name: str
    fingerprint: str
    dimensions: int

    def __post_init__(self) -> None:
        if not 1 <= self.dimensions <= MAX_DIMENSIONS:
            raise ConfigError(f"`dimensions` must lie in 1..{MAX_DIMENSIONS}, got {self.dimensions}")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _writer() -> str:
    return f"pocketlens {version('pocketlens')}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Gallery:
    """Things known by example.

    A match counts when its cosine is at least `threshold` and exceeds that of the best other entry by at least
    `margin`; where there is no other entry, `threshold` alone decides.

    Args:
        name: for people.
        kind: what the app shows it under.
        backbone: whose embeddings these are.
        entries: at least one; their ids differ.
        vectors: (sum of the entries' vectors, dimensions), int8, entry by entry; see `codes`.
        threshold: -1 to 1.
        margin: 0 to 2.
        false_accept_rate: share of unseen things that the two let through where they were set; None when never
            measured for these entries.
        created: ISO 8601.
        created_with: name and version of the writer.
    Raises: ConfigError when the parts do not fit together.
    """

    name: str
    kind: Kind
    backbone: Backbone
    entries: tuple[Entry, ...]
    vectors: NDArray[np.int8]
    threshold: float
    margin: float
    false_accept_rate: float | None = None
    created: str = field(default_factory=_now)
    created_with: str = field(default_factory=_writer)

    def __post_init__(self) -> None:
        _require_text("name", self.name)
        if self.kind not in KINDS:
            raise ConfigError(f"`kind` must be {' or '.join(KINDS)}, got {self.kind!r}")
        if not -1 <= self.threshold <= 1:
            raise ConfigError(f"`threshold` is a cosine, -1 to 1, got {self.threshold}")
        if not 0 <= self.margin <= 2:
            raise ConfigError(f"`margin` is a difference of cosines, 0 to 2, got {self.margin}")
        if self.false_accept_rate is not None and not 0 <= self.false_accept_rate <= 1:
            raise ConfigError(f"`false_accept_rate` is a share, 0 to 1, or null, got {self.false_accept_rate}")
        ids = {entry.id for entry in self.entries}
        if not ids:
            raise ConfigError("a gallery needs an entry; give images of at least one thing")
        if len(ids) != len(self.entries):
            raise ConfigError("two entries have one id; merge them or rename one")
        rows = check_rows(self.entries)
        shape = (rows, self.backbone.dimensions)
        if self.vectors.dtype != np.int8 or self.vectors.shape != shape:
            raise ConfigError(
                f"the entries need int8 vectors {shape}, got {self.vectors.dtype} {self.vectors.shape}; "
                "build the gallery again"
            )
        if empty := np.flatnonzero(~self.vectors.any(axis=1)).tolist():
            raise ConfigError(f"vector {empty[0]} is all zeros, which points nowhere; build the gallery again")

    def require_backbone(self, fingerprint: str, name: str) -> None:
        """Refuse another bundle than the one whose embeddings these are. Raises BundleError."""
        own = self.backbone
        if fingerprint != own.fingerprint:
            raise BundleError(
                f"gallery {self.name!r} belongs to the bundle {own.name!r} ({own.fingerprint[:12]}), got {name!r} "
                f"({fingerprint[:12]}); use that bundle, or build the gallery again with this one"
            )


def check_rows(entries: Sequence[Entry]) -> int:
    """How many vectors entries have in all. Raises ConfigError when they are too many."""
    rows = sum(entry.vectors for entry in entries)
    if rows > MAX_VECTORS:
        raise ConfigError(f"a gallery holds at most {MAX_VECTORS} vectors, got {rows}; split it into several")
    return rows


def read_kind(text: str) -> Kind:
    """A kind by its name. Raises ConfigError."""
    if text not in KINDS:
        raise ConfigError(f"`kind` must be {' or '.join(KINDS)}, got {text[:40]!r}")
    return cast("Kind", text)


def codes(vectors: NDArray[np.floating]) -> NDArray[np.int8]:
    """Vectors on the grid that a gallery stores: of unit length, times 127, rounded.

    Args:
        vectors: (n, d), finite, of any length but 0.
    Returns: (n, d), in -127..127.
    Raises: ConfigError when one points nowhere.
    """
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.isfinite(length).all() and (length > 0).all()):
        raise ConfigError("a vector is zero or not finite, so it points nowhere; leave its image out")
    return np.rint(vectors / length * _CODE).clip(-_CODE, _CODE).astype(np.int8)


def _require_text(name: str, value: str) -> None:
    # Control characters would steer a terminal; a lone surrogate is a file name in no encoding.
    if not value.strip() or len(value) > _TEXT_LIMIT or any(category(letter) in ("Cc", "Cs") for letter in value):
        raise ConfigError(
            f"`{name}` must be a text of 1 to {_TEXT_LIMIT} characters without control characters, "
            f"got {value[:40]!r}; rename it"
        )
