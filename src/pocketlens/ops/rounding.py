"""Adaptive rounding: choose for each weight whether to round down or up by what the layer's output says.

Nagel et al. 2020, "Up or Down? Adaptive Rounding for Post-Training Quantization", arXiv:2004.10568.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_STRETCH, _SHIFT = 1.2, -0.1
"""zeta - gamma and gamma of eq. 23: the sigmoid reaches a little past 0 and 1, so that weights settle there."""

_BIAS_RATE = 0.1
"""The share of a batch's mean error that the bias takes up."""


@dataclass(frozen=True, kw_only=True)
class RoundingProblem:
    """One layer at sampled positions, by group (see ops.patches).

    Args:
        inputs: (groups, positions, k), float32: what the quantized network brings here.
        targets: (groups, positions, outputs), float32: what the float network gives here.
        weight: (groups, outputs, k), float32: before it was rounded.
        scale: broadcasts against weight, float32, > 0.
        bias: (groups, 1, outputs), float32.
        reach: codes lie in -reach..reach.
        ceiling: outputs pass through clamp(0, ceiling) before they are compared; None compares them as they are.
        shrinkage: how much of the inputs' correlations is taken for chance, 0 to 1 (see `shrinkage`).
    """

    inputs: Tensor
    targets: Tensor
    weight: Tensor
    scale: Tensor
    bias: Tensor
    reach: int
    ceiling: float | None = None
    shrinkage: float = 0.0


@dataclass(frozen=True, kw_only=True)
class RoundingPlan:
    """How to search.

    Args:
        iterations: of Adam.
        batch_size: positions an iteration.
        learning_rate: of the variables behind the sigmoid.
        strength: weight of the term that drives each choice to 0 or 1, against an error that is 1 a weight when all
            are rounded to the nearest.
        warmup: the share of the iterations before that term acts.
        beta: its exponent at the start (flat in the middle) and at the end (sharp).
    """

    iterations: int = 300
    batch_size: int = 512
    learning_rate: float = 0.1
    strength: float = 3.0
    warmup: float = 0.2
    beta: tuple[float, float] = (20.0, 2.0)


def rectified_sigmoid(v: Tensor) -> Tensor:
    """h(v) = clamp(sigmoid(v) (zeta - gamma) + gamma, 0, 1), eq. 23."""
    return torch.clamp(torch.sigmoid(v) * _STRETCH + _SHIFT, 0, 1)


def rectified_logit(h: Tensor) -> Tensor:
    """The v with h(v) = h, for h in [0, 1]."""
    return torch.logit((h - _SHIFT) / _STRETCH)


def undecided(h: Tensor, beta: float) -> Tensor:
    """1 - |2h - 1|^beta, eq. 24: 1 for a choice that is open, 0 for one that is made."""
    return 1 - (2 * h - 1).abs().pow(beta)


def sharpness(progress: float, plan: RoundingPlan) -> float | None:
    """The exponent at `progress` in [0, 1], on a cosine from first to last; None during the warm-up."""
    if progress < plan.warmup:
        return None
    first, last = plan.beta
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * (progress - plan.warmup) / (1 - plan.warmup)))


def shrinkage(samples: Sequence[Tensor]) -> float:
    """How much of the correlations between a layer's inputs is chance, given how far samples disagree on them.

    A wide layer that was seen at few positions could be rounded to suit those alone. Inputs without correlations want
    plain rounding, so drawing the correlations together draws the codes to the nearest.

    Args:
        samples: at least two, drawn from different images, each (groups, positions, k), float32.
    Returns: the weight, 0 to 1, that a diagonal covariance deserves against the one that was seen.
    Reference: Schäfer and Strimmer 2005, "A shrinkage approach to large-scale covariance matrix estimation", target D.
    """
    mean = torch.cat(list(samples), 1).mean(1, keepdim=True)
    total, squares = torch.zeros(()), torch.zeros(())
    for sample in samples:
        x = sample - mean
        covariance = torch.bmm(x.transpose(1, 2), x).div_(x.shape[1])
        total = total + covariance
        squares = squares + covariance.square_()
    average = total / len(samples)
    doubt = (squares / len(samples) - average.square()) / (len(samples) - 1)
    seen = _beside_the_diagonal(average.square())
    return min(max(_beside_the_diagonal(doubt) / seen, 0.0), 1.0) if seen > 0 else 0.0


