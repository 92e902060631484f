import pytest
import torch
from torch import nn

from pocketlens.ops.scaled_codes import ScaledCodes


def test_gradients_by_hand() -> None:
    """Codes (2, -1) and (0, 3) read (1, 4): -2 and 12, times the scales 0.5 and 0.1, plus the biases."""
    linear = nn.Linear(2, 2)
    linear.weight.data = torch.tensor([[2.0, -1.0], [0.0, 3.0]])
    linear.bias.data = torch.tensor([1.0, 2.0])
    layer = ScaledCodes(linear, torch.tensor([0.5, 0.1]), learned=True)
    y = layer(torch.tensor([[1.0, 4.0]]))
    assert y[0].tolist() == pytest.approx([0, 3.2])
    y.backward(torch.tensor([[10.0, 1.0]]))
    assert layer.step.grad is not None
    assert layer.step.grad.tolist() == [-20, 12]
    assert layer.bias is not None
    assert layer.bias.grad is not None
    assert layer.bias.grad.tolist() == [10, 1]


@pytest.mark.parametrize(
    ("layer", "shape", "scale"),
    [
        (nn.Linear(4, 6), (2, 4), torch.rand(6) + 0.1),
        (nn.Conv2d(4, 6, 3, 2, 1, groups=2), (2, 4, 9, 9), torch.rand(6) + 0.1),
        (nn.Conv2d(4, 6, 3, bias=False), (2, 4, 9, 9), torch.tensor(0.3)),
        (nn.ConvTranspose2d(4, 6, 3, 2), (2, 4, 5, 5), torch.tensor(0.3)),
    ],
    ids=["linear", "grouped", "one scale", "transposed"],
)
def test_it_is_the_layer_on_scaled_weights(layer: nn.Module, shape: tuple[int, ...], scale: torch.Tensor) -> None:
    x = torch.randn(shape)
    codes = torch.randint(-9, 10, layer.weight.shape).float()  # pyright: ignore
    layer.weight.data = codes * (scale.reshape(-1, *[1] * (codes.dim() - 1)) if scale.dim() else scale)  # pyright: ignore
    wanted = layer(x)
    layer.weight.data = codes  # pyright: ignore
    scaled = ScaledCodes(layer, scale, learned=True)  # pyright: ignore[reportArgumentType]
    assert torch.allclose(scaled(x), wanted, atol=1e-5)
    assert set(dict(scaled.named_parameters())) <= {"step", "bias"}


def test_the_codes_are_out_of_reach_of_any_optimizer() -> None:
    linear = nn.Linear(3, 2)
    linear.weight.data = torch.tensor([[1.0, -2.0, 3.0], [0.0, 5.0, 0.0]])
    layer = ScaledCodes(linear, torch.tensor([0.5, 0.1]), learned=True)
    codes = layer.codes.clone()
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, weight_decay=0.1)
    layer(torch.randn(4, 3)).square().sum().backward()
    optimizer.step()
    assert torch.equal(layer.codes, codes)
    assert not torch.equal(layer.value(), torch.tensor([0.5, 0.1]))
