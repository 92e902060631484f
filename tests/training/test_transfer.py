from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.conftest import SPEC

from pocketlens.errors import DataError
from pocketlens.training.plan import TrainingPlan
from pocketlens.training.transfer import transfer
from pocketlens.types import Data, ImageSet, Model, Silent


def test_the_head_learns_what_the_features_tell(tiny: Model, images: ImageSet, tmp_path: Path) -> None:
    """Two of the four kinds of test pictures look alike; the others differ in colour, which any features tell."""
    data = Data(train=images, validation=images)
    result = transfer(tiny, SPEC.class_ids, data, None, work=tmp_path, progress=Silent())
    assert result.head_score is not None
    assert result.head_score >= 0.7
    assert result.trained is None
    batch = next(images.batches(SPEC.preprocessing, 24))
    answers = result.model.graph(torch.from_numpy(batch.images)).argmax(1)
    assert float((answers == torch.from_numpy(batch.labels)).float().mean()) == pytest.approx(result.head_score)


def test_the_backbone_stays_while_the_head_learns(tiny: Model, images: ImageSet, tmp_path: Path) -> None:
    result = transfer(tiny, SPEC.class_ids, Data(train=images), None, work=tmp_path, progress=Silent())
    assert torch.equal(result.model.graph.get_submodule("stem_0").weight, tiny.graph.get_submodule("stem_0").weight)
    assert result.head_score is None


def test_more_layers_follow_and_the_frozen_stay(tiny: Model, images: ImageSet, tmp_path: Path) -> None:
    plan = TrainingPlan(epochs=2, batch_size=8, freeze=0.3, batchnorm="frozen", augment="none")
    data = Data(train=images, validation=images)
    result = transfer(tiny, SPEC.class_ids, data, plan, work=tmp_path, progress=Silent())
    assert result.trained is not None
    assert len(result.trained.log) == 2
    moved = result.trained.model.graph
    assert torch.equal(moved.get_submodule("stem_0").weight, tiny.graph.get_submodule("stem_0").weight)
    assert not torch.equal(moved.get_submodule("project_0").weight, tiny.graph.get_submodule("project_0").weight)


def test_a_class_without_a_train_image_is_named(tiny: Model, images: ImageSet, tmp_path: Path) -> None:
    some = images.subset(range(18))  # sorted by class: no owl
    with pytest.raises(DataError, match="no train image for owl"):
        transfer(tiny, SPEC.class_ids, Data(train=some), None, work=tmp_path, progress=Silent())


def test_images_without_labels_are_refused(tiny: Model, images: ImageSet, tmp_path: Path) -> None:
    unlabelled = replace(images, labelled=False)  # pyright: ignore
    with pytest.raises(DataError, match="one folder a class"):
        transfer(tiny, SPEC.class_ids, Data(train=unlabelled), None, work=tmp_path, progress=Silent())
