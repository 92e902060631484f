"""Pruning criteria: from what a group's units hold to one score a unit. Low scores leave first.

A newcomer adds one function, one line in `CRITERIA`, one test worked by hand.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class Slice:
    """What the units of a group hold in one layer.

    Args:
        side: "out" (the filters that make the unit), "in" (the weights that read it), or "norm" (its gain).
        values: (units, k), float32.
        gradients: (units, k) of the loss, or None where the criterion asks for none.
    """

    side: Literal["out", "in", "norm"]
    values: Tensor
    gradients: Tensor | None = None


Slices = tuple[Slice, ...]


def l1(slices: Slices, generator: torch.Generator) -> Tensor:
    """Sum of |w| of the filters. Li et al. 2017, arXiv:1608.08710."""
    return _sum(s.values.abs().sum(1) for s in slices if s.side == "out")


def l2(slices: Slices, generator: torch.Generator) -> Tensor:
    """Euclidean norm of the filters. He et al. 2018 (soft filter pruning), arXiv:1808.06866."""
    return _sum(s.values.square().sum(1) for s in slices if s.side == "out").sqrt()


def group_norm(slices: Slices, generator: torch.Generator) -> Tensor:
    """Euclidean norm of all that depends on a unit: filters, gains, and what reads it. Fang et al. 2023, eq. 4."""
    return _sum(s.values.square().sum(1) for s in slices).sqrt()


def batchnorm_scale(slices: Slices, generator: torch.Generator) -> Tensor:
    """Sum of |gamma|; where a group has no norm, as `l2`. Liu et al. 2017 (network slimming), arXiv:1708.06519."""
    gains = [s.values.abs().sum(1) for s in slices if s.side == "norm"]
    return _sum(gains) if gains else l2(slices, generator)


def geometric_median(slices: Slices, generator: torch.Generator) -> Tensor:
    """Sum of distances to the other filters: what lies in the middle can be replaced by the rest.

    Reference: He et al. 2019 (FPGM), arXiv:1811.00250, eq. 5.
    """
    filters = torch.cat([s.values for s in slices if s.side == "out"], dim=1)
    return torch.cdist(filters, filters, compute_mode="donot_use_mm_for_euclid_dist").sum(1)


def taylor(slices: Slices, generator: torch.Generator) -> Tensor:
    """Squared first-order change of the loss when the unit leaves: (sum of w g)^2, counted where the unit is made.

    Reference: Molchanov et al. 2019, arXiv:1906.10771, eq. 8.
    """
    where = _where_made(slices)
    return _sum((s.values * _gradients(s)).sum(1) for s in where).square()


def hessian_diagonal(slices: Slices, generator: torch.Generator) -> Tensor:
    """Second-order change of the loss, 1/2 sum of h w^2 over all that makes the unit, h the squared gradient (Fisher).

    Reference: LeCun et al. 1990 (optimal brain damage), eq. 4; Theis et al. 2018, arXiv:1801.05787, for h.
    """
    return _sum((0.5 * (s.values * _gradients(s)).square()).sum(1) for s in slices if s.side != "in")


def random(slices: Slices, generator: torch.Generator) -> Tensor:
    """The control: whatever beats nothing is no criterion."""
    return torch.rand(len(slices[0].values), generator=generator)


Criterion = Callable[[Slices, torch.Generator], Tensor]

CRITERIA: dict[str, Criterion] = {
    "l1": l1,
    "l2": l2,
    "group_norm": group_norm,
    "batchnorm_scale": batchnorm_scale,
    "geometric_median": geometric_median,
    "taylor": taylor,
    "hessian_diagonal": hessian_diagonal,
    "random": random,
}

NEED_GRADIENTS = frozenset({"taylor", "hessian_diagonal"})
"""Their scores are changes of the loss, so units of different layers compare as they are."""


def _where_made(slices: Slices) -> Slices:
    """The gains where a unit has some (one number stands for the whole unit), else the filters."""
    gains = tuple(s for s in slices if s.side == "norm")
    return gains or tuple(s for s in slices if s.side == "out")


def _gradients(part: Slice) -> Tensor:
    assert part.gradients is not None
    return part.gradients


def _sum(parts: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(parts)).sum(0)
