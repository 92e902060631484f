"""What a training run is given, and what comes of it."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, Self

from torch import Tensor, fx, nn

from pocketlens.datasets.choose import teaching_images
from pocketlens.models.taps import Tap
from pocketlens.training.objectives import Imitation, Labels, Objective
from pocketlens.training.score import Score
from pocketlens.types import Context, Data, Json, Model, Progress, Silent

TEMPERATURE = 4.0
"""Of a teacher's logits where a pass has no field for it."""


class Constraint(Protocol):
    """Changes the network while it is trained: a penalty, a schedule of masks."""

    def before_step(self, network: nn.Module, done: float) -> None:
        """Called with gradients in place; `done` is the share of all steps so far."""
        ...

    def after_step(self, network: nn.Module, done: float, step: float) -> None:
        """Called after the weights moved; `step` is the share of one step."""
        ...


class Simulation(Protocol):
    """Makes the network compute while it is trained as it will compute elsewhere, for example in integers."""

    def held(self, graph: fx.GraphModule) -> AbstractContextManager[None]:
        """Within the context `graph` computes so; what is left afterwards is what the run returns."""
        ...

    def before_forward(self, graph: fx.GraphModule, done: float) -> None:
        """Called in training mode before each step; `done` is the share of all steps so far."""
        ...


@dataclass(frozen=True, kw_only=True)
class Course:
    """All that one training run needs besides model and plan.

    Args:
        objective: what is minimised.
        data: train (or, where it is None, calibration) images teach, validation images choose the epoch.
        teachers: asked for logits; the first also for features.
        taps: (student's, teacher's) features to compare.
        original: whose answers stand for labels on unlabelled validation images.
        constraints: see Constraint.
        simulation: see Simulation; None trains the network as it is. Its text is part of the run's key.
        work: a folder of this run alone; checkpoints and the log go there.
        cache: a folder shared by runs, for teachers' answers.
        seed: makes the run repeatable.
        device: a torch device string.
        progress: see types.Progress.
        masks: layer -> mask of its weight that is kept through training.
        choose: return the weights of the epoch with the best validation score, or of the last (a schedule must end).
    """

    objective: Objective
    data: Data
    work: Path
    cache: Path
    teachers: tuple[Model, ...] = ()
    taps: tuple[tuple[Tap, Tap], ...] = ()
    original: Model | None = None
    constraints: tuple[Constraint, ...] = ()
    simulation: Simulation | None = None
    seed: int = 0
    device: str = "cpu"
    progress: Progress = field(default_factory=Silent)
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    choose: Literal["best", "last"] = "best"

    @classmethod
    def within(cls, context: Context, objective: Objective, **changes: Any) -> Self:
        """The course of a pass: what its context gives, and what the pass itself decides.

        Args:
            context: data, folders, seed, device, progress, original.
            objective: what is minimised.
            changes: the other fields.
        """
        return cls(
            objective=objective,
            data=context.data,
            work=context.work,
            cache=context.cache or context.work,
            original=context.original,
            seed=context.seed,
            device=context.device,
            progress=context.progress,
            **changes,
        )


@dataclass(frozen=True)
class Trained:
    """What came of a run.

    Args:
        model: with the weights of the best epoch.
        log: one line an epoch: epoch, loss, accuracy, validation, images_per_second, learning_rate, seconds.
        best: the validation score of the weights that are returned; None without validation images.
        precision: "float32" or "bfloat16".
        notes: sentences for the reader.
    """

    model: Model
    log: tuple[Json, ...]
    best: Score | None
    precision: str
    notes: tuple[str, ...] = ()


def lesson_of(context: Context, smoothing: float) -> tuple[Objective, tuple[Model, ...]]:
    """What teaches a pass that trains besides its own aim: labels where there are any, else the teachers' logits.

    Returns: the objective, and the teachers that it asks.
    """
    if teaching_images(context.data).labelled:
        return Labels(smoothing=smoothing), ()
    return Imitation(temperature=TEMPERATURE), context.teachers or (context.original,)
