import pytest
import torch
from tests.conftest import SPEC, randomised
from torch import Tensor, nn

from pocketlens.models import vocabulary
from pocketlens.models.canonical import canonicalise
from pocketlens.passes.fold_batch_norm import FoldBatchNorm
from pocketlens.types import Context, Model


class OneConv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1, bias=False)
        self.norm = nn.BatchNorm2d(4, eps=0.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).mean((2, 3))


def test_by_hand(context: Context) -> None:
    module = OneConv().eval()
    nn.init.ones_(module.conv.weight)
    module.norm.running_mean = torch.tensor([1.0, 0.0, 0.0, 0.0])
    module.norm.running_var = torch.tensor([4.0, 1.0, 1.0, 1.0])
    module.norm.weight.data = torch.tensor([3.0, 1.0, 1.0, 1.0])
    module.norm.bias.data = torch.tensor([0.5, 0.0, 0.0, 0.0])
    folded = FoldBatchNorm()(canonicalise(module, SPEC), context).model
    conv = next(m for m in folded.graph.modules() if isinstance(m, nn.Conv2d))
    # gain 3 / sqrt(4) = 1.5; shift 0.5 - 1 * 1.5 = -1.0
    assert conv.weight[0].flatten().tolist() == [1.5, 1.5, 1.5]
    assert conv.bias is not None
    assert conv.bias[0].item() == pytest.approx(-1.0)


def test_it_is_numerically_neutral(tiny: Model, context: Context) -> None:
    result = FoldBatchNorm()(tiny, context)
    x = torch.randn(4, 3, 32, 32)
    assert torch.allclose(result.model.graph(x), tiny.graph(x), atol=1e-4)
    assert result.record.summary == {"folded": 4, "kept": 0}
    assert "batchnorm" not in result.model.facts
    kinds = {vocabulary.kind(result.model.graph, n) for n in result.model.graph.graph.nodes}
    assert "batchnorm" not in kinds


class PreActivation(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.norm(x)).mean((2, 3))


def test_a_norm_that_nothing_can_absorb_stays_and_is_named(context: Context) -> None:
    model = canonicalise(randomised(PreActivation()), SPEC)
    result = FoldBatchNorm()(model, context)
    x = torch.randn(2, 3, 32, 32)
    assert torch.allclose(result.model.graph(x), model.graph(x), atol=1e-5)
    assert result.record.summary["kept"] == 1
    assert "norm" in result.record.notes[0]
    assert "batchnorm" in result.model.facts


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.norm = nn.BatchNorm2d(3)
        self.head = nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(self.norm(self.conv(x)))).mean((2, 3))


def test_a_convolution_called_twice_is_not_folded(context: Context) -> None:
    model = canonicalise(randomised(Shared()), SPEC)
    result = FoldBatchNorm()(model, context)
    x = torch.randn(2, 3, 32, 32)
    assert torch.allclose(result.model.graph(x), model.graph(x), atol=1e-5)
    assert result.record.summary["folded"] == 0
