import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import SPEC, TinyNet, randomised
from tests.networks import Chain, OnlyClassifier, Residual, shaken
from torch import nn

from pocketlens.datasets.folder import folder
from pocketlens.errors import ConfigError, DataError, ModelError, UnsupportedModelError
from pocketlens.models import store
from pocketlens.models.canonical import canonicalise
from pocketlens.passes.distil import Distil
from pocketlens.passes.prune_weights import PruneWeights
from pocketlens.types import Context, Data, Model

STEP = Distil(epochs=2, batch_size=8, augment="none", learning_rate=0.05, precision="float32")


def network(module: nn.Module, **changes: Any) -> Model:
    return canonicalise(shaken(module, 3), replace(SPEC, **changes))


def inputs(context: Context) -> torch.Tensor:
    assert context.data.train is not None
    return torch.from_numpy(next(iter(context.data.train.batches(SPEC.preprocessing, 24))).images)


def distance(student: Model, teachers: tuple[Model, ...], context: Context) -> float:
    x = inputs(context)
    with torch.inference_mode():
        wanted = torch.stack([t.graph(x) for t in teachers]).mean(0).softmax(1)
        return float((student.graph(x).softmax(1) - wanted).abs().mean())


@pytest.mark.parametrize("loss", ["logits", "decoupled"])
def test_the_student_comes_to_answer_like_its_teacher(tiny: Model, context: Context, loss: Any) -> None:
    teachers = (network(Residual(), name="teacher"),)
    before = store.digest(teachers[0])
    step = replace(STEP, loss=loss, epochs=10, beta=1.0)
    result = step(tiny, replace(context, teachers=teachers))
    assert distance(result.model, teachers, context) < 0.5 * distance(tiny, teachers, context)
    assert result.record.layers[-1]["loss"] < result.record.layers[0]["loss"]
    assert store.digest(teachers[0]) == before


def test_of_several_teachers_it_learns_the_mean(tiny: Model, context: Context) -> None:
    teachers = (network(Residual(), name="one"), network(Chain(), name="two"))
    model = replace(STEP, epochs=10)(tiny, replace(context, teachers=teachers)).model
    assert distance(model, teachers, context) < 0.5 * distance(tiny, teachers, context)


def test_without_a_teacher_the_original_teaches(tiny: Model, context: Context) -> None:
    start = canonicalise(randomised(TinyNet(), 9), SPEC)
    by_default = STEP(start, context).model
    named = STEP(start, replace(context, teachers=(tiny,))).model
    assert store.digest(by_default) == store.digest(named) != store.digest(start)


def test_no_labels_are_needed(tiny: Model, context: Context, photos: Path, tmp_path: Path) -> None:
    loose = tmp_path / "loose"
    loose.mkdir()
    for place in range(6):
        shutil.copy(photos / "cat" / f"{place}.png", loose)
    unlabelled = folder(loose)
    data = Data(train=unlabelled, validation=unlabelled)
    context = replace(context, data=data, teachers=(network(Residual()),))
    record = STEP(tiny, context).record
    assert 0 <= record.summary["validation_agreement"] <= 1
    with pytest.raises(DataError, match=r"`labels_weight` is 0.5, but loose has no labels; set it to 0"):
        replace(STEP, labels_weight=0.5)(tiny, context)


def test_each_part_of_the_loss_counts(tiny: Model, context: Context) -> None:
    unchosen = replace(context.data, validation=None)  # else a lesson that harms returns what came in
    context = replace(context, teachers=(network(Chain()),), data=unchosen)
    parts: list[dict[str, Any]] = [
        {}, {"labels_weight": 0.5}, {"features_weight": 1.0}, {"attention_weight": 1.0}, {"temperature": 1.0},
        {"loss": "decoupled"}, {"loss": "decoupled", "alpha": 0.0}, {"loss": "decoupled", "beta": 0.0},
    ]  # fmt: skip
    digests = [store.digest(replace(STEP, epochs=1, **part)(tiny, context).model) for part in parts]
    assert len(set(digests)) == len(parts)


def test_projections_are_seeded_and_thrown_away(tiny: Model, context: Context) -> None:
    context = replace(context, teachers=(network(Chain()),))
    step = replace(STEP, features_weight=1.0, attention_weight=0.5, mixup=0.3, ema=0.5)
    torch.manual_seed(1)
    one = step(tiny, context).model
    torch.manual_seed(2)
    assert store.digest(step(tiny, context).model) == store.digest(one)
    assert [n for n, _ in one.graph.named_parameters()] == [n for n, _ in tiny.graph.named_parameters()]
    assert store.digest(step(tiny, replace(context, seed=1)).model) != store.digest(one)


