import torch
from torch import nn

from pocketlens.ops.masks import held, zeros_of


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
