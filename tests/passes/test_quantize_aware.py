import itertools
import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import SPEC, TinyNet, randomised
from tests.networks import Residual, Transposed, Twice, shaken
from torch import Tensor, nn

from pocketlens.datasets.folder import folder
from pocketlens.errors import ConfigError, DataError, ModelError, RecipeError
from pocketlens.models import store, vocabulary
from pocketlens.models.canonical import canonicalise, clone
from pocketlens.ops.quantized import QuantizedConv2d, QuantizedConvTranspose2d, QuantizeDequantize, QuantizedLinear
from pocketlens.passes.fold_batch_norm import FoldBatchNorm
from pocketlens.passes.match_moments import MatchMoments
from pocketlens.passes.prune_weights import PruneWeights
from pocketlens.passes.quantize_aware import QuantizeAware
from pocketlens.passes.quantize_static import QuantizeStatic
from pocketlens.recipe import Chain, check, from_json, from_toml, to_json, to_toml
from pocketlens.targets.onnxruntime.lower import lower
from pocketlens.targets.onnxruntime.session import open_session
from pocketlens.types import Context, Data, IntegerFormat, Model, Scheme, Silent

COARSE: dict[str, Any] = {"weight_bits": 4, "activation_bits": 4, "edge_bits": 8}


@pytest.fixture
def step(scheme: Scheme) -> QuantizeAware:
    return QuantizeAware(
        scheme=scheme, **COARSE, epochs=8, batch_size=8, learning_rate=0.02, augment="none", precision="float32",
        weight_decay=0.0,
    )  # fmt: skip


def inputs(context: Context) -> np.ndarray:
    assert context.data.calibration is not None
    return next(iter(context.data.calibration.batches(SPEC.preprocessing, 24))).images


