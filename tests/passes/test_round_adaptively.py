from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.conftest import SPEC, TinyNet, randomised
from torch import nn

from pocketlens.errors import ConfigError, DataError
from pocketlens.models.canonical import canonicalise
from pocketlens.ops.quantized import QuantizedConv2d, QuantizedConvTranspose2d, QuantizedLinear
from pocketlens.passes.fold_batch_norm import FoldBatchNorm
from pocketlens.passes.quantize_static import QuantizeStatic
from pocketlens.passes.round_adaptively import RoundAdaptively
from pocketlens.types import Context, IntegerFormat, Model, Scheme

QUICK = RoundAdaptively(iterations=100)


def coarse(scheme: Scheme, bits: int) -> Scheme:
    reach = 2 ** (bits - 1) - 1
    return replace(scheme, weight=IntegerFormat(storage="int8", qmin=-reach, qmax=reach, zero_point=0))


def quantized(model: Model, context: Context, scheme: Scheme) -> tuple[Model, Context]:
    folded = FoldBatchNorm()(model, context).model
    return QuantizeStatic(scheme=scheme)(folded, context).model, replace(context, unquantized=folded)


def layers(model: Model) -> dict[str, QuantizedConv2d | QuantizedLinear]:
    return {n: m for n, m in model.graph.named_modules() if isinstance(m, QuantizedConv2d | QuantizedLinear)}


def distance(model: Model, context: Context) -> float:
    """Squared error of the output on all pictures, against the float model."""
    assert context.data.calibration is not None
    assert context.unquantized is not None
    (batch,) = context.data.calibration.batches(model.spec.preprocessing, 24)
    x = torch.from_numpy(batch.images)
    with torch.no_grad():
        return float((model.graph(x) - context.unquantized.graph(x)).square().mean())


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_the_output_comes_closer(bits: int, tiny: Model, context: Context, scheme: Scheme) -> None:
    model, context = quantized(tiny, context, coarse(scheme, bits))
    result = QUICK(model, context)
    assert distance(result.model, context) < 0.6 * distance(model, context)
    assert 0 < result.record.summary["changed_fraction"] < 0.6


def test_each_code_is_one_of_the_two_nearest_and_scales_stay(tiny: Model, context: Context, scheme: Scheme) -> None:
    model, context = quantized(tiny, context, coarse(scheme, 4))
    after = layers(QUICK(model, context).model)
    assert context.unquantized is not None
    for name, before in layers(model).items():
        layer = after[name]
        weight = context.unquantized.graph.get_submodule(name).state_dict()["weight"]
        scale = layer.weight_scale.reshape(-1, *[1] * (weight.dim() - 1))
        assert torch.equal(layer.weight_scale, before.weight_scale)
        assert float((layer.codes - weight / scale).abs().max()) <= 1 + 1e-4
        assert int(layer.codes.abs().max()) <= 7


def test_a_model_that_is_exact_already_is_left(tiny: Model, context: Context, scheme: Scheme) -> None:
    """The neutral case: weights that lie on their grid have nothing to choose."""
    model, context = quantized(tiny, context, scheme)
    again = QUICK(model, replace(context, unquantized=model))
    assert again.record.summary["changed_fraction"] == 0


class Bad(nn.Module):
    """Grouped, dilated and transposed convolutions, and a module called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.grouped = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=2)
        self.twice = nn.Conv2d(8, 8, 1)
        self.up = nn.ConvTranspose2d(8, 4, 2, 2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.grouped(torch.relu(self.stem(x))))
        x = torch.relu(self.twice(torch.relu(self.twice(x))))
        return self.classifier(self.pool(self.up(x)).flatten(1))


def test_odd_layers(context: Context, scheme: Scheme) -> None:
    torch.manual_seed(0)
    module = Bad().eval()
    module.stem.weight.data[2] = 0  # a dead channel
    scheme = replace(scheme, operators=scheme.operators | {"conv_transpose"})
    model, context = quantized(canonicalise(module, SPEC), context, coarse(scheme, 3))
    result = QUICK(model, context)
    assert distance(result.model, context) < distance(model, context)
    assert [x["layer"] for x in result.record.layers] == ["stem", "grouped", "twice", "classifier"]
    assert result.record.notes == ("left alone, as transposed convolutions are: up",)
    stem = layers(result.model)["stem"]
    assert not stem.codes[2].any()
    up = result.model.graph.get_submodule("up")
    assert isinstance(up, QuantizedConvTranspose2d)


def test_one_scale_for_the_whole_layer(tiny: Model, context: Context, scheme: Scheme) -> None:
    model, context = quantized(tiny, context, replace(coarse(scheme, 4), granularity="per_tensor"))
    assert distance(QUICK(model, context).model, context) < distance(model, context)


def test_a_killed_run_goes_on_behind_its_last_layer(
    tiny: Model, context: Context, scheme: Scheme, tmp_path: Path
) -> None:
    model, context = quantized(tiny, context, coarse(scheme, 4))
    whole = layers(QUICK(model, context).model)
    (folder,) = tmp_path.glob("rounded-*")
    files = sorted(folder.iterdir(), key=lambda f: f.stat().st_mtime)
    assert len(files) == len(whole)
    for file in files[2:]:
        file.unlink()
    kept = [f.stat().st_mtime_ns for f in files[:2]]
    resumed = layers(QUICK(model, context).model)
    assert all(torch.equal(resumed[name].codes, layer.codes) for name, layer in whole.items())
    assert [f.stat().st_mtime_ns for f in files[:2]] == kept
    files[0].write_bytes(b"torn")
    assert torch.equal(layers(QUICK(model, context).model)["stem_0"].codes, whole["stem_0"].codes)


def test_alike_images_serve(tiny: Model, context: Context, scheme: Scheme) -> None:
    """Calibration images that are all the same: worse, but finite."""
    assert context.data.calibration is not None
    same = context.data.calibration.subset([0] * 4)
    model, context = quantized(tiny, replace(context, data=replace(context.data, calibration=same)), scheme)
    graph = QUICK(model, context).model.graph
    assert torch.isfinite(graph(torch.randn(2, 3, 32, 32))).all()


def test_an_infinity_is_named(context: Context, scheme: Scheme) -> None:
    model, context = quantized(canonicalise(randomised(TinyNet()), SPEC), context, scheme)
    leaf = layers(model)["expand_0"]
    leaf.weight_scale.fill_(float("inf"))
    with pytest.raises(DataError, match="depthwise_0"):
        QUICK(model, context)


def test_bad_fields(tiny: Model, context: Context, scheme: Scheme) -> None:
    for name in ("images", "positions", "iterations", "batch_size"):
        with pytest.raises(ConfigError, match=name):
            RoundAdaptively(**{name: 0})
    with pytest.raises(ConfigError, match="strength"):
        RoundAdaptively(strength=0)
    model, _ = quantized(tiny, context, scheme)
    with pytest.raises(ConfigError, match="Chain"):
        QUICK(model, context)
