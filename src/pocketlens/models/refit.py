"""Batch norms fitted anew to layers whose weights are others now."""

from collections.abc import Collection

import torch
from torch import Tensor, fx, nn

from pocketlens.models.frontier import Front
from pocketlens.types import Progress

SMALLEST_GAIN = 1e-3
"""Of the mean gain of a batch norm: a channel with less says nothing that 8 bits could hold."""

_ROUNDING = 1e-6
"""Of the squared mean: a variance below it is that of float32 sums, and the channel gives one number."""


def refit_norms(
    graph: fx.GraphModule, reference: fx.GraphModule, changed: Collection[str], images: list[Tensor], progress: Progress
) -> None:
    """Fit the batch norms of a changed network to what the network gave before, in place, from the input on.

    A norm behind a changed layer gets the mean and variance of what it reads now, and the gain and shift with which
    it comes closest to what it gave (least squares, a channel each; the gain stays above 0). Those after it get
    mean and variance only. Each sees what the fitted ones before it give.

    Args:
        graph: in evaluation mode.
        reference: the network before: the same nodes, channels in the same order.
        changed: names of the norms' nodes behind changed layers.
        images: chunks, each (n, c, h, w), float32.
        progress: see types.Progress.
    """
    ours, theirs = Front(graph, images), Front(reference, images)
    pairs = [p for p in zip(graph.graph.nodes, reference.graph.nodes, strict=True) if p[0].op != "output"]
    calls = [n.target for n, _ in pairs if n.op == "call_module"]
    begun = False
    with torch.no_grad():
        for node, other in progress.track(pairs, "fitting batch norms", len(pairs)):
            norm = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
            begun = begun or node.name in changed
            if begun and _refittable(norm) and calls.count(node.target) == 1:
                read = ours.values(node.all_input_nodes[0])
                if node.name in changed:
                    _fit(norm, read, theirs.values(other))
                else:
                    _set_statistics(norm, *_moments(read))
            ours.advance(node)
            theirs.advance(other)


def keep_above_zero(norm: nn.Module) -> int:
    """Raise gains that are next to 0, or below, in place; how many there were."""
    gain = norm.weight
    if not isinstance(gain, Tensor):
        return 0
    with torch.no_grad():
        least = (SMALLEST_GAIN * gain.abs().mean()).clamp(min=torch.finfo(gain.dtype).tiny)
        low = int((gain < least).sum())
        gain.clamp_(min=least)
    return low


def _refittable(norm: nn.Module | None) -> bool:
    return isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) and norm.running_mean is not None


def _fit(norm: nn.Module | None, read: list[Tensor], wanted: list[Tensor]) -> None:
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    mean, variance = _moments(read)
    _set_statistics(norm, mean, variance)
    if not norm.affine:
        return
    target, _ = _moments(wanted)
    together = sum(_sum(x * y) for x, y in zip(read, wanted, strict=True)) / _count(read)
    alive = variance > _ROUNDING * mean.square()
    slope = torch.where(alive, (together - mean * target) / variance.clamp(min=1e-30), 0.0)
    before = norm.weight.abs().mean()
    norm.weight.copy_(slope * (variance + norm.eps).sqrt())
    norm.weight.clamp_(min=float((SMALLEST_GAIN * before).clamp(min=1e-30)))
    norm.bias.copy_(target)


def _set_statistics(norm: nn.Module | None, mean: Tensor, variance: Tensor) -> None:
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)


def _moments(chunks: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel over images and positions, (channels,), float64."""
    count = _count(chunks)
    total, squares = sum(_sum(x) for x in chunks), sum(_sum(x.square()) for x in chunks)
    assert isinstance(total, Tensor)
    mean = total / count
    return mean, (squares / count - mean.square()).clamp(min=0)


def _sum(x: Tensor) -> Tensor:
    return x.sum(tuple(d for d in range(x.dim()) if d != 1), dtype=torch.float64)


def _count(chunks: list[Tensor]) -> int:
    return sum(x.numel() // x.shape[1] for x in chunks)
