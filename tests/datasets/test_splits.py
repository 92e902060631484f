from collections import Counter
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from pocketlens.datasets.folder import folder
from pocketlens.datasets.image_set import LazyImageSet
from pocketlens.datasets.splits import carve, load, load_data
from pocketlens.errors import ConfigError, DataError, UnknownNameError
from pocketlens.types import Data, ImageSet

WritePhoto = Callable[..., Path]
IDS = ("ant", "bee", "cat")


@pytest.fixture
def classes(tmp_path: Path, write_photo: WritePhoto) -> Path:
    """20 ants, 30 bees, 50 cats, all different."""
    root = tmp_path / "animals"
    for label, (name, count) in enumerate(zip(IDS, (20, 30, 50), strict=True)):
        for n in range(count):
            write_photo(root / name / f"{n:03}.png", 1000 * label + n, size=(8, 8))
    return root


def keys(images: ImageSet | None) -> list[str]:
    assert isinstance(images, LazyImageSet)
    return [item.key for item in images.items]


def splits(data: Data) -> dict[str, list[str]]:
    return {name: keys(getattr(data, name)) for name in ("train", "calibration", "validation", "test")}


def per_class(images: ImageSet | None) -> dict[int, int]:
    assert isinstance(images, LazyImageSet)
    return dict(Counter(images.labels))


def test_carve_is_disjoint_and_stratified(classes: Path) -> None:
    whole = folder(classes, IDS)
    rest, part = carve(whole, 10)
    assert per_class(part) == {0: 2, 1: 3, 2: 5}
    assert per_class(rest) == {0: 18, 1: 27, 2: 45}
    assert sorted(keys(rest) + keys(part)) == keys(whole)
    assert keys(part) == sorted(keys(part))


def test_carve_by_largest_remainder(classes: Path) -> None:
    # Of 9 the classes are due 1.8, 2.7 and 4.5: first 1, 2, 4, then one more for 0.8 and for 0.7.
    assert per_class(carve(folder(classes, IDS), 9)[1]) == {0: 2, 1: 3, 2: 4}


