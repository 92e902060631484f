"""From a decoded picture to what a network is trained on. The same (seed, view, image) gives the same pixels."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pocketlens.training.plan import TrainingPlan
from pocketlens.types import Preprocessing

WIDEST = 1.5
"""Pictures are kept with sides of at most this ratio; what lies beyond it at both ends is left out."""

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
_SHIFT = 1 / 8
_RATIO = (3 / 4, 4 / 3)
_MIDDLE_GREY = 128


@dataclass(frozen=True)
class Source:
    """How large decoded pictures are kept.

    Args:
        side: of the short side after resizing, px; None stretches to `exact`.
        exact: (height, width) of every picture, where `side` is None.
    """

    side: int | None
    exact: tuple[int, int]

    @property
    def slot_bytes(self) -> int:
        """The most that one picture takes."""
        if self.side is None:
            return 3 * self.exact[0] * self.exact[1]
        return 3 * self.side * math.ceil(self.side * WIDEST)


def source_for(sizes: tuple[Preprocessing, ...]) -> Source:
    """Pictures large enough for every one of `sizes`."""
    exact = (max(p.crop[0] for p in sizes), max(p.crop[1] for p in sizes))
    sides = [p.resize for p in sizes if p.resize is not None]
    return Source(side=max([*sides, *exact]) if sides else None, exact=exact)


def shrink(picture: Image.Image, source: Source) -> NDArray[np.uint8]:
    """(h, w, 3) pixels of a decoded picture as they are kept: small, and not too wide."""
    if source.side is None:
        height, width = source.exact
        if picture.size != (width, height):
            picture = picture.resize((width, height), Image.Resampling.BICUBIC)
        return np.asarray(picture)
    width, height = picture.size
    longest = min(width, height) * WIDEST
    if max(width, height) > longest:
        cut_x, cut_y = max(0.0, (width - longest) / 2), max(0.0, (height - longest) / 2)
        picture = picture.crop((math.ceil(cut_x), math.ceil(cut_y), int(width - cut_x), int(height - cut_y)))
        width, height = picture.size
    scale = source.side / min(width, height)
    size = (max(source.side, round(width * scale)), max(source.side, round(height * scale)))
    size = (min(size[0], math.ceil(source.side * WIDEST)), min(size[1], math.ceil(source.side * WIDEST)))
    return np.asarray(picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0))


class Augmenter:
    """Cuts, mirrors and distorts kept pictures.

    Args:
        plan: which augmentation, and how strong.
        seed: another one distorts otherwise.
    """

    def __init__(self, plan: TrainingPlan, seed: int) -> None:
        self._plan, self._seed = plan, seed
        self._randaugment = None
        if plan.augment == "randaugment":
            from torchvision.transforms import v2

            self._randaugment = v2.RandAugment(num_ops=2, magnitude=9, fill=_MIDDLE_GREY)

    def __call__(
        self, pixels: NDArray[np.uint8], index: int, view: int, sizes: tuple[Preprocessing, ...]
    ) -> list[torch.Tensor]:
        """One distortion of a picture at several input sizes, for a student and its teachers.

        Args:
            pixels: (h, w, 3).
            index: of the picture in its set.
            view: see TrainingPlan.view.
            sizes: one a network.
        Returns: (3, h, w), uint8, one a network.
        """
        rng = np.random.default_rng((self._seed, view, index))
        draw = rng.random(5)
        lot = int(rng.integers(2**31))
        return [self._one(pixels, size, draw, lot) for size in sizes]

    def _one(self, pixels: NDArray[np.uint8], size: Preprocessing, draw: NDArray[np.float64], lot: int) -> torch.Tensor:
        height, width = size.crop
        if self._plan.augment == "shift":
            cut = _shifted(_centre(pixels, size), draw)
        elif self._plan.augment == "none":
            cut = _centre(pixels, size)
        else:
            box = _random_box(pixels.shape[0], pixels.shape[1], draw, self._plan.smallest_crop)
            picture = Image.fromarray(pixels)
            cut = np.asarray(picture.resize((width, height), _FILTERS[size.interpolation], box=box))
        if self._plan.augment != "none" and draw[4] < 0.5:
            cut = cut[:, ::-1]
        tensor = torch.from_numpy(np.ascontiguousarray(cut.transpose(2, 0, 1)))
        if self._randaugment is not None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(lot)
                tensor = self._randaugment(tensor)
        return tensor


def _centre(pixels: NDArray[np.uint8], size: Preprocessing) -> NDArray[np.uint8]:
    """The centre crop that the preprocessing takes."""
    height, width = size.crop
    if pixels.shape[:2] == (height, width):
        return pixels
    picture = Image.fromarray(pixels)
    if size.resize is None:
        return np.asarray(picture.resize((width, height), _FILTERS[size.interpolation]))
    scale = min(pixels.shape[:2]) / size.resize
    w, h = width * scale, height * scale
    left, top = (pixels.shape[1] - w) / 2, (pixels.shape[0] - h) / 2
    box = (max(left, 0), max(top, 0), min(left + w, pixels.shape[1]), min(top + h, pixels.shape[0]))
    return np.asarray(picture.resize((width, height), _FILTERS[size.interpolation], box=box))


def _shifted(pixels: NDArray[np.uint8], draw: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Moved by up to an eighth each way; black comes in."""
    height, width, _ = pixels.shape
    reach_y, reach_x = round(height * _SHIFT), round(width * _SHIFT)
    wide = np.zeros((height + 2 * reach_y, width + 2 * reach_x, 3), np.uint8)
    wide[reach_y : reach_y + height, reach_x : reach_x + width] = pixels
    top, left = int(draw[0] * (2 * reach_y + 1)), int(draw[1] * (2 * reach_x + 1))
    return wide[top : top + height, left : left + width]


def _random_box(
    height: int, width: int, draw: NDArray[np.float64], smallest: float
) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of a random part (Szegedy et al. 2015, arXiv:1409.4842, section 6)."""
    area = height * width * (smallest + draw[0] * (1 - smallest))
    low, high = (math.log(r) for r in _RATIO)
    ratio = math.exp(low + draw[1] * (high - low))
    w, h = min(math.sqrt(area * ratio), width), min(math.sqrt(area / ratio), height)
    left, top = draw[2] * (width - w), draw[3] * (height - h)
    return left, top, left + w, top + h
