"""The app's preprocessing is Python's, bit for bit."""

from dataclasses import asdict
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image
from tests.app.jobs import RunJobs, write_pixels

from pocketlens.datasets.images import preprocess
from pocketlens.errors import ImageError
from pocketlens.types import Preprocessing

ROUNDS = 40

INTERPOLATIONS: tuple[Literal["nearest", "bilinear", "bicubic"], ...] = ("nearest", "bilinear", "bicubic")


def _random_case(rng: np.random.Generator) -> tuple[np.ndarray, Preprocessing]:
    """A picture of any size, and how to preprocess it."""
    low, high = ((1, 40), (20, 300), (300, 900))[rng.integers(3)]
    width, height = (int(side) for side in rng.integers(low, high, 2))
    height = min(height, 50 * width)
    width = min(width, 50 * height)
    # Noise of extremes: bicubic overshoots most there, so that clipping between the passes shows.
    pixels = (
        rng.integers(0, 256, (height, width, 3)) if rng.random() < 0.5 else 255 * rng.integers(0, 2, (height, width, 3))
    )
    crop = (int(rng.integers(1, 65)), int(rng.integers(1, 65)))
    resize = None if rng.random() < 0.5 else max(crop) + int(rng.integers(0, 40))
    preprocessing = Preprocessing(
        resize=resize,
        crop=crop,
        interpolation=INTERPOLATIONS[rng.integers(3)],
        mean=_three(rng.uniform(0, 255, 3)),
        std=_three(rng.uniform(0.1, 255, 3)),
    )
    return pixels.astype(np.uint8), preprocessing


def _three(values: np.ndarray) -> tuple[float, float, float]:
    red, green, blue = values.tolist()
    return red, green, blue


@pytest.mark.parametrize("seed", range(3))
def test_pixels_are_those_of_pillow(seed: int, tmp_path: Path, run_jobs: RunJobs) -> None:
    rng = np.random.default_rng(seed)
    jobs, expected = [], []
    for index in range(ROUNDS):
        pixels, preprocessing = _random_case(rng)
        region = None
        seen = pixels
        if rng.random() < 0.4:
            height, width = (int(rng.integers(max(1, side // 2), side + 1)) for side in pixels.shape[:2])
            y, x = (int(rng.integers(0, 1 + a - b)) for a, b in zip(pixels.shape[:2], (height, width), strict=True))
            region = {"x": x, "y": y, "width": width, "height": height}
            seen = pixels[y : y + height, x : x + width]
        fields = write_pixels(tmp_path, f"{index}.rgba", pixels) | {
            "region": region,
            "preprocessing": asdict(preprocessing),
        }
        for simd in (False, True):
            jobs.append({"task": "preprocess", "simd": simd, "out": f"{index}.{simd}", **fields})
            expected.append(preprocess(Image.fromarray(seen), preprocessing))
    for job, result, wanted in zip(jobs, run_jobs(tmp_path, jobs), expected, strict=True):
        assert "failure" not in result, (job, result)
        found = np.frombuffer((tmp_path / job["out"]).read_bytes(), np.float32).reshape(wanted.shape)
        np.testing.assert_array_equal(found, wanted, err_msg=str(job))


@pytest.mark.parametrize("size", [(1280, 720), (720, 1280), (1080, 1080), (480, 3000)], ids=str)
@pytest.mark.parametrize("resize", [None, 256])
def test_a_frame_is_seen_alike(size: tuple[int, int], resize: int | None, tmp_path: Path, run_jobs: RunJobs) -> None:
    width, height = size
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    mean, std = (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)
    preprocessing = Preprocessing(resize=resize, crop=(224, 224), mean=mean, std=std)
    fields = write_pixels(tmp_path, "frame", pixels) | {"region": None, "preprocessing": asdict(preprocessing)}
    (result,) = run_jobs(tmp_path, [{"task": "preprocess", "simd": True, "out": "input", **fields}])
    assert "failure" not in result, result
    wanted = preprocess(Image.fromarray(pixels), preprocessing)
    found = np.frombuffer((tmp_path / "input").read_bytes(), np.float32).reshape(wanted.shape)
    np.testing.assert_array_equal(found, wanted)


def test_a_hair_is_refused_by_both(tmp_path: Path, run_jobs: RunJobs) -> None:
    pixels = np.zeros((1, 60000, 3), np.uint8)
    preprocessing = Preprocessing(resize=256, crop=(8, 8))
    fields = write_pixels(tmp_path, "hair", pixels) | {"region": None, "preprocessing": asdict(preprocessing)}
    (result,) = run_jobs(tmp_path, [{"task": "preprocess", "simd": True, "out": "input", **fields}])
    assert result["failure"]["code"] == "frame"
    with pytest.raises(ImageError, match="ordinary proportions"):
        preprocess(Image.fromarray(pixels), preprocessing)
