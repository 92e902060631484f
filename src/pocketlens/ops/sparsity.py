"""Which single weights stay: by rank, by pattern, and how many at which moment."""

from collections.abc import Mapping

import torch
from torch import Tensor

from pocketlens.errors import ConfigError


def cubic(done: float, sparsity: float, until: float = 0.7) -> float:
    """The sparsity after the share `done` of training: fast first, then slower, constant from `until` on.

    Reference: Zhu & Gupta 2018, arXiv:1710.01878, eq. 1.
    """
    return sparsity * (1 - (1 - min(done / until, 1.0)) ** 3)


def threshold_masks(scores: Mapping[str, Tensor], sparsity: float, *, everywhere: bool) -> dict[str, Tensor]:
    """Masks that drop the share `sparsity` with the lowest scores.

    Args:
        scores: name -> one score a weight.
        sparsity: in [0, 1).
        everywhere: rank all layers together, else each for itself.
    Returns: name -> float32 zeros and ones, the weight's shape.
    """
    if not everywhere:
        return {name: _keep_highest(score, sparsity) for name, score in scores.items()}
    joined = _keep_highest(torch.cat([s.reshape(-1) for s in scores.values()]), sparsity)
    parts = joined.split([s.numel() for s in scores.values()])
    return {name: part.reshape(score.shape) for (name, score), part in zip(scores.items(), parts, strict=True)}


def pattern_mask(scores: Tensor, n: int, m: int) -> Tensor:
    """A mask that keeps the `n` highest of every `m` weights that follow each other along the input channels.

    Args:
        scores: (out, in, ...), one score a weight; `in` is divisible by `m`.
        n: kept of each `m`.
        m: length of a run.
    Raises: ConfigError when `in` is not divisible by `m`.
    Reference: Mishra et al. 2021, arXiv:2104.08378 (2:4).
    """
    if scores.shape[1] % m:
        raise ConfigError(f"an {n}:{m} pattern needs input channels divisible by {m}, got {scores.shape[1]}")
    runs = scores.transpose(1, -1).reshape(-1, m) if scores.dim() > 2 else scores.reshape(-1, m)
    keep = torch.zeros_like(runs).scatter_(1, runs.topk(n, dim=1).indices, 1.0)
    if scores.dim() == 2:
        return keep.reshape(scores.shape)
    turned = scores.transpose(1, -1).shape
    return keep.reshape(turned).transpose(1, -1).contiguous()


def _keep_highest(scores: Tensor, sparsity: float) -> Tensor:
    flat = scores.reshape(-1)
    keep = torch.ones_like(flat, dtype=torch.float32)
    keep[flat.argsort(stable=True)[: int(sparsity * flat.numel())]] = 0.0
    return keep.reshape(scores.shape)
