import pytest
import torch

from pocketlens.errors import ConfigError
from pocketlens.ops.sparsity import cubic, pattern_mask, threshold_masks


def test_the_cubic_starts_at_nothing_and_ends_at_the_sparsity() -> None:
    assert cubic(0.0, 0.8) == 0.0
    assert cubic(0.7, 0.8) == pytest.approx(0.8)
    assert cubic(1.0, 0.8) == pytest.approx(0.8)
    assert cubic(0.35, 0.8) == pytest.approx(0.8 * (1 - 0.5**3))


def test_the_lowest_scores_leave() -> None:
    masks = threshold_masks({"a": torch.tensor([[1.0, 4.0], [2.0, 3.0]])}, 0.5, everywhere=False)
    assert masks["a"].tolist() == [[0.0, 1.0], [0.0, 1.0]]


def test_everywhere_ranks_layers_together() -> None:
    scores = {"small": torch.tensor([1.0, 2.0]), "large": torch.tensor([10.0, 20.0])}
    together = threshold_masks(scores, 0.5, everywhere=True)
    assert [m.tolist() for m in together.values()] == [[0.0, 0.0], [1.0, 1.0]]
    apart = threshold_masks(scores, 0.5, everywhere=False)
    assert [m.tolist() for m in apart.values()] == [[0.0, 1.0], [0.0, 1.0]]


def test_no_sparsity_keeps_all() -> None:
    assert threshold_masks({"a": torch.zeros(3, 3)}, 0.0, everywhere=True)["a"].sum() == 9


def test_two_of_four_along_the_inputs_of_a_linear_layer() -> None:
    mask = pattern_mask(torch.tensor([[1.0, 4.0, 3.0, 2.0], [9.0, 8.0, 1.0, 2.0]]), 2, 4)
    assert mask.tolist() == [[0.0, 1.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0]]


def test_two_of_four_along_the_input_channels_of_a_convolution() -> None:
    mask = pattern_mask(torch.rand(6, 8, 3, 3, generator=torch.Generator().manual_seed(0)), 2, 4)
    assert mask.shape == (6, 8, 3, 3)
    assert (mask.reshape(6, 2, 4, 3, 3).sum(2) == 2).all()


def test_a_pattern_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ConfigError, match="divisible by 4, got 6"):
        pattern_mask(torch.rand(2, 6), 2, 4)
