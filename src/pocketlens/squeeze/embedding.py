"""The whitening that a bundle carries: from calibration images, through the graph that ships."""

import numpy as np
from torch import fx

from pocketlens.bundle.whitening import MAX_DIMENSIONS, Whitening
from pocketlens.datasets.choose import spread_evenly
from pocketlens.models.embedding import classifier_rows
from pocketlens.ops.whitening import whiten
from pocketlens.squeeze.confidence import BATCH, MOST
from pocketlens.types import Artifact, ImageSet, Target


def fit_whitening(artifact: Artifact, graph: fx.GraphModule, images: ImageSet, target: Target) -> Whitening | None:
    """How the artifact's embedding becomes vectors to search with.

    Args:
        artifact: the graph that ships, lowered.
        graph: the canonical one that it came from.
        images: calibration images.
        target: where it runs.
    Returns: None where the artifact gives no embedding, or the same for all images.
    """
    classifier = classifier_rows(graph)
    if classifier is None:
        return None
    batches = spread_evenly(images, MOST).batches(artifact.spec.preprocessing, BATCH)
    outputs = target.all_outputs(artifact, (batch.images for batch in batches))
    features = np.concatenate([output["embedding"] for output in outputs])
    features = features[np.isfinite(features).all(axis=1)]
    if len(features) < 2 or not np.ptp(features, axis=0).any():
        return None
    return Whitening.of_rows(*whiten(features, classifier.numpy(), min(MAX_DIMENSIONS, features.shape[1])))
