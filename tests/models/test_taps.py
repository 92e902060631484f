from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.conftest import SPEC
from torch import Tensor, nn

from pocketlens.errors import UnsupportedModelError
from pocketlens.models import sources
from pocketlens.models.canonical import canonicalise
from pocketlens.models.taps import pair_taps, stage_ends, tapped
from pocketlens.types import Model


def test_the_last_map_of_each_resolution() -> None:
    model = sources.load("resnet20_cifar", weights=Path("random"))
    assert [(t.channels, t.size) for t in stage_ends(model)] == [(16, (32, 32)), (32, (16, 16)), (64, (8, 8))]


def test_networks_of_unequal_depth_meet_at_the_end(tiny: Model) -> None:
    teacher = sources.load("resnet20_cifar", weights=Path("random"))
    pairs = pair_taps(tiny, teacher)
    assert [(s.size, t.size) for s, t in pairs] == [((16, 16), (8, 8))]


def test_a_tapped_graph_gives_both_and_shares_the_layers(tiny: Model) -> None:
    (tap,) = stage_ends(tiny)
    network = tapped(tiny.graph, [tap.node])
    x = torch.randn(2, 3, 32, 32)
    logits, features = network(x)
    assert torch.equal(logits, tiny.graph(x))
    assert features.shape == (2, tap.channels, *tap.size)
    assert network.get_submodule("stem_0") is tiny.graph.get_submodule("stem_0")


class Flat(nn.Module):
    """No feature maps."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * 32 * 32, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(torch.flatten(x, 1))


def test_a_network_without_maps_is_named(tiny: Model) -> None:
    flat = canonicalise(Flat(), replace(SPEC, name="flat"))
    with pytest.raises(UnsupportedModelError, match="flat has no feature maps"):
        pair_taps(flat, tiny)


def test_a_node_that_is_not_there(tiny: Model) -> None:
    with pytest.raises(KeyError, match="nowhere"):
        tapped(tiny.graph, ["nowhere"])


def test_the_graph_itself_stays(tiny: Model) -> None:
    before, x = tiny.graph.code, torch.randn(1, 3, 32, 32)
    (output,) = tapped(tiny.graph, [])(x)
    assert torch.equal(output, tiny.graph(x))
    assert tiny.graph.code == before


def test_the_tap_is_what_its_layer_gives(tiny: Model) -> None:
    x = torch.randn(2, 3, 32, 32)
    _, features = tapped(tiny.graph, ["stem_0"])(x)
    assert torch.equal(features, tiny.graph.get_submodule("stem_0")(x))
