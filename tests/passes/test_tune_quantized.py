import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import SPEC, TinyNet, randomised
from tests.networks import Transposed, shaken
from torch import Tensor, nn

from pocketlens.errors import ConfigError, ModelError, RecipeError
from pocketlens.models import store
from pocketlens.models.canonical import canonicalise
from pocketlens.ops.quantized import QuantizedConv2d, QuantizeDequantize
from pocketlens.passes.fold_batch_norm import FoldBatchNorm
from pocketlens.passes.match_moments import MatchMoments
from pocketlens.passes.quantize_static import QuantizeStatic
from pocketlens.passes.tune_quantized import TuneQuantized
from pocketlens.recipe import Chain, check, from_toml, to_toml
from pocketlens.targets.onnxruntime.lower import lower
from pocketlens.targets.onnxruntime.session import open_session
from pocketlens.types import Context, Model, Scheme

STEP = TuneQuantized(epochs=20, batch_size=8, learning_rate=0.02, augment="none", precision="float32", weight_decay=0.0)


def coarse(model: Model, context: Context, scheme: Scheme, **changes: Any) -> Model:
    step = QuantizeStatic(scheme=scheme, weight_bits=3, activation_bits=4, edge_bits=8, weights="mse")
    return replace(step, **changes)(FoldBatchNorm()(model, context).model, context).model


def inputs(context: Context) -> np.ndarray:
    assert context.data.calibration is not None
    return next(iter(context.data.calibration.batches(SPEC.preprocessing, 24))).images


def distance(model: Model, context: Context) -> float:
    """Mean difference of probabilities on all pictures from the model as it first came in."""
    x = torch.from_numpy(inputs(context))
    with torch.no_grad():
        return float((model.graph(x).softmax(1) - context.original.graph(x).softmax(1)).abs().mean())


def test_the_output_comes_closer_and_everything_keeps_its_place(
    tiny: Model, context: Context, scheme: Scheme, tmp_path: Path
) -> None:
    tiny.graph.get_parameter("classifier.weight").data *= 10
    context = replace(context, original=tiny)
    rounded = coarse(tiny, context, scheme)
    before = store.digest(rounded)
    result = STEP(rounded, context)
    assert store.digest(rounded) == before
    assert distance(result.model, context) < 0.6 * distance(rounded, context)
    assert result.model.facts == rounded.facts | {"quantization_aware"}
    for one, other in zip(result.model.graph.graph.nodes, rounded.graph.graph.nodes, strict=True):
        assert (one.name, one.target) == (other.name, other.target)
        if one.op == "call_module":
            mine, theirs = (m.graph.get_submodule(str(one.target)) for m in (result.model, rounded))
            assert type(mine) is type(theirs)
            if isinstance(mine, QuantizeDequantize) and isinstance(theirs, QuantizeDequantize):
                assert (mine.qmin, mine.qmax, int(mine.zero_point)) == (
                    *(theirs.qmin, theirs.qmax),
                    int(theirs.zero_point),
                )
    leaf = result.model.graph.get_submodule("expand_0")
    assert isinstance(leaf, QuantizedConv2d)
    assert int(leaf.codes.abs().max()) <= 3
    assert any("download only" in note for note in result.record.notes)

    artifact = lower(result.model, "int8", tmp_path)
    got = open_session(artifact.graph, artifact.weights, artifact.session, 1, spinning=False).run(inputs(context))
    with torch.inference_mode():
        wanted = result.model.graph(torch.from_numpy(inputs(context))).numpy()
    assert 10 * np.log10(np.square(wanted).sum() / max(np.square(got - wanted).sum(), 1e-30)) > 30


def test_without_learning_it_is_the_same_model(tiny: Model, context: Context, scheme: Scheme) -> None:
    """The neutral setting."""
    rounded = coarse(tiny, context, scheme)
    still = replace(STEP, epochs=1, learning_rate=0.0)(rounded, context).model
    for name, tensor in still.graph.state_dict().items():
        other = rounded.graph.state_dict()[name]
        if tensor.is_floating_point():
            assert torch.allclose(tensor, other, rtol=1e-5), name
        else:
            assert torch.equal(tensor, other), name


class Pooled(nn.Module):
    """Max pooling keeps the grid that comes in."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.classifier = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=2), nn.Linear(8, 4)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.relu(self.second(self.pool(torch.relu(self.first(x))))).mean((2, 3)))


def test_pooling_keeps_sharing_its_grid(context: Context, scheme: Scheme) -> None:
    torch.manual_seed(0)
    model = canonicalise(Pooled().eval(), SPEC)
    context = replace(context, original=model)
    result = replace(STEP, epochs=2, learning_rate=0.1)(coarse(model, context, scheme), context).model
    grids = {n: m for n, m in result.graph.named_modules() if isinstance(m, QuantizeDequantize)}
    assert float(grids["pool_grid"].scale) == float(grids["relu_grid"].scale)


def test_transposed_convolutions_and_one_scale_a_layer(context: Context, scheme: Scheme) -> None:
    model = canonicalise(shaken(Transposed()), SPEC)
    context = replace(context, original=model)
    wide = replace(scheme, operators=scheme.operators | {"conv_transpose"})
    rounded = coarse(model, context, wide, granularity="per_tensor")
    x = torch.from_numpy(inputs(context))
    still = replace(STEP, epochs=1, learning_rate=0.0)(rounded, context).model
    assert torch.allclose(still.graph(x), rounded.graph(x), atol=1e-4)


def test_recipes() -> None:
    chain = Chain(FoldBatchNorm(), QuantizeStatic(weight_bits=4), TuneQuantized(epochs=2))
    check(chain, frozenset({"batchnorm"}))
    assert from_toml(to_toml(chain)) == chain
    json.dumps(TuneQuantized().__dict__)
    with pytest.raises(RecipeError, match="TuneQuantized, requires a model that is quantized"):
        check(Chain(TuneQuantized()))
    with pytest.raises(RecipeError, match="MatchMoments, cannot follow"):
        check(Chain(FoldBatchNorm(), QuantizeStatic(), TuneQuantized(), MatchMoments()))


def test_wrong_use_is_refused(tiny: Model, context: Context, scheme: Scheme) -> None:
    with pytest.raises(ConfigError, match="AdamW moves every step size"):
        TuneQuantized(optimizer="adamw")
    other = canonicalise(randomised(TinyNet()), replace(SPEC, class_ids=SPEC.class_ids[::-1]))
    with pytest.raises(ModelError, match="in the same order"):
        STEP(coarse(tiny, context, scheme), replace(context, teachers=(other,)))
