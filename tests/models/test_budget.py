from dataclasses import replace

import pytest
import torch
from tests import networks
from tests.conftest import SPEC
from torch import nn

from pocketlens.models.budget import Budget
from pocketlens.models.canonical import canonicalise, clone
from pocketlens.models.channels import channel_groups, remove
from pocketlens.models.cost import count_macs, count_parameters
from pocketlens.types import Model

EXACT = {
    "chain": networks.Chain,
    "residual": networks.Residual,
    "dense": networks.Dense,
    "inverted_residual": networks.InvertedResidual,
    "grouped": networks.Grouped,
    "squeeze_excite": networks.SqueezeExcite,
    "transposed": networks.Transposed,
    "flattened": networks.Flattened,
    "twice": networks.Twice,
    "siamese": networks.Siamese,
}


def imported(module: nn.Module) -> Model:
    return canonicalise(networks.shaken(module), replace(SPEC, name="n"))


def first(count: int, width: int, blocks: int) -> torch.Tensor:
    """The first units of every block, so that `count` stay in all."""
    per_block = width // blocks
    return torch.cat([b * per_block + torch.arange(per_block - count // blocks) for b in range(blocks)])


@pytest.mark.parametrize("name", sorted(EXACT))
def test_what_it_says_is_what_the_pruned_model_costs(name: str) -> None:
    model = imported(EXACT[name]())
    groups = channel_groups(model)
    budget = Budget(model, groups)
    assert budget({}) == count_macs(model)
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        kept = {
            g.name: g.blocks * int(torch.randint(1, g.width // g.blocks + 1, (), generator=generator))
            for g in groups
            if not g.locked
        }
        small = clone(model)
        remove(small.graph, {g.name: first(kept[g.name], g.width, g.blocks) for g in groups if not g.locked}, groups)
        assert budget(kept) == pytest.approx(count_macs(small), rel=1e-9)


def test_by_hand() -> None:
    budget = Budget(model := imported(networks.Chain()), channel_groups(model))
    # 16 x 16 places: 3 -> 8 -> 12 -> 6 through 3 x 3, then 6 -> 4
    assert budget({}) == 256 * 9 * (3 * 8 + 8 * 12 + 12 * 6) + 24
    assert budget({"m_1_0": 6}) == pytest.approx(256 * 9 * (3 * 8 + 8 * 6 + 6 * 6) + 24)
    assert budget({"m_0_0": 4, "m_2_0": 3}) == pytest.approx(256 * 9 * (3 * 4 + 4 * 12 + 12 * 3) + 12)


def test_the_price_of_a_unit() -> None:
    model = imported(networks.Chain())
    groups = {g.name: g for g in channel_groups(model)}
    budget = Budget(model, tuple(groups.values()))
    assert budget.price(groups["m_1_0"]) == pytest.approx(256 * 9 * (8 + 6))
    assert budget.price(groups["m_2_0"]) == pytest.approx(256 * 9 * 12 + 4)


def test_a_depthwise_layer_is_counted_once() -> None:
    model = imported(networks.InvertedResidual())
    groups = {g.name: g for g in channel_groups(model)}
    wide = next(g for g in groups.values() if g.width == 12)
    # expand reads 6, depthwise 3 x 3 of one, project makes 6
    assert Budget(model, tuple(groups.values())).price(wide) == pytest.approx(256 * (6 + 9 + 6))


def test_attention_is_taken_as_it_is() -> None:
    """Linear layers follow the heads; the products of attention itself do not, so what is really saved is more."""
    model = imported(networks.Vit())
    groups = channel_groups(model)
    small = clone(model)
    remove(small.graph, {"qkv": torch.tensor([0, 3])}, groups)
    products = 2 * 16 * 16 * 8  # of two heads of 4: 16 x 16 tokens, twice
    assert Budget(model, groups)({"qkv": 2}) == pytest.approx(count_macs(small) + products)


def test_a_price_is_never_nothing() -> None:
    model = imported(networks.Chain())
    groups = channel_groups(model)
    stray = replace(groups[0], name="stray", members=())
    assert Budget(model, (*groups, stray)).price(stray) == 1.0


@pytest.mark.parametrize("name", sorted(EXACT))
def test_parameters_are_what_the_pruned_model_holds(name: str) -> None:
    model = imported(EXACT[name]())
    groups = channel_groups(model)
    budget = Budget(model, groups, "parameters")
    assert budget({}) == count_parameters(model)
    kept = {g.name: g.blocks * max(g.width // g.blocks // 2, 1) for g in groups if not g.locked}
    small = clone(model)
    remove(small.graph, {g.name: first(kept[g.name], g.width, g.blocks) for g in groups if not g.locked}, groups)
    assert budget(kept) == pytest.approx(count_parameters(small), rel=1e-9)


def test_parameters_by_hand() -> None:
    model = imported(networks.Chain())
    groups = {g.name: g for g in channel_groups(model)}
    budget = Budget(model, tuple(groups.values()), "parameters")
    layers = {name: sum(p.numel() for p in module.parameters()) for name, module in model.graph.named_children()}
    assert budget({}) == sum(layers.values())
    # A unit of m_1_0: 3 x 3 weights from 8 channels and to 6, its bias, and scale and shift of its norm.
    assert budget.price(groups["m_1_0"]) == pytest.approx(9 * (8 + 6) + 1 + 2)
