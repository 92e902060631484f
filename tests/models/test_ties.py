import pytest
import torch
from tests.conftest import SPEC
from tests.networks import TwinBlocks, shaken
from torch import Tensor, nn

from pocketlens.errors import ConfigError
from pocketlens.models.canonical import canonicalise, clone
from pocketlens.models.frontier import QuantizedLayer
from pocketlens.models.integer_layers import integer_layer
from pocketlens.models.ties import (
    PositiveGains,
    held_ties,
    proportional_layers,
    separate_calls,
    tied_calls,
    with_codes_of,
)
from pocketlens.types import Model, with_facts


def tied() -> Model:
    """The first and the third layer are one."""
    model = canonicalise(shaken(TwinBlocks()), SPEC)
    next(n for n in model.graph.graph.nodes if n.name == "third_0").target = "first_0"
    model.graph.recompile()
    model.graph.delete_all_unused_submodules()
    return Model(graph=model.graph, spec=model.spec, facts=with_facts(model, add=("tied",)))


def test_calls_that_are_tied() -> None:
    assert {t: [n.name for n in ns] for t, ns in tied_calls(tied().graph).items()} == {
        "first_0": ["first_0", "third_0"]
    }


def test_each_call_gets_its_copy_under_its_own_name() -> None:
    model = tied()
    x = torch.randn(2, 3, 32, 32)
    wanted = model.graph(x)
    separate_calls(model.graph)
    assert not tied_calls(model.graph)
    assert torch.equal(model.graph.get_submodule("third_0").weight, model.graph.get_submodule("first_0").weight)
    assert torch.equal(model.graph(x), wanted)


@pytest.mark.parametrize(
    ("factors", "ratio"),
    [([2.0, 0.5, 3.0, 1.0], [2.0, 0.5, 3.0, 1.0]), ([2.0, -0.5, 3.0, 1.0], None), ([2.0, 0.0, 3.0, 1.0], None)],
)
def test_rows_that_are_multiples(factors: list[float], ratio: list[float] | None) -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return (self.one(x) + self.two(x)).mean((2, 3))

    module = Pair().eval()
    module.one.weight.data[0] = 0  # a dead row is any multiple of a dead row
    module.two.weight.data.copy_(module.one.weight * torch.tensor(factors).reshape(-1, 1, 1, 1))
    graph = canonicalise(module, SPEC).graph
    one, two = (next(n for n in graph.graph.nodes if n.name == name) for name in ("one", "two"))
    found = proportional_layers(graph, {one: 127, two: 127})
    if ratio is None:
        assert not found
    else:
        assert found[two][0] is one
        assert found[two][1].tolist() == pytest.approx([1.0, *ratio[1:]])
    assert not proportional_layers(graph, {one: 127, two: 7})


def conv(weight: Tensor) -> nn.Conv2d:
    layer = nn.Conv2d(weight.shape[1], len(weight), 1)
    layer.weight.data.copy_(weight)
    return layer


def coded(layer: nn.Conv2d, *, per_channel: bool) -> QuantizedLayer:
    return integer_layer(layer, "x", reach=127, per_channel=per_channel, ranges="minmax", storage="int8")


def test_codes_of_another_with_scales_of_its_own() -> None:
    weight = torch.randn(4, 3, 1, 1)
    ratio = torch.tensor([1.0, 2.0, 0.25, 8.0])
    first, other = conv(weight), conv(weight * ratio.reshape(-1, 1, 1, 1))
    leaf = with_codes_of(coded(first, per_channel=True), other, ratio)
    assert leaf is not None
    alone = coded(other, per_channel=True)
    assert torch.equal(leaf.codes, coded(first, per_channel=True).codes)
    assert torch.allclose(leaf.weight, alone.weight, atol=1e-6)  # powers of two: rounded alike
    assert torch.equal(leaf.bias, other.bias)  # pyright: ignore


def test_one_scale_tells_apart_only_whole_tensors() -> None:
    weight = torch.randn(4, 3, 1, 1)
    first = coded(conv(weight), per_channel=False)
    assert with_codes_of(first, conv(weight), torch.tensor([1.0, 2.0, 1.0, 1.0])) is None
    leaf = with_codes_of(first, conv(weight * 2), torch.full((4,), 2.0))
    assert leaf is not None
    assert float(leaf.weight_scale) == pytest.approx(2 * float(first.weight_scale))


def test_gains_stay_above_zero_in_training() -> None:
    (held,) = held_ties(tied())
    assert isinstance(held, PositiveGains)
    assert str(held) == "PositiveGains(first_1, third_1)"
    graph = clone(tied()).graph
    norms = [graph.get_submodule(name) for name in ("first_1", "third_1", "second_1")]
    for norm in norms:
        norm.weight.data[0] = -1.0  # pyright: ignore
    held.before_step(graph, 0.5)
    held.after_step(graph, 0.5, 0.1)
    assert [bool((norm.weight > 0).all()) for norm in norms] == [True, True, False]  # pyright: ignore


def test_only_tied_networks_are_held_and_only_before_folding() -> None:
    model = tied()
    plain = Model(graph=model.graph, spec=model.spec, facts=model.facts - {"tied"})
    assert held_ties(plain) == ()
    with pytest.raises(ConfigError, match="before FoldBatchNorm"):
        held_ties(Model(graph=model.graph, spec=model.spec, facts=with_facts(model, add=("folded",))))
