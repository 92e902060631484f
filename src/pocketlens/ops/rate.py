"""Rounding with the coder in mind: a weight may go to a code that costs fewer bits, if that costs little error."""

import math

import torch
from torch import Tensor

_LEVELS = 256

_DAMPING = 0.01
"""Of the Hessian, as a share of its mean diagonal: what few images never showed is not taken for free."""


def code_lengths(codes: Tensor) -> Tensor:
    """What an ideal coder of single codes spends on each: -log2 of its share.

    Args:
        codes: any shape, int8.
    Returns: (256,), bits, by code + 128; codes that do not occur cost as if they did once.
    """
    counts = torch.bincount(codes.flatten().int() + 128, minlength=_LEVELS).double()
    return (codes.numel() / counts.clamp(min=1)).log2()


def entropy_bytes(codes: Tensor) -> float:
    """What an ideal coder of single codes needs for all of them, in bytes (Shannon 1948, section 6)."""
    return float(code_lengths(codes)[codes.flatten().long() + 128].sum()) / 8


def step_for(lagrangian: float, importance: float) -> float:
    """The step of a uniform grid where an error saved is worth the bits that it costs.

    At high rate the error of a step is importance * step^2 / 12 and its bits fall by log2(step), so that both
    together are least where importance * step^2 / 6 = lagrangian / ln 2 (Gish and Pierce 1968).

    Args:
        lagrangian: error that one bit is worth.
        importance: error of a squared deviation of 1.
    """
    return math.sqrt(6 * lagrangian / (math.log(2) * max(importance, 1e-300)))


def bfloat16_above(scale: Tensor) -> Tensor:
    """The next numbers up that a bfloat16 holds: of their 4 bytes two are zero, which pack into nothing.

    Args:
        scale: any shape, float32, > 0 and finite.
    Returns: the same shape, float32, at most 1 + 2^-7 times as large.
    """
    return ((scale.view(torch.int32) + 0xFFFF) & -0x10000).view(torch.float32)


def round_for_rate(
    values: Tensor, moment: Tensor, gain: Tensor, reach: int, lagrangian: float, rounds: int = 2
) -> Tensor:
    """Codes with little error + lagrangian * bits, where errors of one weight are made up for by the next.

    Inputs of a layer are alike (after a ReLU all are positive), so errors of one sign add up: each weight alone would
    best go to the cheap codes near zero, all of them together shrink the output. So weights are rounded one column
    after the other, each to the cheapest of its two nearest codes and zero, and what that does to the output is taken
    back by the columns that follow, as GPTQ does (Frantar et al. 2023, arXiv:2210.17323), there without the bits. The
    coder's table follows from the codes chosen, in a round more (Chou et al. 1989).

    Args:
        values: (groups, rows, k), weights over their scale.
        moment: (groups, k, k), E[x x^T] of what they are multiplied with.
        gain: (rows of all groups,) or (), noise that an output error of 1 step^2 in a row is worth.
        reach: codes lie in -reach..reach, at most 127.
        lagrangian: noise that one bit is worth; 0 asks for the least error alone.
        rounds: how often.
    Returns: (groups, rows, k), int8.
    """
    factor = _inverse_factor(moment)
    worth = gain.expand(values.shape[0] * values.shape[1]).reshape(values.shape[:2])
    codes = values.round().clamp(-reach, reach).to(torch.int8)
    for _ in range(rounds):
        bits = code_lengths(codes).to(values.dtype) * lagrangian
        codes = _column_by_column(values, factor, worth, reach, bits)
    return codes


def least_error(moment: Tensor) -> Tensor:
    """Error at the output of a squared deviation of 1 of each weight, once the weights after it make up for it.

    Args:
        moment: (groups, k, k).
    Returns: (groups, k).
    """
    return _inverse_factor(moment).diagonal(dim1=-2, dim2=-1).square().reciprocal()


def _inverse_factor(moment: Tensor) -> Tensor:
    """The upper Cholesky factor of the inverse, damped."""
    k = moment.shape[-1]
    mean = moment.diagonal(dim1=-2, dim2=-1).mean(-1).clamp(min=1e-12)
    damped = moment.double() + _DAMPING * mean.double()[:, None, None] * torch.eye(k, dtype=torch.float64)
    return torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(damped)), upper=True).to(moment.dtype)


def _column_by_column(values: Tensor, factor: Tensor, worth: Tensor, reach: int, bits: Tensor) -> Tensor:
    left = values.clone()
    codes = torch.empty(values.shape, dtype=torch.int8)
    for column in range(values.shape[2]):
        wanted, spread = left[:, :, column], factor[:, column, column][:, None]
        low = wanted.floor().clamp(-reach, reach)
        candidates = torch.stack([low, (low + 1).clamp(max=reach), torch.zeros_like(low)])
        cost = worth * ((candidates - wanted) / spread).square() + bits[candidates.long() + 128]
        chosen = candidates.gather(0, cost.argmin(0, keepdim=True))[0]
        codes[:, :, column] = chosen.to(torch.int8)
        error = (wanted - chosen) / spread
        left[:, :, column + 1 :] -= error[:, :, None] * factor[:, column, None, column + 1 :]
    return codes
