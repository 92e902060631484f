import pytest
import torch
from torch import nn

from pocketlens.ops import patches
from pocketlens.ops.quantized import QuantizedConv2d, QuantizedLinear

CONVOLUTIONS = {
    "pointwise": nn.Conv2d(6, 4, 1),
    "padded and strided": nn.Conv2d(6, 4, 3, 2, 1),
    "depthwise": nn.Conv2d(6, 6, 5, 2, 2, groups=6),
    "grouped and dilated": nn.Conv2d(6, 4, (3, 2), (1, 2), (2, 0), dilation=(2, 1), groups=2),
}


def quantized(layer: nn.Conv2d) -> QuantizedConv2d:
    codes = torch.randint(-9, 9, layer.weight.shape, dtype=torch.int8)
    return QuantizedConv2d.of(layer, codes, torch.rand(len(codes)) + 0.1, "int8")


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_product_of_patches_is_the_convolution(name: str) -> None:
    layer = quantized(CONVOLUTIONS[name])
    x = torch.randn(2, 6, 9, 11)
    y = layer(x)
    at = patches.draw(layer, y, 40, torch.Generator().manual_seed(0))
    weight = patches.by_group(layer, layer.weight)
    assert layer.bias is not None
    bias = layer.bias.reshape(len(weight), 1, -1)
    product = torch.bmm(patches.inputs_at(layer, x, at), weight.transpose(1, 2)) + bias
    assert torch.allclose(product, patches.outputs_at(layer, y, at), atol=1e-4)


def test_a_linear_layer_on_tokens() -> None:
    layer = QuantizedLinear(torch.randint(-9, 9, (3, 5), dtype=torch.int8), torch.ones(3), None, "int8")
    x = torch.randn(2, 7, 5)
    y = layer(x)
    at = patches.draw(layer, y, 100, torch.Generator())
    assert sorted(at[0].tolist()) == list(range(14))
    product = torch.bmm(patches.inputs_at(layer, x, at), patches.by_group(layer, layer.weight).transpose(1, 2))
    assert torch.allclose(product, patches.outputs_at(layer, y, at), atol=1e-4)


def test_positions_by_hand() -> None:
    """One pixel of one image: the patch is what a 3 x 3 window reads there, zeros outside."""
    layer = quantized(nn.Conv2d(1, 1, 3, padding=1))
    x = torch.arange(9.0).reshape(1, 1, 3, 3)
    at = (torch.tensor([0]), torch.tensor([0]), torch.tensor([1]))
    assert patches.inputs_at(layer, x, at).flatten().tolist() == [0, 0, 0, 0, 1, 2, 3, 4, 5]
