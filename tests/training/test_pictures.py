import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import SPEC

from pocketlens.datasets.folder import folder
from pocketlens.errors import ConfigError
from pocketlens.training.augment import Source
from pocketlens.training.pictures import DecodedCache, Pictures, Ticket, TrainingImages, to_input
from pocketlens.training.plan import TrainingPlan
from pocketlens.types import ImageSet, Preprocessing

SIZE = SPEC.preprocessing
LARGE = replace(SIZE, resize=40, crop=(40, 40))


def fed(
    images: ImageSet, tickets: Sequence[Sequence[Ticket]], sizes: tuple[Preprocessing, ...] = (SIZE,), **given: Any
) -> list[Pictures]:
    plan = TrainingPlan(augment=given.pop("augment", "crop"))
    return list(TrainingImages(images, sizes, plan, given.pop("seed", 0), **given).batches(tickets))


def tickets(*indices: int, view: int = 0, teachers: bool = False) -> list[Ticket]:
    return [Ticket(i, view, teachers) for i in indices]


def same(one: Pictures, other: Pictures) -> bool:
    fields = ("student", "asked", "labels", "indices")
    return (
        all(torch.equal(getattr(one, f), getattr(other, f)) for f in fields)
        and len(one.teachers) == len(other.teachers)
        and all(torch.equal(a, b) for a, b in zip(one.teachers, other.teachers, strict=True))
        and one.unreadable == other.unreadable
    )


def test_a_batch_by_hand(images: ImageSet) -> None:
    (got,) = fed(images, [tickets(0, 23, 7)], augment="none")
    assert got.student.shape == (3, 3, 32, 32)
    assert got.student.dtype == torch.uint8
    assert got.labels.tolist() == [images.image(i)[1] for i in (0, 23, 7)] == [0, 3, 1]
    assert got.indices.tolist() == [0, 23, 7]
    assert got.teachers == ()
    assert got.asked.tolist() == []
    # What training sees is what validation sees, up to the order of resizing and cutting.
    whole = next(iter(images.subset([0, 23, 7]).batches(SIZE, 3))).images
    assert np.abs(to_input(got.student, SIZE, torch.device("cpu")).numpy() - whole).mean() * 64 < 8


def test_teachers_get_pictures_of_those_that_are_asked_alone(images: ImageSet) -> None:
    batch = [Ticket(4, 0, False), Ticket(9, 0, True), Ticket(2, 0, False), Ticket(11, 0, True)]
    (got,) = fed(images, [batch], (SIZE, SIZE, LARGE))
    assert got.asked.tolist() == [1, 3]
    same_size, larger = got.teachers
    assert torch.equal(same_size, got.student[[1, 3]])
    assert larger.shape == (2, 3, 40, 40)


def test_the_same_ticket_gives_the_same_pixels_and_another_view_others(images: ImageSet) -> None:
    one, again, other = fed(images, [tickets(0, 1), tickets(0, 1), tickets(0, 1, view=1)])
    assert same(one, again)
    assert not torch.equal(one.student, other.student)
    (elsewhere,) = fed(images, [tickets(5, 1)])
    assert torch.equal(elsewhere.student[1], one.student[1]), "neighbours do not matter"
    (seeded,) = fed(images, [tickets(0, 1)], seed=1)
    assert not torch.equal(seeded.student, one.student)