def round_adaptively(problem: RoundingProblem, plan: RoundingPlan) -> tuple[Tensor, Tensor]:
    """Codes and bias with which the layer's output comes closest to its target.

    The bias follows along: what rounding does to the mean of an output is not for the codes to make up for.

    Args:
        problem: positions in random order: they are taken in turn.
        plan: see RoundingPlan.
    Returns: codes like `problem.weight`, int8, each the weight rounded down or up, and the bias.
    """
    ideal = torch.clamp(problem.weight / problem.scale, -problem.reach, problem.reach)
    low = torch.floor(ideal).clamp(max=problem.reach - 1)
    v = rectified_logit((ideal - low).clamp(0, 1)).clamp(-8, 8)
    bias = problem.bias.clone()
    noise = _noise(problem, low + torch.round(ideal - low) - ideal)
    if noise <= 0:
        return torch.round(ideal).to(torch.int8), bias
    optimizer = torch.optim.Adam([v], lr=plan.learning_rate, fused=True)
    batches = _batches(problem, plan.batch_size)
    spread = problem.inputs.var(1, correction=0, keepdim=True).mul_(problem.shrinkage * 2 / noise)  # (groups, 1, k)
    s, raw, h, weight = (torch.empty_like(v) for _ in range(4))  # large tensors cost more to make than to fill
    for i in range(plan.iterations):
        x, wanted = batches[i % len(batches)]
        torch.sigmoid(v, out=s)
        torch.add(_SHIFT, s, alpha=_STRETCH, out=raw)
        torch.clamp(raw, 0, 1, out=h)
        torch.add(low, h, out=weight).mul_(problem.scale)
        y = torch.baddbmm(bias, x, weight.transpose(1, 2))
        error = _error(y, wanted, problem.ceiling)
        slope = torch.bmm(error.transpose(1, 2), x).mul_((1 - problem.shrinkage) * 2 / (noise * x.shape[1]))
        if problem.shrinkage > 0:
            slope.addcmul_(weight.sub_(problem.weight), spread)
        slope.mul_(problem.scale)
        beta = sharpness(i / plan.iterations, plan)
        if beta is not None:
            far = h.mul_(2).sub_(1)
            slope.addcmul_(far.sign(), far.abs_().pow_(beta - 1), value=-2 * beta * plan.strength)
        settled = torch.ops.aten.hardtanh_backward(slope, raw, 0, 1)
        v.grad = torch.ops.aten.sigmoid_backward(settled.mul_(_STRETCH), s)
        optimizer.step()
        bias -= _BIAS_RATE * error.mean(1, keepdim=True)
    codes = low + (v >= 0)
    errors = [
        _error(torch.baddbmm(bias, x, (codes * problem.scale).transpose(1, 2)), wanted, problem.ceiling)
        for x, wanted in batches
    ]
    return codes.to(torch.int8), bias - torch.cat(errors, 1).mean(1, keepdim=True)


def _beside_the_diagonal(matrices: Tensor) -> float:
    """The sum of what is not on the diagonals of (groups, k, k)."""
    return float(matrices.sum(dtype=torch.float64) - matrices.diagonal(dim1=1, dim2=2).sum(dtype=torch.float64))


def _noise(problem: RoundingProblem, error: Tensor) -> float:
    """What rounding to the nearest adds to the squared output, summed over outputs, a weight."""
    sample = problem.inputs[:, :2048]
    noise = torch.bmm(sample, (error * problem.scale).transpose(1, 2))
    return float(noise.square().sum() / sample.shape[1] / error.numel())


def _error(y: Tensor, wanted: Tensor, ceiling: float | None) -> Tensor:
    """What is left to mend behind the activation, as seen before it: nothing where that is flat."""
    if ceiling is None:
        return y - wanted
    return torch.ops.aten.hardtanh_backward(torch.clamp(y, 0, ceiling).sub_(wanted), y, 0, ceiling)


def _batches(problem: RoundingProblem, batch_size: int) -> list[tuple[Tensor, Tensor]]:
    """Inputs and targets cut into batches; a weight with few inputs needs few positions to learn from."""
    target = problem.targets if problem.ceiling is None else torch.clamp(problem.targets, 0, problem.ceiling)
    size = min(batch_size, max(64, 4 * problem.inputs.shape[2]), problem.inputs.shape[1])
    whole = problem.inputs.shape[1] // size * size
    return list(zip(problem.inputs[:, :whole].split(size, 1), target[:, :whole].split(size, 1), strict=True))
