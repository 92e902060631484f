"""Which images a technique looks at: the ones to learn from, and some of them, spread evenly."""

from pocketlens.errors import DataError
from pocketlens.types import Data, ImageSet


def spread_evenly(images: ImageSet, count: int) -> ImageSet:
    """At most `count` images at equal distances, since sets are often sorted by class; all where there are fewer."""
    total = len(images)
    return images.subset([i * total // count for i in range(count)]) if count < total else images


def left_over(images: ImageSet, count: int) -> ImageSet | None:
    """What `spread_evenly` leaves; None when it takes all."""
    total = len(images)
    taken = {i * total // count for i in range(count)}
    return images.subset([i for i in range(total) if i not in taken]) if count < total else None


def teaching_images(data: Data) -> ImageSet:
    """Train images, else calibration images. Raises DataError where there are not even two."""
    images = data.train if data.train is not None else data.calibration
    if images is None or len(images) < 2:
        raise DataError(
            "this needs train or calibration images, at least 2: give --data a folder with train/ or class folders"
        )
    return images
