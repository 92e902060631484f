import pytest

from pocketlens.datasets.choose import left_over, spread_evenly, teaching_images
from pocketlens.errors import DataError
from pocketlens.types import Data, ImageSet


def test_images_at_equal_distances(images: ImageSet) -> None:
    """The set is sorted by class, six of each: four of them are one of each."""
    assert [spread_evenly(images, 4).image(i)[1] for i in range(4)] == [0, 1, 2, 3]


def test_a_smaller_set_is_taken_whole(images: ImageSet) -> None:
    assert spread_evenly(images, 24) is images
    assert spread_evenly(images, 1000) is images


def test_what_is_left_over_is_the_rest(images: ImageSet) -> None:
    rest = left_over(images, 4)
    assert rest is not None
    assert len(rest) == 20
    taken = {spread_evenly(images, 4).image(i)[2] for i in range(4)}
    assert not taken & {rest.image(i)[2] for i in range(20)}
    assert left_over(images, 24) is None


def test_train_images_teach_else_calibration_images(images: ImageSet) -> None:
    some = images.subset(range(5))
    assert teaching_images(Data(train=some, calibration=images)) is some
    assert teaching_images(Data(calibration=images)) is images


def test_too_few_to_learn_from(images: ImageSet) -> None:
    for data in (Data(), Data(train=images.subset([0]))):
        with pytest.raises(DataError, match="at least 2"):
            teaching_images(data)
