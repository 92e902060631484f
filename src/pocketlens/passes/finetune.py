"""Finetune: recover accuracy from labelled images."""

import time
from dataclasses import dataclass
from typing import ClassVar

from pocketlens.datasets.choose import teaching_images
from pocketlens.errors import DataError
from pocketlens.ops.masks import zeros_of
from pocketlens.training.course import Course
from pocketlens.training.loop import train
from pocketlens.training.objectives import Labels
from pocketlens.training.plan import TrainingPlan
from pocketlens.training.record import training_record
from pocketlens.types import Context, Fact, Model, PassResult


@dataclass(frozen=True, kw_only=True)
class Finetune(TrainingPlan):
    """Train on the labels of the train images. Weights that a mask holds at zero stay zero.

    Raises: DataError when the train images have no labels.
    """

    requires: ClassVar[frozenset[Fact]] = frozenset()
    forbids: ClassVar[frozenset[Fact]] = frozenset({"quantized", "half", "clustered"})
    establishes: ClassVar[frozenset[Fact]] = frozenset()
    destroys: ClassVar[frozenset[Fact]] = frozenset()

    def __call__(self, model: Model, context: Context) -> PassResult:
        """Return the model with the weights of its best epoch on validation images."""
        start = time.perf_counter()
        images = teaching_images(context.data)
        if not images.labelled:
            raise DataError(
                f"Finetune learns from labels, and {images.name} has none that the model knows; give class folders "
                "with --data, or use Distil, which needs no labels"
            )
        trained = train(
            model,
            self,
            Course.within(
                context,
                Labels(smoothing=self.label_smoothing),
                masks=zeros_of(model.graph) if "masked" in model.facts else {},
            ),
        )
        seconds = time.perf_counter() - start
        return PassResult(trained.model, training_record(self, trained, len(images), seconds))
