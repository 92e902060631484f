"""Losses: against labels, against a teacher's logits, against what a teacher computes on the way.

Logits are (n, classes); labels are (n,), int64, -1 where unknown. Every loss is a mean over images, a scalar.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from pocketlens.errors import ConfigError


def cross_entropy(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy over the images whose label is known; 0 when none is.

    Args:
        logits: (n, classes).
        labels: (n,), -1 where unknown.
        smoothing: share of the target spread over all classes (Szegedy et al. 2016, arXiv:1512.00567, section 7).
    """
    known = labels >= 0
    if not known.any():
        return logits.sum() * 0.0
    return F.cross_entropy(logits[known], labels[known], label_smoothing=smoothing)


def soft_targets(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(teacher || student) of the softened distributions.

    The factor keeps gradients the same size whatever the temperature.

    Args:
        student: (n, classes), logits.
        teacher: (n, classes), logits.
        temperature: > 0; larger ones show more of how the teacher ranks wrong answers.
    Reference: Hinton et al. 2015, arXiv:1503.02531, section 2.
    """
    check_same_classes(student, teacher)
    wanted = F.log_softmax(teacher / temperature, dim=1)
    got = F.log_softmax(student / temperature, dim=1)
    return F.kl_div(got, wanted, reduction="batchmean", log_target=True) * temperature**2


def decoupled(
    student: Tensor, teacher: Tensor, labels: Tensor, temperature: float, alpha: float = 1.0, beta: float = 8.0
) -> Tensor:
    """Distillation with the target class and the others weighted apart: T^2 (alpha TCKD + beta NCKD).

    Plain distillation weights what the teacher says about the *other* classes by how unsure it is, so a sure teacher
    teaches little.

    Args:
        student: (n, classes), logits.
        teacher: (n, classes), logits.
        labels: (n,); where unknown, the teacher's answer stands for it.
        temperature: > 0.
        alpha: weight of target against the rest.
        beta: weight of the distribution among the rest.
    Reference: Zhao et al. 2022, arXiv:2203.08679, eq. 7.
    """
    check_same_classes(student, teacher)
    target = torch.where(labels >= 0, labels, teacher.argmax(dim=1))
    is_target = F.one_hot(target, student.shape[1]).bool()
    two_teacher, two_student = (_target_and_rest(z / temperature, is_target) for z in (teacher, student))
    targets = F.kl_div(two_student, two_teacher, reduction="batchmean", log_target=True)
    others_teacher, others_student = (
        F.log_softmax((z / temperature).masked_fill(is_target, -1000.0), dim=1) for z in (teacher, student)
    )
    others = F.kl_div(others_student, others_teacher, reduction="batchmean", log_target=True)
    return (alpha * targets + beta * others) * temperature**2


def feature_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared distance of feature maps, relative to the teacher's mean square.

    Args:
        student: (n, c, h, w), already projected to the teacher's channels.
        teacher: (n, c, h, w); resized to the student's h and w where they differ.
    Reference: Romero et al. 2015 (FitNets), arXiv:1412.6550, eq. 3; the division makes it free of scale.
    """
    teacher = _resized(teacher, student)
    return (student - teacher).square().mean() / teacher.square().mean().clamp(min=1e-6)


def attention_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Distance of where both look: squares summed over channels, each map scaled to length 1.

    Args:
        student: (n, c, h, w).
        teacher: (n, any c, h, w); resized to the student's h and w where they differ.
    Reference: Zagoruyko & Komodakis 2017, arXiv:1612.03928, eq. 2 (p = 2).
    """
    return (_attention(student) - _attention(_resized(teacher, student))).square().sum(dim=1).mean()


def check_same_classes(student: Tensor, teacher: Tensor) -> None:
    """Raise ConfigError when the teacher answers in other classes than the student."""
    if student.shape != teacher.shape:
        raise ConfigError(
            f"the teacher must have the student's {student.shape[-1]} classes, it has {teacher.shape[-1]}; "
            "train it on the same classes, or distil features alone"
        )


def _target_and_rest(logits: Tensor, is_target: Tensor) -> Tensor:
    """(n, 2), logarithms: as probabilities, that of a student who is surely wrong would lose its gradient."""
    logs = F.log_softmax(logits, dim=1)
    return torch.stack([logs[is_target], logs.masked_fill(is_target, -torch.inf).logsumexp(dim=1)], dim=1)


def _attention(features: Tensor) -> Tensor:
    return F.normalize(features.square().sum(dim=1).flatten(1), dim=1)


def _resized(features: Tensor, like: Tensor) -> Tensor:
    if features.shape[2:] == like.shape[2:]:
        return features
    return F.interpolate(features, size=tuple(like.shape[2:]), mode="bilinear", align_corners=False)
