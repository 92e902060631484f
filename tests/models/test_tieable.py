import torch
from tests.conftest import SPEC
from tests.networks import Residual, Transposed, Twice, TwinBlocks, shaken
from torch import nn

from pocketlens.models.canonical import canonicalise, clone
from pocketlens.models.tieable import make_gains_positive, reason_against, share_weight, tieable_layers
from pocketlens.types import Model


def model_of(module: nn.Module) -> Model:
    return canonicalise(shaken(module), SPEC)


def test_layers_of_one_form() -> None:
    found = tieable_layers(model_of(TwinBlocks()).graph)
    assert list(found) == ["stem_0", "first_0", "second_0", "third_0", "fourth_0"]
    assert found["first_0"].form == found["third_0"].form
    assert found["first_0"].form != found["second_0"].form
    assert (found["third_0"].norm, found["third_0"].size) == ("third_1", 12 * 8 * 9)
    assert len({item.form for item in tieable_layers(model_of(Residual()).graph).values()}) == 3


def test_why_not() -> None:
    reasons = {}
    for network in (Twice, Transposed):
        graph = model_of(network()).graph
        reasons |= {n.name: reason_against(graph, n) for n in graph.graph.nodes if n.op == "call_module"}
    assert "more than once already" in reasons["loop"]
    assert "batch norm of its own" in reasons["head_linear"]
    assert "no convolution" in reasons["up"]
    assert reasons["read_0"] == ""


def test_signs_move_from_gains_into_weights_and_nothing_else_changes() -> None:
    model = model_of(TwinBlocks())
    norm, layer = model.graph.get_submodule("first_1"), model.graph.get_submodule("first_0")
    assert isinstance(norm, nn.BatchNorm2d)
    norm.weight.data[:3] *= -1
    before = layer.weight.detach().clone()  # pyright: ignore
    x = torch.randn(2, 3, 32, 32)
    wanted = model.graph(x)
    make_gains_positive(model.graph, list(tieable_layers(model.graph).values()))
    assert (norm.weight > 0).all()
    assert torch.equal(layer.weight[:3], -before[:3])  # pyright: ignore
    assert torch.equal(layer.weight[3:], before[3:])  # pyright: ignore
    assert torch.allclose(model.graph(x), wanted, atol=1e-6)


def test_a_shared_weight_that_differs_in_scale_alone_changes_nothing() -> None:
    model = model_of(TwinBlocks())
    layers = tieable_layers(model.graph)
    first, third = (model.graph.get_submodule(name) for name in ("first_0", "third_0"))
    assert isinstance(first, nn.Conv2d)
    assert isinstance(third, nn.Conv2d)
    third.weight.data.copy_(first.weight * torch.linspace(0.3, 3, 12).reshape(-1, 1, 1, 1))
    third.bias = nn.Parameter(torch.randn(12))
    x = torch.randn(2, 3, 32, 32)
    wanted = clone(model).graph(x)
    weight = first.weight.detach() * torch.linspace(2, 0.5, 12).reshape(-1, 1, 1, 1)
    raised = share_weight(model.graph, [layers["first_0"], layers["third_0"]], weight, torch.ones(2, 12))
    assert raised == 0
    assert {n.name: n.target for n in model.graph.graph.nodes}["third_0"] == "first_0"
    assert torch.allclose(model.graph(x), wanted, atol=1e-4)


def test_a_row_with_nothing_in_common_keeps_a_gain_just_above_zero() -> None:
    model = model_of(TwinBlocks())
    layers = tieable_layers(model.graph)
    cosine = torch.ones(2, 12)
    cosine[1, 4] = 0
    weight = torch.randn(12, 8, 3, 3)
    assert share_weight(model.graph, [layers["first_0"], layers["third_0"]], weight, cosine) == 1
    gains = model.graph.get_submodule("third_1").state_dict()["weight"]
    assert 0 < float(gains[4]) < 2e-3
