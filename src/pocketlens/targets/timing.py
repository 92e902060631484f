"""Statistics of repeated timings."""

from collections.abc import Sequence

import numpy as np

from pocketlens.errors import ConfigError
from pocketlens.types import Interval, Spread

_RESAMPLES = 2000


def spread(turns_ms: Sequence[float]) -> Spread:
    """Median, 10th and 90th percentile."""
    if not len(turns_ms):
        raise ConfigError("a spread needs at least one timing, got none")
    low, middle, high = np.percentile(turns_ms, (10, 50, 90))
    return Spread(median=float(middle), p10=float(low), p90=float(high), n=len(turns_ms))


def ratio(
    baseline_ms: Sequence[float], candidate_ms: Sequence[float], *, level: float = 0.9, seed: int = 0
) -> Interval:
    """How many times faster the candidate is: the median of baseline / candidate turn by turn; > 1 is faster.

    Noise that hits both in one round cancels in their ratio. The interval is a percentile bootstrap over rounds
    (Efron and Tibshirani 1993, chapter 13).

    Args:
        baseline_ms: of each turn.
        candidate_ms: of each turn of the same race, as many.
        level: of the interval.
        seed: of the bootstrap.
    """
    if len(baseline_ms) != len(candidate_ms) or not len(baseline_ms):
        raise ConfigError(f"paired timings must be equally many, got {len(baseline_ms)} and {len(candidate_ms)}")
    ratios = np.asarray(baseline_ms) / np.asarray(candidate_ms)
    picks = np.random.default_rng(seed).integers(0, len(ratios), (_RESAMPLES, len(ratios)))
    medians = np.median(ratios[picks], axis=1)
    tail = 50 * (1 - level)
    low, high = np.percentile(medians, (tail, 100 - tail))
    return Interval(estimate=float(np.median(ratios)), low=float(low), high=float(high), level=level)
