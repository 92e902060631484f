import time
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pocketlens.ops.clustering import INITIALISATIONS, cluster_codes, exact_codebook, first_codebook, lloyd, nearest


def test_two_clusters_by_hand() -> None:
    values = torch.tensor([0.0, 1, 10, 11, 0, 1])
    assert exact_codebook(values, torch.ones(6), 2).tolist() == [0.5, 10.5]


def test_a_weighted_mean_by_hand() -> None:
    # {0, 1} weigh 1 and 3: their mean is 3 / 4; 5 stands alone.
    found = exact_codebook(torch.tensor([0.0, 1, 5]), torch.tensor([1.0, 3, 1]), 2)
    assert found.tolist() == [0.75, 5]


def test_few_distinct_values_are_their_own_codebook() -> None:
    assert exact_codebook(torch.tensor([3.0, -2, 3]), torch.ones(3), 8).tolist() == [-2, 3]


def error(values: Tensor, importance: Tensor, codebook: Tensor) -> float:
    return float((importance * (values[:, None] - codebook).square().amin(1)).sum())


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-20, 20), st.integers(1, 9)), min_size=1, max_size=9, unique_by=lambda p: p[0]),
    st.integers(1, 4),
)
def test_no_other_partition_is_better(points: list[tuple[int, int]], count: int) -> None:
    ranked = sorted(points)
    values, mass = (torch.tensor([p[i] for p in ranked], dtype=torch.float64) for i in (0, 1))
    found = error(values, mass, exact_codebook(values, mass, count))
    best = min(
        error(values, mass, torch.stack([(values[a:b] * mass[a:b]).sum() / mass[a:b].sum() for a, b in runs]))
        for cuts in combinations(range(1, len(ranked)), min(count, len(ranked)) - 1)
        for runs in [list(zip((0, *cuts), (*cuts, len(ranked)), strict=True))]
    )
    assert found == pytest.approx(best, abs=1e-9)


def test_beginnings_by_hand() -> None:
    points = torch.tensor([[0.0], [0], [0], [9]])
    draw = torch.Generator().manual_seed(0)
    assert first_codebook(points, 2, "linear", draw).tolist() == [[0], [9]]
    assert first_codebook(points, 4, "linear", draw).flatten().tolist() == pytest.approx([0, 3, 6, 9])
    assert first_codebook(points, 2, "density", draw).tolist() == [[0], [9]]
    assert sorted(first_codebook(points, 2, "kmeans++", draw).flatten().tolist()) == [0, 9]


def test_one_step_of_lloyd_by_hand() -> None:
    points = torch.tensor([[0.0, 0], [0, 2], [8, 0], [8, 4]])
    importance = torch.ones(4, 2)
    importance[3, 1] = 3
    moved = lloyd(points, importance, torch.tensor([[1.0, 1], [7.0, 1]]), iterations=1)
    assert moved.tolist() == [[0, 1], [8, 3]]  # (0 + 3 * 4) / (1 + 3) = 3


@pytest.mark.parametrize("how", INITIALISATIONS)
def test_vectors_settle_near_what_scikit_learn_finds(how: str) -> None:
    cluster = pytest.importorskip("sklearn.cluster")
    draw = torch.Generator().manual_seed(1)
    points = torch.randn(2000, 2, generator=draw)
    codebook = lloyd(points, torch.ones(2000, 2), first_codebook(points, 16, how, draw), iterations=100)  # pyright: ignore[reportArgumentType]
    ours = float((points - codebook[nearest(points, codebook)]).square().sum())
    theirs = cluster.KMeans(16, n_init=1, random_state=0).fit(points.numpy()).inertia_
    assert ours < 1.25 * theirs


def test_weights_decide_which_entry_is_nearest() -> None:
    point, codebook = torch.tensor([[0.0, 0]]), torch.tensor([[1.0, 0], [0, 2]])
    assert nearest(point, codebook).tolist() == [0]
    assert nearest(point, codebook, torch.tensor([[9.0, 1]])).tolist() == [1]


@pytest.mark.parametrize("vector", [1, 2, 4])
def test_zeros_stay_and_entries_are_few(vector: int) -> None:
    draw = torch.Generator().manual_seed(0)
    points = (40 * torch.randn(500, vector, generator=draw)).round().clamp(-127, 127)
    points[::3] = 0
    clustered = cluster_codes(points, torch.ones_like(points), 16, "kmeans++", seed=0)
    assert len(torch.unique(clustered, dim=0)) <= 16
    assert (clustered[::3] == 0).all()
    assert torch.equal(clustered, clustered.round())
    assert clustered.abs().max() <= 128
    assert (clustered - points).square().mean() < points.square().mean() / 2


def test_all_zeros_are_left_alone() -> None:
    points = torch.zeros(5, 2)
    assert torch.equal(cluster_codes(points, torch.ones(5, 2), 4, "density", seed=0), points)


def test_numbers_go_to_the_nearest_whatever_they_weigh() -> None:
    """A weight that nothing reads must not go to the first entry."""
    points, codebook = torch.tensor([[1.0], [9.0], [-7.0]]), torch.tensor([[8.0], [-8.0], [0.0]])
    assert nearest(points, codebook).tolist() == [2, 0, 1]
    assert nearest(points, codebook, torch.zeros(3, 1)).tolist() == [2, 0, 1]


def test_numbers_that_are_not_whole_are_clustered_too() -> None:
    values = torch.tensor([0.25, 0.5, 7.25, 7.5, 0.25])
    assert exact_codebook(values, torch.ones(5), 2).tolist() == pytest.approx([1 / 3, 7.375])
    assert exact_codebook(values * 1e6, torch.ones(5), 2).tolist() == pytest.approx([1e6 / 3, 7.375e6])


def test_a_million_codes_are_clustered_at_once() -> None:
    """1280 x 1000, the largest layer of a mobile network: milliseconds, and no worse than what k-means settles at."""
    draw = torch.Generator().manual_seed(0)
    codes = (30 * torch.randn(1280 * 1000, 1, generator=draw)).round().clamp(-127, 127)
    start = time.perf_counter()
    book = exact_codebook(codes[:, 0], torch.ones(len(codes)), 16).float()[:, None]
    found = nearest(codes, book)
    assert time.perf_counter() - start < 2  # a twentieth of that, on a machine that does nothing else
    settled = lloyd(codes, torch.ones_like(codes), first_codebook(codes, 16, "linear", draw))
    errors = [float((codebook[nearest(codes, codebook)] - codes).square().sum()) for codebook in (book, settled)]
    assert float((book[found] - codes).square().sum()) == errors[0] <= 1.0001 * errors[1]
