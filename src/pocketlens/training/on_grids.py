"""Training on integer grids: the fields and the course of the passes that do it."""

import math
import time
from dataclasses import dataclass, fields, replace
from typing import Literal

from torch import Tensor

from pocketlens.datasets.choose import teaching_images
from pocketlens.errors import ConfigError, DataError
from pocketlens.models.integer_layers import DOWNLOAD_ONLY
from pocketlens.models.simulation import IntegerSimulation, finish
from pocketlens.ops.masks import zeros_of
from pocketlens.training.course import Course
from pocketlens.training.loop import train
from pocketlens.training.objectives import Imitation
from pocketlens.training.plan import TrainingPlan
from pocketlens.training.record import training_record
from pocketlens.training.teachers import check_classes
from pocketlens.types import Context, Model, Record


@dataclass(frozen=True)
class Learned:
    """What came of it.

    Args:
        model: integers, batch norms folded; facts as before.
        kept: batch norms that nothing could absorb.
        record: without the name and the fields of the pass.
    """

    model: Model
    kept: tuple[str, ...]
    record: Record


@dataclass(frozen=True, kw_only=True)
class GridTraining(TrainingPlan):
    """The fields that every pass shares which trains on grids.

    `context.teachers`, or the model as it came in, teach: no labels are needed.

    Args:
        step_sizes: "learned" with the weights (LSQ), or "fixed" as they are.
        temperature: softens the answers of teacher and student.
        labels_weight: share of the cross-entropy with labels, where there are any.
        (the rest): see TrainingPlan.
    """

    step_sizes: Literal["learned", "fixed"] = "learned"
    temperature: float = 2.0
    labels_weight: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.step_sizes not in ("learned", "fixed"):
            raise ConfigError(f"`step_sizes` must be learned or fixed, got {self.step_sizes!r}")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ConfigError(f"`temperature` must be above 0, got {self.temperature}")
        if not 0 <= self.labels_weight <= 1:
            raise ConfigError(f"`labels_weight` must lie in [0, 1], got {self.labels_weight}")

    @property
    def relative(self) -> bool:
        """Adam moves every parameter by the same amount, however small it is: steps are counted in their own size."""
        return self.optimizer == "adamw"

    def check_lesson(self, model: Model, context: Context) -> None:
        """Raise ModelError or DataError when the teachers, or the images, are not for this lesson."""
        check_classes(model, context.teachers or (context.original,))
        images = teaching_images(context.data)
        if self.labels_weight and not images.labelled:
            raise DataError(
                f"`labels_weight` is {self.labels_weight}, but {images.name} has no labels; set it to 0, or give labels"
            )

    def _masks(self, model: Model, simulation: IntegerSimulation) -> dict[str, Tensor]:
        if "masked" not in model.facts:
            return {}
        return {name: mask for name, mask in zeros_of(model.graph).items() if name not in simulation.bound}

    def learn(self, model: Model, simulation: IntegerSimulation, context: Context) -> Learned:
        """Train `model`, which is in float, while it computes as `simulation` says."""
        start = time.perf_counter()
        objective = Imitation(
            temperature=self.temperature, labels_weight=self.labels_weight, smoothing=self.label_smoothing
        )
        course = Course.within(
            context,
            objective,
            teachers=context.teachers or (context.original,),
            simulation=simulation,
            masks=self._masks(model, simulation),
        )
        plain = TrainingPlan(**{item.name: getattr(self, item.name) for item in fields(TrainingPlan)})
        trained = train(model, plain, course)
        graph = trained.model.graph
        moved = simulation.moved(graph)
        kept = finish(graph, keep=simulation.bound)
        rows = simulation.rows(graph, moved)
        record = training_record(
            plain, trained, len(teaching_images(context.data)), seconds=time.perf_counter() - start
        )
        summary: dict[str, object] = {"layers": len(simulation.layers), "grids": len(simulation.points)}
        for name in ("weight_step_change", "activation_step_change"):
            values = [row[name] for row in rows if name in row]
            summary[name] = sum(values) / max(len(values), 1)
        notes = [f"{row['layer']}: {row['dead_channels']} dead channels" for row in rows if row.get("dead_channels")]
        if kept:
            notes.append(f"batch norms that stay, since nothing before them can absorb them: {', '.join(kept)}")
        if simulation.is_narrow:
            notes.append(DOWNLOAD_ONLY)
        record = replace(
            record,
            summary=record.summary | summary,
            layers=(*record.layers, *rows),
            notes=(*record.notes, *notes),
        )
        return Learned(model=trained.model, kept=kept, record=record)
