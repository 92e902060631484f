"""EqualizeChannels: move scale between layers until the channels of their weights have alike ranges."""

import time
from dataclasses import asdict, dataclass
from typing import ClassVar

import torch
from torch import Tensor, fx

from pocketlens.errors import ConfigError
from pocketlens.models.canonical import clone
from pocketlens.models.links import Link, find_links
from pocketlens.ops import equalisation
from pocketlens.types import Context, Fact, Json, Model, PassResult, Record

CAP = 6.0
"""Where ReLU6 is flat."""


@dataclass(frozen=True, kw_only=True)
class EqualizeChannels:
    """Rescale the channels between two layers so that both have the same range there; nothing else changes.

    Works across ReLU, leaky ReLU, PReLU, pooling and padding, through pairs and so through longer runs of layers.
    Across ReLU6 a channel is rescaled only where its weights prove that it never reaches 6, before and after: a cap
    that moves with the channel would cost an operator of its own, which runtimes do not fuse. The record says how
    many channels that left as they were.

    Pays where a grid is shared by channels of unlike ranges: weights with one scale, activations always.

    Args:
        iterations: sweeps over all pairs at most.
        tolerance: a sweep that changes no channel by more than this share is the last.

    Reference: Nagel et al. 2019, arXiv:1906.04721, section 4.1.
    """

    iterations: int = 40
    tolerance: float = 1e-3

    requires: ClassVar[frozenset[Fact]] = frozenset({"folded"})
    forbids: ClassVar[frozenset[Fact]] = frozenset({"clustered", "tied", "quantized", "half"})
    establishes: ClassVar[frozenset[Fact]] = frozenset()
    destroys: ClassVar[frozenset[Fact]] = frozenset()

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise ConfigError(f"`iterations` must be at least 1, got {self.iterations}")
        if not 0 < self.tolerance < 1:
            raise ConfigError(f"`tolerance` must lie in (0, 1), got {self.tolerance}. To stop below 0.1% use 0.001.")

    def __call__(self, model: Model, context: Context) -> PassResult:
        """Return the model with equalised weights."""
        start = time.perf_counter()
        result = clone(model)
        pairs = [_Pair(result.graph, link) for link in find_links(result.graph)]
        before = [pair.spread() for pair in pairs]
        sweeps, largest = 0, 0.0
        while sweeps < self.iterations and pairs:
            sweeps += 1
            largest = max(pair.equalise() for pair in pairs)
            if largest <= self.tolerance:
                break
        layers = tuple(pair.record(spread) for pair, spread in zip(pairs, before, strict=True))
        held = sum(layer["held_channels"] for layer in layers)
        record = Record(
            name="EqualizeChannels",
            config=asdict(self),
            summary={"pairs": len(pairs), "sweeps": sweeps, "last_change": largest, "held_channels": held},
            layers=layers,
            notes=(f"{held} channels stay as they are: they may reach the cap of their ReLU6",) if held else (),
            seconds=time.perf_counter() - start,
        )
        return PassResult(result, record)


class _Pair:
    """The two layers of a link."""

    def __init__(self, graph: fx.GraphModule, link: Link) -> None:
        self._link = link
        first, second = (graph.get_submodule(str(n.target)) for n in (link.first, link.second))
        assert isinstance(first, equalisation.Scalable)
        assert isinstance(second, equalisation.Scalable)
        self._first, self._second = first, second
        self._reach = self._bounds()
        self._free = self._reach <= CAP

    def spread(self) -> float:
        """How many times the largest range of a live channel exceeds the median one, on the side that is worse."""
        sides = equalisation.outgoing_ranges(self._first), equalisation.incoming_ranges(self._second)
        return max(_spread(ranges[ranges > 0]) for ranges in sides)

    def equalise(self) -> float:
        """Move scale once; return the largest relative change of a channel."""
        first, second = self._first, self._second
        factors = equalisation.equalising_factors(
            equalisation.outgoing_ranges(first), equalisation.incoming_ranges(second)
        )
        if self._link.capped:
            factors = torch.where(self._free, torch.maximum(factors, self._reach / CAP), 1.0)
        equalisation.rescale(first, second, factors)
        self._reach /= factors
        return float((factors - 1).abs().max())

    def record(self, before: float) -> Json:
        """What the record says about the pair."""
        return {
            "layer": self._link.first.name,
            "into": self._link.second.name,
            "channels": len(self._free),
            "held_channels": int((~self._free).sum()),
            "spread_before": before,
            "spread_after": self.spread(),
        }

    def _bounds(self) -> Tensor:
        """What each channel in between cannot exceed, as far as ReLU6 makes that matter."""
        ranges = equalisation.outgoing_ranges(self._first)
        if not self._link.capped:
            return torch.zeros_like(ranges)
        if not self._link.confined:
            return torch.full_like(ranges, float("inf"))
        return equalisation.upper_bounds(self._first, CAP)


def _spread(ranges: Tensor) -> float:
    return float(ranges.max() / torch.median(ranges)) if len(ranges) else 1.0
