from itertools import permutations

import pytest
import torch

from pocketlens.ops.alignment import align, shared_weight


def test_rows_and_columns_are_found_again() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(5, 4, 3, 3, generator=generator)
    rows, columns = torch.tensor([3, 0, 4, 2, 1]), torch.tensor([2, 3, 1, 0])
    shuffled = weight[rows][:, columns]
    found, kept = align(weight, shuffled[:, torch.argsort(columns)], rows=True, columns=False)
    assert torch.equal(shuffled[found][:, torch.argsort(columns)], weight)
    assert kept.tolist() == [0, 1, 2, 3]
    both = align(weight, shuffled, rows=True, columns=True)
    assert torch.equal(shuffled[both[0]][:, both[1]], weight)


def said(fixed: torch.Tensor, moving: torch.Tensor) -> float:
    """The largest eigenvalue of the inner products of each pair of rows, summed."""
    pairs = torch.stack([fixed, moving], 1)
    return float(torch.linalg.eigvalsh((pairs @ pairs.mT).clamp(min=0))[:, -1].sum())


def test_rows_alone_are_in_the_best_order() -> None:
    generator = torch.Generator().manual_seed(1)
    fixed, moving = (torch.randn(4, 3, generator=generator) for _ in range(2))
    order, _ = align(fixed, moving, rows=True, columns=False)
    best = max(said(fixed, moving[list(p)]) for p in permutations(range(4)))
    assert said(fixed, moving[order]) == pytest.approx(best)


def test_loud_rows_take_the_places_of_quiet_ones() -> None:
    """Alike or not, a row that says nothing loses nothing."""
    fixed = torch.tensor([[1.0, 0.0], [0.0, 0.01]])
    moving = torch.tensor([[0.2, 1.0], [0.01, 0.0]])
    assert align(fixed, moving, rows=True, columns=False)[0].tolist() == [1, 0]


def test_nothing_that_must_stay_moves() -> None:
    fixed, moving = torch.eye(3), torch.eye(3).flip(0)
    assert [order.tolist() for order in align(fixed, moving, rows=False, columns=False)] == [[0, 1, 2], [0, 1, 2]]


def rows(*numbers: tuple[float, float]) -> list[torch.Tensor]:
    return [torch.tensor([row], dtype=torch.float32) for row in numbers]


@pytest.mark.parametrize(
    ("members", "importance", "weight", "cosine"),
    [
        (rows((2, 0), (4, 0)), (1, 1), (3, 0), (1, 1)),  # alike but for scale: the mean length
        (rows((1, 0), (0, 1)), (3, 1), (1, 0), (1, 0)),  # nothing in common: the one that matters
        (rows((1, 0), (-1, 0)), (2, 1), (1, 0), (1, 0)),  # opposite: no scale above 0 in common
        (rows((1, 0), (0.5, 0.75**0.5)), (1, 1), (0.75**0.5, 0.5), (0.75**0.5, 0.75**0.5)),  # 60 degrees: half way
        (rows((1, 0), (0, 0)), (1, 9), (1, 0), (1, 0)),  # a dead row has no say
        (rows((0, 0), (0, 0)), (1, 1), (0, 0), (0, 0)),
    ],
)
def test_one_row_for_two(
    members: list[torch.Tensor], importance: tuple[float, float], weight: tuple[float, float], cosine: list[float]
) -> None:
    found, alike = shared_weight(members, [torch.tensor([float(i)]) for i in importance])
    assert found[0].tolist() == pytest.approx(weight, abs=1e-6)
    assert alike[:, 0].tolist() == pytest.approx(cosine, abs=1e-6)


def test_it_has_the_members_shape() -> None:
    weights = [torch.randn(4, 3, 2, 2) for _ in range(3)]
    found, alike = shared_weight(weights, [torch.ones(4)] * 3)
    assert found.shape == (4, 3, 2, 2)
    assert alike.shape == (3, 4)
