"""How many units of each group stay, given how much they matter."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from pocketlens.ops.groups import ChannelGroup


@dataclass(frozen=True)
class Ranked:
    """A group with what its units are worth.

    Args:
        group: may shrink.
        scores: (width,), float32; low ones leave first.
        price: what one unit costs, in the unit that scores are weighed against; > 0.
        original: its width before the first step.
        multiple: widths are rounded to multiples of this.
        smallest: share of `original` that stays.
    """

    group: ChannelGroup
    scores: Tensor
    price: float
    original: int
    multiple: int
    smallest: float

    def levels(self) -> list[int]:
        """The widths that are allowed, ascending; the present one is always among them."""
        step = math.lcm(self.multiple, self.group.blocks)
        least = max(1, math.ceil(self.smallest * self.original), self._needed)
        rounded = [n for n in range(step, self.group.width, step) if n >= least]
        return [*rounded, self.group.width]

    @cached_property
    def _anchors(self) -> Tensor:
        """Units that stay since a layer that has only some of the units would be empty without: its best."""
        found: list[int] = []
        for member in self.group.members:
            units = member.unit.unique()
            if len(units) < self.group.width and not set(units.tolist()) & set(found):
                found.append(int(units[self.scores[units].argmax()]))
        return torch.tensor(found, dtype=torch.int64)

    @property
    def _needed(self) -> int:
        """The least width that holds all anchors."""
        per_block = self.group.width // self.group.blocks
        in_block = torch.bincount(self._anchors // per_block, minlength=self.group.blocks)
        return int(in_block.max()) * self.group.blocks

    def nearest(self, wanted: float) -> int:
        """The allowed width nearest to `wanted`, the larger of two equally near."""
        return min(self.levels(), key=lambda level: (abs(level - wanted), -level))

    def doomed(self, kept: int) -> Tensor:
        """The units that leave when `kept` stay: the lowest scores, as many of each block."""
        per_block = self.group.width // self.group.blocks
        leaving = per_block - kept // self.group.blocks
        by_block = self.scores.index_fill(0, self._anchors, math.inf).reshape(self.group.blocks, per_block)
        lowest = by_block.argsort(dim=1, stable=True)[:, :leaving]
        return (lowest + per_block * torch.arange(self.group.blocks).unsqueeze(1)).reshape(-1).sort().values


def allocate(
    ranked: Sequence[Ranked], share: float, scope: Literal["global", "local"], comparable: bool
) -> dict[str, int]:
    """How many units of each group stay when the share `share` of all leaves.

    Args:
        ranked: the groups.
        share: in [0, 1], of the units there were before the first step.
        scope: "local" takes the share from each group; "global" ranks all units together.
        comparable: whether scores of different groups compare as they are; else each group's mean is made 1 first.
    """
    if scope == "local":
        return {r.group.name: r.nearest(r.original * (1 - share)) for r in ranked}
    values = torch.cat([_weighed(r, comparable) for r in ranked])
    total = sum(r.original for r in ranked)
    leaving = round(share * total) - (total - len(values))
    if leaving <= 0:
        return {r.group.name: r.group.width for r in ranked}
    order = values.argsort(stable=True)
    stays = torch.ones(len(values), dtype=torch.bool)
    stays[order[: min(leaving, len(values))]] = False
    counts = {}
    start = 0
    for r in ranked:
        counts[r.group.name] = r.nearest(int(stays[start : start + r.group.width].sum()))
        start += r.group.width
    return counts


def _weighed(ranked: Ranked, comparable: bool) -> Tensor:
    scores = ranked.scores.double()
    if not comparable:
        scores = scores / scores.mean().clamp(min=1e-12)
    return scores / ranked.price
