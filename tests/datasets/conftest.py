from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

WritePhoto = Callable[..., Path]


@pytest.fixture
def write_photo() -> WritePhoto:
    """Writes a small noisy picture; different seeds give different content."""

    def write(path: Path, seed: int = 0, size: tuple[int, int] = (40, 32)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        return path

    return write
