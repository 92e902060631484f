import pytest
import torch
from torch import nn

from pocketlens.ops import losses
from pocketlens.training.objectives import Imitation, Labels, Lesson, Mixed, Projections

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 0.0]])
TEACHER = torch.tensor([[1.0, 0.0, 3.0], [0.0, 2.0, -2.0]])
LABELS = torch.tensor([0, 1])


def test_mixing_by_hand() -> None:
    mixed = Mixed(0.75).of(torch.tensor([[1.0], [2.0], [4.0]]))
    assert mixed.flatten().tolist() == [0.75 * 1 + 0.25 * 4, 0.75 * 2 + 0.25 * 1, 0.75 * 4 + 0.25 * 2]
    assert torch.equal(Mixed(1.0).of(LOGITS), LOGITS)


def test_labels_of_a_mixed_batch() -> None:
    plain = Labels(smoothing=0.1)(LOGITS, Lesson(LABELS))
    assert torch.equal(plain, losses.cross_entropy(LOGITS, LABELS, 0.1))
    other = losses.cross_entropy(LOGITS, torch.tensor([1, 0]), 0.1)
    mixed = Labels(smoothing=0.1)(LOGITS, Lesson(LABELS, mixed=Mixed(0.75)))
    assert torch.allclose(mixed, 0.75 * plain + 0.25 * other)
    assert torch.equal(Labels(smoothing=0.1)(LOGITS, Lesson(LABELS, mixed=Mixed(1.0))), plain)


def test_imitation_without_weights_is_hintons() -> None:
    assert torch.equal(
        Imitation(temperature=3.0)(LOGITS, Lesson(LABELS, TEACHER)), losses.soft_targets(LOGITS, TEACHER, 3.0)
    )


def test_of_a_mixed_batch_the_teachers_answer_is_the_target() -> None:
    imitation = Imitation(temperature=2.0, decoupled=(1.0, 4.0))
    plain = imitation(LOGITS, Lesson(LABELS, TEACHER))
    assert torch.equal(plain, losses.decoupled(LOGITS, TEACHER, LABELS, 2.0, 1.0, 4.0))
    mixed = imitation(LOGITS, Lesson(LABELS, TEACHER, mixed=Mixed(0.6)))
    assert torch.equal(mixed, losses.decoupled(LOGITS, TEACHER, TEACHER.argmax(1), 2.0, 1.0, 4.0))
    assert not torch.equal(mixed, plain)


def test_all_parts_add_up() -> None:
    torch.manual_seed(0)
    mine, theirs = (
        [torch.randn(2, 2, 4, 4), torch.randn(2, 3, 2, 2)],
        [torch.randn(2, 5, 4, 4), torch.randn(2, 3, 2, 2)],
    )
    project = Projections([(2, 5), (3, 3)])
    imitation = Imitation(
        temperature=2.0, labels_weight=0.25, features_weight=3.0, attention_weight=0.5, smoothing=0.1, extra=project
    )
    got = imitation(LOGITS, Lesson(LABELS, TEACHER, mine, theirs))
    features = [losses.feature_distance(p, t) for p, t in zip(project(mine), theirs, strict=True)]
    attention = [losses.attention_distance(s, t) for s, t in zip(mine, theirs, strict=True)]
    wanted = 0.75 * losses.soft_targets(LOGITS, TEACHER, 2.0) + 0.25 * losses.cross_entropy(LOGITS, LABELS, 0.1)
    wanted = wanted + 3.0 * sum(features) / 2 + 0.5 * sum(attention) / 2
    assert torch.allclose(got, wanted)


def test_projections_give_the_teachers_channels() -> None:
    project = Projections([(2, 2), (3, 5)])
    with torch.no_grad():
        project.layers[0].weight.copy_(torch.eye(2).view(2, 2, 1, 1))  # pyright: ignore
    x = torch.randn(1, 2, 3, 3)
    same, wider = project([x, torch.randn(1, 3, 2, 2)])
    assert torch.allclose(same, x)
    assert wider.shape == (1, 5, 2, 2)
    assert all(isinstance(layer, nn.Conv2d) for layer in project.layers)
    with pytest.raises(ValueError, match="shorter"):
        project([x])
