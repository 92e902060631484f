import pytest
import torch

from pocketlens.errors import ConfigError
from pocketlens.ops import affine


def test_quantize_dequantize_by_hand() -> None:
    # scale 0.5, zero point 10, grid 0..20: reals -5.0 .. 5.0 in halves; 0.25 rounds half to even, to 0.
    x = torch.tensor([-9.0, -0.6, 0.25, 0.75, 1.2, 9.0])
    y = affine.quantize_dequantize(x, torch.tensor(0.5), torch.tensor(10, dtype=torch.int32), 0, 20)
    assert y.tolist() == [-5.0, -0.5, 0.0, 1.0, 1.0, 5.0]


def test_values_on_the_grid_stay() -> None:
    grid = torch.arange(-8, 8).float() * 0.125
    y = affine.quantize_dequantize(grid, torch.tensor(0.125), torch.tensor(0, dtype=torch.int32), -8, 7)
    assert torch.equal(y, grid)


def test_quantize_per_channel_by_hand() -> None:
    weight = torch.tensor([[1.0, -0.5], [10.0, 5.0]])
    codes = affine.quantize(weight, torch.tensor([0.01, 0.1]), -127, 127)
    assert codes.dtype == torch.int8
    assert codes.tolist() == [[100, -50], [100, 50]]


def test_dequantize_runs_scale_along_its_axis() -> None:
    codes = torch.tensor([[1, 2], [3, 4]], dtype=torch.int8)
    assert affine.dequantize(codes, torch.tensor([1.0, 10.0]), 0).tolist() == [[1, 2], [30, 40]]
    assert affine.dequantize(codes, torch.tensor([1.0, 10.0]), 1).tolist() == [[1, 20], [3, 40]]
    assert affine.dequantize(codes, torch.tensor(2.0), 0).tolist() == [[2, 4], [6, 8]]


def test_a_range_outside_int8_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"-128\.\.127"):
        affine.quantize(torch.ones(2), torch.tensor(1.0), 0, 255)


def test_error_is_at_most_half_a_step_inside_the_range() -> None:
    x = torch.linspace(-1, 1, 1001)
    scale = torch.tensor(2 / 254)
    y = affine.quantize_dequantize(x, scale, torch.tensor(127, dtype=torch.int32), 0, 255)
    assert float((x - y).abs().max()) <= float(scale) / 2 + 1e-6
