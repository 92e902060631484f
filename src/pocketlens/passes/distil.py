"""Distil: a student learns what its teacher answers."""

import math
import time
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from pocketlens.datasets.choose import teaching_images
from pocketlens.errors import ConfigError, DataError
from pocketlens.models.taps import Tap, pair_taps
from pocketlens.ops.masks import zeros_of
from pocketlens.training.course import Course
from pocketlens.training.loop import train
from pocketlens.training.objectives import Imitation, Projections
from pocketlens.training.plan import TrainingPlan
from pocketlens.training.record import training_record
from pocketlens.training.teachers import check_classes
from pocketlens.types import Context, Fact, Model, PassResult


@dataclass(frozen=True, kw_only=True)
class Distil(TrainingPlan):
    """Train the model on the answers of `context.teachers`, by default of the model as it came in. Needs no labels.

    Several teachers answer with the mean of their logits. Their answers are kept, per image and augmentation, so that
    neither a second run nor, with `views`, a later epoch asks them again.

    Args:
        loss: "logits" (Hinton et al. 2015) or "decoupled" (Zhao et al. 2022).
        temperature: softens both distributions.
        alpha: of "decoupled": weight of the target class.
        beta: of "decoupled": weight of the others.
        labels_weight: share of the cross-entropy with labels, where there are any.
        features_weight: of the distance of projected feature maps (FitNets), 0 for none.
        attention_weight: of the distance of attention maps, 0 for none.
        (the rest): see TrainingPlan.

    Raises: ModelError when a teacher has other classes than the student.
    """

    loss: Literal["logits", "decoupled"] = "logits"
    temperature: float = 4.0
    alpha: float = 1.0
    beta: float = 8.0
    labels_weight: float = 0.0
    features_weight: float = 0.0
    attention_weight: float = 0.0

    requires: ClassVar[frozenset[Fact]] = frozenset()
    forbids: ClassVar[frozenset[Fact]] = frozenset({"quantized", "half", "clustered"})
    establishes: ClassVar[frozenset[Fact]] = frozenset()
    destroys: ClassVar[frozenset[Fact]] = frozenset()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.loss not in ("logits", "decoupled"):
            raise ConfigError(f"`loss` must be logits or decoupled, got {self.loss!r}")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ConfigError(f"`temperature` must be above 0, got {self.temperature}")
        if not 0 <= self.labels_weight < 1:
            raise ConfigError(f"`labels_weight` must be in [0, 1), got {self.labels_weight}; for 1 use Finetune")
        for name in ("alpha", "beta", "features_weight", "attention_weight"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ConfigError(f"`{name}` must be 0 or more, got {getattr(self, name)}")

    def __call__(self, model: Model, context: Context) -> PassResult:
        """Return the model with the weights of its best epoch on validation images."""
        start = time.perf_counter()
        teachers = context.teachers or (context.original,)
        check_classes(model, teachers)
        images = teaching_images(context.data)
        if self.labels_weight and not images.labelled:
            raise DataError(
                f"`labels_weight` is {self.labels_weight}, but {images.name} has no labels; set it to 0, or give labels"
            )
        compares = self.features_weight > 0 or self.attention_weight > 0
        taps = pair_taps(model, teachers[0]) if compares else ()
        trained = train(
            model,
            self,
            Course.within(
                context,
                self._objective(taps, context.seed),
                teachers=teachers,
                taps=taps,
                masks=zeros_of(model.graph) if "masked" in model.facts else {},
            ),
        )
        seconds = time.perf_counter() - start
        return PassResult(trained.model, training_record(self, trained, len(images), seconds))

    def _objective(self, taps: tuple[tuple[Tap, Tap], ...], seed: int) -> Imitation:
        extra = None
        if self.features_weight:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                extra = Projections([(mine.channels, theirs.channels) for mine, theirs in taps])
        return Imitation(
            temperature=self.temperature,
            decoupled=(self.alpha, self.beta) if self.loss == "decoupled" else None,
            labels_weight=self.labels_weight,
            features_weight=self.features_weight,
            attention_weight=self.attention_weight,
            smoothing=self.label_smoothing,
            extra=extra,
        )
