"""What a training run minimises."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from pocketlens.ops import losses


@dataclass(frozen=True)
class Mixed:
    """How a batch was mixed: every image with its neighbour (Zhang et al. 2018, arXiv:1710.09412).

    Args:
        share: of the image itself; the rest is the image before it.
    """

    share: float

    def of(self, values: Tensor) -> Tensor:
        """(n, ...), each row mixed with the row before it."""
        return self.share * values + (1 - self.share) * values.roll(1, 0)


@dataclass(frozen=True)
class Lesson:
    """What an objective is given besides the student's answer.

    Args:
        labels: (n,), int64, -1 unknown.
        teacher: (n, classes), the teacher's logits, already mixed; None where no teacher is asked.
        student_features: the student's taps, each (n, c, h, w).
        teacher_features: the teacher's, already mixed.
        mixed: None where nothing was mixed.
    """

    labels: Tensor
    teacher: Tensor | None = None
    student_features: Sequence[Tensor] = ()
    teacher_features: Sequence[Tensor] = ()
    mixed: Mixed | None = None


class Objective(Protocol):
    """A loss of the student's logits."""

    @property
    def extra(self) -> nn.Module | None:
        """Layers that are trained beside the student and thrown away afterwards."""
        ...

    def __call__(self, logits: Tensor, lesson: Lesson) -> Tensor:
        """A scalar."""
        ...


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Cross-entropy against the labels.

    Args:
        smoothing: see `ops.losses.cross_entropy`.
    """

    smoothing: float = 0.0
    extra: None = None

    def __call__(self, logits: Tensor, lesson: Lesson) -> Tensor:
        """A scalar; of a mixed batch the mix of both losses."""
        loss = losses.cross_entropy(logits, lesson.labels, self.smoothing)
        if lesson.mixed is None:
            return loss
        other = losses.cross_entropy(logits, lesson.labels.roll(1, 0), self.smoothing)
        return lesson.mixed.share * loss + (1 - lesson.mixed.share) * other


class Projections(nn.Module):
    """One 1 x 1 convolution a tap, from the student's channels to the teacher's.

    Args:
        channels: (student's, teacher's) a tap.
    """

    def __init__(self, channels: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(mine, theirs, 1, bias=False) for mine, theirs in channels)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Each tap in the teacher's channels."""
        return [layer(x) for layer, x in zip(self.layers, features, strict=True)]


@dataclass(frozen=True, kw_only=True)
class Imitation:
    """A teacher's logits, its features, and the labels, weighted.

    Args:
        temperature: see `ops.losses.soft_targets`.
        decoupled: (alpha, beta) of `ops.losses.decoupled`, or None for Hinton's loss.
        labels_weight: of the labels in [0, 1]; the teacher's logits have the rest.
        features_weight: of the distance of projected features.
        attention_weight: of the distance of attention maps.
        smoothing: of the labels.
        extra: Projections, needed where features_weight > 0.
    """

    temperature: float
    decoupled: tuple[float, float] | None = None
    labels_weight: float = 0.0
    features_weight: float = 0.0
    attention_weight: float = 0.0
    smoothing: float = 0.0
    extra: Projections | None = None

    def __call__(self, logits: Tensor, lesson: Lesson) -> Tensor:
        """A scalar."""
        assert lesson.teacher is not None
        if self.decoupled is None:
            taught = losses.soft_targets(logits, lesson.teacher, self.temperature)
        else:
            alpha, beta = self.decoupled
            labels = lesson.labels if lesson.mixed is None else torch.full_like(lesson.labels, -1)
            taught = losses.decoupled(logits, lesson.teacher, labels, self.temperature, alpha, beta)
        loss = (1 - self.labels_weight) * taught
        if self.labels_weight:
            loss = loss + self.labels_weight * Labels(smoothing=self.smoothing)(logits, lesson)
        if self.features_weight and self.extra is not None:
            pairs = zip(self.extra(lesson.student_features), lesson.teacher_features, strict=True)
            loss = loss + self.features_weight * _mean([losses.feature_distance(s, t) for s, t in pairs])
        if self.attention_weight:
            pairs = zip(lesson.student_features, lesson.teacher_features, strict=True)
            loss = loss + self.attention_weight * _mean([losses.attention_distance(s, t) for s, t in pairs])
        return loss


def _mean(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(values)).mean()
