import pytest
import torch

from pocketlens.ops.learned_step import FARTHEST, RoundedActivation, RoundedWeight


def test_a_weight_by_hand() -> None:
    """v = 0.4, 1.2, -2.8 on the codes -1, 0, 1."""
    rounding = RoundedWeight(torch.tensor(0.5), 1, learned=True)
    weight = torch.tensor([0.2, 0.6, -1.4], requires_grad=True)
    rounded = rounding(weight)
    assert rounded.tolist() == [0.0, 0.5, -0.5]
    rounded.sum().backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [1.0, 1.0, 0.0]  # straight through, but for what is clipped
    assert rounding.step.grad is not None
    # (0 - 0.4) + (1 - 1.2) + (-1), scaled by 1 / sqrt(3 values * 1 code above zero)
    assert rounding.step.grad.item() == pytest.approx(-1.6 / 3**0.5, rel=1e-5)


def test_each_channel_has_its_own_step() -> None:
    rounding = RoundedWeight(torch.tensor([0.5, 2.0]), 3, learned=True)
    weight = torch.tensor([[0.6, -9.0], [2.9, 1.1]], requires_grad=True)
    rounded = rounding(weight)
    assert rounded.tolist() == [[0.5, -1.5], [2.0, 2.0]]
    rounded.sum().backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [[1.0, 0.0], [1.0, 1.0]]
    # (1 - 1.2) + (-3), and (1 - 1.45) + (1 - 0.55); 2 values a channel, 3 codes above zero
    wanted = torch.tensor([-3.2, 0.0]) / 6**0.5
    assert rounding.step.grad is not None
    assert torch.allclose(rounding.step.grad, wanted, atol=1e-6)
    assert rounding.value().shape == (2,)


def test_channels_of_one_weight() -> None:
    """A depthwise 1 x 1 convolution: a sum over one element is that element."""
    rounding = RoundedWeight(torch.tensor([0.5, 0.5]), 1, learned=True)
    rounding(torch.tensor([0.2, 0.6]).reshape(2, 1, 1, 1)).sum().backward()
    assert rounding.step.grad is not None
    assert torch.allclose(rounding.step.grad, torch.tensor([-0.4, -0.2]), atol=1e-6)


@pytest.mark.parametrize("lowest", [0, -128])
def test_an_activation_by_hand(lowest: int) -> None:
    """Four levels, of which one lies below zero: v = -4, -0.8, 1.4, 7 becomes -1, -1, 1, 2."""
    rounding = RoundedActivation(torch.tensor(0.5), lowest + 1, lowest, lowest + 3, learned=True)
    x = torch.tensor([[-2.0, -0.4, 0.7, 3.5]], requires_grad=True)
    rounded = rounding(x)
    assert rounded.tolist() == [[-0.5, -0.5, 0.5, 1.0]]
    rounded.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[0.0, 1.0, 1.0, 0.0]]
    assert rounding.step.grad is not None
    # -1 + (-1 + 0.8) + (1 - 1.4) + 2; 4 values an image, 2 levels on the longer side
    assert rounding.step.grad.item() == pytest.approx(0.4 / 8**0.5, rel=1e-4)


def test_the_batch_does_not_change_how_fast_steps_move() -> None:
    gradients = []
    for count in (1, 4):
        rounding = RoundedActivation(torch.tensor(0.5), 0, 0, 3, learned=True)
        rounding(torch.tensor([[0.3, 5.0]]).repeat(count, 1)).mean(0).sum().backward()
        assert rounding.step.grad is not None
        gradients.append(rounding.step.grad.item())
    assert gradients[0] == pytest.approx(gradients[1])


def test_steps_stay_within_bounds() -> None:
    rounding = RoundedActivation(torch.tensor(0.2), 0, 0, 15, largest=0.25, learned=True)
    rounding.step.data.fill_(0.3)
    assert rounding.value().item() == pytest.approx(0.25)
    rounding.step.data.fill_(-1.0)
    rounding.clamp_()
    assert rounding.step.item() == pytest.approx(0.2 / FARTHEST)
    assert rounding.value().shape == ()


def test_fixed_steps_are_no_parameters() -> None:
    rounding = RoundedWeight(torch.tensor([0.5]), 1, learned=False)
    assert not list(rounding.parameters())
    weight = torch.tensor([[0.6]], requires_grad=True)
    rounding(weight).sum().backward()
    assert weight.grad is not None
    assert weight.grad.item() == 1.0
    assert rounding.value().item() == 0.5


def test_a_step_counted_in_its_own_size_moves_by_a_share() -> None:
    """Adam moves every parameter by the learning rate: here each step by a tenth of itself."""
    start = torch.tensor([0.001, 2.0])
    rounding = RoundedWeight(start, 3, unit=start, learned=True)
    assert rounding.step.tolist() == [1.0, 1.0]
    optimizer = torch.optim.Adam(rounding.parameters(), lr=0.1)
    rounding(torch.tensor([[9.0], [9.0]])).sum().backward()
    optimizer.step()
    assert rounding.value().tolist() == pytest.approx([0.0009, 1.8], rel=1e-4)
    rounding.step.data.fill_(-1.0)
    rounding.clamp_()
    assert rounding.value().tolist() == pytest.approx([0.001 / FARTHEST, 2.0 / FARTHEST])


def test_short_steps_stay_short() -> None:
    """What a bfloat16 holds goes on to be so; the gradient is that of the exact step."""
    rounding = RoundedWeight(torch.tensor([0.5, 0.75]), 1, learned=True)
    rounding.step.data.mul_(1.001)
    assert rounding(torch.ones(2, 1)).flatten().tolist() == rounding.value().tolist() == [0.5, 0.75]
    rounding.step.data.mul_(1.01)
    assert torch.equal(rounding.value().bfloat16().float(), rounding.value())
    assert (rounding.value() > torch.tensor([0.5, 0.75])).all()
    rounding(torch.full((2, 1), 9.0)).sum().backward()  # clipped: the gradient is the largest code
    assert rounding.step.grad is not None
    assert rounding.step.grad.tolist() == [1.0, 1.0]
    long = RoundedWeight(torch.tensor([0.1]), 1, learned=True)
    long.step.data.mul_(1.0001)
    assert long.value().item() == pytest.approx(0.10001, rel=1e-6)
