"""Where the error of a squeezed model comes from: layer by layer, and quantizer by quantizer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from pocketlens.models.compare import layer_errors
from pocketlens.models.sensitivity import sensitivity
from pocketlens.squeeze.measurements import Snapshot
from pocketlens.types import Data, Json, Progress

ERROR_IMAGES = 16
"""Validation images that the error by layer is computed on."""

SENSITIVITY_IMAGES = 8
"""Fewer, since each quantizer costs a run of its own; the ranking is steady from 8 on."""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What the report shows layer by layer; both empty where no numbers were rounded.

    Args:
        errors: see `models.compare.layer_errors`.
        harms: see `models.sensitivity`.
    """

    errors: tuple[Json, ...] = ()
    harms: tuple[Json, ...] = ()


def diagnose(snapshots: Sequence[Snapshot], data: Data, cache: Path | None, progress: Progress) -> Diagnosis:
    """Compare the last model with the last one before it was quantized.

    Args:
        snapshots: one a pass, in order.
        data: its validation split is read.
        cache: a folder that runs share, or None.
        progress: see types.Progress.
    """
    final = snapshots[-1].model
    before = [s.model for s in snapshots if "quantized" not in s.model.facts]
    # Weights that learned to be integers are no rounding of the float ones: there is nothing to compare layer by layer.
    rounded = "quantized" in final.facts and "quantization_aware" not in final.facts
    if not rounded or not before or data.validation is None:
        return Diagnosis()
    images = data.validation.subset(range(min(ERROR_IMAGES, len(data.validation))))
    batches = images.batches(final.spec.preprocessing, 8)
    return Diagnosis(
        errors=layer_errors(before[-1], final, (torch.from_numpy(batch.images) for batch in batches)),
        harms=sensitivity(final, before[-1], data.validation, count=SENSITIVITY_IMAGES, cache=cache, progress=progress),
    )
