"""Observers: from a stream of activations to the range that an integer grid should cover.

An observer sees tensors one batch at a time and keeps a fixed amount of memory, however many come. Weights need no
stream; `weight_scale` looks at the whole tensor.
"""

from typing import Literal, Protocol

import torch
from torch import Tensor

from pocketlens.errors import ConfigError, DataError
from pocketlens.ops.affine import SMALLEST_SCALE, quantize
from pocketlens.types import IntegerFormat

ObserverName = Literal["minmax", "percentile", "mse"]


class Observer(Protocol):
    """Accumulates a tensor's distribution."""

    def update(self, x: Tensor) -> None:
        """Look at one batch; any shape, float32, finite."""
        ...

    def range(self, grid: IntegerFormat) -> tuple[float, float]:
        """The (low, high) that the grid should cover; low <= 0 <= high."""
        ...


class MinMax:
    """Covers everything that was seen (Jacob et al. 2018)."""

    def __init__(self) -> None:
        self.low, self.high = 0.0, 0.0

    def update(self, x: Tensor) -> None:
        """Widen the range to hold `x`."""
        low, high = (float(v) for v in torch.aminmax(x))
        if not (abs(low) < float("inf") and abs(high) < float("inf")):
            raise DataError("activations must be finite, got NaN or infinity")
        self.low, self.high = min(self.low, low), max(self.high, high)

    def range(self, grid: IntegerFormat) -> tuple[float, float]:
        """The extremes seen so far, with zero inside."""
        return self.low, self.high


