from dataclasses import replace

import torch
from tests.conftest import SPEC
from torch import Tensor, nn

from pocketlens.models.canonical import canonicalise
from pocketlens.models.hazards import hazards
from pocketlens.types import Model

UNNAMED = replace(SPEC, class_ids=(), labels=())


def test_a_sound_network_has_none(tiny: Model) -> None:
    assert hazards(tiny) == ()


def test_dead_channels_and_wild_ranges_are_told(tiny: Model) -> None:
    layers = {n: m for n, m in tiny.graph.named_modules() if isinstance(m, nn.Conv2d)}
    layers["expand_0"].weight.data[3] = 0
    layers["depthwise_0"].weight.data[0] *= 1000
    told = " ".join(hazards(tiny))
    assert "expand_0: 1 dead channels" in told
    assert "depthwise_0: depthwise ranges differ" in told
    assert torch.isfinite(tiny.graph(torch.randn(1, 3, 32, 32))).all()


class Gated(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.hardswish(x) * x.mean((2, 3), keepdim=True).sigmoid()
        return x.mean((2, 3))


class Joined(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, x * self.factor), 1).mean((2, 3))


def test_swish_and_gates_are_told() -> None:
    told = hazards(canonicalise(Gated(), UNNAMED))
    assert [sentence.split()[0] for sentence in told] == ["swish", "squeeze-and-excite"]


def test_joins_of_unlike_ranges_are_told() -> None:
    assert hazards(canonicalise(Joined(4.0), UNNAMED)) == ()
    (told,) = hazards(canonicalise(Joined(50.0), UNNAMED))
    assert "cat: joins tensors whose ranges differ 50x" in told


def test_a_head_that_gives_probabilities_is_told() -> None:
    (told,) = hazards(canonicalise(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Softmax(1)), UNNAMED))
    assert "ends in a softmax" in told
