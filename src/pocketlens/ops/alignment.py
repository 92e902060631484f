"""Which channels of one weight are those of another, and the weight that stands for several."""

from collections.abc import Sequence

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

_ROUNDS = 10
"""Of rows and columns in turn; most weights settle in three."""


def align(fixed: Tensor, moving: Tensor, *, rows: bool, columns: bool) -> tuple[Tensor, Tensor]:
    """Put rows and columns of a weight in the order in which one weight can best stand for it and for another.

    Rows are as long as the root of what it costs to lose them. What one row says of two, with a scale for each, is the
    largest eigenvalue of their inner products, so the order of rows alone is a linear assignment and found exactly.
    The order of columns is a row of such assignments; rows and columns are found in turn, from two starts. Both end in
    a local optimum.

    Args:
        fixed: (out, in, ...).
        moving: of the same shape.
        rows: whether rows may change places.
        columns: whether columns may.
    Returns: the orders, (out,) and (in,), int64: `order[i]` is what comes to place i.
    Reference: Ainsworth et al. 2023 (Git Re-Basin), arXiv:2209.04836, section 3.2, there by inner products alone.
    """
    same = torch.arange(fixed.shape[0]), torch.arange(fixed.shape[1])
    if not (rows and columns):
        return (_rows_to(fixed, moving) if rows else same[0]), (_columns_to(fixed, moving) if columns else same[1])
    # What a row holds, in whatever order of columns, tells it from others before columns are in place.
    alike = _rows_to(fixed.sort(dim=1).values, moving.sort(dim=1).values)
    found = [_in_turn(fixed, moving, start) for start in (same[0], alike)]
    return max(found, key=lambda orders: float(_said(fixed, moving[orders[0]][:, orders[1]]).diagonal().sum()))


def shared_weight(weights: Sequence[Tensor], importance: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The weight that stands best for several, where each row of each may be scaled as it likes.

    A row u in the place of w leaves the share 1 - cos^2(u, w) of what w says unexplained. Each row of the result has
    the least sum of these, each times its importance: the first principal direction of the members' unit rows.

    Args:
        weights: n of them, (out, ...), of one shape.
        importance: n of them, (out,), at least 0: what it costs to lose a row.
    Returns: the weight, (out, ...), with rows as long as the members' on average; and the cosine of each row with
        each member's, (n, out), 0 where it is negative.
    """
    members = torch.stack([w.detach().double().flatten(1) for w in weights])  # (n, out, k)
    lengths = members.norm(dim=2)
    unit = F.normalize(members, dim=2, eps=1e-30)
    weigh = torch.stack([i.double() for i in importance]) * (lengths > 0)
    weigh = torch.where(weigh.sum(0) > 0, weigh, 1.0)
    root = weigh.sqrt()
    alike = torch.einsum("nok,mok->onm", unit * root[..., None], unit * root[..., None])
    # Rows that point away from each other have no scale above 0 in common: as good as unlike.
    first = torch.linalg.eigh(alike.clamp(min=0)).eigenvectors[..., -1].abs()  # (out, n)
    direction = F.normalize(torch.einsum("on,nok->ok", first * root.T, unit), dim=1, eps=1e-30)
    cosine = torch.einsum("nok,ok->no", unit, direction).clamp(0, 1)
    length = (weigh * lengths).sum(0) / weigh.sum(0)
    weight = (direction * length[:, None]).reshape(weights[0].shape)
    return weight.to(weights[0].dtype), cosine.float()


def _in_turn(fixed: Tensor, moving: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Columns for the rows, rows for the columns, and so on until nothing moves."""
    columns = _columns_to(fixed, moving[rows])
    for _ in range(_ROUNDS):
        before, rows = rows, _rows_to(fixed, moving[:, columns])
        if torch.equal(before, rows):
            break
        columns = _columns_to(fixed, moving[rows])
    return rows, columns


def _rows_to(fixed: Tensor, moving: Tensor) -> Tensor:
    return _assigned(_said(fixed, moving))


def _columns_to(fixed: Tensor, moving: Tensor) -> Tensor:
    """What rows say is convex in their inner products, so that raising its tangent raises it."""
    weigh = torch.ones(len(fixed))
    order = torch.arange(fixed.shape[1])
    for _ in range(_ROUNDS):
        scaled = (fixed.flatten(1) * weigh[:, None]).reshape(fixed.shape).transpose(0, 1)
        before, order = order, _assigned(scaled.flatten(1) @ moving.transpose(0, 1).flatten(1).T)
        if torch.equal(before, order):
            break
        a, b = fixed.flatten(1), moving[:, order].flatten(1)
        inner, apart = (a * b).sum(1).clamp(min=0), (a.square().sum(1) - b.square().sum(1)) / 2
        weigh = inner / (apart.square() + inner.square()).sqrt().clamp(min=1e-30)
    return order


def _said(fixed: Tensor, moving: Tensor) -> Tensor:
    """(out, out): of the squared lengths of a row of each, what one row in the place of both says."""
    a, b = fixed.flatten(1), moving.flatten(1)
    inner = (a @ b.T).clamp(min=0)
    lengths = a.square().sum(1)[:, None], b.square().sum(1)[None, :]
    return (lengths[0] + lengths[1]) / 2 + ((lengths[0] - lengths[1]).square() / 4 + inner.square()).sqrt()


def _assigned(gain: Tensor) -> Tensor:
    """The order of columns with the largest sum along the diagonal."""
    return torch.from_numpy(linear_sum_assignment(gain.numpy(), maximize=True)[1])
