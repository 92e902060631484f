import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pocketlens.ops.rounding import (
    RoundingPlan,
    RoundingProblem,
    rectified_logit,
    rectified_sigmoid,
    round_adaptively,
    sharpness,
    shrinkage,
    undecided,
)


def problem(inputs: Tensor, weight: Tensor, scale: float = 1.0, reach: int = 7, ceiling: float | None = None):
    """A dense layer without bias whose float network brings the same inputs."""
    return RoundingProblem(
        inputs=inputs[None],
        targets=(inputs @ weight.T)[None],
        weight=weight[None],
        scale=torch.tensor(scale),
        bias=torch.zeros(1, 1, len(weight)),
        reach=reach,
        ceiling=ceiling,
    )


def error(case: RoundingProblem, codes: Tensor, bias: Tensor | None = None) -> float:
    y = torch.bmm(case.inputs, (codes * case.scale).transpose(1, 2)) + (0 if bias is None else bias)
    return float((y - case.targets).square().mean())


def test_errors_that_cancel_by_hand() -> None:
    """Both inputs are always equal and the weights 0.4 and 0.4: 0 + 0 misses their sum 0.8 by 0.8, 1 + 0 by 0.2."""
    x = torch.randn(512, 1).repeat(1, 2)
    case = problem(x, torch.tensor([[0.4, 0.4001]]))
    codes, _ = round_adaptively(case, RoundingPlan())
    assert sorted(codes.flatten().tolist()) == [0, 1]


def test_independent_inputs_by_hand() -> None:
    """With nothing to cancel, the nearest code is best."""
    x = torch.randn(4096, 4, generator=torch.Generator().manual_seed(0))
    weight = torch.tensor([[0.2, 1.8, -0.7, -2.3]])
    codes, _ = round_adaptively(problem(x, weight), RoundingPlan())
    assert codes.flatten().tolist() == [0, 2, -1, -2]


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
def test_never_worse_and_within_reach(bits: int) -> None:
    generator = torch.Generator().manual_seed(bits)
    x = torch.randn(2048, 6, generator=generator) @ torch.randn(6, 24, generator=generator)
    weight = torch.randn(16, 24, generator=generator)
    reach = 2 ** (bits - 1) - 1
    case = problem(x, weight, float(weight.abs().max()) / reach, reach)
    codes, bias = round_adaptively(case, RoundingPlan())
    nearest = torch.round(case.weight / case.scale)
    assert int(codes.abs().max()) <= reach
    assert float((codes - case.weight / case.scale).abs().max()) <= 1 + 1e-5
    assert error(case, codes, bias) < 0.5 * error(case, nearest)


def test_what_an_activation_flattens_is_no_error() -> None:
    """Outputs far below zero are anything: the codes of that row stay at the nearest."""
    x = torch.rand(512, 3) + 1
    weight = torch.tensor([[-3.4, -2.4, -1.4]])
    codes, _ = round_adaptively(problem(x, weight, ceiling=6.0), RoundingPlan(iterations=100))
    assert codes.flatten().tolist() == [-3, -2, -1]


def test_a_weight_on_its_grid_stays() -> None:
    weight = torch.tensor([[1.0, -7.0, 3.0]])
    codes, bias = round_adaptively(problem(torch.randn(64, 3), weight), RoundingPlan())
    assert codes.flatten().tolist() == [1, -7, 3]
    assert not bias.any()


def test_the_bias_takes_up_a_shift() -> None:
    """A constant input makes the rounding of its weight a shift, which is no business of the other codes."""
    x = torch.cat([torch.ones(4096, 1), torch.randn(4096, 1, generator=torch.Generator().manual_seed(0))], 1)
    codes, bias = round_adaptively(problem(x, torch.tensor([[0.3, 2.0]])), RoundingPlan())
    assert float(codes[0, 0, 0] + bias.squeeze()) == pytest.approx(0.3, abs=0.02)


def test_sigmoid_by_hand() -> None:
    assert rectified_sigmoid(torch.tensor([-9.0, 0.0, 9.0])).tolist() == pytest.approx([0.0, 0.5, 1.0])
    h = torch.linspace(0, 1, 11)
    assert torch.allclose(rectified_sigmoid(rectified_logit(h)), h, atol=1e-6)


def test_undecided_by_hand() -> None:
    assert undecided(torch.tensor([0.0, 0.25, 0.5]), 2.0).tolist() == [0.0, 0.75, 1.0]


def test_sharpness_by_hand() -> None:
    plan = RoundingPlan(warmup=0.2, beta=(20.0, 2.0))
    assert sharpness(0.1, plan) is None
    assert sharpness(0.2, plan) == 20.0
    middle, last = sharpness(0.6, plan), sharpness(1.0, plan)
    assert middle is not None
    assert last is not None
    assert math.isclose(middle, 11.0)
    assert math.isclose(last, 2.0)


def test_shrinkage_by_hand() -> None:
    """Covariances 3 and 1 of the same two inputs: 2 on average, with a variance of that average of 1: 1 / 2^2."""
    three, one = torch.tensor([[1.0, 3.0], [-1.0, -3.0]]), torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    assert shrinkage([three[None], one[None]]) == pytest.approx(0.25)
    assert shrinkage([one[None], one[None], one[None]]) == 0
    assert shrinkage([torch.zeros(1, 2, 2), torch.zeros(1, 2, 2)]) == 0


def test_correlations_that_are_chance_change_no_code() -> None:
    """The inputs of `test_errors_that_cancel_by_hand`, told that they are independent."""
    x = torch.randn(512, 1).repeat(1, 2)
    case = replace(problem(x, torch.tensor([[0.4, 0.4001]])), shrinkage=1.0)
    codes, _ = round_adaptively(case, RoundingPlan())
    assert codes.flatten().tolist() == [0, 0]


def test_a_wide_layer_at_few_positions_is_not_rounded_to_suit_them() -> None:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(8, 96, generator=generator) + 0.1
    parts = [
        torch.randn(8, 8, generator=generator) @ mixing + torch.randn(8, 96, generator=generator) for _ in range(6)
    ]
    fresh = torch.randn(4096, 8, generator=generator) @ mixing + torch.randn(4096, 96, generator=generator)
    weight = torch.randn(16, 96, generator=generator)
    case = problem(torch.cat(parts), weight, 0.5, reach=127)
    doubt = shrinkage([part[None] for part in parts])
    assert 0.05 < doubt < 0.95

    def error_elsewhere(amount: float) -> float:
        codes, bias = round_adaptively(replace(case, shrinkage=amount), RoundingPlan())
        return error(problem(fresh, weight, 0.5, reach=127), codes, bias)

    assert error_elsewhere(doubt) < 0.98 * error_elsewhere(0.0)
