import pytest
import torch
from torch import Tensor

from pocketlens.ops.criteria import CRITERIA, NEED_GRADIENTS, Slice

OUT = torch.tensor([[3.0, -4.0], [1.0, 0.0], [0.0, 0.0]])
GAIN = torch.tensor([[2.0], [-1.0], [0.5]])
IN = torch.tensor([[0.0, 12.0], [2.0, 2.0], [1.0, 0.0]])


def score(criterion: str, *slices: Slice, seed: int = 0) -> Tensor:
    return CRITERIA[criterion](slices, torch.Generator().manual_seed(seed))


def close(got: Tensor, wanted: list[float]) -> bool:
    return torch.allclose(got, torch.tensor(wanted, dtype=torch.float32), atol=1e-6)


def test_l1_sums_the_filters_alone() -> None:
    assert close(score("l1", Slice("out", OUT), Slice("norm", GAIN), Slice("in", IN)), [7, 1, 0])


def test_l1_adds_up_the_layers_of_a_residual_group() -> None:
    assert close(score("l1", Slice("out", OUT), Slice("out", 2 * OUT)), [21, 3, 0])


def test_l2_is_the_length_of_the_filters() -> None:
    assert close(score("l2", Slice("out", OUT), Slice("norm", GAIN), Slice("in", IN)), [5, 1, 0])
    assert close(score("l2", Slice("out", OUT), Slice("out", OUT)), [50**0.5, 2**0.5, 0])


def test_group_norm_counts_filters_gains_and_readers() -> None:
    got = score("group_norm", Slice("out", OUT), Slice("norm", GAIN), Slice("in", IN))
    assert close(got, [(25 + 4 + 144) ** 0.5, (1 + 1 + 8) ** 0.5, (0.25 + 1) ** 0.5])


def test_batchnorm_scale_is_the_size_of_the_gain() -> None:
    assert close(score("batchnorm_scale", Slice("out", OUT), Slice("norm", GAIN)), [2, 1, 0.5])
    assert close(score("batchnorm_scale", Slice("norm", GAIN), Slice("norm", GAIN)), [4, 2, 1])


def test_batchnorm_scale_without_a_norm_is_l2() -> None:
    assert close(score("batchnorm_scale", Slice("out", OUT), Slice("in", IN)), [5, 1, 0])


def test_geometric_median_scores_the_middle_lowest() -> None:
    # points 0, 3 and 4 on a line: 3 + 4, 3 + 1, 4 + 1
    assert close(score("geometric_median", Slice("out", torch.tensor([[0.0], [3.0], [4.0]]))), [7, 4, 5])


def test_geometric_median_measures_all_filters_of_a_unit_together() -> None:
    first, second = torch.tensor([[0.0], [3.0]]), torch.tensor([[0.0], [4.0]])
    assert close(score("geometric_median", Slice("out", first), Slice("out", second)), [5, 5])


def test_taylor_is_the_squared_sum_of_weight_times_gradient() -> None:
    gradients = torch.tensor([[1.0, 1.0], [2.0, 5.0], [9.0, 9.0]])
    assert close(score("taylor", Slice("out", OUT, gradients)), [1, 4, 0])


def test_taylor_counts_at_the_gain_where_there_is_one() -> None:
    filters = Slice("out", OUT, torch.full_like(OUT, 100.0))
    readers = Slice("in", IN, torch.full_like(IN, 100.0))
    gains = Slice("norm", GAIN, torch.tensor([[3.0], [1.0], [4.0]]))
    assert close(score("taylor", filters, gains, readers), [36, 1, 4])


def test_taylor_lets_two_parts_cancel_before_squaring() -> None:
    # a unit made in two places changes the loss by the sum of both: 2 - 2 and 1 + 1
    first = Slice("out", torch.tensor([[2.0], [1.0]]), torch.tensor([[1.0], [1.0]]))
    second = Slice("out", torch.tensor([[2.0], [1.0]]), torch.tensor([[-1.0], [1.0]]))
    assert close(score("taylor", first, second), [0, 4])


def test_hessian_diagonal_squares_each_weight_by_itself() -> None:
    gradients = torch.tensor([[1.0, 1.0], [2.0, 5.0], [9.0, 9.0]])
    gains = Slice("norm", GAIN, torch.tensor([[1.0], [2.0], [2.0]]))
    readers = Slice("in", IN, torch.full_like(IN, 100.0))
    # 1/2 (9 + 16) + 1/2 * 4, 1/2 * 4 + 1/2 * 4, 0 + 1/2
    got = score("hessian_diagonal", Slice("out", OUT, gradients), gains, readers)
    assert close(got, [14.5, 4, 0.5])


def test_random_follows_its_seed_alone() -> None:
    one, again = score("random", Slice("out", OUT)), score("random", Slice("out", 9 * OUT))
    assert torch.equal(one, again)
    assert not torch.equal(one, score("random", Slice("out", OUT), seed=1))
    assert one.shape == (3,)


@pytest.mark.parametrize("name", sorted(CRITERIA))
def test_one_finite_score_a_unit(name: str) -> None:
    slices = [Slice("out", OUT, OUT), Slice("norm", GAIN, GAIN), Slice("in", IN, IN)]
    got = score(name, *slices)
    assert got.shape == (3,)
    assert torch.isfinite(got).all()
    assert (got >= 0).all()


@pytest.mark.parametrize("name", sorted(set(CRITERIA) - {"random", "geometric_median"}))
def test_a_unit_of_zeros_leaves_first(name: str) -> None:
    ones = torch.tensor([[1.0], [0.0], [2.0]])
    assert int(score(name, Slice("out", ones, ones), Slice("norm", ones, ones)).argmin()) == 1


def test_only_gradient_criteria_ask_for_gradients() -> None:
    for name in set(CRITERIA) - NEED_GRADIENTS:
        score(name, Slice("out", OUT))
    assert set(CRITERIA) >= NEED_GRADIENTS
