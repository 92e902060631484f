"""Tasks: what a model's output is, and how its fidelity to the original is measured."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from pocketlens.errors import ConfigError, DataError, UnsupportedModelError
from pocketlens.types import Json, Meter, ModelSpec, Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVEL = 0.9
"""Confidence of every interval."""

Z = 1.6448536269514722
"""The 95% quantile of the normal distribution: two sides make LEVEL."""

DB_LIMIT = 999.0
"""JSON has no infinity: the SQNR of identical outputs; its negative is that of no signal or no finite one."""

_LARGEST = float(np.finfo(np.float32).max)
"""What stands for an infinite logit in a softmax."""


class Classification:
    """One logit a class; the largest is the answer."""

    name = "classification"

    def check_output(self, shape: tuple[int, ...], spec: ModelSpec) -> None:
        """Refuse an output that is not (n, classes).

        Args:
            shape: of the output for a batch of n.
            spec: whose `class_ids`, or else `labels`, say how many classes there are, when they are known.
        Raises: UnsupportedModelError.
        """
        if len(shape) != 2 or shape[1] < 2:
            raise UnsupportedModelError(
                f"{spec.name}: classification expects outputs (n, classes), 2 classes or more, got {shape}; "
                "cut the model after its last linear layer"
            )
        known = len(spec.class_ids or spec.labels)
        if known and known != shape[1]:
            raise UnsupportedModelError(
                f"{spec.name}: expected {known} outputs, one for each class it names, got {shape[1]}; "
                "give the class names of this model"
            )

    def meter(self) -> Meter:
        """A fresh accumulator."""
        return ClassificationMeter()

    def answers(self, outputs: "NDArray[np.float32]", spec: ModelSpec, top_k: int) -> list[list[Json]]:
        """The most probable classes of each image, by softmax.

        Args:
            outputs: (n, classes), logits. One that is NaN has probability 0.
            spec: for the names.
            top_k: how many, at least 1; at most all classes come back.
        Returns: per image, best first, {"label", "class_id" ("" if unknown), "index", "probability"}.
        Raises: ConfigError when `top_k` is below 1.
        """
        if top_k < 1:
            raise ConfigError(f"`top_k` must be at least 1, got {top_k}")
        logits = outputs.astype(np.float64)
        logits[np.isnan(logits)] = -np.inf
        logits[np.isposinf(logits)] = _LARGEST
        probabilities = np.nan_to_num(np.exp(_log_softmax(logits)))
        # Stable, so that equal logits come in the order of their classes, as argmax has it.
        order = np.argsort(-logits, axis=1, kind="stable")[:, :top_k]
        return [
            [
                {
                    "label": spec.label(int(index)),
                    "class_id": spec.class_ids[index] if index < len(spec.class_ids) else "",
                    "index": int(index),
                    "probability": float(row[index]),
                }
                for index in best
            ]
            for row, best in zip(probabilities, order, strict=True)
        ]


class ClassificationMeter:
    """Fidelity of a candidate's logits to the original's, in memory that does not grow.

    An image for which either model gives NaN or an infinity counts as a changed answer, and as a wrong one of
    that model; it is left out of `sqnr_db`, `kl` and `mean_max_error`.
    """

    def __init__(self) -> None:
        self._n = 0
        self._same = 0
        self._nonfinite = 0
        self._comparable = 0
        self._signal = 0.0
        self._noise = 0.0
        self._kl = 0.0
        self._max_error = 0.0
        self._labelled = 0
        self._right = 0
        self._right_of_5 = 0
        self._reference_right = 0
        self._gained = 0
        self._lost = 0

    def update(
        self,
        outputs: "NDArray[np.float32]",
        reference: "NDArray[np.float32]",
        labels: "NDArray[np.int64]",
    ) -> None:
        """Add a batch.

        Args:
            outputs: (n, classes), the candidate's logits.
            reference: (n, classes), the original's.
            labels: (n,), -1 where unknown.
        Raises: UnsupportedModelError when shapes differ; DataError when a label is no class.
        """
        if outputs.ndim != 2 or outputs.shape != reference.shape or len(labels) != len(outputs):
            raise UnsupportedModelError(
                "expected the outputs of both models as (n, classes) and labels as (n,), got "
                f"{outputs.shape}, {reference.shape}, {labels.shape}; both must have the same classes"
            )
        if len(labels) and labels.max() >= outputs.shape[1]:
            raise DataError(
                f"labels must be below the {outputs.shape[1]} classes of the model, got {labels.max()}; "
                "the images are labelled for another model"
            )
        out, ref = outputs.astype(np.float64), reference.astype(np.float64)
        out_finite, ref_finite = _finite_rows(out), _finite_rows(ref)
        finite = out_finite & ref_finite
        self._n += len(out)
        self._nonfinite += int(np.count_nonzero(~out_finite))
        self._same += int(np.count_nonzero(finite & (np.argmax(out, axis=1) == np.argmax(ref, axis=1))))
        self._compare(out[finite], ref[finite])
        known = labels >= 0
        if known.any():
            self._score(out[known], out_finite[known], ref[known], ref_finite[known], labels[known])

    def result(self) -> Json:
        """The figures so far; fractions in [0, 1].

        Always: `n`; `nonfinite`, images for which the candidate gave NaN or an infinity; `agreement`, the
        share that got the original's answer, and its `agreement_interval` (Wilson); `sqnr_db`, signal to
        noise of all logits, within +-DB_LIMIT; `kl`, the mean KL(original || candidate) in nats;
        `mean_max_error`, the mean over images of the largest error of a logit; `n_labelled`. `kl` and
        `mean_max_error` are None when no image is finite.

        With labels also: `top1`, `top5`, `reference_top1`, `top1_change` (candidate - original) and its
        paired `top1_change_interval`. Intervals are [low, high] at LEVEL.

        Raises: DataError when there was no image.
        """
        if self._n == 0:
            raise DataError("no image was measured; at least one must be readable")
        count = self._comparable
        figures: Json = {
            "n": self._n,
            "nonfinite": self._nonfinite,
            "agreement": self._same / self._n,
            "agreement_interval": list(wilson_interval(self._same, self._n)),
            "sqnr_db": _decibels(self._signal, self._noise) if count else -DB_LIMIT,
            "kl": self._kl / count if count else None,
            "mean_max_error": self._max_error / count if count else None,
            "n_labelled": self._labelled,
        }
        if self._labelled:
            figures |= {
                "top1": self._right / self._labelled,
                "top5": self._right_of_5 / self._labelled,
                "reference_top1": self._reference_right / self._labelled,
                "top1_change": (self._gained - self._lost) / self._labelled,
                "top1_change_interval": list(paired_interval(self._lost, self._gained, self._labelled)),
            }
        return figures

    def _compare(self, out: "NDArray[np.float64]", ref: "NDArray[np.float64]") -> None:
        """Add images whose logits are all finite."""
        if not len(out):
            return
        error = ref - out
        log_p, log_q = _log_softmax(ref), _log_softmax(out)
        divergence = np.sum(np.exp(log_p) * (log_p - log_q), axis=1)
        self._comparable += len(out)
        self._signal += float(np.sum(ref**2))
        self._noise += float(np.sum(error**2))
        self._kl += float(np.sum(np.maximum(divergence, 0.0)))  # below 0 by rounding alone
        self._max_error += float(np.sum(np.abs(error).max(axis=1)))

    def _score(
        self,
        out: "NDArray[np.float64]",
        out_finite: "NDArray[np.bool_]",
        ref: "NDArray[np.float64]",
        ref_finite: "NDArray[np.bool_]",
        labels: "NDArray[np.int64]",
    ) -> None:
        """Add images whose label is known."""
        rank, reference_rank = _rank(out, labels), _rank(ref, labels)
        right, reference_right = out_finite & (rank == 0), ref_finite & (reference_rank == 0)
        self._labelled += len(labels)
        self._right += int(np.count_nonzero(right))
        self._right_of_5 += int(np.count_nonzero(out_finite & (rank < 5)))
        self._reference_right += int(np.count_nonzero(reference_right))
        self._gained += int(np.count_nonzero(right & ~reference_right))
        self._lost += int(np.count_nonzero(~right & reference_right))


TASKS: Mapping[str, Task] = {"classification": Classification()}
"""Every task by its name."""


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """The score interval of a proportion at LEVEL.

    Args:
        successes: 0..n.
        n: at least 1.
    Reference: Wilson 1927, JASA 22:209-212.
    """
    share = successes / n
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    # At 0 and 1 the ends meet the share exactly, but for rounding.
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def paired_interval(lost: int, gained: int, n: int) -> tuple[float, float]:
    """An interval of the difference of two paired proportions, after minus before, at LEVEL.

    It is Wald's after adding half an observation to each cell of the 2 x 2 table, so that it has a width even
    when nothing or everything changed.

    Args:
        lost: pairs that were right before and are wrong after.
        gained: pairs that were wrong before and are right after.
        n: all pairs.
    Reference: Agresti & Min 2005, Statistics in Medicine 24:729-740, "Wald+2".
    """
    b, c, total = lost + 0.5, gained + 0.5, n + 2
    difference = (c - b) / total
    half = Z * math.sqrt(b + c - (c - b) ** 2 / total) / total
    return max(-1.0, difference - half), min(1.0, difference + half)


def _finite_rows(logits: "NDArray[np.float64]") -> "NDArray[np.bool_]":
    return np.asarray(np.isfinite(logits).all(axis=1))


def _rank(logits: "NDArray[np.float64]", labels: "NDArray[np.int64]") -> "NDArray[np.int64]":
    """How many classes come before each label; of equal logits the lower class comes first, as in argmax."""
    own = np.take_along_axis(logits, labels[:, np.newaxis], axis=1)
    earlier = np.arange(logits.shape[1]) < labels[:, np.newaxis]
    return np.count_nonzero((logits > own) | ((logits == own) & earlier), axis=1)


def _log_softmax(logits: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """(n, classes) in float64; rows without a finite logit come out as NaN."""
    with np.errstate(invalid="ignore"):
        shifted = logits - logits.max(axis=1, keepdims=True)
        return shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))


def _decibels(signal: float, noise: float) -> float:
    if noise == 0.0:
        return DB_LIMIT
    if signal == 0.0:
        return -DB_LIMIT
    return min(DB_LIMIT, max(-DB_LIMIT, 10 * math.log10(signal / noise)))
