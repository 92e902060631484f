"""Codebooks: a few values, or short vectors of values, that stand for all weights of a tensor."""

from itertools import pairwise
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Initialisation = Literal["linear", "density", "kmeans++"]

INITIALISATIONS: tuple[str, ...] = get_args(Initialisation)

_CHUNK = 2**22
"""Distances held at a time."""

_MOST_LEVELS = 2**16
"""Whole numbers that span no more than this are counted rather than sorted."""


def cluster_codes(points: Tensor, importance: Tensor, count: int, how: Initialisation, seed: int) -> Tensor:
    """Integer codes, each replaced by the nearest entry of one codebook; points of zeros stay.

    Args:
        points: (n, d), whole numbers within int8.
        importance: (n, d), what a squared error of each weighs, >= 0.
        count: entries of the codebook, that of zeros among them, at least 2.
        how: where vectors begin, see `first_codebook`; single numbers need no beginning.
        seed: for draws.
    Returns: (n, d), whole numbers, at most `count` distinct rows.
    """
    live = points.ne(0).any(1)
    if not live.any():
        return points.clone()
    room = count if live.all() else count - 1
    if points.shape[1] == 1:
        found = exact_codebook(points[live, 0], importance[live, 0], room)[:, None].float()
    else:
        generator = torch.Generator().manual_seed(seed)
        start = first_codebook(points[live], room, how, generator)
        found = lloyd(points[live], importance[live], start)
    zero = points.new_zeros(count - room, points.shape[1])
    codebook = torch.cat([zero, found.round().clamp(-128, 127)])
    clustered = codebook[nearest(points, codebook, importance)]
    clustered[~live] = 0
    return clustered


def exact_codebook(values: Tensor, importance: Tensor, count: int) -> Tensor:
    """The codebook of numbers with the least weighted squared error there is (Wang and Song 2011, "Ckmeans.1d.dp").

    Integer codes have few distinct values, however many weights share them, so the dynamic programme over these is
    small for a tensor of any size.

    Args:
        values: (n,), of at most a few thousand distinct values.
        importance: (n,), what a squared error of each weighs, >= 0.
        count: entries, at least 1.
    Returns: (at most count,), ascending, float64; fewer where there are fewer distinct values.
    """
    distinct, mass = _histogram(values, importance)
    if len(distinct) <= count:
        return distinct
    ends = _segments(distinct.numpy(), mass.numpy(), count)
    centres = [(distinct[a:b] * mass[a:b]).sum() / mass[a:b].sum() for a, b in pairwise(ends)]
    return torch.stack(centres)


