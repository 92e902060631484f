from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from pocketlens.datasets.images import preprocess
from pocketlens.training.augment import WIDEST, Augmenter, Source, shrink, source_for
from pocketlens.training.pictures import to_input
from pocketlens.training.plan import AUGMENTATIONS, TrainingPlan
from pocketlens.types import Preprocessing

SIZE = Preprocessing(resize=32, crop=(32, 32), interpolation="bilinear")


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def ramp(height: int, width: int) -> NDArray[np.uint8]:
    """Grows to the right in red, downwards in green: tells where a pixel comes from."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.linspace(10, 240, width)
    pixels[..., 1] = np.linspace(10, 240, height)[:, None]
    return pixels


def distorted(
    pixels: NDArray[np.uint8], *, index: int = 0, view: int = 0, seed: int = 0, **fields: Any
) -> torch.Tensor:
    (only,) = Augmenter(TrainingPlan(**fields), seed)(pixels, index, view, (SIZE,))
    return only


def test_none_on_a_picture_of_the_right_size_is_the_identity() -> None:
    pixels = noise(32, 32)
    assert np.array_equal(distorted(pixels, augment="none").numpy(), pixels.transpose(2, 0, 1))


@pytest.mark.parametrize("shape", [(40, 40), (40, 56), (60, 40)])
@pytest.mark.parametrize(
    "size", [SIZE, replace(SIZE, resize=40), replace(SIZE, resize=None)], ids=["32", "40", "exact"]
)
def test_none_is_what_the_network_is_measured_on(shape: tuple[int, int], size: Preprocessing) -> None:
    """Up to the rounding of one filter instead of two."""
    smooth = Image.fromarray(ramp(*shape)).resize((shape[1], shape[0]))
    (got,) = Augmenter(TrainingPlan(augment="none"), 0)(np.asarray(smooth), 0, 0, (size,))
    input_ = to_input(got[None], size, torch.device("cpu"))[0].numpy() * 255
    assert np.abs(input_ - preprocess(smooth, size) * 255).mean() < 3


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_the_same_draw_gives_the_same_pixels(augment: str) -> None:
    pixels = noise(44, 40)
    one, again = (distorted(pixels, index=3, view=2, seed=1, augment=augment) for _ in range(2))
    assert one.shape == (3, 32, 32)
    assert one.dtype == torch.uint8
    assert torch.equal(one, again)


@pytest.mark.parametrize("augment", [a for a in AUGMENTATIONS if a != "none"])
@pytest.mark.parametrize("other", [{"view": 3}, {"index": 4}, {"seed": 2}], ids=["view", "index", "seed"])
def test_another_draw_gives_other_pixels(augment: str, other: dict[str, int]) -> None:
    pixels = noise(44, 40)
    same = {"index": 3, "view": 2, "seed": 1}
    one, changed = (distorted(pixels, augment=augment, **d) for d in (same, same | other))  # pyright: ignore
    assert not torch.equal(one, changed)


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_the_global_generator_is_left_alone(augment: str) -> None:
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    distorted(noise(40, 40), augment=augment)
    assert torch.equal(torch.rand(4), wanted)


def test_none_is_the_same_in_every_view() -> None:
    pixels = noise(44, 40)
    assert torch.equal(distorted(pixels, view=0, augment="none"), distorted(pixels, view=9, augment="none"))


def test_a_shift_moves_by_at_most_an_eighth_and_mirrors() -> None:
    pixels = noise(32, 32)
    wide = np.zeros((40, 40, 3), np.uint8)
    wide[4:36, 4:36] = pixels
    places = set()
    for view in range(60):
        got = distorted(pixels, view=view, augment="shift").numpy().transpose(1, 2, 0)
        found = [
            (top, left, mirrored)
            for top in range(9)
            for left in range(9)
            for mirrored in (False, True)
            if np.array_equal(got[:, ::-1] if mirrored else got, wide[top : top + 32, left : left + 32])
        ]
        assert len(found) == 1
        places |= set(found)
    assert {mirrored for _, _, mirrored in places} == {False, True}
    assert {min(top for top, _, _ in places), max(top for top, _, _ in places)} == {0, 8}


def test_a_crop_takes_no_less_than_asked() -> None:
    """Seen by how much of a ramp is left: shares of width and height multiply to the area."""
    pixels = ramp(64, 64)
    areas = []
    for view in range(40):
        got = distorted(pixels, view=view, augment="crop", smallest_crop=0.5).numpy().astype(float)
        across, down = (np.ptp(got[c]) / 230 for c in (0, 1))
        areas.append(across * down)
    assert 0.42 < min(areas) < 0.7  # the outermost pixels' centres lie inside the box
    assert max(areas) > 0.8


def test_a_whole_crop_is_the_picture_or_its_mirror() -> None:
    """smallest_crop = 1 leaves only the ratio; of a square picture no more than a quarter of a side goes."""
    pixels = ramp(32, 32)
    got = distorted(pixels, augment="crop", smallest_crop=1.0).numpy().astype(float)
    assert np.ptp(got[0]) > 0.8 * 230
    assert np.ptp(got[1]) > 0.8 * 230


def test_student_and_teacher_see_the_same_part() -> None:
    large = replace(SIZE, resize=64, crop=(64, 64))
    for view in range(4):
        small, big = Augmenter(TrainingPlan(augment="crop"), 0)(ramp(80, 96), 0, view, (SIZE, large))
        assert small.shape == (3, 32, 32)
        assert big.shape == (3, 64, 64)
        halved = torch.nn.functional.avg_pool2d(big[None].float(), 2)[0]
        assert float((halved - small.float()).abs().mean()) < 3


def test_the_source_is_large_enough_for_all() -> None:
    assert source_for((SIZE,)) == Source(side=32, exact=(32, 32))
    other = Preprocessing(resize=None, crop=(48, 24))
    assert source_for((SIZE, other)) == Source(side=48, exact=(48, 32))
    assert source_for((other,)) == Source(side=None, exact=(48, 24))
    assert source_for((other,)).slot_bytes == 3 * 48 * 24
    assert Source(side=33, exact=(1, 1)).slot_bytes == 3 * 33 * 50


@pytest.mark.parametrize("size", [(32, 32), (32, 40), (200, 64), (64, 1000), (7, 5), (33, 999), (1, 1)])
def test_a_kept_picture_fits_its_place(size: tuple[int, int]) -> None:
    source = Source(side=32, exact=(32, 32))
    kept = shrink(Image.fromarray(noise(size[1], size[0])), source)
    assert min(kept.shape[:2]) == 32
    assert max(kept.shape[:2]) <= np.ceil(32 * WIDEST)
    assert kept.nbytes <= source.slot_bytes
    assert kept.dtype == np.uint8


def test_what_is_kept_of_a_panorama_is_its_middle() -> None:
    pixels = np.zeros((40, 400, 3), np.uint8)
    pixels[:, 180:220] = 200
    kept = shrink(Image.fromarray(pixels), Source(side=40, exact=(40, 40)))
    assert kept.shape == (40, 60, 3)
    assert (kept[:, 14:46, 0] > 190).all()
    assert (kept[:, :6, 0] < 10).all()
    assert (kept[:, -6:, 0] < 10).all()


def test_where_the_size_is_exact_proportions_go() -> None:
    pixels = noise(48, 24)
    source = Source(side=None, exact=(48, 24))
    assert np.array_equal(shrink(Image.fromarray(pixels), source), pixels)
    assert shrink(Image.fromarray(noise(10, 90)), source).shape == (48, 24, 3)
