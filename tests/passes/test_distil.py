from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pocketlens.errors import ConfigError, DataError, ModelError
from pocketlens.models import sources, store
from pocketlens.models.head import with_classes
from pocketlens.ops.losses import soft_targets
from pocketlens.passes.distil import Distil
from pocketlens.passes.finetune import Finetune
from pocketlens.passes.prune_channels import PruneChannels
from pocketlens.passes.set_input_size import SetInputSize
from pocketlens.types import Context, Data, ImageSet, Model

PLAN: dict[str, Any] = {
    "epochs": 10, "batch_size": 8, "augment": "none", "learning_rate": 0.02, "precision": "float32",
    "batchnorm": "frozen", "temperature": 1.0,
}  # fmt: skip


def distance(model: Model, teacher: Model, images: ImageSet) -> float:
    """KL of the answers, each model under its own preprocessing."""
    given = []
    for network in (model, teacher):
        batch = next(images.batches(network.spec.preprocessing, 24))
        with torch.inference_mode():
            given.append(network.graph(torch.from_numpy(batch.images)))
    return float(soft_targets(given[0], given[1], 1.0))


@pytest.fixture
def student(tiny: Model, context: Context) -> Model:
    return PruneChannels(ratio=0.4, multiple=1)(tiny, context).model


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"loss": "decoupled"},
        {"labels_weight": 0.02},
        {"features_weight": 1.0},
        {"attention_weight": 1.0},
        {"optimizer": "adamw", "learning_rate": 0.003},
    ],
    ids=str,
)
def test_the_student_comes_closer_to_its_teacher(
    student: Model, tiny: Model, images: ImageSet, context: Context, fields: dict[str, Any]
) -> None:
    result = Distil(**(PLAN | fields))(student, context)
    assert distance(result.model, tiny, images) < 0.95 * distance(student, tiny, images)
    assert len(list(result.model.graph.parameters())) == len(list(student.graph.parameters()))
    assert result.record.summary["epochs"] == 10


def test_no_labels_are_needed(student: Model, tiny: Model, images: ImageSet, context: Context) -> None:
    unlabelled = replace(images, labelled=False)  # pyright: ignore
    data = Data(calibration=unlabelled, validation=unlabelled)
    result = Distil(**PLAN)(student, replace(context, data=data))
    assert "validation_agreement" in result.record.summary
    assert distance(result.model, tiny, images) < distance(student, tiny, images)


def test_a_smaller_picture_learns_from_the_whole_one(tiny: Model, images: ImageSet, context: Context) -> None:
    small = SetInputSize(size=16)(tiny, context).model
    result = Distil(**PLAN)(small, context).model
    assert result.spec.input_shape == (3, 16, 16)
    assert distance(result, tiny, images) < distance(small, tiny, images)


def test_several_teachers_answer_with_their_mean(student: Model, tiny: Model, context: Context) -> None:
    alone = Distil(**PLAN)(student, replace(context, teachers=(tiny,))).model
    twice = Distil(**PLAN)(student, replace(context, teachers=(tiny, tiny), cache=context.work / "twice")).model
    assert store.digest(alone) == store.digest(twice)


def test_a_bigger_teacher_of_another_kind(student: Model, context: Context) -> None:
    teacher = with_classes(sources.load("resnet20_cifar", weights=Path("random")), student.spec.class_ids)
    fields = {**PLAN, "epochs": 1, "features_weight": 1.0, "attention_weight": 1.0}
    result = Distil(**fields)(student, replace(context, teachers=(teacher,)))
    assert result.record.summary["epochs"] == 1


def test_a_teacher_with_other_classes_is_refused(student: Model, tiny: Model, context: Context) -> None:
    more = with_classes(tiny, ("a", "b", "c", "d", "e"))
    with pytest.raises(ModelError, match="must know the student's 4 classes in the same order, it has 5 classes"):
        Distil()(student, replace(context, teachers=(more,)))
    others = with_classes(tiny, ("owl", "fish", "dog", "cat"))
    with pytest.raises(ModelError, match="but other ones"):
        Distil()(student, replace(context, teachers=(others,)))


def test_labels_that_are_not_there(student: Model, images: ImageSet, context: Context) -> None:
    unlabelled = Data(train=replace(images, labelled=False))  # pyright: ignore
    with pytest.raises(DataError, match="has no labels"):
        Distil(labels_weight=0.5)(student, replace(context, data=unlabelled))
    with pytest.raises(DataError, match="or use Distil"):
        Finetune()(student, replace(context, data=unlabelled))


def test_finetuning_learns_the_labels(student: Model, context: Context) -> None:
    result = Finetune(epochs=12, batch_size=8, augment="none", learning_rate=0.05)(student, context)
    losses = [row["loss"] for row in result.record.layers]
    assert losses[-1] < 0.8 * losses[0]
    assert result.record.name == "Finetune"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"temperature": 0.0}, "above 0"),
        ({"loss": "hints"}, "logits or decoupled"),
        ({"labels_weight": 1.0}, "use Finetune"),
        ({"features_weight": -1.0}, "0 or more"),
    ],
)
def test_bad_fields(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Distil(**fields)