def test_features_come_closer(tiny: Model, context: Context) -> None:
    """Taught by features alone, but for a little: the loss falls."""
    context = replace(context, teachers=(network(Chain()),))
    record = replace(STEP, epochs=8, learning_rate=0.01, features_weight=5.0)(tiny, context).record
    assert record.layers[-1]["loss"] < 0.8 * record.layers[0]["loss"]


@pytest.mark.parametrize("augment", ["none", "crop", "randaugment"])
@pytest.mark.parametrize("features", [0.0, 1.0])
def test_a_student_of_a_smaller_input(tiny: Model, context: Context, augment: Any, features: float) -> None:
    small = replace(SPEC.preprocessing, resize=24, crop=(24, 24))
    student = replace(tiny, spec=replace(SPEC, input_shape=(3, 24, 24), preprocessing=small))
    step = replace(STEP, augment=augment, features_weight=features)
    result = step(student, replace(context, teachers=(network(Residual()),)))
    assert result.model.spec == student.spec
    assert store.digest(result.model) != store.digest(student)
    assert result.record.layers[-1]["loss"] > 0


def test_the_cache_spares_the_teacher(tiny: Model, context: Context, tmp_path: Path) -> None:
    """A second run gets every answer from the cache: replaced by nonsense, nonsense is what it learns."""
    from safetensors.torch import load_file, save_file

    cache = tmp_path / "cache"
    teachers = (network(Residual()),)
    step = replace(STEP, augment="crop", views=1)

    def digest(work: str) -> str:
        place = tmp_path / work
        place.mkdir()
        return store.digest(step(tiny, replace(context, teachers=teachers, cache=cache, work=place)).model)

    first = digest("one")
    (file,) = cache.rglob("*.safetensors")
    answers = load_file(file)["logits"].clone()
    assert answers.shape == (24, 4)
    assert not answers.isnan().any()
    assert digest("two") == first
    save_file({"logits": answers.flip(1)}, file)
    assert digest("three") != first


def test_zeros_of_a_masked_model_stay_zero(tiny: Model, context: Context) -> None:
    pruned = PruneWeights(sparsity=0.5)(tiny, context).model
    result = replace(STEP, attention_weight=1.0, ema=0.5)(pruned, context).model
    assert "masked" in result.facts
    for name, weight in pruned.graph.named_parameters():
        if weight.dim() > 1:
            assert not result.graph.get_parameter(name)[weight == 0].any(), name


def test_a_teacher_of_other_classes_is_refused(tiny: Model, context: Context) -> None:
    class Three(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))

    fewer = canonicalise(Three(), replace(SPEC, name="three", class_ids=(), labels=()))
    with pytest.raises(ModelError, match=r"teacher three must know the student's 4 classes .* it has 3 classes; train"):
        STEP(tiny, replace(context, teachers=(tiny, fewer)))
    turned = network(Residual(), name="turned", class_ids=SPEC.class_ids[::-1])
    with pytest.raises(ModelError, match=r"in the same order, it has the same number of classes, but other ones"):
        STEP(tiny, replace(context, teachers=(turned,)))
    nameless = network(Residual(), class_ids=(), labels=())
    STEP(tiny, replace(context, teachers=(nameless,)))


def test_features_need_maps(tiny: Model, context: Context) -> None:
    flat = network(OnlyClassifier(), name="flat")
    with pytest.raises(UnsupportedModelError, match="flat has no feature maps"):
        replace(STEP, features_weight=1.0)(tiny, replace(context, teachers=(flat,)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"loss": "kl"}, "`loss` must be logits or decoupled, got 'kl'"),
        ({"temperature": 0.0}, "`temperature` must be above 0, got 0.0"),
        ({"labels_weight": 1.0}, r"`labels_weight` must be in \[0, 1\), got 1.0; for 1 use Finetune"),
        ({"alpha": -1.0}, "`alpha` must be 0 or more, got -1.0"),
        ({"beta": -1.0}, "`beta` must be 0 or more"),
        ({"features_weight": -0.1}, "`features_weight` must be 0 or more"),
        ({"attention_weight": -0.1}, "`attention_weight` must be 0 or more"),
        ({"epochs": 0}, "`epochs` must be at least 1"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_field_out_of_range_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Distil(**fields)
