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


def test_cross_entropy_with_smoothing_by_hand() -> None:
    """A share of the target is spread over all classes, the right one too."""
    logs = [math.log(p) for p in softmax([2.0, 0.0, -1.0])]
    wanted = -(0.7 * logs[0] + 0.3 / 3 * sum(logs))
    assert float(losses.cross_entropy(STUDENT[:1], LABELS[:1], 0.3)) == pytest.approx(wanted, rel=1e-5)


def test_cross_entropy_without_a_known_label_still_has_a_gradient() -> None:
    logits = STUDENT.clone().requires_grad_()
    losses.cross_entropy(logits, torch.tensor([-1, -1])).backward()
    assert torch.equal(logits.grad, torch.zeros(2, 3))  # pyright: ignore


def test_decoupled_by_hand() -> None:
    wanted = 0.0
    for student, teacher, label in zip(STUDENT.tolist(), TEACHER.tolist(), LABELS.tolist(), strict=True):
        p, q = softmax([v / 2 for v in teacher]), softmax([v / 2 for v in student])
        a, b = p[label], q[label]
        wanted += 3.0 * (a * math.log(a / b) + (1 - a) * math.log((1 - a) / (1 - b)))
        others = [i for i in range(3) if i != label]
        wanted += 5.0 * sum(p[i] / (1 - a) * math.log((p[i] / (1 - a)) / (q[i] / (1 - b))) for i in others)
    got = float(losses.decoupled(STUDENT, TEACHER, LABELS, 2.0, alpha=3.0, beta=5.0))
    assert got == pytest.approx(wanted / 2 * 4, rel=1e-4)


def test_decoupled_without_weights_is_nothing() -> None:
    assert float(losses.decoupled(STUDENT, TEACHER, LABELS, 2.0, alpha=0.0, beta=0.0)) == 0.0


def test_a_student_that_is_surely_wrong_is_pulled_back() -> None:
    """As hard as by plain distillation, which it is with these weights."""
    student, teacher = torch.tensor([[0.0, 60.0, 0.0]], requires_grad=True), torch.tensor([[5.0, 0.0, -5.0]])
    rest = 1 - float(F.softmax(teacher, 1)[0, 0])
    apart = losses.decoupled(student, teacher, torch.tensor([0]), 1.0, alpha=1.0, beta=rest)
    plain = losses.soft_targets(student, teacher, 1.0)
    assert torch.allclose(apart.detach(), plain.detach(), rtol=1e-4)
    gradient, wanted = (torch.autograd.grad(loss, student)[0] for loss in (apart, plain))
    assert wanted[0, 0] < -0.9
    assert torch.allclose(gradient, wanted, atol=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 8.0])
def test_sure_answers_stay_finite(temperature: float) -> None:
    sure, other = torch.tensor([[1000.0, 0.0, -1000.0]]), torch.tensor([[-1000.0, 1000.0, 0.0]], requires_grad=True)
    for loss in (
        losses.soft_targets(other, sure, temperature),
        losses.decoupled(other, sure, torch.tensor([0]), temperature),
    ):
        (gradient,) = torch.autograd.grad(loss, other)
        assert torch.isfinite(loss)
        assert loss > 0
        assert torch.isfinite(gradient).all()


def test_no_image_counts_more_than_another() -> None:
    for loss in (losses.soft_targets, lambda s, t, k: losses.decoupled(s, t, t.argmax(1), k)):
        alone = [float(loss(STUDENT[i : i + 1], TEACHER[i : i + 1], 2.0)) for i in range(2)]
        assert float(loss(STUDENT, TEACHER, 2.0)) == pytest.approx(sum(alone) / 2, rel=1e-5)


def test_feature_distance_by_hand() -> None:
    student, teacher = torch.tensor([1.0, 2.0]).view(1, 2, 1, 1), torch.tensor([3.0, 1.0]).view(1, 2, 1, 1)
    assert float(losses.feature_distance(student, teacher)) == pytest.approx(((2**2 + 1) / 2) / ((9 + 1) / 2))


def test_attention_by_hand() -> None:
    """Squares summed over channels: (1 + 4, 0 + 0) and (9, 16), each scaled to length 1."""
    student = torch.tensor([[1.0, 0.0], [2.0, 0.0]]).view(1, 2, 1, 2)
    teacher = torch.tensor([3.0, 4.0]).view(1, 1, 1, 2)
    length = math.hypot(9, 16)
    wanted = (1 - 9 / length) ** 2 + (16 / length) ** 2
    assert float(losses.attention_distance(student, teacher)) == pytest.approx(wanted, rel=1e-5)
    assert float(losses.attention_distance(5 * student, teacher)) == pytest.approx(wanted, rel=1e-5)


def test_a_dead_teacher_is_no_division_by_zero() -> None:
    nothing, something = torch.zeros(1, 2, 2, 2), torch.ones(1, 2, 2, 2, requires_grad=True)
    for loss in (losses.feature_distance(something, nothing), losses.attention_distance(something, nothing)):
        assert torch.isfinite(loss)
        assert torch.isfinite(torch.autograd.grad(loss, something)[0]).all()


def test_decoupled_refuses_other_classes_too() -> None:
    with pytest.raises(ConfigError, match="student's 3 classes, it has 5; train it on the same classes"):
        losses.decoupled(STUDENT, torch.zeros(2, 5), LABELS, 1.0)
    with pytest.raises(ConfigError, match="student's 3 classes, it has 1"):
        losses.check_same_classes(STUDENT, torch.zeros(2, 1))
