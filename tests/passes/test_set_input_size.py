from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pocketlens.datasets.images import preprocess
from pocketlens.errors import ConfigError, UnsupportedModelError
from pocketlens.models import sources
from pocketlens.models.cost import count_macs
from pocketlens.passes.set_input_size import SetInputSize
from pocketlens.types import Context, Model


def test_work_falls_with_the_square_and_the_preprocessing_follows(context: Context) -> None:
    model = sources.load("efficientnet_lite0", weights=Path("random"))
    result = SetInputSize(size=112)(model, context).model
    assert result.spec.input_shape == (3, 112, 112)
    assert result.spec.preprocessing.crop == (112, 112)
    assert result.spec.preprocessing.resize == 128
    assert count_macs(result) == pytest.approx(count_macs(model) / 4, rel=0.1)  # padding rounds up
    assert model.spec.input_shape == (3, 224, 224)


def test_the_same_part_of_the_picture_is_seen(context: Context) -> None:
    model = sources.load("efficientnet_lite0", weights=Path("random"))
    small = SetInputSize(size=112)(model, context).model
    across = np.linspace(0, 255, 400, dtype=np.uint8)
    picture = Image.fromarray(np.broadcast_to(across[None, :, None], (300, 400, 3)).copy())
    fine, coarse = (preprocess(picture, m.spec.preprocessing) for m in (model, small))
    assert coarse[0, 0, 0] == pytest.approx(fine[0, 0, 0], abs=0.03)
    assert coarse[0, 0, -1] == pytest.approx(fine[0, 0, -1], abs=0.03)


def test_its_own_size_is_the_identity(tiny: Model, context: Context) -> None:
    result = SetInputSize(size=32)(tiny, context).model
    assert result.spec == tiny.spec
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(result.graph(x), tiny.graph(x))


def test_a_network_made_for_one_size_is_named(context: Context) -> None:
    model = sources.load("timm:vit_tiny_patch16_224", weights=Path("random"))
    with pytest.raises(UnsupportedModelError, match="224 x 224 px only"):
        SetInputSize(size=160)(model, context)


def test_a_silly_size_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"8..4096 px, got 0"):
        SetInputSize(size=0)
