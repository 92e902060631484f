"""From a pretrained backbone to one's own classes: the head first, on cached features, then the layers behind it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketlens.errors import DataError
from pocketlens.models.head import features_of, head_of, with_classes
from pocketlens.training.course import Course, Trained
from pocketlens.training.loop import train
from pocketlens.training.objectives import Labels
from pocketlens.training.plan import TrainingPlan
from pocketlens.types import Data, ImageSet, Model, Progress

HEAD_EPOCHS = 60
_BATCH = 32
_HEAD_BATCH = 128
_HEAD_RATE = 3e-3
_SMOOTHING = 0.1


@dataclass(frozen=True)
class Transferred:
    """What came of it.

    Args:
        model: for the new classes.
        head_score: top-1 on validation images with the new head alone; None without validation images.
        trained: of the layers behind it; None when `plan.epochs` was not asked for.
    """

    model: Model
    head_score: float | None
    trained: Trained | None


def transfer(
    backbone: Model,
    class_ids: tuple[str, ...],
    data: Data,
    plan: TrainingPlan | None,
    *,
    work: Path,
    seed: int = 0,
    progress: Progress,
    say: Callable[[str], Any] = lambda text: None,
) -> Transferred:
    """Train `backbone` for new classes.

    Args:
        backbone: pretrained, ends in a linear layer.
        class_ids: the new classes, in output order.
        data: train images with labels; validation images choose the epoch.
        plan: for the layers behind the head; None trains the head alone.
        work: for checkpoints: a run that was killed goes on from there.
        seed: makes the run repeatable.
        progress: see types.Progress.
        say: told what happens, a line at a time.
    Raises: DataError when a class has no train image; ModelError when the backbone has no linear head.
    """
    assert data.train is not None
    _check_labels(data.train, class_ids)
    model = with_classes(backbone, class_ids, seed=seed)
    features = features_of(model)
    known = _features(features, data.train, model, progress, "features", mirror=True)
    checked = _features(features, data.validation, model, progress, "features") if data.validation else None
    score = _fit_head(model, known, checked, seed)
    if score is not None:
        say(f"head alone: {score:.1%} of {len(checked[1]) if checked else 0} validation images")
    if plan is None:
        return Transferred(model, score, None)
    trained = train(
        model,
        plan,
        Course(
            objective=Labels(smoothing=plan.label_smoothing),
            data=data,
            work=work,
            cache=work,
            seed=seed,
            progress=progress,
        ),
    )
    return Transferred(trained.model, score, trained)


def _check_labels(images: ImageSet, class_ids: tuple[str, ...]) -> None:
    if not images.labelled:
        raise DataError(f"{images.name} has no labels; training needs one folder a class")
    labels = set(getattr(images, "labels", range(len(class_ids))))
    if missing := [name for index, name in enumerate(class_ids) if index not in labels]:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise DataError(f"no train image for {', '.join(missing[:5])}{more}; add some, or remove the class everywhere")


def _features(
    network: nn.Module,
    images: ImageSet,
    model: Model,
    progress: Progress,
    what: str,
    *,
    mirror: bool = False,
) -> tuple[Tensor, Tensor]:
    """(n, d) features and (n,) labels; with `mirror` each image also as in a mirror."""
    network.eval()
    rows: list[Tensor] = []
    labels: list[Tensor] = []
    total = -(-len(images) // _BATCH)
    for batch in progress.track(images.batches(model.spec.preprocessing, _BATCH), what, total):
        pictures = torch.from_numpy(batch.images).contiguous(memory_format=torch.channels_last)
        for seen in (pictures, pictures.flip(3)) if mirror else (pictures,):
            with torch.inference_mode():
                rows.append(network(seen).flatten(1).clone())
            labels.append(torch.from_numpy(batch.labels))
    return torch.cat(rows), torch.cat(labels)


def _fit_head(
    model: Model, known: tuple[Tensor, Tensor], checked: tuple[Tensor, Tensor] | None, seed: int
) -> float | None:
    """Train the model's linear head in place on features; return its validation top-1."""
    features, labels = known
    head = model.graph.get_submodule(str(head_of(model).target))
    assert isinstance(head, nn.Linear)
    # Trained on features of one scale, then folded back: every backbone has another one.
    mean, scale = features.mean(0), features.std().clamp(min=1e-6)
    features = (features - mean) / scale
    optimizer = torch.optim.AdamW(head.parameters(), lr=_HEAD_RATE, weight_decay=1e-2)
    steps = HEAD_EPOCHS * -(-len(features) // _HEAD_BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(HEAD_EPOCHS):
        for batch in torch.randperm(len(features), generator=generator).split(_HEAD_BATCH):
            loss = F.cross_entropy(head(features[batch]), labels[batch], label_smoothing=_SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        head.weight.div_(scale)
        head.bias.sub_(head.weight @ mean)
        if checked is None:
            return None
        return float((head(checked[0]).argmax(1) == checked[1]).float().mean())
