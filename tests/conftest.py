"""Small real networks and images that many tests share."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from pocketlens.datasets.folder import folder
from pocketlens.models.canonical import canonicalise
from pocketlens.types import Context, Data, ImageSet, Model, ModelSpec, Preprocessing

torch.set_num_threads(1)  # faster on the small networks of tests, and steady while other things run

SHARED = Path(__file__).resolve().parents[2] / "shared"

SPEC = ModelSpec(
    name="tiny",
    input_shape=(3, 32, 32),
    preprocessing=Preprocessing(resize=32, crop=(32, 32), interpolation="bilinear", mean=(127.0,) * 3, std=(64.0,) * 3),
    class_ids=("cat", "dog", "fish", "owl"),
    labels=("cat", "dog", "fish", "owl"),
)


class TinyNet(nn.Module):
    """A mobile network in small: stem, inverted residual with depthwise convolution, pooling, classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.expand = nn.Sequential(nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6())
        self.depthwise = nn.Sequential(
            nn.Conv2d(16, 16, 3, 1, 1, groups=16, bias=False), nn.BatchNorm2d(16), nn.ReLU6()
        )
        self.project = nn.Sequential(nn.Conv2d(16, 8, 1, bias=False), nn.BatchNorm2d(8))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.project(self.depthwise(self.expand(x)))
        return self.classifier(self.pool(x).flatten(1))


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    """Batch norm statistics as a trained network has them, not the ones and zeros of a new one."""
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.normal_(0, 0.3, generator=generator)
            layer.running_var.uniform_(0.3, 2, generator=generator)
            layer.weight.data.uniform_(0.5, 1.5, generator=generator)
            layer.bias.data.normal_(0, 0.3, generator=generator)
    return module.eval()


@pytest.fixture
def tiny() -> Model:
    """A TinyNet as a canonical graph."""
    torch.manual_seed(0)
    return canonicalise(randomised(TinyNet()), SPEC)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 small pictures in four class folders: coloured gradients with noise, different a class."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    across = np.linspace(0, 255, 40)
    for index, name in enumerate(SPEC.class_ids):
        (root / name).mkdir()
        for place in range(6):
            pixels = np.zeros((40, 48, 3))
            pixels[..., index % 3] = across[:, None]
            pixels += rng.normal(90, 40, pixels.shape)
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / name / f"{place}.png")
    return root


@pytest.fixture
def images(photos: Path) -> ImageSet:
    """The pictures as a labelled set."""
    return folder(photos, SPEC.class_ids, SPEC.labels)


@pytest.fixture
def context(tiny: Model, images: ImageSet, tmp_path: Path) -> Context:
    """What a pass may use, with the pictures as calibration and validation."""
    return Context(data=Data(train=images, calibration=images, validation=images), original=tiny, work=tmp_path)
