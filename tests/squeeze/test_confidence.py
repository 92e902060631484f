from pathlib import Path

import numpy as np
import pytest
from tests.conftest import SPEC

from pocketlens.bundle.confidence import Confidence
from pocketlens.datasets.folder import folder
from pocketlens.ops.temperature import fit_temperature
from pocketlens.squeeze.confidence import fit_confidence
from pocketlens.targets import load_target
from pocketlens.types import Artifact, ImageSet, Model, Target

TARGET: Target = load_target("onnxruntime")


@pytest.fixture
def artifact(tiny: Model, tmp_path: Path) -> Artifact:
    return TARGET.lower(tiny, "fp32", tmp_path)


def logits(artifact: Artifact, images: ImageSet) -> tuple[np.ndarray, np.ndarray]:
    batches = list(images.batches(SPEC.preprocessing, 3))
    outputs = TARGET.outputs(artifact, (batch.images for batch in batches))
    return np.concatenate(list(outputs)), np.concatenate([batch.labels for batch in batches])


def test_enough_labelled_images_give_a_temperature(artifact: Artifact, images: ImageSet) -> None:
    many = images.subset([index % 24 for index in range(48)] + [0, 7])
    found = fit_confidence(artifact, many, TARGET)
    scores, labels = logits(artifact, many)
    assert found.temperature == pytest.approx(fit_temperature(scores, labels), rel=1e-4)
    assert found.unknown_below is not None
    assert np.count_nonzero(scores.max(axis=1) < found.unknown_below - 1e-5) <= 2


def test_fewer_leave_the_logits_as_they_are(artifact: Artifact, images: ImageSet) -> None:
    found = fit_confidence(artifact, images, TARGET)  # 24
    assert found.temperature == 1.0
    assert found.unknown_below == pytest.approx(np.sort(logits(artifact, images)[0].max(axis=1))[1], abs=1e-4)


def test_too_few_tell_nothing(artifact: Artifact, images: ImageSet) -> None:
    assert fit_confidence(artifact, images.subset(range(19)), TARGET) == Confidence()


def test_images_without_labels_tell_what_is_known(artifact: Artifact, photos: Path) -> None:
    unlabelled = folder(photos, ("another", "model"), ())
    found = fit_confidence(artifact, unlabelled.subset([i % 24 for i in range(60)]), TARGET)
    assert found.temperature == 1.0
    assert found.unknown_below is not None
