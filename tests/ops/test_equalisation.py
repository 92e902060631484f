import pytest
import torch
from torch import nn

from pocketlens.ops.equalisation import (
    Scalable,
    blocks,
    equalising_factors,
    incoming_ranges,
    outgoing_ranges,
    rescale,
    upper_bounds,
)


def test_factors_by_hand() -> None:
    """Ranges 8 and 2 meet at 4: s = sqrt(8 / 2) = 2. Dead channels on either side stay."""
    factors = equalising_factors(torch.tensor([8.0, 0.0, 3.0]), torch.tensor([2.0, 5.0, 0.0]))
    assert torch.equal(factors, torch.tensor([2.0, 1.0, 1.0]))


def test_ranges_of_a_grouped_convolution_by_hand() -> None:
    layer = nn.Conv2d(4, 2, 1, groups=2)
    layer.weight.data = torch.tensor([[1.0, -3.0], [2.0, 0.5]]).reshape(2, 2, 1, 1)
    assert outgoing_ranges(layer).tolist() == [3.0, 2.0]
    assert incoming_ranges(layer).tolist() == [1.0, 3.0, 2.0, 0.5]


def test_upper_bounds_by_hand() -> None:
    """6 x (1 + 2) - 1 = 17: a negative weight helps nothing to rise."""
    layer = nn.Linear(3, 1)
    layer.weight.data, layer.bias.data = torch.tensor([[1.0, 2.0, -4.0]]), torch.tensor([-1.0])
    assert upper_bounds(layer, 6.0).tolist() == [17.0]


LAYERS = {
    "dense": lambda: (nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3)),
    "depthwise": lambda: (nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, groups=4)),
    "after depthwise": lambda: (nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 2, 1)),
    "grouped": lambda: (nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 6, 1, groups=2)),
    "transposed": lambda: (nn.ConvTranspose2d(4, 6, 2, groups=2), nn.ConvTranspose2d(6, 4, 2, groups=2)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_rescaling_keeps_the_function(name: str) -> None:
    torch.manual_seed(0)
    first, second = LAYERS[name]()
    channels = len(outgoing_ranges(first))
    x = torch.randn(2, first.in_channels, 8, 8)
    wanted = second(torch.relu(first(x)))
    rescale(first, second, torch.rand(channels) * 3 + 0.1)
    assert torch.allclose(second(torch.relu(first(x))), wanted, atol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_equal_ranges_afterwards(name: str) -> None:
    first, second = LAYERS[name]()
    rescale(first, second, equalising_factors(outgoing_ranges(first), incoming_ranges(second)))
    assert torch.allclose(outgoing_ranges(first), incoming_ranges(second), rtol=1e-4)


def test_blocks_are_views() -> None:
    layer: Scalable = nn.ConvTranspose2d(4, 6, 2, groups=2)
    blocks(layer).zero_()
    assert not layer.weight.any()
