import threading
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocketlens.datasets.folder import folder
from pocketlens.datasets.image_set import LazyImageSet, file_digest
from pocketlens.errors import ConfigError, DataError, ImageError
from pocketlens.types import ImageSet, Preprocessing

WritePhoto = Callable[..., Path]
PLAIN = Preprocessing(resize=None, crop=(4, 4), std=(1.0, 1.0, 1.0))


@dataclass(frozen=True, kw_only=True)
class Grey:
    """A picture of one grey; 255 cannot be read."""

    label: int
    size: int = 4

    @property
    def key(self) -> str:
        return f"grey {self.label}"

    def open(self) -> Image.Image:
        if self.label == 255:
            raise ImageError("too bright")
        return Image.new("RGB", (self.size, self.size), (self.label % 255,) * 3)

    def digest(self) -> bytes:
        return bytes([self.label % 256])


def greys(*values: int) -> LazyImageSet:
    return LazyImageSet(name="greys", items=tuple(Grey(label=value) for value in values), labelled=True)


def test_satisfies_the_protocol() -> None:
    assert isinstance(greys(1), ImageSet)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_batches_keep_the_order(batch_size: int) -> None:
    images = greys(*range(50))
    batches = list(images.batches(PLAIN, batch_size))
    assert [len(b.keys) for b in batches[:-1]] == [batch_size] * (len(batches) - 1)
    labels = np.concatenate([b.labels for b in batches])
    assert labels.dtype == np.int64
    assert labels.tolist() == list(range(50))
    pixels = np.concatenate([b.images for b in batches])
    assert (pixels.shape, pixels.dtype) == ((50, 3, 4, 4), np.float32)
    assert pixels[:, 0, 0, 0].tolist() == list(range(50))
    assert [key for b in batches for key in b.keys] == [f"grey {n}" for n in range(50)]


def test_can_be_read_again_and_again() -> None:
    images = greys(3, 1, 2)
    assert [next(images.batches(PLAIN, 3)).labels.tolist() for _ in range(2)] == [[3, 1, 2]] * 2


def test_unreadable_images_are_skipped_and_named() -> None:
    images = greys(1, 255, 2)
    assert dict(images.skipped) == {}
    assert next(images.batches(PLAIN, 8)).labels.tolist() == [1, 2]
    assert dict(images.skipped) == {"grey 255": "too bright"}
    assert dict(images.subset([0]).skipped) == {}


def test_image_names_what_it_cannot_read() -> None:
    images = greys(9, 255)
    image, label, key = images.image(0)
    assert (image.getpixel((0, 0)), label, key) == ((9, 9, 9), 9, "grey 9")
    with pytest.raises(ImageError, match="too bright"):
        images.image(1)
    assert list(images.skipped) == ["grey 255"]


def test_nothing_readable_is_an_error() -> None:
    with pytest.raises(DataError, match=r"greys, got none of 2 \(the first: too bright\)"):
        list(greys(255, 255).batches(PLAIN, 8))
    with pytest.raises(DataError, match="the set is empty"):
        list(greys().batches(PLAIN, 8))


def test_a_wrong_batch_size_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        greys(1).batches(PLAIN, 0)


def test_an_error_that_is_no_images_fault_comes_through() -> None:
    class Broken(Grey):
        def open(self) -> Image.Image:
            raise DataError("the archive is corrupt")

    images = LazyImageSet(name="x", items=(Grey(label=1), Broken(label=2)), labelled=False)
    with pytest.raises(DataError, match="archive"):
        list(images.batches(PLAIN, 1))


def test_a_reader_who_stops_leaves_no_thread_and_few_images_behind() -> None:
    opened: Counter[int] = Counter()

    class Counted(Grey):
        def open(self) -> Image.Image:
            opened[self.label] += 1
            return super().open()

    images = LazyImageSet(name="x", items=tuple(Counted(label=n) for n in range(200)), labelled=False)
    stream = images.batches(PLAIN, 2)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert sum(opened.values()) <= 12
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_fingerprint_sees_order_labels_and_content(tmp_path: Path, write_photo: WritePhoto) -> None:
    images = greys(1, 2, 3)
    assert images.fingerprint() == greys(1, 2, 3).fingerprint()
    others = [greys(1, 3, 2), greys(1, 2), images.subset([0, 1, 1])]
    assert len({images.fingerprint(), *(other.fingerprint() for other in others)}) == 4

    write_photo(tmp_path / "ant" / "a.png", 1)
    labelled, bare = folder(tmp_path, ("bee", "ant")).fingerprint(), folder(tmp_path).fingerprint()
    assert labelled != bare
    path = write_photo(tmp_path / "ant" / "a.png", 2)
    changed = folder(tmp_path).fingerprint()
    assert changed != bare
    path.touch()
    assert folder(tmp_path).fingerprint() == changed


def test_file_digest_samples_start_middle_and_end(tmp_path: Path) -> None:
    content = bytearray(100_000)
    seen = set()
    for place in (None, 0, 50_000, 99_999):
        changed = bytearray(content)
        if place is not None:
            changed[place] = 1
        path = tmp_path / "x"
        path.write_bytes(changed)
        seen.add(file_digest(path))
    path.write_bytes(content + b"\0")
    seen.add(file_digest(path))
    assert len(seen) == 5
    assert file_digest(tmp_path / "gone") not in seen


def test_memory_does_not_grow_with_the_number_of_images() -> None:
    settings = Preprocessing(resize=None, crop=(64, 64))

    def peak_bytes(count: int) -> int:
        items = tuple(Grey(label=n % 200, size=64) for n in range(count))
        images = LazyImageSet(name="x", items=items, labelled=False)
        tracemalloc.start()
        try:
            assert sum(len(batch.keys) for batch in images.batches(settings, 8)) == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak_bytes(8)  # what the first use imports is not the set's
    short, long = peak_bytes(30), peak_bytes(300)
    # 300 inputs of 64 px would be 15 MB; the few that are alive at once are about 1.5 MB.
    assert long < 1.5 * short
    assert long < 4e6
