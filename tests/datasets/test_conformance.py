"""What every kind of dataset must do. A new kind needs an example here and passes the rest unasked."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet as pq

from pocketlens.datasets.image_set import LazyImageSet
from pocketlens.datasets.images import preprocess
from pocketlens.datasets.splits import DATASETS
from pocketlens.types import ImageSet, Preprocessing

IDS = ("ant", "bee", "cat")
SETTINGS = Preprocessing(resize=20, crop=(16, 12), mean=(120.0, 110.0, 100.0), std=(60.0, 58.0, 57.0))


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 30, 3), dtype=np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def make_folder(place: Path, seed: int) -> str:
    for n in range(10):
        file = place / "photos" / IDS[2 * (n % 2)] / f"{n}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(seed + n) if n != 4 else b"damaged")
    return str(place / "photos")


def make_parquet(place: Path, seed: int) -> str:
    images = [png(seed + n) if n != 4 else b"damaged" for n in range(10)]
    table = pa.table({"image": images, "label": [2 * (n % 2) for n in range(10)]})
    pq.write_table(table, place / "photos.parquet", row_group_size=3)
    return str(place / "photos.parquet")


def make_sample(place: Path, seed: int) -> str:
    return "validation" if seed == 0 else "test"


EXAMPLES: dict[str, Callable[[Path, int], str]] = {
    "folder": make_folder,
    "parquet": make_parquet,
    "sample": make_sample,
}
"""Kind -> makes an example in a folder and says where; another seed makes other images."""


@pytest.fixture(params=sorted(DATASETS))
def kind(request: pytest.FixtureRequest) -> str:
    assert request.param in EXAMPLES, f"add an example of {request.param!r} to EXAMPLES"
    return request.param


@pytest.fixture
def make(kind: str, tmp_path: Path) -> Callable[..., LazyImageSet]:
    def make_set(seed: int = 0, class_ids: tuple[str, ...] = IDS) -> LazyImageSet:
        return DATASETS[kind](EXAMPLES[kind](tmp_path, seed), class_ids, ())

    return make_set


@pytest.fixture
def images(make: Callable[..., LazyImageSet]) -> LazyImageSet:
    return make()


def test_is_an_image_set(images: LazyImageSet) -> None:
    assert isinstance(images, ImageSet)
    assert images.name
    assert len(images) > 0
    assert not images.skipped


def test_keys_are_unique_and_the_order_is_stable(make: Callable[..., LazyImageSet]) -> None:
    first, second = ([(item.key, item.label) for item in make().items] for _ in range(2))
    assert first == second
    assert len({key for key, _ in first}) == len(first)


def test_labels_are_outputs_of_the_model(images: LazyImageSet) -> None:
    assert set(images.labels) <= ({0, 1, 2} if images.labelled else {-1})


def test_batches_hold_every_readable_image_once(images: LazyImageSet) -> None:
    batches = list(images.batches(SETTINGS, 4))
    keys = [key for batch in batches for key in batch.keys]
    assert len(keys) == len(images) - len(images.skipped)
    assert keys == [item.key for item in images.items if item.key not in images.skipped]
    assert all(len(batch.keys) == 4 for batch in batches[:-1])
    for batch in batches:
        assert batch.images.shape == (len(batch.keys), 3, 16, 12)
        assert (batch.images.dtype, batch.labels.dtype) == (np.float32, np.int64)
        assert len(batch.labels) == len(batch.keys)


def test_preprocessing_is_applied_to_the_image(images: LazyImageSet) -> None:
    batch = next(images.batches(SETTINGS, 2))
    for index in range(2):
        image, label, key = images.image(index)
        assert image.mode == "RGB"
        assert (label, key) == (batch.labels[index], batch.keys[index])
        assert np.array_equal(batch.images[index], preprocess(image, SETTINGS))


def test_the_fingerprint_is_stable_and_sensitive(make: Callable[..., LazyImageSet]) -> None:
    images = make()
    same = make().fingerprint()
    assert images.fingerprint() == same
    reversed_order = images.subset(range(len(images))[::-1])
    assert len({same, reversed_order.fingerprint(), images.subset(range(1, len(images))).fingerprint()}) == 3
    assert make(seed=100).fingerprint() != same


def test_a_digest_is_of_the_content(images: LazyImageSet) -> None:
    digests = images.digests()
    assert len(set(digests)) == len(digests) == len(images)


def test_a_subset_is_a_set_of_its_own(images: LazyImageSet) -> None:
    list(images.batches(SETTINGS, 8))
    part = images.subset([3, 0])
    assert isinstance(part, ImageSet)
    assert (len(part), part.labelled, dict(part.skipped)) == (2, images.labelled, {})
    batch = next(part.batches(SETTINGS, 8))
    assert batch.keys == (images.items[3].key, images.items[0].key)
    assert batch.labels.tolist() == [images.labels[3], images.labels[0]]