def test_workers_change_nothing(images: ImageSet) -> None:
    batches = [tickets(*range(i, i + 6), view=view, teachers=view == 1) for view in (0, 1) for i in range(0, 24, 6)]
    alone = fed(images, batches, (SIZE, LARGE), augment="randaugment", workers=0)
    helped = fed(images, batches, (SIZE, LARGE), augment="randaugment", workers=2)
    assert len(alone) == len(helped) == 8
    assert all(same(a, b) for a, b in zip(alone, helped, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_is_decoded_once(photos: Path, tmp_path: Path, workers: int) -> None:
    """Deleted after the first look, so that the second can only come from memory; workers share it."""
    shutil.copytree(photos, tmp_path / "photos")
    images = folder(tmp_path / "photos", SPEC.class_ids, SPEC.labels)
    feed = TrainingImages(images, (SIZE,), TrainingPlan(), seed=0, workers=workers)
    first = list(feed.batches([tickets(0, 1, 2, 3)]))
    shutil.rmtree(tmp_path / "photos")
    second = list(feed.batches([tickets(3, 2), tickets(1, 0)]))
    assert all(not pictures.unreadable for pictures in second)
    assert torch.equal(torch.cat([p.student for p in second]), first[0].student.flip(0))
    assert second[0].labels.tolist() == first[0].labels.flip(0)[:2].tolist()


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_images_are_left_out_and_named(photos: Path, tmp_path: Path, workers: int) -> None:
    shutil.copytree(photos, tmp_path / "photos")
    (tmp_path / "photos" / "cat" / "1.png").write_bytes(b"broken")
    images = folder(tmp_path / "photos", SPEC.class_ids, SPEC.labels)
    one, alone = fed(images, [tickets(0, 1, 2, teachers=True), tickets(1)], (SIZE, SIZE), workers=workers)
    assert one.indices.tolist() == [0, 2]
    assert one.asked.tolist() == [0, 1]
    assert list(one.unreadable) == list(alone.unreadable) == ["cat/1.png"]
    assert "expected one of JPEG, PNG" in one.unreadable["cat/1.png"]
    assert alone.student.shape == (0, 3, 32, 32)
    assert alone.labels.tolist() == []


def test_each_broken_image_bears_its_own_name(photos: Path, tmp_path: Path) -> None:
    """Both for the same reason, after both were already met elsewhere."""
    shutil.copytree(photos, tmp_path / "photos")
    for place in (1, 3):
        (tmp_path / "photos" / "cat" / f"{place}.png").write_bytes(b"broken")
    images = folder(tmp_path / "photos", SPEC.class_ids, SPEC.labels)
    list(images.batches(SIZE, 8))
    first, second = fed(images, [tickets(0, 1), tickets(2, 3)])
    assert list(first.unreadable) == ["cat/1.png"]
    assert list(second.unreadable) == ["cat/3.png"]


def test_a_full_cache_keeps_the_first_and_loses_nothing() -> None:
    source = Source(side=4, exact=(4, 4))
    cache = DecodedCache(5, source, limit_bytes=2 * source.slot_bytes + 1)
    assert cache.slots == 2
    pictures = [np.full((4, 4 + i % 3, 3), i, np.uint8) for i in range(5)]
    for index, pixels in enumerate(pictures):
        assert cache.get(index) is None
        cache.put(index, pixels)
    for index in (0, 1):
        kept = cache.get(index)
        assert kept is not None
        assert np.array_equal(kept, pictures[index])
    assert all(cache.get(index) is None for index in (2, 3, 4))


def test_no_memory_for_a_cache_is_no_reason_to_stop() -> None:
    cache = DecodedCache(3, Source(side=4, exact=(4, 4)), limit_bytes=0)
    cache.put(0, np.zeros((4, 4, 3), np.uint8))
    assert cache.get(0) is None


def test_pixels_become_input_by_hand() -> None:
    pictures = torch.tensor([10, 20, 30], dtype=torch.uint8).view(1, 3, 1, 1).expand(2, 3, 2, 2)
    size = Preprocessing(resize=None, crop=(2, 2), mean=(10.0, 10.0, 0.0), std=(1.0, 2.0, 60.0))
    got = to_input(pictures, size, torch.device("cpu"))
    assert got.dtype == torch.float32
    assert got.is_contiguous(memory_format=torch.channels_last)
    assert got[1, :, 1, 0].tolist() == [0.0, 5.0, 0.5]


def test_a_wrong_size_cannot_be_asked_for() -> None:
    with pytest.raises(ConfigError, match="`resize` must be at least the crop"):
        replace(SIZE, crop=(40, 40))
