"""A course of lessons that the tests of the loop share."""

from pathlib import Path
from typing import Any

from pocketlens.training.course import Course
from pocketlens.training.objectives import Labels
from pocketlens.training.plan import TrainingPlan
from pocketlens.types import Data, ImageSet, Model

PLAN = TrainingPlan(epochs=2, batch_size=8, learning_rate=0.05, augment="none", precision="float32")


def course(model: Model, images: ImageSet, work: Path, **changes: Any) -> Course:
    given: dict[str, Any] = {
        "objective": Labels(), "data": Data(train=images, validation=images), "work": work, "cache": work,
    }  # fmt: skip
    return Course(**(given | changes))
