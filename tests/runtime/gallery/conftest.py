"""Small galleries worked by hand, a bundle whose embedding is a picture's colour, and folders of coloured photos."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.runtime.conftest import pack  # noqa: F401 (a fixture)

from pocketlens.bundle.whitening import Whitening
from pocketlens.runtime.gallery.gallery import Backbone, Entry, Gallery, codes

BACKBONE = Backbone(name="colours", fingerprint="ab" * 32, dimensions=3)

MakeGallery = Callable[..., Gallery]

PaintPhotos = Callable[..., Path]


@pytest.fixture
def make_gallery() -> MakeGallery:
    """A gallery of red (two vectors) and green (one), with some of its fields changed."""

    def make(**changes: Any) -> Gallery:
        fields: dict[str, Any] = {
            "name": "colours",
            "kind": "products",
            "backbone": BACKBONE,
            "entries": (Entry(id="red", label="Red", vectors=2), Entry(id="green", label="Grün")),
            "vectors": codes(np.array([[1, 0, 0], [0.8, 0, 0.6], [0, 1, 0]])),
            "threshold": 0.5,
            "margin": 0.1,
            "false_accept_rate": 0.04,
            "created": "2026-01-02T03:04:05+00:00",
            "created_with": "pocketlens test",
        }
        return Gallery(**{**fields, **changes})

    return make


@pytest.fixture
def colour_lens(pack: Callable[..., Path]) -> Path:  # noqa: F811
    """A bundle whose vectors are a picture's mean colour, less middle grey."""
    return pack(whitening=Whitening.of_rows(np.full(3, 0.5), np.eye(3)), force=True)


@pytest.fixture
def paint(tmp_path: Path) -> PaintPhotos:
    """Writes `count` noisy pictures of each colour, as one folder a colour."""

    def write(root: str, count: int = 3, seed: int = 0, **colours: tuple[int, int, int]) -> Path:
        rng = np.random.default_rng(seed)
        for name, colour in colours.items():
            (tmp_path / root / name).mkdir(parents=True, exist_ok=True)
            for place in range(count):
                pixels = np.asarray(colour) + rng.normal(0, 25, (16, 20, 3)) + rng.normal(0, 8, 3)
                picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
                picture.save(tmp_path / root / name / f"{place}.png")
        return tmp_path / root

    return write