def _histogram(values: Tensor, importance: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct values, rising, and what all that have one weigh together; both float64."""
    weight = importance.double().clamp(min=1e-12)
    if (levels := _levels(values)) is not None:
        low, above = levels
        total = torch.bincount(above, weight)
        (found,) = total.nonzero(as_tuple=True)
        return found.double() + low, total[found]
    distinct, member = torch.unique(values.double(), return_inverse=True)
    return distinct, torch.zeros_like(distinct).index_add_(0, member, weight)


def _levels(values: Tensor) -> tuple[float, Tensor] | None:
    """The lowest of whole numbers that span little, and how far above it each is; None for other numbers."""
    if not len(values):
        return None
    low, high = (float(end) for end in values.aminmax())
    if high - low >= _MOST_LEVELS or not torch.equal(values, values.round()):
        return None
    return low, (values - low).long()


def _segments(values: NDArray[np.float64], mass: NDArray[np.float64], count: int) -> list[int]:
    """Bounds of the best `count` runs of ascending values."""
    n = len(values)
    zeroth, first, second = (np.concatenate([[0.0], np.cumsum(mass * values**p)]) for p in (0, 1, 2))

    def between(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        return sums[None, :] - sums[:, None]

    weight = between(zeroth)
    # Sums of next to no mass are rounding errors, whose quotient could be anything.
    mean = np.divide(between(first), weight, out=np.zeros_like(weight), where=weight > 1e-12 * zeroth[-1])
    cost = (between(second) - between(first) * mean).clip(min=0)
    cost[np.tri(n + 1, dtype=bool)] = np.inf  # a run is not empty
    best = np.full(n + 1, np.inf)
    best[0] = 0
    starts = np.zeros((count, n + 1), np.int64)
    for k in range(count):
        total = best[:, None] + cost
        starts[k] = total.argmin(0)
        best = total.min(0)
    ends = [n]
    for k in reversed(range(count)):
        ends.append(int(starts[k][ends[-1]]))
    return ends[::-1]


def first_codebook(points: Tensor, count: int, how: Initialisation, generator: torch.Generator) -> Tensor:
    """Where Lloyd's iterations begin.

    Args:
        points: (n, d).
        count: entries.
        how: "linear": evenly from the smallest to the largest (Han et al. 2016, arXiv:1510.00149: keeps rare large
            weights); "density": at even shares of the points; "kmeans++": drawn far from one another (Arthur and
            Vassilvitskii 2007). The first two lie on the diagonal where points are vectors.
        generator: for the draws.
    Returns: (count, d).
    """
    if how == "linear":
        low, high = points.amin(0), points.amax(0)
        return low + torch.linspace(0, 1, count)[:, None] * (high - low)
    if how == "density":
        ranked = points.sort(0).values
        at = ((torch.arange(count) + 0.5) / count * len(points)).long()
        return ranked[at]
    sample = points[torch.randperm(len(points), generator=generator)[: 256 * count]]
    weight = torch.ones(len(sample))
    chosen = [sample[torch.multinomial(weight, 1, generator=generator)][0]]
    distance = (sample - chosen[0]).square().sum(1)
    while len(chosen) < count:
        pull = distance if float(distance.sum()) > 0 else weight
        chosen.append(sample[torch.multinomial(pull, 1, generator=generator)][0])
        distance = torch.minimum(distance, (sample - chosen[-1]).square().sum(1))
    return torch.stack(chosen)


def lloyd(points: Tensor, importance: Tensor, codebook: Tensor, iterations: int = 30) -> Tensor:
    """Move entries to the weighted means of what is nearest to them, until nothing moves.

    Args:
        points: (n, d).
        importance: (n, d), what a squared error of each number weighs, >= 0.
        codebook: (k, d), the start.
        iterations: at most.
    Returns: (k, d); an entry that nothing is near stays where it was.
    """
    previous, along = None, torch.arange(points.shape[1])
    for _ in range(iterations):
        member = nearest(points, codebook, importance)
        if previous is not None and torch.equal(member, previous):
            break
        previous = member
        # Number by number: torch adds up rows a row at a time, a hundred times slower.
        place = (member[:, None] * points.shape[1] + along).flatten()
        mass, total = (
            torch.zeros(codebook.numel()).index_add_(0, place, x.flatten()).reshape(codebook.shape)
            for x in (importance, importance * points)
        )
        codebook = torch.where(mass > 0, total / mass.clamp(min=1e-30), codebook)
    return codebook


def nearest(points: Tensor, codebook: Tensor, importance: Tensor | None = None) -> Tensor:
    """The entry with the least (weighted) squared error for each point.

    Args:
        points: (n, d).
        codebook: (k, d).
        importance: (n, d), or None for equal ones; says nothing of single numbers.
    Returns: (n,), int64.
    """
    if points.shape[1] == 1:
        ranked, order = codebook[:, 0].sort()
        middles = ((ranked[1:] + ranked[:-1]) / 2).to(points.dtype)
        if (levels := _levels(points[:, 0])) is None:
            return order[torch.bucketize(points[:, 0].contiguous(), middles)]
        low, above = levels
        every = torch.arange(int(above.max()) + 1, dtype=points.dtype) + low
        return order[torch.bucketize(every, middles)][above]
    found = []
    step = max(_CHUNK // len(codebook), 1)
    square = codebook.square().T
    for start in range(0, len(points), step):
        x = points[start : start + step]
        w = torch.ones_like(x) if importance is None else importance[start : start + step]
        # sum of w (x - c)^2 without its part that all entries share
        found.append((w @ square - 2 * (w * x) @ codebook.T).argmin(1))
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.int64)
