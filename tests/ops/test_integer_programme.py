from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketlens.errors import ConfigError
from pocketlens.ops.integer_programme import choose_greedily, choose_options, choose_released, sum_at

HARMS = [[0.0, 3.0], [0.0, 1.0]]
SIZES = [[10.0, 4.0], [10.0, 7.0]]


def test_the_programme_beats_the_rule_of_thumb_by_hand() -> None:
    """14 of 20 bytes: the second row saves 3 at 1/3 a byte, which is not enough; the first alone saves 6."""
    assert choose_options(HARMS, SIZES, 14) == (1, 0)
    assert choose_greedily(HARMS, SIZES, 14) == (1, 1)


def test_everything_stays_where_it_fits() -> None:
    assert choose_options(HARMS, SIZES, 20) == (0, 0)
    assert choose_options(HARMS, SIZES, 11) == (1, 1)


def test_what_cannot_fit_is_refused_with_the_least_that_does() -> None:
    with pytest.raises(ConfigError, match="at least 11"):
        choose_options(HARMS, SIZES, 10.9)


def test_rows_may_differ_in_length_and_one_row_will_do() -> None:
    assert choose_options([[5.0], [0.0, 2.0, 9.0]], [[4.0], [8.0, 3.0, 1.0]], 7) == (0, 1)
    assert choose_options([[0.0, 1.0, 4.0]], [[8.0, 4.0, 2.0]], 5) == (1,)


def test_harmless_options_are_free() -> None:
    """A layer that is dead costs nothing at any width."""
    assert choose_options([[0.0, 0.0], [0.0, 1.0]], [[5.0, 1.0], [5.0, 1.0]], 7) == (1, 0)


rows = st.integers(1, 4).flatmap(
    lambda n: st.lists(
        st.lists(st.tuples(st.floats(0, 100), st.integers(1, 50)), min_size=1, max_size=4), min_size=n, max_size=n
    )
)


@given(rows, st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_no_choice_that_fits_does_less_harm(table: list[list[tuple[float, int]]], share: float) -> None:
    harms, sizes = ([[pair[k] for pair in row] for row in table] for k in (0, 1))
    least, most = sum(map(min, sizes)), sum(map(max, sizes))
    limit = least + share * (most - least)
    every = [c for c in product(*(range(len(row)) for row in table)) if sum_at(sizes, c) <= limit]
    best = min(sum_at(harms, c) for c in every)
    chosen = choose_options(harms, sizes, limit)
    assert sum_at(sizes, chosen) <= limit
    assert sum_at(harms, chosen) == pytest.approx(best, rel=1e-5, abs=1e-9)
    assert sum_at(harms, chosen) <= sum_at(harms, choose_greedily(harms, sizes, limit))


def test_harms_of_very_different_sizes() -> None:
    """From 1e-9 to 10 in one programme: the solver's tolerances are not in the way."""
    harms = [[10.0 * 4.0**-b * scale for b in range(7)] for scale in (1.0, 1e-3, 1e-6, 3e-8)]
    sizes = [[2.0 + b for b in range(7)] for _ in harms]
    best = min((sum_at(harms, c), c) for c in product(range(7), repeat=4) if sum_at(sizes, c) <= 20)
    assert sum_at(harms, choose_options(harms, sizes, 20)) == pytest.approx(best[0], rel=1e-5)


NEEDS = {"first": frozenset("ab"), "second": frozenset("bc"), "third": frozenset("cd"), "sum": frozenset("d")}
GAINS = {"a": 1.0, "b": 5.0, "c": 3.0, "d": 100.0}


def test_an_item_is_free_only_when_all_let_go_by_hand() -> None:
    """Half of the weight: first and second free a and b (6); second and third would free c (3). d never goes."""
    weights = {"first": 0.2, "second": 0.3, "third": 0.2}
    assert choose_released(GAINS, NEEDS, weights, 0.5) == {"first", "second"}
    assert choose_released(GAINS, NEEDS, weights, 0.4) == {"first"}
    assert choose_released(GAINS, NEEDS, weights, 0.1) == frozenset()
    assert choose_released(GAINS, NEEDS, weights, 0.0) == frozenset()


def test_who_frees_nothing_stays() -> None:
    """There is room for the third, but d is held by the sum, and without the second it frees nothing else."""
    weights = {"first": 0.2, "second": 0.9, "third": 0.2}
    assert choose_released(GAINS, NEEDS, weights, 0.5) == {"first"}


def test_nothing_to_release() -> None:
    assert choose_released({}, NEEDS, {"first": 0.1}, 1.0) == frozenset()
    assert choose_released({"a": 0.0}, NEEDS, {"first": 0.1}, 1.0) == frozenset()
    assert choose_released({"elsewhere": 1.0}, NEEDS, {"first": 0.1}, 1.0) == frozenset()


def test_no_release_within_the_weight_is_worth_more() -> None:
    needs = {h: frozenset(items) for h, items in zip("tuvwx", ("ab", "bc", "cd", "de", "ea"), strict=True)}
    gains = dict(zip("abcde", (4.0, 1.0, 3.0, 2.0, 2.5), strict=True))
    weights = dict(zip("tuvwx", (3.0, 1.0, 2.0, 2.0, 1.5), strict=True))

    def worth(gone: frozenset[str]) -> float:
        return sum(g for item, g in gains.items() if all(h in gone for h, held in needs.items() if item in held))

    for limit in (2.0, 3.0, 4.0, 5.0, 7.0, 9.5):
        sets = [frozenset(c) for n in range(6) for c in combinations(needs, n)]
        best = max(worth(s) for s in sets if sum(weights[h] for h in s) <= limit)
        gone = choose_released(gains, needs, weights, limit)
        assert sum(weights[h] for h in gone) <= limit + 1e-9
        assert worth(gone) == pytest.approx(best)


def test_the_solver_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """HiGHS prints a line in two of these programmes whatever it is told; stdout belongs to results."""
    rng, bits = np.random.default_rng(0), np.arange(2, 9)
    for _ in range(10):
        weights = 10 ** rng.uniform(3, 6, 50)
        sizes = weights[:, None] * (0.85 * bits - 0.4 + 0.05 * rng.standard_normal((50, 7))) / 8
        noise = 10 ** rng.uniform(-4, -1, 50)[:, None] * np.exp(0.3 * rng.standard_normal((50, 7)))
        harms = noise * 4.0 ** (2 - bits)
        choose_options(harms.tolist(), sizes.tolist(), float(sizes[:, 2].sum()))
    assert capfd.readouterr() == ("", "")
    print("still here")
    assert capfd.readouterr().out == "still here\n"
