import pytest
import torch
from tests import networks
from tests.conftest import SPEC
from tests.networks import shaken
from torch import nn

from pocketlens.models.canonical import canonicalise, clone
from pocketlens.models.permutation import movable_groups, permute
from pocketlens.ops.groups import ChannelGroup
from pocketlens.types import Model


def model_of(module: nn.Module) -> Model:
    return canonicalise(shaken(module), SPEC)


def named(groups: tuple[ChannelGroup, ...]) -> dict[str, ChannelGroup]:
    return {group.name: group for group in groups}


def test_by_hand() -> None:
    model = model_of(networks.TwinBlocks())
    inner = named(movable_groups(model))["first_0"]
    assert {(m.layer, m.side) for m in inner.members} == {("first_0", "out"), ("first_1", "out"), ("second_0", "in")}
    before = clone(model).graph.state_dict()
    order = torch.tensor([2, 0, 1, *range(3, 12)])
    permute(model.graph, inner, order)
    after = model.graph.state_dict()
    assert torch.equal(after["first_0.weight"][0], before["first_0.weight"][2])
    assert torch.equal(after["second_0.weight"][:, 1], before["second_0.weight"][:, 0])
    for name in ("weight", "bias", "running_mean", "running_var"):
        assert torch.equal(after[f"first_1.{name}"], before[f"first_1.{name}"][order])
    assert torch.equal(after["third_0.weight"], before["third_0.weight"])


@pytest.mark.parametrize(
    "network",
    [
        *(networks.TwinBlocks, networks.Chain, networks.InvertedResidual, networks.SqueezeExcite, networks.Flattened),
        *(networks.Slopes, networks.Twice, networks.Dense, networks.Vit, networks.Split, networks.Siamese),
        *(networks.JoinedThenAdded, networks.Grouped, networks.Transposed, networks.Shuffle, networks.SpatialGate),
    ],
)
def test_the_network_computes_what_it_did(network: type[nn.Module]) -> None:
    model = model_of(network())
    x = torch.randn(2, 3, 32, 32)
    wanted = model.graph(x)
    groups = movable_groups(model)
    for seed, group in enumerate(groups):
        permute(model.graph, group, torch.randperm(group.width, generator=torch.Generator().manual_seed(seed)))
    assert torch.allclose(model.graph(x), wanted, atol=1e-5)


def test_what_a_fixed_place_reads_stays() -> None:
    """The halves of the stem go different ways."""
    assert "stem_0" not in named(movable_groups(model_of(networks.Split())))
    assert "stem_0" not in named(movable_groups(model_of(networks.Shuffle())))
