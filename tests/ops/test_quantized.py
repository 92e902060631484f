import torch
from torch import nn

from pocketlens.ops.half import Cast
from pocketlens.ops.quantized import (
    QuantizedConv2d,
    QuantizedConvTranspose2d,
    QuantizeDequantize,
    QuantizedLinear,
)


def test_linear_by_hand() -> None:
    linear = nn.Linear(2, 2)
    nn.init.constant_(linear.bias, 1.0)
    codes = torch.tensor([[1, 2], [3, 4]], dtype=torch.int8)
    leaf = QuantizedLinear.of(linear, codes, torch.tensor([0.5, 0.25]), "int8")
    # (1, 1) -> (0.5 + 1.0, 0.75 + 1.0) + 1
    assert leaf(torch.ones(1, 2)).tolist() == [[2.5, 2.75]]


def test_exact_codes_compute_what_the_convolution_did() -> None:
    torch.manual_seed(0)
    codes = torch.randint(-127, 128, (4, 2, 3, 3), dtype=torch.int8)
    scale = torch.rand(4) + 0.1
    conv = nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=2)
    conv.weight = nn.Parameter(codes * scale.reshape(-1, 1, 1, 1))
    x = torch.randn(2, 4, 9, 9)
    assert torch.allclose(QuantizedConv2d.of(conv, codes, scale, "uint8")(x), conv(x), atol=1e-5)


def test_transposed_convolution_keeps_its_geometry() -> None:
    codes = torch.randint(-7, 8, (3, 5, 3, 3), dtype=torch.int8)
    conv = nn.ConvTranspose2d(3, 5, 3, stride=2, padding=1, output_padding=1)
    conv.weight = nn.Parameter(codes * 0.5)
    x = torch.randn(1, 3, 4, 4)
    assert torch.allclose(QuantizedConvTranspose2d.of(conv, codes, torch.tensor(0.5), "int8")(x), conv(x), atol=1e-5)


def test_integers_live_in_the_state() -> None:
    leaf = QuantizedLinear(torch.ones(2, 3, dtype=torch.int8), torch.ones(2), None, "int8")
    state = leaf.state_dict()
    assert state["codes"].dtype == torch.int8
    assert set(state) == {"codes", "weight_scale"}


def test_grid_leaf_rounds() -> None:
    leaf = QuantizeDequantize(torch.tensor(0.1), torch.tensor(128), 0, 255, "uint8")
    assert torch.allclose(leaf(torch.tensor([0.26, -100.0])), torch.tensor([0.3, -12.8]), atol=1e-6)


def test_cast_changes_the_dtype_and_nothing_else() -> None:
    x = torch.tensor([1.0, 2.5])
    half = Cast("float16")(x)
    assert half.dtype == torch.float16
    assert torch.equal(Cast("float32")(half), x)
