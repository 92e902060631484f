from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pocketlens.datasets.folder import folder
from pocketlens.errors import ConfigError, DataError
from pocketlens.models import store
from pocketlens.passes.finetune import Finetune
from pocketlens.passes.prune_weights import PruneWeights
from pocketlens.types import Context, Data, Model

STEP = Finetune(epochs=2, batch_size=8, augment="none", learning_rate=0.05, precision="float32")


def top1(model: Model, context: Context) -> float:
    assert context.data.validation is not None
    batch = next(iter(context.data.validation.batches(model.spec.preprocessing, 24)))
    with torch.inference_mode():
        return float((model.graph(torch.from_numpy(batch.images)).argmax(1).numpy() == batch.labels).mean())


def test_it_learns_the_labels_and_says_how_well(tiny: Model, context: Context) -> None:
    model, record = (result := replace(STEP, epochs=12)(tiny, context)).model, result.record
    assert top1(model, context) > top1(tiny, context) + 0.2
    assert record.summary["validation_top1"] == pytest.approx(top1(model, context))
    assert record.summary["epochs"] == 12
    assert record.summary["images"] == 24
    assert record.summary["precision"] == "float32"
    assert [line["layer"] for line in record.layers] == [f"epoch {i}" for i in range(1, 13)]
    assert record.summary["loss"] == record.layers[-1]["loss"] < record.layers[0]["loss"]


def test_at_rate_zero_no_weight_moves(tiny: Model, context: Context) -> None:
    step = replace(STEP, learning_rate=0.0, batchnorm="frozen")
    assert store.digest(step(tiny, context).model) == store.digest(tiny)


def test_the_seed_decides(tiny: Model, context: Context) -> None:
    one, same, other = (store.digest(STEP(tiny, replace(context, seed=seed)).model) for seed in (0, 0, 1))
    assert one == same != other


def test_labels_are_smoothed_and_mixed(tiny: Model, context: Context) -> None:
    plain, smooth, mixed = (
        store.digest(step(tiny, context).model)
        for step in (STEP, replace(STEP, label_smoothing=0.2), replace(STEP, mixup=0.4))
    )
    assert len({plain, smooth, mixed}) == 3


def test_zeros_of_a_masked_model_stay_zero(tiny: Model, context: Context) -> None:
    pruned = PruneWeights(sparsity=0.5)(tiny, context).model
    assert "masked" in pruned.facts
    result = STEP(pruned, context).model
    assert result.facts == pruned.facts
    moved = 0
    for name, weight in pruned.graph.named_parameters():
        after = result.graph.get_parameter(name)
        if weight.dim() > 1:
            assert not after[weight == 0].any(), name
        moved += int((after != weight).sum())
    assert moved > 100


def test_without_the_fact_a_zero_is_a_weight_like_any_other(tiny: Model, context: Context) -> None:
    with torch.no_grad():
        tiny.graph.get_submodule("classifier").weight[0] = 0
    assert STEP(tiny, context).model.graph.get_submodule("classifier").weight[0].any()


def test_calibration_images_teach_where_there_are_no_others(tiny: Model, context: Context) -> None:
    data = replace(context.data, train=None)
    assert STEP(tiny, replace(context, data=data)).record.summary["images"] == 24
    with pytest.raises(DataError, match="at least 2"):
        STEP(tiny, replace(context, data=Data(validation=context.data.validation)))


def test_images_without_labels_are_refused(tiny: Model, context: Context, photos: Path) -> None:
    unlabelled = folder(photos / "cat")
    with pytest.raises(DataError, match=r"Finetune learns from labels, and cat has none .* use Distil"):
        STEP(tiny, replace(context, data=Data(train=unlabelled)))


def test_fields_are_checked() -> None:
    with pytest.raises(ConfigError, match="`epochs` must be at least 1"):
        Finetune(epochs=0)
