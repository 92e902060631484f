import numpy as np
import pytest
from tests.runtime.gallery.conftest import MakeGallery

from pocketlens.errors import BundleError, ConfigError, DataError, UnknownNameError
from pocketlens.runtime.gallery.edit import add, merge, remove
from pocketlens.runtime.gallery.examples import Examples
from pocketlens.runtime.gallery.gallery import Backbone, Entry


def examples(classes: tuple[str, ...], vectors: list[list[float]], labels: list[int]) -> Examples:
    return Examples(classes=classes, vectors=np.array(vectors, np.float32), labels=np.array(labels))


def test_new_things_and_new_photos(make_gallery: MakeGallery) -> None:
    more = examples(("dark_blue", "green"), [[0, 0, 1], [0, 0, 1], [0, 0.6, 0.8]], [0, 0, 1])
    made = add(make_gallery(), more, {"green": "never used"})
    assert [(e.id, e.label, e.vectors) for e in made.entries] == [
        ("red", "Red", 2),
        ("green", "Grün", 2),
        ("dark_blue", "dark blue", 1),
    ]
    assert made.vectors.tolist() == [[127, 0, 0], [102, 0, 76], [0, 127, 0], [0, 76, 102], [0, 0, 127]]
    # Where the threshold lies was measured for other entries.
    assert (made.threshold, made.margin, made.false_accept_rate) == (0.5, 0.1, None)


def test_photos_of_nothing_cannot_be_added(make_gallery: MakeGallery) -> None:
    with pytest.raises(DataError, match="one folder of photos for each thing"):
        add(make_gallery(), examples((), [[1, 0, 0]], [-1]))
    with pytest.raises(DataError, match="'odd' have nothing in common"):
        add(make_gallery(), examples(("odd",), [[1, 0, 0], [-1, 0, 0]], [0, 0]))


def test_entries_go_with_their_vectors(make_gallery: MakeGallery) -> None:
    made = remove(make_gallery(), ["red"])
    assert [entry.id for entry in made.entries] == ["green"]
    assert made.vectors.tolist() == [[0, 127, 0]]
    assert made.false_accept_rate is None
    with pytest.raises(UnknownNameError, match=r"unknown entry 'gren'\. Did you mean 'green'"):
        remove(make_gallery(), ["gren"])
    with pytest.raises(ConfigError, match="all would be removed"):
        remove(make_gallery(), ["red", "green"])


def test_merging(make_gallery: MakeGallery) -> None:
    other = make_gallery(
        name="other",
        entries=(Entry(id="green", label="Green"), Entry(id="blue", label="Blue", vectors=2)),
        vectors=np.array([[0, 126, 1], [0, 0, 127], [1, 1, 120]], np.int8),
        threshold=0.9,
    )
    made = merge((make_gallery(), other))
    assert [(e.id, e.label, e.vectors) for e in made.entries] == [
        ("red", "Red", 2),
        ("green", "Grün", 2),
        ("blue", "Blue", 2),
    ]
    assert made.vectors[2:4].tolist() == [[0, 127, 0], [0, 126, 1]]
    assert (made.name, made.threshold) == ("colours", 0.5)
    stranger = make_gallery(backbone=Backbone(name="shapes", fingerprint="cd" * 32, dimensions=3))
    with pytest.raises(BundleError, match="belong to different bundles"):
        merge((make_gallery(), stranger))