class Histogram(MinMax):
    """A histogram over [-limit, limit] whose limit doubles when a larger value comes.

    Args:
        bins: an even number of equal bins; doubling the limit merges neighbours, so no count is lost.
    """

    def __init__(self, bins: int = 4096) -> None:
        super().__init__()
        self.bins = bins
        self.limit = 0.0
        self.counts = torch.zeros(bins, dtype=torch.float64)

    def update(self, x: Tensor) -> None:
        """Count `x`."""
        super().update(x)
        reach = max(-self.low, self.high, 1e-12)
        if self.limit == 0.0:
            self.limit = reach
        while self.limit < reach:
            self._double()
        self.counts += torch.histc(x.float(), self.bins, -self.limit, self.limit).double()

    def centres(self) -> Tensor:
        """(bins,), float64: the middle of each bin."""
        width = 2 * self.limit / self.bins
        return torch.arange(self.bins, dtype=torch.float64) * width - self.limit + width / 2

    def _double(self) -> None:
        merged = self.counts.reshape(-1, 2).sum(1)
        quarter = self.bins // 4
        self.counts = torch.zeros_like(self.counts)
        self.counts[quarter : quarter + self.bins // 2] = merged
        self.limit *= 2


class Percentile(Histogram):
    """Leaves out the rarest values on each side.

    Args:
        kept: the fraction of values inside the range, for example 0.9999.
    """

    def __init__(self, kept: float = 0.9999, bins: int = 4096) -> None:
        if not 0.5 < kept <= 1:
            raise ConfigError(f"`kept` must lie in (0.5, 1], got {kept}. To leave out 0.01% use 0.9999.")
        super().__init__(bins)
        self.kept = kept

    def range(self, grid: IntegerFormat) -> tuple[float, float]:
        """The smallest range that leaves at most (1 - kept) / 2 outside on either side."""
        share = self.counts.cumsum(0) / self.counts.sum().clamp(min=1)
        outside = (1 - self.kept) / 2
        edges = torch.linspace(-self.limit, self.limit, self.bins + 1, dtype=torch.float64)
        low = float(edges[int(torch.searchsorted(share, outside, right=True).clamp(max=self.bins - 1))])
        high = float(edges[int(torch.searchsorted(share, 1 - outside).clamp(max=self.bins - 1)) + 1])
        return min(max(low, self.low), 0.0), max(min(high, self.high), 0.0)


class MeanSquaredError(Histogram):
    """The range whose grid reproduces the histogram with least squared error (clipping against rounding)."""

    def range(self, grid: IntegerFormat) -> tuple[float, float]:
        """Search shrunken ranges, both sides together and then each alone."""
        x, counts = self.centres(), self.counts
        seen = counts > 0
        x, counts = x[seen], counts[seen]
        best = (self.low, self.high)
        shrinks = torch.linspace(1.0, 0.3, 71).tolist()
        candidates = [(self.low * s, self.high * s) for s in shrinks]
        best = min(candidates, key=lambda r: _grid_error(x, counts, r, grid))
        if self.low < 0 < self.high:
            best = min([(best[0], self.high * s) for s in shrinks], key=lambda r: _grid_error(x, counts, r, grid))
            best = min([(self.low * s, best[1]) for s in shrinks], key=lambda r: _grid_error(x, counts, r, grid))
        return best


def observer(name: ObserverName, kept: float = 0.9999) -> Observer:
    """A fresh observer; `kept` is for "percentile"."""
    if name == "minmax":
        return MinMax()
    if name == "percentile":
        return Percentile(kept)
    if name == "mse":
        return MeanSquaredError()
    raise ConfigError(f"`observer` must be minmax, percentile or mse, got {name!r}")


def grid_parameters(low: float, high: float, grid: IntegerFormat) -> tuple[float, int]:
    """The (scale, zero_point) with which `grid` covers [low, high]; zero is represented exactly.

    The scale is rounded towards zero in float32, so that the grid never reaches past `high` of a clipped activation:
    runtimes drop a ReLU6 whose grid lies inside [0, 6], and only then.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if grid.zero_point is not None:
        reach = max(-low / max(grid.zero_point - grid.qmin, 1), high / max(grid.qmax - grid.zero_point, 1))
        return max(reach, SMALLEST_SCALE), grid.zero_point
    steps = grid.qmax - grid.qmin
    exact = max((high - low) / steps, SMALLEST_SCALE)
    scale = torch.tensor(exact, dtype=torch.float32)
    while float(scale) * steps > (high - low) > SMALLEST_SCALE * steps:
        scale = torch.nextafter(scale, torch.zeros(()))
    zero_point = round(grid.qmin - low / float(scale))
    return float(scale), max(grid.qmin, min(grid.qmax, zero_point))


def weight_scale(
    weight: Tensor, reach: int, axis: int | None = 0, search: Literal["minmax", "mse"] = "minmax"
) -> Tensor:
    """The scale of a weight on a symmetric grid of codes -reach..reach.

    Args:
        weight: any shape, float32, finite.
        reach: largest code, 1 to 127.
        axis: the dimension that gets a scale each, or None for one scale.
        search: "minmax" covers the largest weight; "mse" shrinks each range to the least squared error.
    Returns: (weight.shape[axis],) or (), float32, > 0.
    """
    rows = weight.reshape(1, -1) if axis is None else weight.transpose(0, axis).reshape(weight.shape[axis], -1)
    rows = rows.float()
    full = rows.abs().amax(1).clamp(min=SMALLEST_SCALE * reach) / reach
    best = full
    if search == "mse":
        least = torch.full_like(full, float("inf"))
        # Few levels fit a bell curve best where they clip at less than half of the largest weight.
        for shrink in torch.linspace(1.0, 0.5 if reach >= 7 else 0.2, 51).tolist():
            scale = full * shrink
            error = (quantize(rows, scale, -reach, reach) * scale[:, None] - rows).square().sum(1)
            best = torch.where(error < least, scale, best)
            least = torch.minimum(error, least)
    return best.reshape(()) if axis is None else best


def _grid_error(x: Tensor, counts: Tensor, bounds: tuple[float, float], grid: IntegerFormat) -> float:
    scale, zero_point = grid_parameters(*bounds, grid)
    q = torch.clamp(torch.round(x / scale) + zero_point, grid.qmin, grid.qmax)
    return float((((q - zero_point) * scale - x).square() * counts).sum())
