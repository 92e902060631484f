import pytest
import torch
from tests.conftest import SPEC
from tests.networks import Classifier, TwinBlocks, conv, shaken
from torch import Tensor, nn

from pocketlens.errors import ConfigError
from pocketlens.models.canonical import canonicalise
from pocketlens.models.permutation import movable_groups
from pocketlens.models.tie_search import TieSearch
from pocketlens.models.tieable import tieable_layers
from pocketlens.types import Model

ORDER = torch.tensor([5, 3, 11, 0, 1, 2, 4, 6, 10, 9, 8, 7])


def layer(model: Model, name: str) -> nn.Conv2d:
    found = model.graph.get_submodule(name)
    assert isinstance(found, nn.Conv2d)
    return found


def twins() -> Model:
    """The second block is the first with its inner channels in another order, and rows of another length."""
    model = canonicalise(shaken(TwinBlocks()), SPEC)
    scale = torch.linspace(0.5, 2, 12).reshape(-1, 1, 1, 1)
    layer(model, "third_0").weight.data.copy_((layer(model, "first_0").weight * scale)[ORDER])
    layer(model, "fourth_0").weight.data.copy_(layer(model, "second_0").weight[:, ORDER])
    return model


def search_of(model: Model) -> TieSearch:
    layers = {n: item for n, item in tieable_layers(model.graph).items() if n != "stem_0"}
    return TieSearch(graph=model.graph, layers=layers, movable=movable_groups(model))


def unit(weight: Tensor) -> Tensor:
    return nn.functional.normalize(weight.flatten(1), dim=1)


def test_channels_inside_a_block_find_their_order() -> None:
    model = twins()
    x = torch.randn(2, 3, 32, 32)
    wanted = model.graph(x)
    search = search_of(model)
    search.grow(2 * 12 * 8 * 9)
    assert search.groups == (("first_0", "third_0"), ("second_0", "fourth_0"))
    assert search.saved() == 2 * 12 * 8 * 9
    assert search.lost == pytest.approx(0, abs=1e-5)
    assert torch.allclose(unit(layer(model, "first_0").weight), unit(layer(model, "third_0").weight), atol=1e-6)
    assert torch.allclose(layer(model, "second_0").weight, layer(model, "fourth_0").weight)
    assert torch.allclose(model.graph(x), wanted, atol=1e-5)
    assert sum(search.moved.values()) > 0


def test_what_loses_least_is_joined_first() -> None:
    model = canonicalise(shaken(TwinBlocks()), SPEC)
    weight = layer(model, "fourth_0").weight.data
    weight.copy_(layer(model, "second_0").weight + 0.3 * weight)
    search = search_of(model)
    search.grow(1)
    assert search.groups == (("second_0", "fourth_0"),)
    assert 0.01 < search.lost < 0.2


def test_what_is_lost_by_hand() -> None:
    """Two layers without anything in common: half of the channels say more in one, half in the other."""
    model = canonicalise(shaken(TwinBlocks()), SPEC)
    for name, column, gains in (("first", 0, (3.0, 1.0)), ("third", 1, (1.0, 3.0))):
        weight = layer(model, f"{name}_0").weight.data
        weight.zero_()
        weight[:, column, 0, 0] = 1.0
        norm = model.graph.get_submodule(f"{name}_1")
        assert isinstance(norm, nn.BatchNorm2d)
        norm.weight.data[:6], norm.weight.data[6:] = gains
    search = search_of(model)
    search.movable = ()
    search.join("first_0", "third_0")
    assert search.lost == pytest.approx(2 * 6 * 1 / (6 * 9 + 6 * 1))  # of each the quiet half, 1 / 10 of its power


def test_the_last_layers_save_no_more_than_is_missing() -> None:
    """Of pairs of two sizes the one that loses less, where either is enough."""

    class Sizes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = conv(3, 8, stride=2), Classifier(8)
            self.wide, self.wider = conv(8, 8), conv(8, 8)
            self.thin, self.thinner = conv(8, 8, 1), conv(8, 8, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.wider(self.wide(self.stem(x)))
            return self.head(self.thinner(self.thin(x)))

    model = canonicalise(shaken(Sizes()), SPEC)
    for name, other, unlike in (("thin_0", "thinner_0", 0.2), ("wide_0", "wider_0", 0.3)):
        weight = layer(model, name).weight.data
        weight.copy_(layer(model, other).weight + unlike * weight)
    for wanted, groups in ((64, (("thin_0", "thinner_0"),)), (576, (("wide_0", "wider_0"),))):
        search = search_of(model)
        search.movable = ()
        search.grow(wanted)
        assert search.groups == groups


def test_more_than_there_is_cannot_be_saved() -> None:
    with pytest.raises(ConfigError, match=r"can save 1,728 of the weights, not 1,729; lower `share`"):
        search_of(canonicalise(shaken(TwinBlocks()), SPEC)).grow(1729)
