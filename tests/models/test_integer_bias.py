import pytest
import torch
from torch import nn

from pocketlens.errors import ModelError
from pocketlens.models.integer_bias import LARGEST_BIAS, room_for_bias, round_biases
from pocketlens.ops.quantized import QuantizedConv2d, QuantizeDequantize, QuantizedLinear
from pocketlens.targets.by_hand import network


def grid(scale: float) -> QuantizeDequantize:
    return QuantizeDequantize(torch.tensor(scale), torch.tensor(0), 0, 255, "uint8")


def linear(scale: torch.Tensor, bias: list[float]) -> QuantizedLinear:
    return QuantizedLinear(torch.tensor([[2, -3], [127, 0]], dtype=torch.int8), scale, torch.tensor(bias), "int8")


def bias_after(*layers: nn.Module) -> list[float]:
    graph = network(nn.Sequential(*layers), (2, 1, 1)).graph
    round_biases(graph)
    last = graph.get_submodule(str(len(layers) - 1))
    assert isinstance(last, QuantizedConv2d | QuantizedLinear)
    assert last.bias is not None
    return last.bias.tolist()


def test_a_bias_by_hand() -> None:
    layer = linear(torch.tensor([0.25, 0.5]), [1.0, -0.6])
    # Steps of 0.5 * 0.25 = 0.125 and 0.5 * 0.5 = 0.25: 8 of the first, -2.4 of the second.
    assert bias_after(nn.Flatten(1), grid(0.5), layer) == [1.0, -0.5]


def test_one_scale_for_the_layer() -> None:
    assert bias_after(nn.Flatten(1), grid(0.5), linear(torch.tensor(0.5), [0.3, -0.6])) == [0.25, -0.5]


def test_a_layer_that_reads_floats_keeps_its_bias() -> None:
    bias = torch.tensor([1.0, -0.6]).tolist()
    assert bias_after(nn.Flatten(1), linear(torch.tensor([0.25, 0.5]), bias)) == bias


def test_a_grid_is_seen_through_padding() -> None:
    layer = QuantizedConv2d(torch.ones(1, 2, 2, 2, dtype=torch.int8), torch.tensor([0.5]), torch.tensor([0.6]), "int8")
    assert bias_after(grid(0.5), nn.ZeroPad2d((0, 1, 0, 1)), layer) == [0.5]


def test_a_dead_channel_beside_a_large_bias_gets_a_coarser_scale() -> None:
    """5 / (1 * 1e-12) codes would be far beyond 32 bits; the other channel stays as it is."""
    layer = QuantizedConv2d(
        torch.tensor([[[[0]]], [[[100]]]], dtype=torch.int8),
        torch.tensor([1e-12, 0.01]),
        torch.tensor([5.0, 1.0]),
        "int8",
    )
    codes, scale = room_for_bias(layer, torch.tensor(1.0))
    assert codes.ravel().tolist() == [0, 100]
    assert scale.tolist() == pytest.approx([5 / LARGEST_BIAS, 0.01])
    assert bias_after(grid(1.0), layer) == pytest.approx([5.0, 1.0])
    assert layer.weight_scale.tolist() == pytest.approx([5 / LARGEST_BIAS, 0.01])


def test_what_lies_on_the_scale_stays() -> None:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(-127, 128, (64, 32), generator=generator).to(torch.int8)
    scale = torch.rand(64, generator=generator) * 0.01 + 1e-4
    layer = QuantizedLinear(codes, scale, torch.randn(64, generator=generator), "int8")
    graph = network(nn.Sequential(nn.Flatten(1), grid(0.037), layer), (32, 1, 1)).graph
    round_biases(graph)
    assert layer.bias is not None
    once = layer.bias.clone()
    round_biases(graph)
    assert torch.equal(layer.bias, once)


def test_a_bias_that_is_no_number_is_named() -> None:
    graph = network(nn.Sequential(nn.Flatten(1), grid(0.5), linear(torch.tensor(0.5), [1.0, float("inf")])), (2, 1, 1))
    with pytest.raises(ModelError, match=r"bias of _2 holds NaN or infinity"):
        round_biases(graph.graph)
