from typing import Any

import pytest
import torch

from pocketlens.ops.allocation import Ranked, allocate
from pocketlens.ops.groups import ChannelGroup, Member


def ranked(scores: list[float], name: str = "a", blocks: int = 1, **fields: Any) -> Ranked:
    group = ChannelGroup(name=name, kind="channels", width=len(scores), members=(), blocks=blocks)
    settings = {"price": 1.0, "original": len(scores), "multiple": 1, "smallest": 0.1} | fields
    return Ranked(group=group, scores=torch.tensor(scores, dtype=torch.float32), **settings)


def rising(width: int, name: str = "a", **fields: Any) -> Ranked:
    return ranked([float(i + 1) for i in range(width)], name, **fields)


def test_levels_are_multiples_and_the_present_width() -> None:
    assert rising(20, multiple=8).levels() == [8, 16, 20]
    assert rising(16, multiple=8).levels() == [8, 16]
    assert rising(6, multiple=8).levels() == [6]
    assert rising(4).levels() == [1, 2, 3, 4]


def test_smallest_is_a_share_of_the_original_width() -> None:
    assert rising(10, smallest=0.35).levels()[0] == 4
    assert rising(10, smallest=0.5, original=16).levels() == [8, 9, 10]
    assert rising(10, smallest=1.0).levels() == [10]
    assert rising(4, smallest=0.5, original=16).levels() == [4]


def test_smallest_never_empties_a_layer() -> None:
    assert rising(10, smallest=0.001).levels()[0] == 1


def test_levels_fit_multiples_and_blocks_at_once() -> None:
    assert rising(24, blocks=3, multiple=4).levels() == [12, 24]
    assert rising(12, blocks=3).levels() == [3, 6, 9, 12]


def test_nearest_takes_the_larger_of_two() -> None:
    group = rising(24, multiple=8)
    assert group.nearest(11.9) == 8
    assert group.nearest(12) == 16
    assert group.nearest(12.1) == 16
    assert group.nearest(0) == 8
    assert group.nearest(99) == 24


def test_doomed_are_the_lowest() -> None:
    assert ranked([3, 1, 2, 0]).doomed(2).tolist() == [1, 3]
    assert ranked([3, 1, 2, 0]).doomed(4).tolist() == []


def test_doomed_loses_as_many_of_each_block() -> None:
    # the second block is worth more throughout, yet gives as many
    assert ranked([1, 2, 3, 9, 7, 8], blocks=2).doomed(4).tolist() == [0, 4]
    assert ranked([1, 2, 3, 9, 7, 8], blocks=2).doomed(2).tolist() == [0, 1, 4, 5]


def test_of_equal_scores_the_first_leave() -> None:
    assert ranked([1, 1, 1, 1]).doomed(2).tolist() == [0, 1]


def test_local_takes_the_share_of_each() -> None:
    groups = [ranked([1] * 10, "a"), ranked([100] * 20, "b")]
    assert allocate(groups, 0.3, "local", False) == {"a": 7, "b": 14}


def test_global_takes_from_where_it_matters_least() -> None:
    groups = [ranked([1, 2, 3, 4], "a"), ranked([10, 20, 30, 40], "b")]
    assert allocate(groups, 0.5, "global", comparable=True) == {"a": 1, "b": 4}  # `smallest` holds the last of a


def test_scores_that_do_not_compare_are_made_to() -> None:
    groups = [ranked([1, 2, 3, 4], "a"), ranked([10, 20, 30, 40], "b")]
    assert allocate(groups, 0.5, "global", comparable=False) == {"a": 2, "b": 2}


def test_dear_units_leave_first_when_weighed() -> None:
    groups = [ranked([1, 1, 1, 1], "a", price=10.0), ranked([1, 1, 1, 1], "b")]
    assert allocate(groups, 0.25, "global", comparable=True) == {"a": 2, "b": 4}


def test_global_ties_go_to_the_first_group() -> None:
    groups = [ranked([1, 1, 1, 1], "a"), ranked([1, 1, 1, 1], "b")]
    assert allocate(groups, 0.25, "global", comparable=True) == {"a": 2, "b": 4}


def test_global_counts_are_rounded() -> None:
    groups = [rising(16, "a", multiple=8), ranked([100.0] * 16, "b", multiple=8)]
    # 5 of a would leave: 11 stay, the nearest multiple is 8; 3 of it: 13 stay, 16 is nearest
    assert allocate(groups, 5 / 32, "global", comparable=True) == {"a": 8, "b": 16}
    assert allocate(groups, 3 / 32, "global", comparable=True) == {"a": 16, "b": 16}


@pytest.mark.parametrize("scope", ["global", "local"])
def test_nothing_leaves_at_zero(scope: str) -> None:
    groups = [rising(7, "a", multiple=4), rising(12, "b", blocks=3)]
    assert allocate(groups, 0.0, scope, False) == {"a": 7, "b": 12}  # pyright: ignore


@pytest.mark.parametrize("scope", ["global", "local"])
def test_at_one_the_smallest_stays(scope: str) -> None:
    groups = [rising(8, "a", smallest=0.25), rising(12, "b", blocks=3)]
    assert allocate(groups, 1.0, scope, False) == {"a": 2, "b": 3}  # pyright: ignore


@pytest.mark.parametrize("scope", ["global", "local"])
def test_a_later_step_counts_against_the_original_width(scope: str) -> None:
    # 20 units at first, 15 are left; half of 20 is to be gone
    groups = [rising(15, "a", original=20)]
    assert allocate(groups, 0.5, scope, False) == {"a": 10}  # pyright: ignore
    assert allocate(groups, 0.25, scope, False) == {"a": 15}  # pyright: ignore
    assert allocate(groups, 0.1, scope, False) == {"a": 15}  # pyright: ignore


def test_scores_of_nothing_but_zeros() -> None:
    assert allocate([ranked([0, 0, 0, 0])], 0.5, "global", comparable=False) == {"a": 2}


def test_more_leaves_with_a_larger_share() -> None:
    generator = torch.Generator().manual_seed(0)
    groups = [ranked(torch.rand(40, generator=generator).tolist(), str(i)) for i in range(5)]
    left = [sum(allocate(groups, share / 10, "global", False).values()) for share in range(10)]
    assert left == sorted(left, reverse=True)
    assert left[3] == 140


def test_a_layer_with_only_some_of_the_units_keeps_its_best() -> None:
    # a concatenation of 2 and 4 channels beside a layer of 6: the layer of 2 would lose both
    parts = tuple(
        Member(layer, "out", torch.arange(len(units)), torch.tensor(units))
        for layer, units in {"whole": list(range(6)), "few": [0, 1], "many": [2, 3, 4, 5]}.items()
    )
    group = ChannelGroup(name="a", kind="channels", width=6, members=parts)
    scores = torch.tensor([1.0, 2, 3, 4, 5, 6])
    whole = Ranked(group=group, scores=scores, price=1, original=6, multiple=1, smallest=0.1)
    assert whole.doomed(4).tolist() == [0, 2]
    assert whole.doomed(2).tolist() == [0, 2, 3, 4]
    assert whole.levels() == [2, 3, 4, 5, 6]
