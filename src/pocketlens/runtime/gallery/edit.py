"""Entries that come and go. Threshold and margin stay; what they let through is unknown until measured again."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pocketlens.errors import BundleError, ConfigError, UnknownNameError
from pocketlens.runtime.gallery.build import class_means, readable
from pocketlens.runtime.gallery.examples import Examples
from pocketlens.runtime.gallery.gallery import Entry, Gallery, codes


def add(gallery: Gallery, examples: Examples, labels: Mapping[str, str] | None = None) -> Gallery:
    """The gallery with photos enrolled.

    A class it does not hold becomes an entry; one that it holds gets one vector more, the mean of the new photos.

    Args:
        gallery: as it is.
        examples: embedded by the gallery's bundle.
        labels: readable names of new entries by class.
    Raises: DataError when no class has a photo.
    """
    ids, means = class_means(examples)
    more = replace(
        gallery,
        entries=tuple(Entry(id=name, label=readable(name, labels)) for name in ids),
        vectors=codes(means),
    )
    return merge((gallery, more))


def remove(gallery: Gallery, ids: Sequence[str]) -> Gallery:
    """The gallery without some entries.

    Raises: UnknownNameError when it has no such entry; ConfigError when none would be left.
    """
    held = [entry.id for entry in gallery.entries]
    for name in ids:
        if name not in held:
            raise UnknownNameError("entry", name, held)
    stays = np.array([entry.id not in ids for entry in gallery.entries])
    if not stays.any():
        raise ConfigError("a gallery needs an entry, but all would be removed; delete the file instead")
    rows = np.repeat(stays, [entry.vectors for entry in gallery.entries])
    entries = tuple(entry for entry, stay in zip(gallery.entries, stays, strict=True) if stay)
    return replace(gallery, entries=entries, vectors=gallery.vectors[rows], false_accept_rate=None)


def merge(galleries: Sequence[Gallery]) -> Gallery:
    """One gallery with the entries of all; entries of one id become one, with the vectors of each.

    Args:
        galleries: at least one, of one bundle. Name, kind, labels, threshold and margin are those of the first.
    Raises: BundleError when they are of different bundles; ConfigError when they hold too many vectors together.
    """
    first = galleries[0]
    for other in galleries[1:]:
        if other.backbone.fingerprint != first.backbone.fingerprint:
            raise BundleError(
                f"galleries {first.name!r} and {other.name!r} belong to different bundles ({first.backbone.name!r} "
                f"and {other.backbone.name!r}); build them with one"
            )
    labels: dict[str, str] = {}
    vectors: dict[str, list[np.ndarray]] = {}
    for gallery in galleries:
        start = 0
        for entry in gallery.entries:
            labels.setdefault(entry.id, entry.label)
            vectors.setdefault(entry.id, []).append(gallery.vectors[start : start + entry.vectors])
            start += entry.vectors
    return replace(
        first,
        entries=tuple(Entry(id=name, label=labels[name], vectors=sum(map(len, vectors[name]))) for name in vectors),
        vectors=np.concatenate([block for blocks in vectors.values() for block in blocks]),
        false_accept_rate=None,
    )
