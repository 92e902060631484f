import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pocketlens.datasets.folder import class_folders, folder
from pocketlens.errors import DataError
from pocketlens.types import Preprocessing

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
WritePhoto = Callable[..., Path]
SMALL = Preprocessing(resize=None, crop=(8, 8))


def keys(images: object) -> list[str]:
    return [item.key for item in images.items]  # type: ignore[attr-defined]


def test_a_label_is_the_models_output_not_the_rank(tmp_path: Path, write_photo: WritePhoto) -> None:
    write_photo(tmp_path / "dog" / "b.png", 1)
    write_photo(tmp_path / "dog" / "a.JPG", 2)
    write_photo(tmp_path / "ant" / "c.webp", 3)
    images = folder(tmp_path, ("ant", "bee", "cat", "dog"))
    assert keys(images) == ["ant/c.webp", "dog/a.JPG", "dog/b.png"]
    assert images.labels == (0, 3, 3)
    assert images.labelled
    assert images.image(2)[1:] == (3, "dog/b.png")


def test_folders_named_after_labels(tmp_path: Path, write_photo: WritePhoto) -> None:
    write_photo(tmp_path / "tabby_cat" / "a.png")
    assert folder(tmp_path, ("n1", "n2"), ("dog", "Tabby Cat")).labels == (1,)


def test_flat_and_unknown_folders_are_unlabelled(tmp_path: Path, write_photo: WritePhoto) -> None:
    write_photo(tmp_path / "z.png", 1)
    write_photo(tmp_path / "holiday" / "2020" / "a.png", 2)
    images = folder(tmp_path, ("ant", "bee"))
    assert not images.labelled
    assert keys(images) == ["z.png", "holiday/2020/a.png"]
    assert images.labels == (-1, -1)
    assert not folder(tmp_path).labelled


def test_some_unknown_classes_are_named(tmp_path: Path, write_photo: WritePhoto) -> None:
    for name in ("ant", "wasp", "yak", ".cache"):
        write_photo(tmp_path / name / "a.png")
    with pytest.raises(DataError, match=r"2 of 3 are not: wasp, yak"):
        folder(tmp_path, ("ant", "bee"))


def test_what_is_no_image_is_ignored(tmp_path: Path, write_photo: WritePhoto) -> None:
    write_photo(tmp_path / "ant" / "a.png")
    write_photo(tmp_path / "ant" / ".hidden.png")
    write_photo(tmp_path / "__MACOSX" / "a.png")
    (tmp_path / "ant" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "ATTRIBUTION.csv").write_text("who")
    assert keys(folder(tmp_path, ("ant",))) == ["ant/a.png"]


def test_an_empty_class_folder_is_noted(tmp_path: Path, write_photo: WritePhoto) -> None:
    write_photo(tmp_path / "ant" / "a.png")
    (tmp_path / "bee").mkdir()
    images = folder(tmp_path, ("ant", "bee"))
    assert len(images) == 1
    assert images.notes == ("1 of 2 sub-folders hold no image: bee",)


def test_images_beside_class_folders_are_left_out_and_noted(tmp_path: Path, write_photo: WritePhoto) -> None:
    write_photo(tmp_path / "ant" / "a.png")
    write_photo(tmp_path / "stray.png")
    images = folder(tmp_path, ("ant",))
    assert keys(images) == ["ant/a.png"]
    assert images.notes[0].startswith("1 images beside")


def test_missing_empty_and_wrong_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        folder(tmp_path / "gone")
    with pytest.raises(DataError, match="got none"):
        folder(tmp_path)
    (tmp_path / "ant").mkdir()
    with pytest.raises(DataError, match="got none"):
        folder(tmp_path, ("ant",))
    file = tmp_path / "a.txt"
    file.write_text("x")
    with pytest.raises(DataError, match="got the file"):
        folder(file)


def test_splits_are_not_taken_for_classes(tmp_path: Path, write_photo: WritePhoto) -> None:
    write_photo(tmp_path / "train" / "ant" / "a.png")
    write_photo(tmp_path / "test" / "ant" / "a.png")
    with pytest.raises(DataError, match="the splits test, train"):
        folder(tmp_path, ("ant",))
    write_photo(tmp_path / "bus" / "a.png")
    assert folder(tmp_path, ("bus", "test", "train")).labels == (0, 1, 2)


def test_links_are_followed_but_not_in_circles(tmp_path: Path, write_photo: WritePhoto) -> None:
    write_photo(tmp_path / "store" / "a.png")
    root = tmp_path / "set"
    root.mkdir()
    (root / "ant").symlink_to(tmp_path / "store", target_is_directory=True)
    (tmp_path / "store" / "back").symlink_to(root, target_is_directory=True)
    (tmp_path / "store" / "self").symlink_to(tmp_path / "store", target_is_directory=True)
    (root / "broken.png").symlink_to(tmp_path / "gone.png")
    assert keys(folder(root, ("ant",))) == ["ant/a.png"]


def test_bad_images_among_good_ones_are_skipped_and_named(tmp_path: Path, write_photo: WritePhoto) -> None:
    write_photo(tmp_path / "a.png", 1)
    half = write_photo(tmp_path / "b.jpg", 2, size=(200, 200))
    half.write_bytes(half.read_bytes()[:3000])
    (tmp_path / "c.jpg").touch()
    write_photo(tmp_path / "d.png", 3)
    images = folder(tmp_path)
    batch = next(images.batches(SMALL, 8))
    assert batch.keys == ("a.png", "d.png")
    assert np.array_equal(batch.labels, [-1, -1])
    assert list(images.skipped) == ["b.jpg", "c.jpg"]
    assert "truncated" in images.skipped["b.jpg"]
    assert "0 bytes" in images.skipped["c.jpg"]


def test_a_file_that_vanished_is_skipped(tmp_path: Path, write_photo: WritePhoto) -> None:
    write_photo(tmp_path / "a.png", 1)
    gone = write_photo(tmp_path / "b.png", 2)
    images = folder(tmp_path)
    before = images.fingerprint()
    gone.unlink()
    assert next(images.batches(SMALL, 8)).keys == ("a.png",)
    assert "No such file" in images.skipped["b.png"]
    assert images.fingerprint() != before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0)
    try:
        with pytest.raises(DataError, match="can be listed"):
            folder(tmp_path)
    finally:
        tmp_path.chmod(0o700)


def test_class_folders(tmp_path: Path, write_photo: WritePhoto) -> None:
    file = write_photo(tmp_path / "b" / "x.png")
    (tmp_path / "a").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "list.csv").touch()
    assert class_folders(tmp_path) == ("a", "b")
    assert class_folders(file) == ()
    with pytest.raises(DataError, match="does not exist"):
        class_folders(tmp_path / "gone")


def test_430_of_1000_classes() -> None:
    if not SHARED.is_dir():
        pytest.skip("shared/data is not beside the repository")
    wnids = class_folders(SHARED / "imagenet-sample")
    images = folder(SHARED / "imagenet-like", wnids)
    assert (len(wnids), len(images), len(set(images.labels))) == (1000, 1000, 430)
    assert all(wnids[item.label] == item.key.split("/")[0] for item in images.items)
