"""gallery.json: all that a gallery says about itself, and the checks a reader owes it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from pocketlens.bundle.fields import Fields
from pocketlens.bundle.whitening import MAX_DIMENSIONS
from pocketlens.errors import BundleError, ConfigError
from pocketlens.runtime.gallery.gallery import (
    MAX_VECTORS,
    SCHEMA_VERSION,
    Backbone,
    Entry,
    Gallery,
    check_rows,
    read_kind,
)
from pocketlens.types import Json


@dataclass(frozen=True, kw_only=True)
class Head:
    """A gallery whose vectors have not been read.

    Args:
        shape: of the vectors.
        vectors_sha256: of their bytes.
        with_vectors: called with `vectors=`, makes the gallery. Raises ConfigError.
    """

    shape: tuple[int, int]
    vectors_sha256: str
    with_vectors: Callable[..., Gallery]


def to_json(gallery: Gallery, vectors_sha256: str) -> Json:
    """As JSON-able data; docs/gallery.md says what each field means."""
    return {
        "schema_version": SCHEMA_VERSION,
        "name": gallery.name,
        "kind": gallery.kind,
        "created": gallery.created,
        "created_with": gallery.created_with,
        "backbone": {
            "name": gallery.backbone.name,
            "fingerprint": gallery.backbone.fingerprint,
            "dimensions": gallery.backbone.dimensions,
        },
        "threshold": gallery.threshold,
        "margin": gallery.margin,
        "false_accept_rate": gallery.false_accept_rate,
        "entries": [{"id": entry.id, "label": entry.label, "vectors": entry.vectors} for entry in gallery.entries],
        "vectors_sha256": vectors_sha256,
    }


def from_json(data: object) -> Head:
    """The inverse of `to_json`, for JSON of unknown origin.

    Raises: BundleError naming the field that is missing, of a wrong type, out of range or unknown.
    """
    try:
        return _head(data)
    except ConfigError as error:
        raise BundleError(str(error)) from error


def _head(data: object) -> Head:
    with Fields(data) as fields:
        fields.schema_version(SCHEMA_VERSION)
        backbone = _backbone(fields.child("backbone"))
        entries = tuple(_entry(entry) for entry in fields.children("entries"))
        return Head(
            shape=(check_rows(entries), backbone.dimensions),
            vectors_sha256=fields.sha256("vectors_sha256"),
            with_vectors=partial(
                Gallery,
                name=fields.text("name"),
                kind=read_kind(fields.text("kind")),
                backbone=backbone,
                entries=entries,
                threshold=fields.number("threshold"),
                margin=fields.number("margin"),
                false_accept_rate=fields.optional_number("false_accept_rate"),
                created=fields.date("created"),
                created_with=fields.text("created_with"),
            ),
        )


def _backbone(fields: Fields) -> Backbone:
    with fields:
        return Backbone(
            name=fields.text("name"),
            fingerprint=fields.sha256("fingerprint"),
            dimensions=fields.integer("dimensions", low=1, high=MAX_DIMENSIONS),
        )


def _entry(fields: Fields) -> Entry:
    with fields:
        return Entry(
            id=fields.text("id"),
            label=fields.text("label"),
            vectors=fields.integer("vectors", low=1, high=MAX_VECTORS),
        )
