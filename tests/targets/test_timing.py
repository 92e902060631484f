import numpy as np
import pytest

from pocketlens.errors import ConfigError
from pocketlens.targets.timing import ratio, spread


def test_spread_by_hand() -> None:
    s = spread([5.0, 1.0, 3.0, 2.0, 4.0])
    # Linear between ranks: the 10th percentile lies 0.4 of the way from 1 to 2.
    assert (s.median, s.n) == (3.0, 5)
    assert s.p10 == pytest.approx(1.4)
    assert s.p90 == pytest.approx(4.6)


def test_ratio_by_hand() -> None:
    # 2, 2, 2: each turn twice as fast, though the medians of the columns are 4 and 2 in another order.
    r = ratio([2.0, 8.0, 4.0], [1.0, 4.0, 2.0])
    assert (r.estimate, r.low, r.high, r.level) == (2.0, 2.0, 2.0, 0.9)


def test_ratio_with_itself_is_one() -> None:
    turns = [3.0, 9.0, 4.0, 5.0]
    r = ratio(turns, turns)
    assert (r.estimate, r.low, r.high) == (1.0, 1.0, 1.0)


def test_noise_of_a_whole_round_cancels() -> None:
    rng = np.random.default_rng(0)
    load = rng.uniform(1, 4, 21)  # the machine is up to 4 times slower in some rounds
    r = ratio(1.1 * load, load)
    assert r.low == pytest.approx(1.1)
    assert r.high == pytest.approx(1.1)


def test_the_same_seed_gives_the_same_interval() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.uniform(1, 2, (2, 21))
    assert ratio(a, b, seed=1) == ratio(a, b, seed=1)
    assert ratio(a, b, level=0.5).low >= ratio(a, b, level=0.9).low


def test_the_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for seed in range(200):
        baseline = 1.2 * rng.lognormal(0, 0.05, 21)
        inside += 1.2 in ratio(baseline, rng.lognormal(0, 0.05, 21), seed=seed)
    assert 0.84 <= inside / 200 <= 0.97


@pytest.mark.parametrize(("a", "b"), [([], []), ([1.0], [1.0, 2.0])])
def test_unpaired_timings_are_refused(a: list[float], b: list[float]) -> None:
    with pytest.raises(ConfigError, match="equally many"):
        ratio(a, b)


def test_no_timings_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least one"):
        spread([])