def test_carve_is_repeatable_and_the_seed_counts(classes: Path) -> None:
    whole = folder(classes, IDS)
    first, again, other = (keys(carve(whole, 10, seed)[1]) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_carve_goes_by_content_not_by_name(classes: Path) -> None:
    before = {item.digest() for item in carve(folder(classes, IDS), 10)[1].items}
    for path in classes.rglob("*.png"):
        path.rename(path.with_name(f"renamed-{999 - int(path.stem):03}.png"))
    assert {item.digest() for item in carve(folder(classes, IDS), 10)[1].items} == before


def test_a_small_part_does_not_fall_on_the_first_classes(tmp_path: Path, write_photo: WritePhoto) -> None:
    ids = tuple(f"c{n:02}" for n in range(40))
    for n, name in enumerate(ids):
        write_photo(tmp_path / name / "a.png", n, size=(4, 4))
    part = carve(folder(tmp_path, ids), 10)[1]
    assert len(set(part.labels)) == 10
    assert max(part.labels) > 20


def test_a_class_of_one_image_keeps_it(tmp_path: Path, write_photo: WritePhoto) -> None:
    write_photo(tmp_path / "ant" / "only.png", 99)
    for n in range(4):
        write_photo(tmp_path / "bee" / f"{n}.png", n)
    assert 0 in carve(folder(tmp_path, IDS), 2)[0].labels


def test_copies_stay_together(tmp_path: Path, write_photo: WritePhoto) -> None:
    for n in range(30):
        write_photo(tmp_path / f"{n:02}.png", n // 2)  # each picture twice
    rest, part = carve(folder(tmp_path), 11)
    assert len(part) == 10  # an eleventh would tear a pair apart
    assert not set(rest.digests()) & set(part.digests())


def test_carve_refuses_what_it_cannot_do(tmp_path: Path, write_photo: WritePhoto) -> None:
    for n in range(4):
        write_photo(tmp_path / f"{n}.png", 7)
    for n in (0, 4, 5):
        with pytest.raises(ConfigError, match=r"in 1\.\.3 .* got"):
            carve(folder(tmp_path), n)
    with pytest.raises(DataError, match="4 images are copies of 1"):
        carve(folder(tmp_path), 2)


def test_plain_class_folders_are_split_80_10_10(classes: Path) -> None:
    data = load_data(classes, IDS)
    assert per_class(data.test) == per_class(data.validation) == {0: 2, 1: 3, 2: 5}
    found = splits(data)
    assert {name: len(names) for name, names in found.items()} == {
        "train": 72,
        "calibration": 8,
        "validation": 10,
        "test": 10,
    }
    assert sorted(chain(*found.values())) == keys(folder(classes, IDS))
    assert splits(load_data(classes, IDS)) == found
    assert splits(load_data(classes, IDS, seed=1)) != found


def test_no_content_lands_in_two_splits(classes: Path, write_photo: WritePhoto) -> None:
    for n in range(0, 50, 3):
        write_photo(classes / "cat" / f"copy-{n}.png", 2000 + n, size=(8, 8))
    data = load_data(classes, IDS)
    seen: set[bytes] = set()
    for images in (data.train, data.calibration, data.validation, data.test):
        assert isinstance(images, LazyImageSet)
        digests = set(images.digests())
        assert not seen & digests
        seen |= digests


def test_given_splits_are_taken_and_the_others_carved_from_train(tmp_path: Path, write_photo: WritePhoto) -> None:
    for n in range(40):
        write_photo(tmp_path / "train" / IDS[n % 2] / f"{n:02}.png", n)
    write_photo(tmp_path / "test" / "bee" / "t.png", 100)
    found = splits(load_data(tmp_path, IDS))
    assert found["test"] == ["bee/t.png"]
    assert (len(found["validation"]), len(found["calibration"]), len(found["train"])) == (4, 4, 32)
    assert len(set(chain(*found.values()))) == 41

    write_photo(tmp_path / "val" / "ant" / "v.png", 101)
    write_photo(tmp_path / "calib" / "c.png", 102)
    found = splits(load_data(tmp_path, IDS))
    assert (found["validation"], found["calibration"]) == (["ant/v.png"], ["c.png"])
    assert len(found["train"]) == 40


def test_without_train_nothing_is_carved(tmp_path: Path, write_photo: WritePhoto) -> None:
    write_photo(tmp_path / "test" / "ant" / "a.png")
    data = load_data(tmp_path, IDS)
    assert (data.train, data.calibration, data.validation) == (None, None, None)
    assert keys(data.test) == ["ant/a.png"]


def test_parquet_splits(tmp_path: Path) -> None:
    for name, count in (("train", 20), ("test", 5)):
        images = [f"{name} {n}".encode() for n in range(count)]
        pq.write_table(pa.table({"image": images, "label": [0] * count}), tmp_path / f"{name}.parquet")
    found = splits(load_data(tmp_path))
    assert found["test"][0] == "test.parquet#0"
    assert [len(found[name]) for name in ("train", "calibration", "validation", "test")] == [16, 2, 2, 5]
    assert len(keys(load_data(tmp_path / "train.parquet").test)) == 2


def test_a_class_called_like_a_split_stays_a_class(tmp_path: Path, write_photo: WritePhoto) -> None:
    for n in range(10):
        write_photo(tmp_path / ("train" if n % 2 else "bus") / f"{n}.png", n)
    data = load_data(tmp_path, ("bus", "train"))
    assert set(per_class(data.train)) == {0, 1}


def test_unclear_or_unusable_roots(tmp_path: Path, write_photo: WritePhoto) -> None:
    with pytest.raises(DataError, match="does not exist"):
        load_data(tmp_path / "gone")
    with pytest.raises(DataError, match="got none"):
        load_data(tmp_path)
    write_photo(tmp_path / "one" / "a.png")
    with pytest.raises(DataError, match="too few"):
        load_data(tmp_path / "one")
    for name in ("val", "validation", "train"):
        write_photo(tmp_path / "two" / name / "a.png")
    with pytest.raises(DataError, match=r"one validation split in .*, got val and validation"):
        load_data(tmp_path / "two")


def test_specs(tmp_path: Path, write_photo: WritePhoto, monkeypatch: pytest.MonkeyPatch) -> None:
    write_photo(tmp_path / "sample" / "a.png")
    monkeypatch.chdir(tmp_path)
    assert load("sample").name == "sample:test"
    assert load("sample", part="calibration").name == "sample:calibration"
    assert load("sample:validation").name == "sample:validation"
    assert keys(load("./sample")) == keys(load(Path("sample"))) == keys(load("folder:sample")) == ["a.png"]
    pq.write_table(pa.table({"image": [b"x"]}), "x.PARQUET")
    assert keys(load("x.PARQUET")) == keys(load("parquet:x.PARQUET")) == ["x.PARQUET#0"]
    with pytest.raises(UnknownNameError, match="Did you mean 'test'"):
        load("sample:tset")
    with pytest.raises(DataError, match="does not exist"):
        load("gone")
