"""What a training run is asked to do."""

import math
from dataclasses import dataclass
from typing import Literal

from pocketlens.errors import ConfigError

Augmentation = Literal["none", "shift", "crop", "randaugment"]
AUGMENTATIONS: tuple[Augmentation, ...] = ("none", "shift", "crop", "randaugment")


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """The fields that every pass that trains shares.

    Args:
        epochs: passes over the training images.
        batch_size: images a step, at least 2.
        optimizer: "sgd" (with Nesterov momentum) or "adamw".
        learning_rate: the highest, reached after the warm-up; then it falls as half a cosine to 0.
        momentum: of SGD; the first beta of AdamW.
        weight_decay: on weights; biases and norms are left alone.
        warmup: share of all steps in which the rate rises linearly.
        augment: "none"; "shift" (mirror, move by up to an eighth: small images); "crop" (mirror, random resized crop);
            "randaugment" (that and RandAugment, Cubuk et al. 2020, arXiv:1909.13719).
        views: after so many epochs the augmentations repeat, so that a teacher need not see an image again;
            0 never repeats.
        smallest_crop: smallest share of the image's area that "crop" takes.
        label_smoothing: see `ops.losses.cross_entropy`.
        mixup: alpha of the Beta distribution (Zhang et al. 2018, arXiv:1710.09412); 0 mixes nothing.
        ema: decay of the exponential moving average of the weights, which is what is returned; 0 keeps none.
        clip: largest norm of the gradient; 0 does not clip.
        precision: "auto" computes in bfloat16 where a probe here finds it clearly faster, else "float32", "bfloat16".
        freeze: share of the layers, from the input, that stay as they are.
        batchnorm: "train", or "frozen" keeps the statistics (small sets, small batches).
        patience: ends after so many epochs without a better validation score; 0 never.
    """

    epochs: int = 10
    batch_size: int = 64
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup: float = 0.05
    augment: Augmentation = "crop"
    views: int = 0
    smallest_crop: float = 0.35
    label_smoothing: float = 0.0
    mixup: float = 0.0
    ema: float = 0.0
    clip: float = 0.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    freeze: float = 0.0
    batchnorm: Literal["train", "frozen"] = "train"
    patience: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ConfigError(f"`epochs` must be at least 1, got {self.epochs}")
        if self.batch_size < 2:
            raise ConfigError(f"`batch_size` must be at least 2 (batch norm needs two images), got {self.batch_size}")
        for name in ("views", "patience"):
            if getattr(self, name) < 0:
                raise ConfigError(f"`{name}` must be 0 (off) or more, got {getattr(self, name)}")
        for name in ("learning_rate", "weight_decay", "mixup", "clip"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ConfigError(f"`{name}` must be a number of 0 or more, got {getattr(self, name)}")
        for name in ("momentum", "warmup", "label_smoothing", "ema", "freeze"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"`{name}` must be in [0, 1), got {getattr(self, name)}")
        if not 0 < self.smallest_crop <= 1:
            raise ConfigError(f"`smallest_crop` must be in (0, 1], got {self.smallest_crop}")
        choices = {
            "optimizer": ("sgd", "adamw"),
            "augment": AUGMENTATIONS,
            "precision": ("auto", "float32", "bfloat16"),
            "batchnorm": ("train", "frozen"),
        }
        for name, valid in choices.items():
            if getattr(self, name) not in valid:
                raise ConfigError(f"`{name}` must be one of {', '.join(valid)}, got {getattr(self, name)!r}")

    @property
    def trains(self) -> bool:
        """Whether the pass trains with these fields."""
        return True

    def view(self, epoch: int) -> int:
        """Which augmentations an epoch (from 0) uses."""
        return epoch % self.views if self.views else epoch

    def rate(self, done: float) -> float:
        """The learning rate after the share `done` of all steps: linear warm-up, then half a cosine."""
        if done < self.warmup:
            return self.learning_rate * done / self.warmup
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (done - self.warmup) / (1 - self.warmup)))
