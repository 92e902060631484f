"""From photos to a gallery."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pocketlens.errors import BundleError, DataError
from pocketlens.runtime.gallery.examples import Examples
from pocketlens.runtime.gallery.gallery import Backbone, Entry, Gallery, Kind, codes
from pocketlens.runtime.gallery.operating_point import DEFAULT_THRESHOLD, OperatingPoint, choose
from pocketlens.runtime.gallery.search import Index
from pocketlens.runtime.gallery.trials import enrolled_trials, validation_trials

if TYPE_CHECKING:
    from pocketlens.runtime.recognizer import Recognizer

FALSE_ACCEPT_RATE = 0.05
"""What is asked for unless another rate is."""


def backbone_of(recognizer: "Recognizer") -> Backbone:
    """What ties a gallery to the open bundle. Raises BundleError when that has no embedding."""
    if not recognizer.dimensions:
        raise BundleError(
            f"{recognizer.spec.name} has no embedding to make a gallery with: squeeze it again with this version, "
            "from a network that ends in a linear layer"
        )
    return Backbone(name=recognizer.spec.name, fingerprint=recognizer.fingerprint, dimensions=recognizer.dimensions)


def build_gallery(
    examples: Examples,
    backbone: Backbone,
    *,
    name: str,
    kind: Kind = "products",
    labels: Mapping[str, str] | None = None,
    validation: Examples | None = None,
    false_accept_rate: float = FALSE_ACCEPT_RATE,
) -> tuple[Gallery, OperatingPoint]:
    """A gallery of one entry a class, each known by one vector: the mean of its photos' vectors.

    A mean finds more than the photos themselves do (docs/gallery.md has the figures), and is quicker to search.

    Args:
        examples: photos of the things; those of no class are left out.
        backbone: the bundle that embedded them.
        name: of the gallery.
        kind: of the gallery.
        labels: readable names by class; the others are called as the class, with blanks for underscores.
        validation: photos that are not enrolled, to set threshold and margin by, see `set_by_validation`; None takes
            the enrolled photos, see `enrolled_trials`.
        false_accept_rate: share of unseen things that may be let through, above 0 and below 1.
    Returns: the gallery, and what its threshold and margin were set by.
    Raises: DataError when no class has a photo; ConfigError when a name or the rate is out of range.
    """
    ids, means = class_means(examples)
    gallery = Gallery(
        name=name,
        kind=kind,
        backbone=backbone,
        entries=tuple(Entry(id=own, label=readable(own, labels)) for own in ids),
        vectors=codes(means),
        threshold=DEFAULT_THRESHOLD,
        margin=0.0,
    )
    if validation is not None:
        return set_by_validation(gallery, validation, false_accept_rate)
    own = examples.labels_among(ids)
    held = enrolled_trials(examples.vectors[own >= 0], own[own >= 0], len(ids))
    point = choose(held, false_accept_rate, "enrolled", things=len(ids))
    return _at(gallery, point), point


def set_by_validation(
    gallery: Gallery, validation: Examples, false_accept_rate: float = FALSE_ACCEPT_RATE
) -> tuple[Gallery, OperatingPoint]:
    """The gallery with threshold and margin set by photos that are not enrolled.

    Args:
        gallery: as it is.
        validation: classes that the gallery does not hold, and photos of no class, are the unseen. When there are
            none, each photo is also tried against the gallery without its thing.
        false_accept_rate: share of unseen things that may be let through, above 0 and below 1.
    """
    labels = validation.labels_among([entry.id for entry in gallery.entries])
    held = validation_trials(Index(gallery), validation.vectors, labels)
    point = choose(held, false_accept_rate, "validation")
    return _at(gallery, point), point


def class_means(examples: Examples) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """The classes that have a photo, and the mean vector of each.

    Raises: DataError when there is none, or when the photos of one cancel out.
    """
    counts = np.bincount(examples.labels[examples.labels >= 0], minlength=len(examples.classes))
    ids = tuple(name for name, count in zip(examples.classes, counts, strict=True) if count)
    if not ids:
        raise DataError(
            "expected one folder of photos for each thing, got no such folder; sort the photos into folders"
        )
    own = examples.labels_among(ids)
    means = np.zeros((len(ids), examples.vectors.shape[1]), np.float32)
    np.add.at(means, own[own >= 0], examples.vectors[own >= 0])
    for name, mean in zip(ids, means, strict=True):
        if not mean.any():
            raise DataError(f"the photos of {name!r} have nothing in common; choose others")
    return ids, means


def readable(name: str, labels: Mapping[str, str] | None = None) -> str:
    """What people see of a class."""
    return (labels or {}).get(name) or name.replace("_", " ").strip() or name


def _at(gallery: Gallery, point: OperatingPoint) -> Gallery:
    return replace(gallery, threshold=point.threshold, margin=point.margin, false_accept_rate=point.false_accept_rate)
