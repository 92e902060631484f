"""The built-in sample: photos that scikit-image and scikit-learn carry in their wheels, in many crops.

It shows that everything works without a download. A few photos, however often they are cropped, do not say
how accurate a model is.

    python -m pocketlens.datasets.sample FOLDER     writes a few whole photos as JPEG
"""

import sys
from dataclasses import dataclass
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Literal, get_args

from PIL import Image

from pocketlens.datasets.image_set import LazyImageSet, file_digest
from pocketlens.datasets.images import open_image
from pocketlens.errors import DataError, UnknownNameError

SampleKind = Literal["calibration", "validation", "test"]

_FOLDERS = {"skimage": "data", "sklearn": "datasets/images"}
"""Package -> where in it the photos lie."""

# No photo is in two splits, and the two of a stereo pair are in the same.
_PHOTOS: dict[SampleKind, tuple[str, ...]] = {
    "calibration": (
        "astronaut.png",
        "china.jpg",
        "motorcycle_left.png",
        "motorcycle_right.png",
        "gravel.png",
        "retina.jpg",
        "hubble_deep_field.jpg",
    ),
    "validation": ("flower.jpg", "camera.png", "brick.png", "ihc.png"),
    "test": ("chelsea.png", "coffee.png", "rocket.jpg", "coins.png", "grass.png"),
}

_COUNTS: dict[SampleKind, int] = {"calibration": 64, "validation": 32, "test": 64}

_SHOWN = (
    "chelsea.png",
    "coffee.png",
    "astronaut.png",
    "rocket.jpg",
    "motorcycle_left.png",
    "china.jpg",
    "flower.jpg",
)
"""Photos of something that a model can name."""

_SMALLEST = 0.5
"""The least share of a photo's width, and of its height, that a crop keeps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CropItem:
    """A part of a photo. See `image_set.Item`.

    Args:
        key: photo and number, for example "coffee.png#3".
        label: always -1, since the photos are no model's classes.
        path: of the photo.
        box: left, top, right, bottom as fractions of the photo.
        mirrored: whether left and right are swapped.
    """

    key: str
    label: int = -1
    path: Path
    box: tuple[float, float, float, float]
    mirrored: bool

    def open(self) -> Image.Image:
        """The decoded RGB crop. Raises ImageError."""
        photo = open_image(self.path)
        left, top, right, bottom = self.box
        crop = photo.crop(
            (
                round(left * photo.width),
                round(top * photo.height),
                round(right * photo.width),
                round(bottom * photo.height),
            )
        )
        return crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if self.mirrored else crop

    def digest(self) -> bytes:
        """A hash of the photo and the part of it."""
        part = repr((self.box, self.mirrored)).encode()
        return blake2b(file_digest(self.path) + part, digest_size=16).digest()


def sample(kind: SampleKind) -> LazyImageSet:
    """One split of the sample: 64 calibration, 32 validation or 64 test images, unlabelled, always the same.

    Raises: UnknownNameError for another kind; DataError if the two packages are not installed.
    """
    if kind not in get_args(SampleKind):
        raise UnknownNameError("part of the sample", kind, get_args(SampleKind))
    paths = _find(_PHOTOS[kind])
    items = tuple(_crop(paths[n % len(paths)], n // len(paths)) for n in range(_COUNTS[kind]))
    return LazyImageSet(name=f"sample:{kind}", items=items, labelled=False)


def sample_photos() -> tuple[tuple[str, Image.Image], ...]:
    """A few whole photos that show what a model recognises: (name, RGB image) each.

    Raises: DataError if the two packages are not installed.
    """
    return tuple((path.stem, open_image(path)) for path in _find(_SHOWN))


def write_photos(folder: Path) -> tuple[Path, ...]:
    """Write `sample_photos` into a folder as JPEG files, and return these."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, photo in sample_photos():
        path = folder / f"{name}.jpg"
        photo.save(path, quality=92)
        written.append(path)
    return tuple(written)


def _find(names: tuple[str, ...]) -> tuple[Path, ...]:
    """Where the photos lie; one that another version of a package does not carry is left out."""
    folders: list[Path] = []
    for package, inside in _FOLDERS.items():
        spec = find_spec(package)  # locates without importing, which would take a second
        if spec is None or not spec.submodule_search_locations:
            raise DataError(
                "the built-in sample needs the photos that scikit-image and scikit-learn carry, but "
                f"{package} is not installed; install both: pip install 'pocketlens[optimize]'"
            )
        folders += [Path(place) / inside for place in spec.submodule_search_locations]
    paths = tuple(folder / name for name in names for folder in folders if (folder / name).is_file())
    if not paths:
        raise DataError(
            f"expected photos like {names[0]} in {', '.join(map(str, folders))}, got none; "
            "reinstall both packages from their wheels, or give images of your own"
        )
    return paths


def _crop(path: Path, number: int) -> CropItem:
    """The whole photo first, then parts of it. Depends on the photo's name and the number alone."""
    key = f"{path.name}#{number}"
    if number == 0:
        return CropItem(key=key, path=path, box=(0.0, 0.0, 1.0, 1.0), mirrored=False)
    dice = Random(key)  # of all its methods, only random() is promised to stay the same between Python versions
    width, height = (_SMALLEST + (1 - _SMALLEST) * dice.random() for _ in range(2))
    left, top = (1 - width) * dice.random(), (1 - height) * dice.random()
    return CropItem(key=key, path=path, box=(left, top, left + width, top + height), mirrored=dice.random() < 0.5)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m pocketlens.datasets.sample FOLDER")
    for photo in write_photos(Path(sys.argv[1])):
        print(photo)
