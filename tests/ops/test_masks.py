import pytest
import torch
from torch import nn

from pocketlens.ops.masks import Mask, held, zeros_of


def test_zeros_are_found_and_kept() -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 0.0, 2.0], [3.0, 4.0, 5.0]]))
        net[1].weight.fill_(1.0)
    masks = zeros_of(net)
    assert list(masks) == ["0"]
    assert masks["0"].tolist() == [[1, 0, 1], [1, 1, 1]]
    with held(net, masks):
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        net(torch.randn(4, 3)).square().sum().backward()
        optimizer.step()
        assert net[0].weight[0, 1] == 0
    assert net[0].weight[0, 1] == 0
    assert net[0].weight[0, 0] != 1.0
    assert isinstance(net[0].weight, nn.Parameter)
    assert set(net.state_dict()) == {"0.weight", "0.bias", "1.weight", "1.bias"}


def test_gradients_reach_what_is_masked() -> None:
    layer = nn.Linear(2, 1, bias=False)
    with held(layer, {}):
        pass
    net = nn.Sequential(layer)
    with held(net, {"0": torch.tensor([[1.0, 0.0]])}):
        net(torch.tensor([[2.0, 3.0]])).sum().backward()
        original = net[0].parametrizations.weight.original
        assert original.grad.tolist() == [[2.0, 3.0]]


def test_a_mask_changed_inside_decides_the_zeros() -> None:
    net = nn.Sequential(nn.Linear(2, 1))
    with held(net, {"0": torch.ones(1, 2)}) as masks:
        masks["0"].mask.copy_(torch.tensor([[0.0, 1.0]]))
    assert net[0].weight[0, 0] == 0


def test_a_mask_of_ones_changes_nothing() -> None:
    weight = torch.randn(4, 3)
    assert torch.equal(Mask(torch.ones(4, 3))(weight), weight)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_zeros_stay_whatever_the_optimizer_does(kind: type[torch.optim.Optimizer]) -> None:
    net = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
    kept = (torch.arange(24).view(4, 6) % 3 != 0).float()
    with held(net, {"0": kept}):
        optimizer = kind(net.parameters(), lr=0.1)  # pyright: ignore
        for _ in range(3):
            net(torch.randn(8, 6)).square().sum().backward()
            optimizer.step()
            assert not net[0].weight[kept == 0].any()
    assert not net[0].weight[kept == 0].any()
    assert net[0].weight[kept == 1].all()


def test_an_error_within_leaves_a_plain_layer() -> None:
    net = nn.Sequential(nn.Linear(4, 2))
    given = torch.zeros(2, 4)
    with pytest.raises(RuntimeError, match="stop"), held(net, {"0": given}):
        raise RuntimeError("stop")
    assert type(net[0]) is nn.Linear
    assert not net[0].weight.any()


def test_without_the_layer_nothing_is_masked() -> None:
    net = nn.Sequential(nn.Linear(4, 2))
    with pytest.raises(AttributeError, match="9"), held(net, {"0": torch.zeros(2, 4), "9": torch.ones(1)}):
        pass
    assert type(net[0]) is nn.Linear
    assert net[0].weight.all()
