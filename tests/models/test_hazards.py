import torch
from torch import nn

from pocketlens.models.hazards import hazards
from pocketlens.types import Model


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
