"""Images: preprocessing, batches, sets, splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from pocketlens.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How a decoded RGB image becomes the model's input: resize, centre crop, (pixel - mean) / std.

    Args:
        resize: length of the short side after resizing, px; None resizes straight to `crop`.
        crop: (height, width) of the centre crop, px; this is the model's input size.
        interpolation: "bilinear" or "bicubic" (Pillow's antialiased filters), or "nearest".
        mean: per channel, in pixel units 0..255.
        std: per channel, in pixel units, > 0.
    """

    resize: int | None
    crop: tuple[int, int]
    interpolation: Literal["nearest", "bilinear", "bicubic"] = "bicubic"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (255.0, 255.0, 255.0)

    def __post_init__(self) -> None:
        if min(self.crop) < 1 or max(self.crop) > 4096:
            raise ConfigError(f"`crop` must lie in 1..4096 px a side, got {self.crop}")
        if self.resize is not None and not max(self.crop) <= self.resize <= 8192:
            raise ConfigError(f"`resize` must be at least the crop {self.crop} and at most 8192, got {self.resize}")
        if self.interpolation not in ("nearest", "bilinear", "bicubic"):
            raise ConfigError(f"`interpolation` must be nearest, bilinear or bicubic, got {self.interpolation!r}")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ConfigError(f"`mean` and `std` need 3 values, `std` > 0, got {self.mean} and {self.std}")


@dataclass(frozen=True)
class Batch:
    """Some preprocessed images.

    Args:
        images: (n, 3, h, w), float32.
        labels: (n,), int64; -1 where the label is unknown.
        keys: n names that say which image each is (a path, or `file.parquet#17`).
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    keys: tuple[str, ...]


@runtime_checkable
class ImageSet(Protocol):
    """A finite, ordered, re-iterable set of images that is decoded as it is read (memory stays flat)."""

    name: str

    @property
    def labelled(self) -> bool:
        """Whether the images carry labels that the model's classes know."""
        ...

    @property
    def skipped(self) -> Mapping[str, str]:
        """Images that could not be read so far: key -> reason."""
        ...

    def __len__(self) -> int: ...

    def batches(self, preprocessing: Preprocessing, batch_size: int) -> Iterator[Batch]:
        """Yield all readable images in a fixed order; unreadable ones land in `skipped`."""
        ...

    def image(self, index: int) -> tuple[Image, int, str]:
        """The decoded RGB image at `index`, its label (-1 if unknown) and its key. Raises ImageError."""
        ...

    def subset(self, indices: Sequence[int]) -> ImageSet:
        """The images at `indices`, as a set of its own."""
        ...

    def fingerprint(self) -> str:
        """A short hash that changes when the images, their order or their labels do."""
        ...


@dataclass(frozen=True, kw_only=True)
class Data:
    """The four splits. Passes read the first three; only the final measurement reads `test`."""

    train: ImageSet | None = None
    calibration: ImageSet | None = None
    validation: ImageSet | None = None
    test: ImageSet | None = None
