import torch
from tests.conftest import SPEC
from torch import Tensor, nn

from pocketlens.models import sources
from pocketlens.models.canonical import canonicalise
from pocketlens.models.cost import count_macs, count_parameters, layer_costs
from pocketlens.passes.fold_batch_norm import FoldBatchNorm
from pocketlens.passes.quantize_static import QuantizeStatic
from pocketlens.types import Context, IntegerFormat, Model, Scheme


class Grouped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, stride=2, padding=1, groups=3, bias=False)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x).mean((2, 3)))


def test_by_hand() -> None:
    costs = {c.name: c for c in layer_costs(canonicalise(Grouped(), SPEC))}
    # 16 x 16 outputs, 6 channels, each from 1 channel through 3 x 3
    assert costs["conv"].macs == 16 * 16 * 6 * 9
    assert costs["conv"].parameters == 54
    assert costs["conv"].output_shape == (6, 16, 16)
    assert (costs["head"].macs, costs["head"].parameters) == (24, 28)


class Attention(nn.Module):
    """One tensor as query, key and value, then a linear function on a bare parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(4, 8))

    def forward(self, x: Tensor) -> Tensor:
        tokens = nn.functional.avg_pool2d(x, 8).reshape(x.shape[0], 6, 8)
        tokens = nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)
        return nn.functional.linear(tokens.mean(1), self.weight)


def test_attention_by_hand() -> None:
    costs = {c.kind: c for c in layer_costs(canonicalise(Attention(), SPEC))}
    # 6 tokens of 8 numbers: 6 x 6 products of 8, then 6 sums of 6 tokens of 8
    assert costs["attention"].macs == 6 * 6 * 8 + 6 * 6 * 8
    assert costs["linear_function"].macs == 4 * 8
    assert costs["tensor"].parameters == 32


def test_efficientnet_lite0() -> None:
    model = sources.load("efficientnet_lite0")
    assert count_parameters(model) == 4_652_008
    assert 380e6 < count_macs(model) < 400e6


def test_integers_cost_what_floats_do(tiny: Model, context: Context) -> None:
    scheme = Scheme(
        name="u8s8",
        activation=IntegerFormat(storage="uint8", qmin=0, qmax=255),
        weight=IntegerFormat(storage="int8", qmin=-127, qmax=127, zero_point=0),
    )
    folded = FoldBatchNorm()(tiny, context).model
    quantized = QuantizeStatic(scheme=scheme)(folded, context).model
    assert count_macs(quantized) == count_macs(folded)
    assert count_parameters(quantized) == count_parameters(folded)
    assert torch.isfinite(quantized.graph(torch.randn(1, 3, 32, 32))).all()
