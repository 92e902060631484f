import math

import pytest
import torch
from torch.nn import functional as F

from pocketlens.errors import ConfigError
from pocketlens.ops import losses

STUDENT = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 0.0]])
TEACHER = torch.tensor([[1.0, 1.0, 0.0], [0.0, 2.0, -2.0]])
LABELS = torch.tensor([0, 1])


def softmax(row: list[float]) -> list[float]:
    total = sum(math.exp(v) for v in row)
    return [math.exp(v) / total for v in row]


def test_cross_entropy_leaves_unknown_labels_out() -> None:
    wanted = -math.log(softmax([2.0, 0.0, -1.0])[0])
    assert float(losses.cross_entropy(STUDENT, torch.tensor([0, -1]))) == pytest.approx(wanted, rel=1e-5)
    assert float(losses.cross_entropy(STUDENT, torch.tensor([-1, -1]))) == 0.0


def test_soft_targets_by_hand() -> None:
    wanted = 0.0
    for student, teacher in zip(STUDENT.tolist(), TEACHER.tolist(), strict=True):
        p, q = softmax([v / 2 for v in teacher]), softmax([v / 2 for v in student])
        wanted += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    assert float(losses.soft_targets(STUDENT, TEACHER, 2.0)) == pytest.approx(wanted / 2 * 4, rel=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_who_agrees_with_the_teacher_pays_nothing(temperature: float) -> None:
    assert float(losses.soft_targets(TEACHER, TEACHER, temperature)) == pytest.approx(0.0, abs=1e-6)
    assert float(losses.decoupled(TEACHER, TEACHER, LABELS, temperature)) == pytest.approx(0.0, abs=1e-5)


def test_decoupled_parts_add_up_to_hinton() -> None:
    """KD = TCKD + (1 - p_target) NCKD for each image (Zhao et al. 2022, eq. 5)."""
    for row in range(2):
        student, teacher, label = STUDENT[row : row + 1], TEACHER[row : row + 1], LABELS[row : row + 1]
        rest = 1 - float(F.softmax(teacher, 1)[0, label])
        both = float(losses.decoupled(student, teacher, label, 1.0, alpha=1.0, beta=rest))
        assert both == pytest.approx(float(losses.soft_targets(student, teacher, 1.0)), rel=1e-4)


def test_decoupled_without_labels_takes_the_teachers_answer() -> None:
    unknown = torch.tensor([-1, -1])
    answers = TEACHER.argmax(1)
    assert losses.decoupled(STUDENT, TEACHER, unknown, 2.0) == losses.decoupled(STUDENT, TEACHER, answers, 2.0)


def test_feature_distance_is_free_of_scale() -> None:
    teacher = torch.ones(1, 2, 2, 2)
    assert float(losses.feature_distance(torch.zeros(1, 2, 2, 2), teacher)) == pytest.approx(1.0)
    assert float(losses.feature_distance(torch.zeros(1, 2, 2, 2), 10 * teacher)) == pytest.approx(1.0)
    assert float(losses.feature_distance(teacher, teacher)) == 0.0


def test_attention_looks_at_places_not_channels() -> None:
    left = torch.zeros(1, 2, 1, 2)
    left[..., 0] = 3.0
    right = torch.zeros(1, 5, 1, 2)
    right[..., 1] = 1.0
    assert float(losses.attention_distance(left, torch.roll(right, 1, 3))) == pytest.approx(0.0, abs=1e-6)
    assert float(losses.attention_distance(left, right)) == pytest.approx(2.0)


def test_maps_of_another_size_are_resized() -> None:
    assert float(losses.feature_distance(torch.ones(1, 3, 4, 4), torch.ones(1, 3, 8, 8))) == pytest.approx(0.0)


def test_a_teacher_with_other_classes_is_refused() -> None:
    with pytest.raises(ConfigError, match="student's 3 classes, it has 4"):
        losses.soft_targets(STUDENT, torch.zeros(2, 4), 1.0)
