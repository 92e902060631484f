"""Two choices under a bound, as integer programmes that HiGHS solves (through scipy.optimize.milp)."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from pocketlens.errors import ConfigError

_SECONDS = 60.0
"""Enough for thousands of layers; what is best by then is taken."""


def choose_options(harms: Sequence[Sequence[float]], sizes: Sequence[Sequence[float]], limit: float) -> tuple[int, ...]:
    """One option a row, so that the sizes stay within the limit and the harms add up to the least.

    With x[i, j] = 1 where row i takes option j: minimise the sum of harms[i][j] x[i, j], subject to one option a row
    and the sum of sizes[i][j] x[i, j] <= limit (a multiple-choice knapsack).

    Args:
        harms: at least 0; rows may differ in length.
        sizes: at least 0, of the same shape.
        limit: > 0.
    Returns: the place of the option that each row takes.
    Raises: ConfigError when even the smallest options do not fit.
    """
    start = choose_greedily(harms, sizes, limit)
    most = sum_at(harms, start)
    if most <= 0:
        return start
    # Harms are not negative: what alone does more than all of `start` is in no better choice. Without it, and in
    # units of `start`, the programme's numbers lie within the solver's tolerances.
    kept = [(i, j) for i, row in enumerate(harms) for j, harm in enumerate(row) if harm <= most]
    rows, places = np.array([i for i, _ in kept]), np.arange(len(kept))
    one_a_row = csr_array((np.ones(len(kept)), (rows, places)), shape=(len(harms), len(kept)))
    within = csr_array(np.array([[sizes[i][j] / limit for i, j in kept]]))
    costs = np.array([harms[i][j] / most for i, j in kept])
    found = _minimise(
        costs, np.ones(len(kept)), LinearConstraint(one_a_row, 1, 1), LinearConstraint(within, -np.inf, 1)
    )
    if found is None:
        return start
    taken = {i: j for (i, j), x in zip(kept, found, strict=True) if x > 0.5}
    best = tuple(taken[i] for i in range(len(harms)))
    # The solver's own tolerance is 1e-6, of the limit too.
    return best if sum_at(sizes, best) <= limit and sum_at(harms, best) <= most else start


def choose_greedily(
    harms: Sequence[Sequence[float]], sizes: Sequence[Sequence[float]], limit: float
) -> tuple[int, ...]:
    """The same by the rule of thumb: from the least harm on, take the step that costs least harm a byte, until it fits.

    Raises: ConfigError when even the smallest options do not fit.
    """
    least = sum(min(row) for row in sizes)
    if least > limit:
        raise ConfigError(f"the limit must be at least {least:.0f}, the sum of the smallest options; got {limit:.0f}")
    chosen = [min(range(len(row)), key=lambda j, row=row: row[j]) for row in harms]
    while sum_at(sizes, chosen) > limit:
        steps = [
            ((harms[i][j] - harms[i][now]) / (sizes[i][now] - sizes[i][j]), i, j)
            for i, now in enumerate(chosen)
            for j in range(len(sizes[i]))
            if sizes[i][j] < sizes[i][now]
        ]
        _, i, j = min(steps)
        chosen[i] = j
    return tuple(chosen)


def choose_released(
    gains: Mapping[str, float], needs: Mapping[str, frozenset[str]], weights: Mapping[str, float], limit: float
) -> frozenset[str]:
    """Which holders to let go so that what none of the others needs is worth most, within a weight.

    With a[h] = 1 where holder h goes and r[g] = 1 where item g is free: maximise the sum of gains[g] r[g], subject to
    r[g] <= a[h] for every h that needs g, and the sum of weights[h] a[h] <= limit.

    Args:
        gains: item -> what it is worth when free, at least 0.
        needs: holder -> the items that it needs; one that is not in `weights` never goes.
        weights: holder -> its weight, at least 0.
        limit: at least 0.
    Returns: the holders that go, each because an item is free only without it.
    """
    held = {g: [h for h, items in needs.items() if g in items] for g in gains}
    items = [g for g, holders in held.items() if gains[g] > 0 and holders and all(h in weights for h in holders)]
    holders = sorted({h for g in items for h in held[g]})
    if not items or limit <= 0:
        return frozenset()
    pairs = [(g, h) for g in items for h in held[g]]
    place = {name: i for i, name in enumerate([*items, *(f"holder {h}" for h in holders)])}
    column = [[place[g] for g, _ in pairs], [place[f"holder {h}"] for _, h in pairs]]
    row = np.tile(np.arange(len(pairs)), 2)
    signs = np.repeat([1.0, -1.0], len(pairs))
    only_if_gone = csr_array((signs, (row, np.concatenate(column))), shape=(len(pairs), len(place)))
    heavy = np.zeros((1, len(place)))
    heavy[0, len(items) :] = [weights[h] / limit for h in holders]
    most = max(gains[g] for g in items)
    found = _minimise(
        np.array([-gains[g] / most for g in items] + [0.0] * len(holders)),
        np.array([0] * len(items) + [1] * len(holders)),
        LinearConstraint(only_if_gone, -np.inf, 0),
        LinearConstraint(csr_array(heavy), -np.inf, 1),
    )
    if found is None:
        return frozenset()
    return frozenset(h for g, x in zip(items, found, strict=False) if x > 0.5 for h in held[g])


def sum_at(table: Sequence[Sequence[float]], chosen: Sequence[int]) -> float:
    """The sum of each row's chosen entry."""
    return sum(row[j] for row, j in zip(table, chosen, strict=True))


def _minimise(
    costs: NDArray[np.float64], integral: NDArray[np.float64], *constraints: LinearConstraint
) -> NDArray[np.float64] | None:
    """Numbers from 0 to 1 of least cost, those that are `integral` 0 or 1; None where none were found in time."""
    options = {"mip_rel_gap": 1e-6, "time_limit": _SECONDS}
    with _without_stdout():
        return milp(costs, integrality=integral, bounds=Bounds(0, 1), constraints=constraints, options=options).x


@contextmanager
def _without_stdout() -> Iterator[None]:
    """HiGHS (SciPy 1.17) now and then prints the name of one of its functions, and no option stops it."""
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
