"""Training images: decoded and augmented by worker processes, decoded once as far as memory allows."""

import contextlib
import mmap
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pocketlens.errors import ImageError
from pocketlens.training.augment import Augmenter, Source, shrink, source_for
from pocketlens.training.plan import TrainingPlan
from pocketlens.types import ImageSet, Preprocessing

CACHE_BYTES = 2 * 2**30
"""Decoded pictures take at most this much memory, and at most a quarter of what is free."""

_FEW = 512
"""So few pictures are not worth a worker process."""


@dataclass(frozen=True)
class Ticket:
    """What one place of a batch asks for: an image, its augmentation, and whether teachers need it too."""

    index: int
    view: int
    teachers: bool


@dataclass(frozen=True)
class Pictures:
    """A batch as the workers give it.

    Args:
        student: (n, 3, h, w), uint8.
        teachers: one (m, 3, h, w), uint8, a teacher: those of the batch's images that `asked` names.
        asked: (m,), places in the batch.
        labels: (n,), int64, -1 unknown.
        indices: (n,), of the images in their set.
        unreadable: key -> reason, of images that are not in the batch.
    """

    student: Tensor
    teachers: tuple[Tensor, ...]
    asked: Tensor
    labels: Tensor
    indices: Tensor
    unreadable: dict[str, str]


class DecodedCache:
    """Pictures kept in memory that worker processes share; the first ones of a set, as many as fit.

    Args:
        count: pictures in the set.
        source: how large they are kept.
        limit_bytes: at most this much.
    """

    def __init__(self, count: int, source: Source, limit_bytes: int | None = None) -> None:
        room = min(CACHE_BYTES, psutil.virtual_memory().available // 4) if limit_bytes is None else limit_bytes
        self._slot = source.slot_bytes
        self.slots = min(count, room // self._slot)
        # Anonymous and shared: forked workers write into it, and no file or /dev/shm quota stands behind it.
        self._pixels = np.frombuffer(mmap.mmap(-1, max(1, self.slots * self._slot)), np.uint8)
        self._shapes = np.frombuffer(mmap.mmap(-1, max(4, self.slots * 4)), np.uint16).reshape(-1, 2)

    def get(self, index: int) -> NDArray[np.uint8] | None:
        """(h, w, 3), or None when it is not there."""
        if index >= self.slots or not self._shapes[index, 1]:
            return None
        height, width = (int(n) for n in self._shapes[index])
        start = index * self._slot
        return self._pixels[start : start + 3 * height * width].reshape(height, width, 3)

    def put(self, index: int, pixels: NDArray[np.uint8]) -> None:
        """Keep a picture, if its place exists. The shape comes last: a reader sees all or nothing."""
        if index >= self.slots:
            return
        start = index * self._slot
        self._pixels[start : start + pixels.size] = pixels.reshape(-1)
        self._shapes[index] = pixels.shape[:2]


class _Views(Dataset[Pictures]):
    """Whole batches by their tickets."""

    def __init__(
        self,
        images: ImageSet,
        sizes: tuple[Preprocessing, ...],
        augmenter: Augmenter,
        cache: DecodedCache,
        source: Source,
    ) -> None:
        self._images, self._sizes, self._augmenter = images, sizes, augmenter
        self._cache, self._source = cache, source
        # Taken once: a set builds this tuple anew at each access.
        self._labels: Sequence[int] | None = getattr(images, "labels", None)

    def __getitem__(self, tickets: Sequence[Ticket]) -> Pictures:
        student: list[Tensor] = []
        teachers: list[list[Tensor]] = []
        labels, indices, asked = [], [], []
        unreadable: dict[str, str] = {}
        for ticket in tickets:
            try:
                pixels, label = self._decoded(ticket.index)
            except _UnreadableError as error:
                unreadable[error.key] = str(error)
                continue
            sizes = self._sizes if ticket.teachers else self._sizes[:1]
            mine, *theirs = self._augmenter(pixels, ticket.index, ticket.view, sizes)
            if theirs:
                asked.append(len(student))
                teachers.append(theirs)
            student.append(mine)
            labels.append(label)
            indices.append(ticket.index)
        height, width = self._sizes[0].crop
        return Pictures(
            student=torch.stack(student) if student else torch.empty(0, 3, height, width, dtype=torch.uint8),
            teachers=tuple(torch.stack(views) for views in zip(*teachers, strict=True)),
            asked=torch.tensor(asked, dtype=torch.int64),
            labels=torch.tensor(labels, dtype=torch.int64),
            indices=torch.tensor(indices, dtype=torch.int64),
            unreadable=unreadable,
        )

    def _decoded(self, index: int) -> tuple[NDArray[np.uint8], int]:
        pixels = self._cache.get(index)
        if pixels is not None:
            return pixels, self._images.image(index)[1] if self._labels is None else self._labels[index]
        try:
            picture, label, _ = self._images.image(index)
        except ImageError as error:
            raise _UnreadableError(self._images, index, error) from error
        pixels = shrink(picture, self._source)
        self._cache.put(index, pixels)
        return pixels, label


class _UnreadableError(Exception):
    def __init__(self, images: ImageSet, index: int, error: ImageError) -> None:
        super().__init__(str(error))
        # A set names an image in `skipped` alone, and the whole set's may hold others with the same reason.
        one = images.subset([index])
        with contextlib.suppress(ImageError):
            one.image(0)
        self.key = next(iter(one.skipped), str(index))


class TrainingImages:
    """Feeds a training run.

    Args:
        images: the set.
        sizes: the preprocessing of the student, then of each teacher.
        plan: augmentation.
        seed: of the augmentation.
        workers: processes; None decides by the size of the set.
    """

    def __init__(
        self,
        images: ImageSet,
        sizes: tuple[Preprocessing, ...],
        plan: TrainingPlan,
        seed: int,
        workers: int | None = None,
    ) -> None:
        source = source_for(sizes)
        self.images = images
        cache = DecodedCache(len(images), source)
        self._views = _Views(images, sizes, Augmenter(plan, seed), cache, source)
        forks = sys.platform == "linux"  # elsewhere a worker could not share the cache
        few = len(images) <= _FEW
        self._workers = (0 if few or not forks else 2) if workers is None else workers

    def batches(self, tickets: Sequence[Sequence[Ticket]]) -> Iterator[Pictures]:
        """One batch for each list of tickets, in order; workers run a few ahead."""
        if not self._workers:
            yield from (self._views[batch] for batch in tickets)
            return
        loader = DataLoader(
            self._views,
            batch_size=None,
            sampler=tickets,  # pyright: ignore[reportArgumentType] a sequence of keys is all that it takes
            num_workers=self._workers,
            prefetch_factor=4,
            multiprocessing_context="fork",
        )
        yield from loader


def to_input(pictures: Tensor, preprocessing: Preprocessing, device: torch.device) -> Tensor:
    """(n, 3, h, w), uint8 -> (pixel - mean) / std, float32, channels last, on `device`."""
    mean = torch.tensor(preprocessing.mean, device=device).view(1, 3, 1, 1)
    std = torch.tensor(preprocessing.std, device=device).view(1, 3, 1, 1)
    images = pictures.to(device).contiguous(memory_format=torch.channels_last)
    return (images.float() - mean) / std
