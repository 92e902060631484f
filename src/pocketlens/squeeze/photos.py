"""Photos for the report: what the model answered before and after, the changed answers first."""

import io

import numpy as np
from PIL import Image

from pocketlens.datasets.images import preprocess
from pocketlens.errors import ImageError
from pocketlens.report.data import Photo
from pocketlens.tasks import TASKS
from pocketlens.types import Artifact, ImageSet, Target

_SIDE = 224
"""Pixels of a thumbnail's side."""


def compare_photos(
    before: Artifact,
    after: Artifact,
    target: Target,
    images: ImageSet,
    *,
    temperature: float = 1.0,
    looked_at: int = 48,
    shown: int = 8,
) -> tuple[Photo, ...]:
    """Answers of two artifacts on some photos spread over a set.

    Args:
        before: the original.
        after: what ships.
        target: where both run.
        images: the set.
        temperature: of the bundle; both models' probabilities are calibrated by it, so that they compare.
        looked_at: how many are tried.
        shown: how many come back, at most half of them with a changed answer.
    """
    spec = before.spec
    task = TASKS[spec.task]
    step = max(1, len(images) // looked_at)
    found: list[tuple[Image.Image, int, str]] = []
    for index in range(0, len(images), step)[:looked_at]:
        try:
            found.append(images.image(index))
        except ImageError:
            continue  # counted and named by the measurement already
    answers = []
    for artifact in (before, after):
        inputs = [preprocess(image, artifact.spec.preprocessing)[np.newaxis] for image, _, _ in found]
        answers.append([task.answers(output / temperature, spec, 3)[0] for output in target.outputs(artifact, inputs)])
    photos = [
        Photo(
            key=key,
            thumbnail=_thumbnail(image),
            truth=spec.label(label) if label >= 0 else None,
            before=tuple(old),
            after=tuple(new),
        )
        for (image, label, key), old, new in zip(found, *answers, strict=True)
    ]
    changed = [p for p in photos if p.before[0]["index"] != p.after[0]["index"]][: shown // 2]
    others = [p for p in photos if p not in changed]
    spread = others[:: max(1, len(others) // shown)][: shown - len(changed)]
    return tuple(changed + spread)


def _thumbnail(image: Image.Image) -> bytes:
    """A square JPEG of the middle."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    small = image.crop((left, top, left + side, top + side)).resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
