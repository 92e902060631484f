from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.runtime.gallery.conftest import PaintPhotos

from pocketlens.errors import BundleError, ConfigError, DataError
from pocketlens.runtime.gallery.build import backbone_of, build_gallery
from pocketlens.runtime.gallery.examples import Examples, read_examples
from pocketlens.runtime.gallery.search import Index
from pocketlens.runtime.recognizer import Recognizer

RED, GREEN, BLUE, YELLOW = (220, 40, 40), (40, 220, 40), (40, 40, 220), (220, 220, 40)


def test_photos_become_entries_that_are_found(colour_lens: Path, paint: PaintPhotos) -> None:
    folder = paint("shelf", red=RED, green=GREEN, deep_blue=BLUE)
    new = paint("new", seed=1, red=RED, deep_blue=BLUE, yellow=YELLOW)
    with Recognizer.open(colour_lens) as recognizer:
        examples = read_examples(recognizer, folder)
        gallery, point = build_gallery(examples, backbone_of(recognizer), name="shelf", labels={"red": "Rot"})
        validation = read_examples(recognizer, new)
    assert examples.classes == ("deep_blue", "green", "red")
    assert [(e.id, e.label, e.vectors) for e in gallery.entries] == [
        ("deep_blue", "deep blue", 1),
        ("green", "green", 1),
        ("red", "Rot", 1),
    ]
    assert (point.source, point.unseen, point.known, point.things) == ("enrolled", 9, 9, 3)
    assert point.correct_accepts == 9
    assert (gallery.threshold, gallery.false_accept_rate) == (point.threshold, 0.0)
    first = [matches[0] for matches in Index(gallery).search(validation.vectors)]
    named = [(match.id, match.accepted) for match in first]
    assert named[:6] == [("deep_blue", True)] * 3 + [("red", True)] * 3
    assert not any(match.accepted for match in first[6:])


def test_validation_sets_the_threshold(colour_lens: Path, paint: PaintPhotos) -> None:
    folder, new = paint("shelf", red=RED, green=GREEN), paint("new", seed=1, red=RED, yellow=YELLOW)
    with Recognizer.open(colour_lens) as recognizer:
        examples, validation = read_examples(recognizer, folder), read_examples(recognizer, new)
        gallery, point = build_gallery(examples, backbone_of(recognizer), name="shelf", validation=validation)
    assert (point.source, point.unseen, point.known, point.false_accepts) == ("validation", 3, 3, 0)
    yellow = validation.vectors[validation.labels == 1]
    assert gallery.threshold > 0
    assert not any(matches[0].accepted for matches in Index(gallery).search(yellow))


def test_one_photo_each_and_a_single_thing(colour_lens: Path, paint: PaintPhotos) -> None:
    with Recognizer.open(colour_lens) as recognizer:
        backbone = backbone_of(recognizer)
        one = read_examples(recognizer, paint("shelf", red=RED, green=GREEN, blue=BLUE), per_class=1, seed=3)
        assert one.labels.tolist() == [0, 1, 2]
        _, point = build_gallery(one, backbone, name="shelf")
        assert (point.unseen, point.known) == (3, 0)
        gallery, point = build_gallery(read_examples(recognizer, paint("single", red=RED)), backbone, name="single")
    assert point.source == "none"
    assert gallery.false_accept_rate is None


def test_bad_photos_are_named_and_skipped(colour_lens: Path, paint: PaintPhotos) -> None:
    folder = paint("shelf", red=RED, green=GREEN)
    (folder / "red" / "0.png").write_bytes(b"no picture")
    (folder / "grey").mkdir()
    from PIL import Image

    Image.new("RGB", (8, 8), (255, 255, 255)).save(folder / "loose.png")
    with Recognizer.open(colour_lens) as recognizer:
        found = read_examples(recognizer, folder, per_class=2)
        assert list(found.skipped) in ([], ["red/0.png"])
        # Of three photos one is bad: the other two are taken, whatever the seed draws.
        assert [int((found.labels == label).sum()) for label in (-1, 0, 1)] == [1, 2, 2]
        found = read_examples(recognizer, folder)
    assert list(found.skipped) == ["red/0.png"]
    assert "expected one of JPEG" in found.skipped["red/0.png"]
    assert found.classes == ("green", "red")
    assert np.allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-5)


def test_labels_among_other_classes() -> None:
    found = Examples(classes=("a", "b"), vectors=np.eye(3, dtype=np.float32), labels=np.array([1, 0, -1]))
    assert found.labels_among(("c", "b")).tolist() == [1, -1, -1]
    assert found.labels_among(()).tolist() == [-1, -1, -1]


def test_folders_that_cannot_serve(colour_lens: Path, paint: PaintPhotos, tmp_path: Path) -> None:
    shelf = paint("shelf", count=1, red=RED)
    (tmp_path / "bad" / "x").mkdir(parents=True)
    (tmp_path / "bad" / "x" / "a.png").write_bytes(b"no picture")
    (tmp_path / "empty").mkdir()
    with Recognizer.open(colour_lens) as recognizer:
        with pytest.raises(DataError, match="none of 1 that can be used"):
            read_examples(recognizer, tmp_path / "bad")
        with pytest.raises(DataError, match="expected images"):
            read_examples(recognizer, tmp_path / "empty")
        with pytest.raises(DataError, match="does not exist"):
            read_examples(recognizer, tmp_path / "gone")
        with pytest.raises(ConfigError, match="`per_class` must be at least 1, got 0"):
            read_examples(recognizer, shelf, per_class=0)
        loose = read_examples(recognizer, shelf / "red")
        with pytest.raises(DataError, match="one folder of photos for each thing"):
            build_gallery(loose, backbone_of(recognizer), name="loose")


def test_a_bundle_without_embedding(pack: Callable[..., Path]) -> None:
    with Recognizer.open(pack()) as recognizer, pytest.raises(BundleError, match="has no embedding"):
        backbone_of(recognizer)


def test_class_names_that_would_steer_a_terminal(colour_lens: Path, paint: PaintPhotos) -> None:
    folder = paint("shelf", count=1, **{"a\x1b[2J": RED})
    with Recognizer.open(colour_lens) as recognizer:
        examples, backbone = read_examples(recognizer, folder), backbone_of(recognizer)
    with pytest.raises(ConfigError, match=r"without control characters, got 'a.x1b.2J'; rename it"):
        build_gallery(examples, backbone, name="shelf")
