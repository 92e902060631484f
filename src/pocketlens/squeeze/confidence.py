"""How sure a bundle's model is allowed to sound: measured on validation images, through the file that ships."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pocketlens.bundle.confidence import Confidence
from pocketlens.datasets.choose import spread_evenly
from pocketlens.ops.temperature import fit_temperature, known_above
from pocketlens.types import Artifact, ImageSet, Target

MOST = 2000
"""Images that are looked at: enough for two numbers."""

FEWEST_LABELLED = 50
"""A temperature from fewer would be a guess."""

FEWEST = 20
"""Of fewer images, a twentieth is none."""

REFUSED = 0.05
"""Share of images of known things that may be called unknown."""

BATCH = 8


def fit_confidence(artifact: Artifact, images: ImageSet, target: Target) -> Confidence:
    """Temperature and threshold of one graph; what too few images cannot tell keeps its neutral value.

    Args:
        artifact: the graph, lowered.
        images: of known things, not those that the final figures are measured on.
        target: where it runs.
    """
    labels: list[NDArray[np.int64]] = []

    def inputs() -> Iterator[NDArray[np.float32]]:
        for batch in spread_evenly(images, MOST).batches(artifact.spec.preprocessing, BATCH):
            labels.append(batch.labels)
            yield batch.images

    logits = np.concatenate(list(target.outputs(artifact, inputs())))
    known = np.concatenate(labels)
    finite = np.isfinite(logits).all(axis=1)
    logits, known = logits[finite], known[finite]
    labelled = known >= 0
    enough = np.count_nonzero(labelled) >= FEWEST_LABELLED
    return Confidence(
        temperature=fit_temperature(logits[labelled], known[labelled]) if enough else 1.0,
        unknown_below=known_above(logits, REFUSED) if len(logits) >= FEWEST else None,
    )
