from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from tests.conftest import SPEC
from torch import nn

from pocketlens.errors import ConfigError
from pocketlens.models.canonical import canonicalise
from pocketlens.passes.equalize_channels import EqualizeChannels
from pocketlens.types import Context, Model


def network(*layers: nn.Module) -> Model:
    """Layers in a row from 3 channels to 4 classes, with ranges that differ a hundredfold."""
    torch.manual_seed(0)
    module = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(4)).eval()
    module(torch.zeros(2, 3, 32, 32))
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.data *= torch.logspace(-1, 1, layer.out_channels)[:, None, None, None]
    model = canonicalise(module, SPEC)
    return replace(model, facts=frozenset({"folded"}))


def triple(activation: Callable[[], nn.Module]) -> Model:
    return network(
        nn.Conv2d(3, 8, 1), activation(), nn.Conv2d(8, 8, 3, 1, 1, groups=8), activation(), nn.Conv2d(8, 6, 1)
    )


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky": nn.LeakyReLU,
    "prelu": lambda: nn.PReLU(8),
    "pool": lambda: nn.MaxPool2d(3, 1, 1),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_function_stays_and_ranges_meet(name: str, context: Context) -> None:
    model = triple(ACTIVATIONS[name])
    result = EqualizeChannels()(model, context)
    x = torch.randn(4, 3, 32, 32)
    wanted = model.graph(x).detach()
    assert torch.allclose(result.model.graph(x), wanted, atol=1e-4 * float(wanted.abs().max()))
    assert result.record.summary["pairs"] == 3
    for layer in result.record.layers[:2]:
        assert layer["spread_after"] < layer["spread_before"]
        assert layer["held_channels"] == 0


def test_by_hand(context: Context) -> None:
    """Ranges 8 and 2 become 4 and 4: the first weight and bias are halved, the second is doubled."""
    model = network(nn.Conv2d(3, 1, 1), nn.ReLU(), nn.Conv2d(1, 1, 1))
    first, second = (m for m in model.graph.modules() if isinstance(m, nn.Conv2d))
    assert first.bias is not None
    first.weight.data, first.bias.data = torch.tensor([8.0, 1.0, -4.0]).reshape(1, 3, 1, 1), torch.tensor([6.0])
    second.weight.data = torch.full((1, 1, 1, 1), 2.0)
    result = EqualizeChannels(iterations=1)(model, context).model.graph
    first, second = (m for m in result.modules() if isinstance(m, nn.Conv2d))
    assert first.weight.flatten().tolist() == [4.0, 0.5, -2.0]
    assert first.bias is not None
    assert first.bias.tolist() == [3.0]
    # the second pair, into the classifier, takes its share of 4 afterwards
    linear = next(m for m in result.modules() if isinstance(m, nn.Linear))
    assert torch.allclose(second.weight.abs().max(), linear.weight.abs().max())


def test_relu6_moves_only_what_cannot_reach_six(context: Context) -> None:
    """Channels with small weights are proven below 6 and move; the others are held, and 6 stays out of reach."""
    model = network(nn.Conv2d(3, 8, 1), nn.ReLU6(), nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.ReLU6(), nn.Conv2d(8, 6, 1))
    result = EqualizeChannels()(model, context)
    x = torch.randn(4, 3, 32, 32) * 5
    wanted = model.graph(x).detach()
    assert torch.allclose(result.model.graph(x), wanted, atol=1e-4 * float(wanted.abs().max()))
    first, second = result.record.layers[:2]
    assert first["held_channels"] == 8  # nothing confines the input image
    assert 0 < second["held_channels"] < 8
    assert any("ReLU6" in note for note in result.record.notes)


def test_a_second_run_changes_nothing(context: Context) -> None:
    once = EqualizeChannels(iterations=200, tolerance=1e-6)(triple(nn.ReLU), context).model
    again = EqualizeChannels()(once, context)
    assert again.record.summary["sweeps"] == 1


def test_a_dead_channel_stays_dead_and_finite(context: Context) -> None:
    model = triple(nn.ReLU)
    first = next(m for m in model.graph.modules() if isinstance(m, nn.Conv2d))
    first.weight.data[2] = 0
    graph = EqualizeChannels()(model, context).model.graph
    assert all(torch.isfinite(p).all() for p in graph.parameters())


def test_a_layer_with_two_readers_is_left(tiny: Model, context: Context) -> None:
    """The stem of TinyNet feeds a shortcut: only the block's inside links up."""
    result = EqualizeChannels()(replace(tiny, facts=frozenset({"folded"})), context)
    assert "stem_0" not in {layer["layer"] for layer in result.record.layers}


def test_bad_fields() -> None:
    with pytest.raises(ConfigError, match="iterations"):
        EqualizeChannels(iterations=0)
    with pytest.raises(ConfigError, match="tolerance"):
        EqualizeChannels(tolerance=0)
