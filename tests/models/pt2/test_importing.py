import warnings
from pathlib import Path

import pytest
import torch
from tests.models.exports import NETWORKS, as_program, network
from torch import Tensor, nn
from torch.nn import functional as F

from pocketlens.errors import ConfigError, UnsupportedModelError
from pocketlens.models import vocabulary
from pocketlens.models.pt2.importing import import_program


@pytest.mark.parametrize(
    ("name", "fixed", "core"),
    [
        ("torchvision:mobilenet_v2", True, False),
        ("torchvision:shufflenet_v2_x0_5", False, False),
        ("resnet18", False, True),
        ("tf_efficientnet_lite0", False, False),
        ("mobilenetv3_small_050", False, True),
        ("convnext_atto", False, False),
        ("vit_tiny_patch16_224", True, False),
        ("levit_128s", False, False),
    ],
)
def test_programs_come_in_exactly(name: str, fixed: bool, core: bool, tmp_path: Path) -> None:
    module, side = network(name), NETWORKS[name]
    as_program(module, tmp_path / "m.pt2", side, fixed=fixed, core=core)
    graph, shape = import_program(tmp_path / "m.pt2")
    assert shape == (3, side, side)
    assert "other" not in {vocabulary.kind(graph, n) for n in graph.graph.nodes}
    x = torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        assert torch.allclose(graph(x), module(x), atol=1e-5, rtol=1e-4)


def test_layers_and_norms_keep_their_names(program: Path) -> None:
    graph, _ = import_program(program)
    assert [n.name for n in graph.graph.nodes][:4] == ["x", "stem_0", "stem_1", "hardtanh"]
    assert [vocabulary.kind(graph, n) for n in graph.graph.nodes][:4] == ["input", "conv", "batchnorm", "relu6"]


class Odds(nn.Module):
    """What the networks above do not use."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(3, 4, 3, 2, 1, 1)
        self.slope = nn.PReLU(4)
        self.norm = nn.GroupNorm(2, 4)
        self.scale = nn.Parameter(torch.rand(4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.slope(self.up(x)))
        x = F.elu(x) + F.leaky_relu(x, 0.3) - F.mish(x) * torch.exp(-x.clamp(-1, 2))
        x = F.interpolate(F.pad(x, (1, 0, 0, 1)), scale_factor=2.0, mode="bilinear") * self.scale.sigmoid()
        a, b = F.max_pool2d(x, 2).chunk(2, dim=1)
        x = torch.stack((a, b.roll(1, 3)), dim=1).flatten(1, 2)
        x = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)[:, 1:, ::2]
        return (
            F.adaptive_max_pool2d(x, 1).squeeze(-1).squeeze(-1) / 3.0 + x.amax((2, 3)) + x.sum(dim=(2, 3)).softmax(-1)
        )


def test_odd_operators_come_in(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Odds().eval()
    as_program(module, tmp_path / "m.pt2", 16, fixed=False)
    graph, _ = import_program(tmp_path / "m.pt2")
    x = torch.randn(3, 3, 16, 16)
    with torch.inference_mode():
        assert torch.allclose(graph(x), module(x), atol=1e-5)


class Fourier(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.fft(x).real.mean((2, 3))


class Aliased(nn.Module):
    """Changes a tensor while a view of it is in use."""

    def forward(self, x: Tensor) -> Tensor:
        y = x * 2
        view = y.flatten(1)
        y.mul_(3)
        return view


class TwoOutputs(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.mean((2, 3)), x


@pytest.mark.parametrize(
    ("module", "word"),
    [
        (Fourier(), r"aten\.\w*fft\w*\.default \(\w+\).*no such operator"),
        (Aliased(), "in place"),
        (TwoOutputs(), "one output"),
    ],
    ids=["fourier", "aliased", "two outputs"],
)
def test_what_cannot_be_expressed_is_named(module: nn.Module, word: str, tmp_path: Path) -> None:
    as_program(module.eval(), tmp_path / "m.pt2", 8, fixed=False)
    with pytest.raises(UnsupportedModelError, match=word):
        import_program(tmp_path / "m.pt2")


def test_a_program_in_training_is_refused(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten()).train()
        program = torch.export.export(module, (torch.randn(1, 3, 4, 4),)).run_decompositions()
        torch.export.save(program, tmp_path / "m.pt2")
    with pytest.raises(UnsupportedModelError, match=r"\.eval\(\)"):
        import_program(tmp_path / "m.pt2")


def test_a_fixed_size_is_obeyed(program: Path) -> None:
    with pytest.raises(ConfigError, match="32 x 32"):
        import_program(program, (64, 64))
