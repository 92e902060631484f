from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pocketlens.datasets.folder import folder
from pocketlens.datasets.image_set import LazyImageSet
from pocketlens.training.score import Validation
from pocketlens.types import Model

CPU = torch.device("cpu")


def answers(model: Model, images: LazyImageSet) -> list[int]:
    batch = next(iter(images.batches(model.spec.preprocessing, len(images))))
    return model.graph(torch.from_numpy(batch.images)).argmax(1).tolist()


def test_top1_by_counting(tiny: Model, images: LazyImageSet) -> None:
    score = Validation(images, tiny, None, 5, CPU)(tiny.graph, torch.float32)
    right = sum(a == b for a, b in zip(answers(tiny, images), images.labels, strict=True))
    assert (score.value, score.kind, score.n) == (pytest.approx(right / 24), "top1", 24)


def test_images_of_no_known_class_do_not_count(tiny: Model, images: LazyImageSet) -> None:
    given = answers(tiny, images)
    # Right on the first two, wrong on the third, of the rest nothing is known.
    labels = [given[0], given[1], (given[2] + 1) % 4, *[-1] * 21]
    items = tuple(replace(item, label=label) for item, label in zip(images.items, labels, strict=True))  # pyright: ignore
    score = Validation(replace(images, items=items), tiny, None, 5, CPU)(tiny.graph, torch.float32)
    assert (score.value, score.n) == (pytest.approx(2 / 3), 3)


def test_without_labels_it_is_agreement_with_the_original(tiny: Model, photos: Path) -> None:
    unlabelled = folder(photos / "cat")
    validate = Validation(unlabelled, tiny, tiny, 4, CPU)
    score = validate(tiny.graph, torch.float32)
    assert (score.value, score.kind, score.n) == (1.0, "agreement", 6)
    never = next(i for i in range(4) if i not in answers(tiny, unlabelled))
    with torch.no_grad():
        tiny.graph.get_submodule("classifier").bias[never] += 1e6
    assert answers(tiny, unlabelled) == [never] * 6
    assert validate(tiny.graph, torch.float32).value == 0.0
