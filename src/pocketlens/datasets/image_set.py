"""The image set behind every source: a frozen list of items that are decoded as they are read."""

from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from pocketlens.datasets.images import preprocess
from pocketlens.errors import ConfigError, DataError, ImageError
from pocketlens.types import Batch, Preprocessing

_THREADS = 2
"""Pillow decodes without the interpreter's lock; more threads would take cores from the model."""

_READ_AHEAD = 8
"""Images decoded before they are asked for: bounds the memory, 5 MB at 224 px."""

_WINDOW = 4096
"""Bytes read at each of three places of a file to tell it from others."""


class Item(Protocol):
    """One image that has not been read yet."""

    @property
    def key(self) -> str:
        """Says which image this is; unique in its set."""
        ...

    @property
    def label(self) -> int:
        """Index of its class in the model's outputs, -1 if unknown."""
        ...

    def open(self) -> Image:
        """The decoded RGB image. Raises ImageError."""
        ...

    def digest(self) -> bytes:
        """A hash of the content, not of the key: equal for two copies. A damaged image has one too."""
        ...


@dataclass(kw_only=True, eq=False)
class LazyImageSet:
    """A finite, ordered set of images. Satisfies `pocketlens.types.ImageSet`.

    Args:
        name: for people and reports.
        items: the images, in order.
        labelled: whether the labels are indices into the model's classes.
        notes: what a reader should know of how the set came about.
    """

    name: str
    items: tuple[Item, ...]
    labelled: bool
    notes: tuple[str, ...] = ()
    _skipped: dict[str, str] = field(default_factory=dict, init=False, repr=False)

    @property
    def skipped(self) -> Mapping[str, str]:
        """Images that could not be read so far: key -> reason."""
        return MappingProxyType(self._skipped)

    @property
    def labels(self) -> tuple[int, ...]:
        """One label an image, -1 where unknown."""
        return tuple(item.label for item in self.items)

    def __len__(self) -> int:
        return len(self.items)

    def image(self, index: int) -> tuple[Image, int, str]:
        """The decoded RGB image at `index`, its label (-1 if unknown) and its key.

        Raises: ImageError; the image is in `skipped` from then on.
        """
        item = self.items[index]
        try:
            return item.open(), item.label, item.key
        except ImageError as error:
            self._skipped[item.key] = str(error)
            raise

    def subset(self, indices: Sequence[int]) -> "LazyImageSet":
        """The images at `indices`, as a set of its own with its own `skipped`."""
        chosen = tuple(self.items[index] for index in indices)
        return LazyImageSet(name=self.name, items=chosen, labelled=self.labelled, notes=self.notes)

    def digests(self) -> tuple[bytes, ...]:
        """One content hash an image: equal for copies of the same image."""
        return tuple(item.digest() for item in self.items)

    def fingerprint(self) -> str:
        """32 hex digits that change when the images, their order, their keys or their labels do."""
        whole = blake2b(digest_size=16)
        for item in self.items:
            whole.update(repr((item.key, item.label, item.digest())).encode())
        return whole.hexdigest()

    def batches(self, preprocessing: Preprocessing, batch_size: int) -> Iterator[Batch]:
        """Yield all readable images in order, the last batch perhaps smaller; threads decode a few ahead.

        Args:
            preprocessing: from a decoded image to the model's input.
            batch_size: images a batch, at least 1.
        Raises: ConfigError for a batch size below 1; DataError at the end if not one image could be read.
        """
        if batch_size < 1:
            raise ConfigError(f"`batch_size` must be at least 1, got {batch_size}")
        return self._batches(preprocessing, batch_size)

    def _batches(self, preprocessing: Preprocessing, batch_size: int) -> Iterator[Batch]:
        inputs: list[NDArray[np.float32]] = []
        items: list[Item] = []
        readable = False
        with closing(self._decoded(preprocessing)) as decoded:
            for item, outcome in decoded:
                if isinstance(outcome, ImageError):
                    self._skipped[item.key] = str(outcome)
                    continue
                readable = True
                inputs.append(outcome)
                items.append(item)
                if len(items) == batch_size:
                    yield _batch(inputs, items)
                    inputs, items = [], []
        if items:
            yield _batch(inputs, items)
        if not readable:
            first = next(iter(self._skipped.values()), "the set is empty")
            raise DataError(f"expected readable images in {self.name}, got none of {len(self)} (the first: {first})")

    def _decoded(
        self, preprocessing: Preprocessing
    ) -> Generator[tuple[Item, NDArray[np.float32] | ImageError], None, None]:
        """Each item with its input or what was wrong with it, in order, at most `_READ_AHEAD` waiting."""
        waiting: deque[tuple[Item, Future[NDArray[np.float32] | ImageError]]] = deque()
        pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="decode")
        try:
            for item in self.items:
                waiting.append((item, pool.submit(_prepare, item, preprocessing)))
                if len(waiting) > _READ_AHEAD:
                    ready, future = waiting.popleft()
                    yield ready, future.result()
            while waiting:
                ready, future = waiting.popleft()
                yield ready, future.result()
        finally:
            pool.shutdown(cancel_futures=True)  # a reader who stops half-way leaves no work behind


def file_digest(path: Path) -> bytes:
    """A hash of a file's size and of 4 KiB at its start, middle and end: tells photos apart, and is quick."""
    content = blake2b(digest_size=16)
    try:
        size = path.stat().st_size
        content.update(size.to_bytes(8, "little"))
        with path.open("rb") as stream:
            for start in (0, (size - _WINDOW) // 2, size - _WINDOW):
                stream.seek(max(0, start))
                content.update(stream.read(_WINDOW))
    except OSError as error:
        content.update(f"unreadable {path} {error.errno}".encode(errors="surrogateescape"))
    return content.digest()


def _prepare(item: Item, preprocessing: Preprocessing) -> NDArray[np.float32] | ImageError:
    try:
        return preprocess(item.open(), preprocessing)
    except ImageError as error:
        return error


def _batch(inputs: list[NDArray[np.float32]], items: list[Item]) -> Batch:
    labels = np.array([item.label for item in items], dtype=np.int64)
    return Batch(images=np.stack(inputs), labels=labels, keys=tuple(item.key for item in items))
