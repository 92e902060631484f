import pytest
import torch
from torch import nn

from pocketlens.ops.masks import held
from pocketlens.training.average import Average


def at(value: float) -> nn.Linear:
    layer = nn.Linear(1, 1)
    with torch.no_grad():
        layer.weight.fill_(value)
        layer.bias.fill_(-value)
    return layer


def test_two_steps_by_hand() -> None:
    average = Average(at(1.0), 0.5)
    average.follow(at(2.0), 0)  # decay 1 / 10
    wanted = 0.1 * 1.0 + 0.9 * 2.0
    assert float(average.tensors["weight"]) == pytest.approx(wanted)
    average.follow(at(4.0), 1)  # decay 2 / 11
    wanted = 2 / 11 * wanted + 9 / 11 * 4.0
    assert float(average.tensors["weight"]) == pytest.approx(wanted)
    assert float(average.tensors["bias"]) == pytest.approx(-wanted)


def test_the_decay_rises_no_higher_than_asked() -> None:
    average = Average(at(1.0), 0.5)
    average.follow(at(3.0), 10_000)
    assert float(average.tensors["weight"]) == pytest.approx(2.0)


def test_following_what_stands_still_changes_nothing() -> None:
    layer = at(0.7)
    average = Average(layer, 0.99)
    for step in range(5):
        average.follow(layer, step)
    assert float(average.tensors["weight"]) == pytest.approx(0.7)


def test_it_holds_copies() -> None:
    layer = at(1.0)
    average = Average(layer, 0.9)
    with torch.no_grad():
        layer.weight.fill_(9.0)
    assert float(average.tensors["weight"]) == 1.0


def test_counters_are_copied_and_not_averaged() -> None:
    norm = nn.BatchNorm2d(2)
    average = Average(norm, 0.9)
    for _ in range(3):
        norm(torch.randn(4, 2, 3, 3))
    average.follow(norm, 0)
    assert int(average.tensors["num_batches_tracked"]) == 3
    assert average.tensors["num_batches_tracked"].dtype == torch.int64


def test_a_mask_is_the_newest_and_no_mean_of_masks() -> None:
    """The mean of an old and a new mask would let masked weights through, a little."""
    layer = at(1.0)
    with held(layer, {"": torch.ones(1, 1)}) as masks:
        average = Average(layer, 0.9)
        masks[""].mask.zero_()
        average.follow(layer, 0)
        assert not average.tensors["parametrizations.weight.0.mask"].any()


def test_it_goes_on_from_a_checkpoint() -> None:
    one = Average(at(1.0), 0.9)
    one.follow(at(2.0), 0)
    other = Average(at(5.0), 0.9)
    other.restore(one.tensors)
    for average in (one, other):
        average.follow(at(3.0), 1)
    assert torch.equal(one.tensors["weight"], other.tensors["weight"])


def test_a_checkpoint_of_another_network() -> None:
    with pytest.raises(KeyError, match="elsewhere"):
        Average(at(1.0), 0.9).restore({"elsewhere": torch.ones(1)})