def settled(model: Model, context: Context) -> Model:
    """The model with the statistics that it meets, as a trained one has them."""
    model = clone(model)
    norms = [m for m in model.graph.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model.graph.train()(torch.from_numpy(inputs(context)))
    for norm in norms:
        norm.momentum = 0.1
    model.graph.eval()
    return model


def distance(model: Model, context: Context) -> float:
    """Mean difference of probabilities on all pictures from the model as it came in."""
    x = torch.from_numpy(inputs(context))
    with torch.no_grad():
        return float((model.graph(x).softmax(1) - context.original.graph(x).softmax(1)).abs().mean())


def test_few_bits_learned_are_better_than_few_bits_rounded(tiny: Model, context: Context, step: QuantizeAware) -> None:
    tiny = settled(tiny, context)
    tiny.graph.get_parameter("classifier.weight").data *= 10  # answers that differ from picture to picture
    context = replace(context, original=tiny)
    before = store.digest(tiny)
    coarse = {"weight_bits": 2, "activation_bits": 3, "edge_bits": 8}
    step = replace(step, **coarse, epochs=20)
    folded = FoldBatchNorm()(tiny, context).model
    rounded = QuantizeStatic(scheme=step.scheme, **coarse, weights="mse")(folded, context).model
    result = step(tiny, context)
    assert distance(result.model, context) < 0.5 * distance(rounded, context)
    epochs = [row["loss"] for row in result.record.layers if "epoch" in row]
    assert epochs[-1] < 0.5 * epochs[0]
    assert store.digest(tiny) == before


def test_the_file_answers_as_the_simulation(tiny: Model, context: Context, step: QuantizeAware, tmp_path: Path) -> None:
    model = replace(step, epochs=2)(tiny, context).model
    artifact = lower(model, "int8", tmp_path)
    x = inputs(context)
    session = open_session(artifact.graph, artifact.weights, artifact.session, 1, spinning=False)
    with torch.inference_mode():
        wanted = model.graph(torch.from_numpy(x)).numpy()
    got = session.run(x)
    assert 10 * np.log10(np.square(wanted).sum() / max(np.square(got - wanted).sum(), 1e-30)) > 30
    assert (got.argmax(1) == wanted.argmax(1)).all()


def test_leaves_are_those_of_quantize_static(tiny: Model, context: Context, step: QuantizeAware) -> None:
    """Same kinds and names in the same order, so every target knows them."""
    folded = FoldBatchNorm()(tiny, context).model
    rounded = QuantizeStatic(scheme=step.scheme, **COARSE)(folded, context).model
    learned = replace(step, epochs=1)(tiny, context).model
    for one, other in zip(learned.graph.graph.nodes, rounded.graph.graph.nodes, strict=True):
        assert (one.name, one.target) == (other.name, other.target)
        if one.op == "call_module":
            mine, theirs = (m.graph.get_submodule(str(one.target)) for m in (learned, rounded))
            assert type(mine) is type(theirs)
            if isinstance(mine, QuantizeDequantize) and isinstance(theirs, QuantizeDequantize):
                assert (mine.qmin, mine.qmax, mine.storage) == (theirs.qmin, theirs.qmax, theirs.storage)
                assert int(mine.zero_point) == int(theirs.zero_point)
    assert learned.facts == {"folded", "quantized", "quantization_aware"}
    assert not any(p.requires_grad for n, p in learned.graph.named_parameters() if n.endswith("bias"))


def test_without_training_to_speak_of_it_is_quantize_static(tiny: Model, context: Context, step: QuantizeAware) -> None:
    """The neutral setting: nothing learned, statistics frozen from the start."""
    still = replace(step, epochs=1, learning_rate=0.0, freeze_batchnorm=0.0)(tiny, context).model
    folded = FoldBatchNorm()(tiny, context).model
    rounded = QuantizeStatic(scheme=step.scheme, **COARSE, weights="mse")(folded, context).model
    x = torch.from_numpy(inputs(context))
    with torch.no_grad():
        noise = (still.graph(x) - rounded.graph(x)).square().sum()
        assert 10 * torch.log10(rounded.graph(x).square().sum() / noise.clamp(min=1e-30)) > 40


def test_the_record_says_how_far_steps_went(tiny: Model, context: Context, step: QuantizeAware) -> None:
    record = replace(step, epochs=2)(tiny, context).record
    rows = {row["layer"]: row for row in record.layers}
    assert rows["expand_0"]["largest_code"] <= 7
    assert rows["expand_0"]["weight_step_change"] > 0
    assert rows["expand_2"]["activation"]["levels"] == 16
    assert rows["expand_2"]["activation_step_change"] > 0
    assert record.summary["layers"] == 5
    assert record.summary["weight_step_change"] > 0
    assert record.summary["precision"] == "float32"
    assert record.config["scheme"] == "u8s8"
    assert any("download only" in note for note in record.notes)
    fixed = replace(step, epochs=1, step_sizes="fixed")(tiny, context).record
    assert fixed.summary["weight_step_change"] == fixed.summary["activation_step_change"] == 0


def test_it_learns_without_labels(tiny: Model, context: Context, step: QuantizeAware, photos: Path) -> None:
    loose = context.work / "loose"
    loose.mkdir()
    for place in range(6):
        shutil.copy(photos / "cat" / f"{place}.png", loose)
    plain = folder(loose)
    context = replace(context, data=Data(calibration=plain, validation=plain))
    step = replace(step, epochs=1, batch_size=4)
    assert 0 <= step(tiny, context).record.summary["validation_agreement"] <= 1
    with pytest.raises(DataError, match=r"`labels_weight` is 0\.5, but loose has no labels"):
        replace(step, labels_weight=0.5)(tiny, context)


def test_labels_count_where_they_are_wanted(tiny: Model, context: Context, step: QuantizeAware) -> None:
    step = replace(step, epochs=1)
    one, other = (replace(step, labels_weight=w)(tiny, context).model for w in (0.0, 0.5))
    assert store.digest(one) != store.digest(other)


@pytest.mark.parametrize("kind", ["per_tensor", "folded"])
def test_what_has_no_batch_norm_to_fold_later_learns_too(
    tiny: Model, context: Context, step: QuantizeAware, kind: str
) -> None:
    if kind == "per_tensor":
        step = replace(step, granularity="per_tensor")
    else:
        tiny = FoldBatchNorm()(tiny, context).model
    result = step(tiny, context)
    assert result.record.layers[7]["loss"] < result.record.layers[0]["loss"]
    scales = [m.weight_scale.dim() for m in result.model.graph.modules() if isinstance(m, QuantizedConv2d)]
    assert set(scales) == {0 if kind == "per_tensor" else 1}


class Odd(nn.Module):
    """A dead channel, a batch norm with a negative and one with a zero gain, a grouped and a dilated convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm1 = nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8)
        self.grouped, self.norm2 = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=2), nn.BatchNorm2d(8)
        self.pool, self.classifier = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm1(self.stem(x)))
        return self.classifier(self.pool(torch.relu(self.norm2(self.grouped(x)))).flatten(1))


def test_odd_channels(context: Context, step: QuantizeAware) -> None:
    torch.manual_seed(0)
    module = randomised(Odd())
    assert isinstance(module, Odd)
    module.stem.weight.data[2] = 0
    module.norm1.weight.data[:2] = torch.tensor([-0.8, 0.0])
    model = canonicalise(module, SPEC)
    context = replace(context, original=model)
    result = replace(step, epochs=2, freeze_batchnorm=0.0)(model, context)
    assert torch.isfinite(result.model.graph(torch.randn(2, 3, 32, 32))).all()
    stem = result.model.graph.get_submodule("stem")
    assert isinstance(stem, QuantizedConv2d)
    assert not stem.codes[2].any()
    assert any(note.startswith("stem: ") and note.endswith("dead channels") for note in result.record.notes)


@pytest.mark.parametrize("module", [Twice, Transposed, Residual], ids=lambda m: m.__name__)
def test_other_shapes(module: type[nn.Module], context: Context, step: QuantizeAware, tmp_path: Path) -> None:
    """A layer called twice under a batch norm that two share; transposed convolutions, which have one scale."""
    model = canonicalise(shaken(module()), SPEC)
    wide = replace(step.numerics, operators=step.numerics.operators | {"conv_transpose"})
    result = replace(step, scheme=wide, epochs=1)(model, replace(context, original=model))
    modules = list(result.model.graph.modules())
    assert any(isinstance(m, QuantizedLinear) for m in modules)
    assert sum(isinstance(m, QuantizedConvTranspose2d) for m in modules) == (3 if module is Transposed else 0)
    assert not [m for m in modules if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]
    kept = [n for n in result.model.graph.graph.nodes if vocabulary.kind(result.model.graph, n) == "batchnorm"]
    assert ("batchnorm" in result.model.facts) == bool(kept) == (module is Twice)
    store.save(result.model, tmp_path / "m.graph")
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(store.load(tmp_path / "m.graph").graph(x), result.model.graph(x))


def test_what_stays_in_float_is_not_rounded(tiny: Model, context: Context, step: QuantizeAware) -> None:
    result = replace(step, epochs=1, keep_float=("depthwise_0",))(tiny, context)
    graph = result.model.graph
    assert isinstance(graph.get_submodule("depthwise_0"), nn.Conv2d)
    assert not [n for n in graph.graph.nodes if vocabulary.kind(graph, n) == "batchnorm"]
    assert result.record.summary["layers"] == 4


def test_frozen_layers_are_rounded_as_they_are(tiny: Model, context: Context, step: QuantizeAware) -> None:
    still = replace(step, epochs=2, freeze=0.5)(tiny, context)
    rows = {row["layer"]: row for row in still.record.layers}
    assert rows["stem_0"]["weight_step_change"] == 0
    assert rows["classifier"]["weight_step_change"] > 0
    assert rows["stem_2"]["activation_step_change"] > 0


def test_masked_weights_stay_zero(tiny: Model, context: Context, step: QuantizeAware) -> None:
    pruned = PruneWeights(sparsity=0.5)(tiny, context).model
    graph = replace(step, epochs=1, ema=0.5)(pruned, context).model.graph
    for name in ("stem_0", "expand_0", "project_0"):
        leaf, weight = graph.get_submodule(name), pruned.graph.get_parameter(f"{name}.weight")
        assert isinstance(leaf, QuantizedConv2d)
        assert not leaf.codes[weight == 0].any()


class Dying(Silent):
    """Ends a run within its second epoch, as Ctrl-C does."""

    def track(self, items: Iterable[Any], description: str, total: int | None = None) -> Iterator[Any]:
        yield from itertools.islice(items, 4 if description == "training" else None)
        if description == "training":
            raise KeyboardInterrupt


def test_a_run_that_was_cut_ends_as_one_that_was_not(
    tiny: Model, context: Context, step: QuantizeAware, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pocketlens.training.loop.CHECKPOINT_SECONDS", 0.0)
    step = replace(step, epochs=3, ema=0.9, freeze_batchnorm=0.5, augment="crop")
    works = [tmp_path / name for name in ("whole", "cut")]
    for work in works:
        work.mkdir()
    whole = step(tiny, replace(context, work=works[0]))
    with pytest.raises(KeyboardInterrupt):
        step(tiny, replace(context, work=works[1], progress=Dying()))
    again = step(tiny, replace(context, work=works[1]))
    assert "went on from epoch 2, step 1" in again.record.notes
    assert store.digest(again.model) == store.digest(whole.model)


def test_signed_activations(tiny: Model, context: Context, step: QuantizeAware) -> None:
    signed = replace(step.numerics, activation=IntegerFormat(storage="int8", qmin=-128, qmax=127), float_output=False)
    result = replace(step, scheme=signed, epochs=1)(tiny, context)
    grids = {row["layer"]: row["activation"] for row in result.record.layers if "activation" in row}
    assert grids["expand_2"]["zero_point"] == -128
    assert grids["classifier"]["levels"] == 256


def test_recipes(scheme: Scheme) -> None:
    chain = Chain(QuantizeAware(scheme=scheme, **COARSE, epochs=3))
    assert from_toml(to_toml(chain)) == chain
    assert from_json(json.loads(json.dumps(to_json(chain)))) == chain
    check(chain, frozenset({"batchnorm"}))
    check(chain)
    with pytest.raises(RecipeError, match="MatchMoments, cannot follow what made the model quantization_aware"):
        check(Chain(QuantizeAware(), MatchMoments()))
    with pytest.raises(RecipeError, match="QuantizeAware, cannot follow what made the model quantized"):
        check(Chain(FoldBatchNorm(), QuantizeStatic(), QuantizeAware()))


def test_wrong_use_is_refused(tiny: Model, context: Context, step: QuantizeAware) -> None:
    with pytest.raises(ConfigError, match='still "auto"'):
        QuantizeAware()(tiny, context)
    with pytest.raises(DataError, match="calibration images"):
        step(tiny, replace(context, data=replace(context.data, calibration=None)))
    with pytest.raises(ConfigError, match="nowhere"):
        replace(step, keep_float=("nowhere",))(tiny, context)
    other = canonicalise(randomised(TinyNet()), replace(SPEC, class_ids=SPEC.class_ids[::-1]))
    with pytest.raises(ModelError, match="in the same order"):
        step(tiny, replace(context, teachers=(other,)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"step_sizes": "some"}, "`step_sizes` must be learned or fixed, got 'some'"),
        ({"freeze_batchnorm": 1.5}, r"`freeze_batchnorm` must lie in \[0, 1\], got 1.5"),
        ({"temperature": 0.0}, "`temperature` must be above 0"),
        ({"labels_weight": -0.1}, r"`labels_weight` must lie in \[0, 1\]"),
        ({"weight_bits": 1}, "`weight_bits` must be from 2 to 8"),
        ({"epochs": 0}, "`epochs` must be at least 1"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_field_out_of_range_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        QuantizeAware(**fields)
