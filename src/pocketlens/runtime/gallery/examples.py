"""Photos of known things: a folder of one sub-folder a thing, as vectors."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from pocketlens.datasets.folder import folder
from pocketlens.errors import ConfigError, DataError, ImageError
from pocketlens.types import Progress, Silent

if TYPE_CHECKING:
    from pocketlens.datasets.image_set import LazyImageSet
    from pocketlens.runtime.recognizer import Recognizer


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """Embedded photos of things.

    Args:
        classes: the things' names.
        vectors: (n, dimensions), float32, of unit length.
        labels: (n,), an index into `classes`, -1 for a photo of none of them.
        skipped: photos that could not be used: path in the folder -> reason.
    """

    classes: tuple[str, ...]
    vectors: NDArray[np.float32]
    labels: NDArray[np.int64]
    skipped: dict[str, str] = field(default_factory=dict)

    def labels_among(self, classes: Sequence[str]) -> NDArray[np.int64]:
        """(n,): which of other classes each photo shows, -1 for none of them."""
        place = {name: index for index, name in enumerate(classes)}
        # The last one is what label -1 picks.
        return np.array([*(place.get(name, -1) for name in self.classes), -1], dtype=np.int64)[self.labels]


def read_examples(
    recognizer: "Recognizer",
    root: Path,
    *,
    per_class: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Examples:
    """Embed the photos of a folder.

    Args:
        recognizer: of the bundle that will search.
        root: its sub-folders are classes; a sub-folder's own folders belong to it. Photos that lie beside them are of
            no class.
        per_class: use that many photos of a class, chosen by `seed`, among those that can be read; None uses all.
        seed: of the choice.
        progress: shows how far it is.
    Raises: DataError when the folder is missing, or holds no photo that can be used; BundleError when the bundle has
        no embedding; TargetError when the model gives NaN.
    """
    if per_class is not None and per_class < 1:
        raise ConfigError(f"`per_class` must be at least 1, got {per_class}")
    images = folder(root)
    groups: dict[str, list[int]] = {}
    for index, item in enumerate(images.items):
        name, inside, _ = item.key.partition("/")
        # NFC, because macOS writes file names with accents apart from their letters.
        groups.setdefault(normalize("NFC", name) if inside else "", []).append(index)
    classes = tuple(sorted(name for name in groups if name))
    vectors, labels, skipped = [], [], {}
    with_bar = progress or Silent()
    wanted = sum(min(len(group), per_class or len(group)) for group in groups.values())
    embedding = _embedded(recognizer, images, groups, per_class, np.random.default_rng(seed), skipped)
    for name, vector in with_bar.track(embedding, "embedding photos", total=wanted):
        labels.append(classes.index(name) if name else -1)
        vectors.append(vector)
    if not vectors:
        key, reason = next(iter(skipped.items()))
        raise DataError(
            f"expected photos in {root}, got none of {len(images)} that can be used (the first, {key}: {reason})"
        )
    return Examples(
        classes=classes, vectors=np.stack(vectors), labels=np.array(labels, dtype=np.int64), skipped=skipped
    )


def _embedded(
    recognizer: "Recognizer",
    images: "LazyImageSet",
    groups: dict[str, list[int]],
    per_class: int | None,
    rng: np.random.Generator,
    skipped: dict[str, str],
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Class and vector of each photo that can be used; of the others, why not, into `skipped`."""
    for name in sorted(groups):
        group = groups[name] if per_class is None else rng.permutation(groups[name]).tolist()
        found = 0
        for index in group:
            try:
                vector = recognizer.embed([images.image(index)[0]])[0]
            except ImageError as error:
                skipped[images.items[index].key] = str(error)
                continue
            if not vector.any():
                skipped[images.items[index].key] = "the model sees nothing in it; use another photo"
                continue
            yield name, vector
            found += 1
            if found == per_class:
                break
