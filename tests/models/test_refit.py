import pytest
import torch
from tests.conftest import SPEC
from tests.networks import Chain, shaken
from torch import nn

from pocketlens.models.canonical import canonicalise, clone
from pocketlens.models.refit import SMALLEST_GAIN, keep_above_zero, refit_norms
from pocketlens.types import Model, Silent


@pytest.fixture
def model() -> Model:
    return canonicalise(shaken(Chain()), SPEC)


def norm(model: Model, name: str) -> nn.BatchNorm2d:
    found = model.graph.get_submodule(name)
    assert isinstance(found, nn.BatchNorm2d)
    return found


def change(model: Model, weight: torch.Tensor) -> None:
    layer = model.graph.get_submodule("m_1_0")
    assert isinstance(layer, nn.Conv2d)
    layer.weight.data.copy_(weight)


def test_scale_and_shift_of_a_layer_are_taken_up(model: Model) -> None:
    changed = clone(model)
    layer = changed.graph.get_submodule("m_1_0")
    assert isinstance(layer, nn.Conv2d)
    change(changed, layer.weight * torch.linspace(0.2, 3, 12).reshape(-1, 1, 1, 1))
    images = [torch.randn(8, 3, 32, 32), torch.randn(8, 3, 32, 32)]
    refit_norms(changed.graph, model.graph, {"m_1_1"}, images, Silent())
    with torch.no_grad():
        wanted = [nn.Sequential(*list(model.graph.children()))[:5](x) for x in images]
        got = [nn.Sequential(*list(changed.graph.children()))[:5](x) for x in images]
    for a, b in zip(wanted, got, strict=True):
        assert torch.allclose(a, b, atol=1e-4)


def test_a_layer_that_says_something_else_gives_its_mean(model: Model) -> None:
    changed = clone(model)
    change(changed, torch.zeros(12, 8, 3, 3))
    images = [torch.randn(8, 3, 32, 32)]
    refit_norms(changed.graph, model.graph, {"m_1_1"}, images, Silent())
    front = nn.Sequential(*list(model.graph.children()))[:5]
    with torch.no_grad():
        wanted = front(images[0]).mean((0, 2, 3))
        got = nn.Sequential(*list(changed.graph.children()))[:5](images[0])
    assert torch.allclose(got, wanted.reshape(1, -1, 1, 1).expand_as(got), atol=1e-4)
    assert (norm(changed, "m_1_1").weight > 0).all()


def test_norms_before_it_stay_and_those_behind_get_statistics(model: Model) -> None:
    changed = clone(model)
    change(changed, torch.randn(12, 8, 3, 3))
    before = clone(model)
    images = [torch.randn(8, 3, 32, 32)]
    refit_norms(changed.graph, model.graph, {"m_1_1"}, images, Silent())
    for name, tensor in norm(before, "m_0_1").state_dict().items():
        assert torch.equal(norm(changed, "m_0_1").state_dict()[name], tensor)
    last = norm(changed, "m_2_1")
    assert torch.equal(last.weight, norm(before, "m_2_1").weight)
    with torch.no_grad():
        read = nn.Sequential(*list(changed.graph.children()))[:7](images[0])
    assert last.running_mean is not None
    assert last.running_var is not None
    assert torch.allclose(last.running_mean, read.mean((0, 2, 3)), atol=1e-4)
    assert torch.allclose(last.running_var, read.var((0, 2, 3), correction=0), rtol=1e-3)


def test_gains_next_to_zero_are_raised() -> None:
    layer = nn.BatchNorm2d(4)
    layer.weight.data = torch.tensor([1.0, 0.0, -2.0, 1e-9])
    assert keep_above_zero(layer) == 3
    assert layer.weight.tolist() == pytest.approx([1.0, *[SMALLEST_GAIN * 0.75] * 3])
    assert keep_above_zero(nn.BatchNorm2d(4, affine=False)) == 0
