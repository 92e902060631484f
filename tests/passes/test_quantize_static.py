import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pocketlens.datasets.folder import folder
from pocketlens.errors import ConfigError, DataError, ModelError
from pocketlens.models import vocabulary
from pocketlens.models.grids import plan_grids, without_grids
from pocketlens.ops.quantized import QuantizedConv2d, QuantizeDequantize, QuantizedLinear
from pocketlens.passes.fold_batch_norm import FoldBatchNorm
from pocketlens.passes.quantize_static import QuantizeStatic
from pocketlens.recipe import Chain, from_json, from_toml, to_json, to_toml
from pocketlens.types import Context, Data, IntegerFormat, Model, Scheme


@pytest.fixture
def folded(tiny: Model, context: Context) -> Model:
    return FoldBatchNorm()(tiny, context).model


def test_grids_stand_where_the_scheme_says(folded: Model, scheme: Scheme) -> None:
    plan = plan_grids(folded.graph, scheme)
    kinds = [vocabulary.kind(folded.graph, n) for n in plan.points]
    # input, three ReLU6 behind convolutions, the projection, the sum, what feeds the classifier
    assert kinds[0] == "input"
    assert kinds.count("relu6") == 3
    assert kinds.count("add") == 1
    assert [vocabulary.kind(folded.graph, n) for n in plan.layers] == ["conv"] * 4 + ["linear"]
    assert all(plan.floor[p] == (0.0, 6.0) for p in plan.points if vocabulary.kind(folded.graph, p) == "relu6")


def test_layers_become_integers_and_stay_close(folded: Model, context: Context, scheme: Scheme) -> None:
    result = QuantizeStatic(scheme=scheme)(folded, context)
    modules = list(result.model.graph.modules())
    assert sum(isinstance(m, QuantizedConv2d) for m in modules) == 4
    assert sum(isinstance(m, QuantizedLinear) for m in modules) == 1
    x = next(context.data.calibration.batches(folded.spec.preprocessing, 24)).images  # pyright: ignore
    want, got = folded.graph(torch.from_numpy(x)), result.model.graph(torch.from_numpy(x))
    sqnr = 10 * torch.log10(want.square().sum() / (want - got).square().sum())
    assert sqnr > 25
    assert result.record.summary["layers"] == 5
    assert all(layer["weight_sqnr_db"] > 30 for layer in result.record.layers if "weight_sqnr_db" in layer)


def test_relu6_grids_end_at_six(folded: Model, context: Context, scheme: Scheme) -> None:
    graph = QuantizeStatic(scheme=scheme, activations="minmax")(folded, context).model.graph
    for node in graph.graph.nodes:
        if vocabulary.kind(graph, node) == "quantize" and vocabulary.kind(graph, node.all_input_nodes[0]) == "relu6":
            leaf = graph.get_submodule(str(node.target))
            assert isinstance(leaf, QuantizeDequantize)
            assert leaf.zero_point == 0
            assert leaf.scale * 255 <= 6.0


def test_kept_layers_stay_in_float(folded: Model, context: Context, scheme: Scheme) -> None:
    first = plan_grids(folded.graph, scheme).layers[0].name
    result = QuantizeStatic(scheme=scheme, keep_float=(first,))(folded, context)
    assert sum(isinstance(m, QuantizedConv2d) for m in result.model.graph.modules()) == 3


def test_without_grids_keeps_only_the_rounding_of_weights(folded: Model, context: Context, scheme: Scheme) -> None:
    quantized = QuantizeStatic(scheme=scheme)(folded, context).model
    plain = without_grids(quantized)
    assert not any(isinstance(m, QuantizeDequantize) for m in plain.graph.modules())
    x = torch.randn(2, 3, 32, 32)
    want = folded.graph(x)
    assert (plain.graph(x) - want).square().sum() < (quantized.graph(x) - want).square().sum()


def test_per_tensor_is_coarser_than_per_channel(folded: Model, context: Context, scheme: Scheme) -> None:
    fine, coarse = (
        QuantizeStatic(scheme=scheme, granularity=g)(folded, context).record.summary["weight_sqnr_db"]
        for g in ("per_channel", "per_tensor")
    )
    assert fine > coarse


def test_a_dead_channel_works_and_is_told(folded: Model, context: Context, scheme: Scheme) -> None:
    first = plan_grids(folded.graph, scheme).layers[0]
    folded.graph.get_submodule(str(first.target)).weight.data[2] = 0  # pyright: ignore
    result = QuantizeStatic(scheme=scheme)(folded, context)
    assert f"{first.name}: 1 dead channels" in result.record.notes
    assert torch.isfinite(result.model.graph(torch.randn(1, 3, 32, 32))).all()


def test_black_images_still_give_grids(folded: Model, context: Context, scheme: Scheme, tmp_path: Path) -> None:
    for place in range(3):
        Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / f"{place}.png")
    dark = replace(context, data=Data(calibration=folder(tmp_path)))
    result = QuantizeStatic(scheme=scheme)(folded, dark)
    assert torch.isfinite(result.model.graph(torch.randn(1, 3, 32, 32))).all()


def test_nan_in_weights_is_named(folded: Model, context: Context, scheme: Scheme) -> None:
    last = plan_grids(folded.graph, scheme).layers[-1]
    folded.graph.get_submodule(str(last.target)).weight.data[0, 0] = float("nan")  # pyright: ignore
    with pytest.raises((ModelError, DataError), match=r"NaN"):
        QuantizeStatic(scheme=scheme)(folded, context)


def test_wrong_use_is_refused(folded: Model, context: Context, scheme: Scheme) -> None:
    with pytest.raises(ConfigError, match="auto"):
        QuantizeStatic()(folded, context)
    with pytest.raises(DataError, match="calibration"):
        QuantizeStatic(scheme=scheme)(folded, replace(context, data=Data()))
    with pytest.raises(ConfigError, match="nowhere"):
        QuantizeStatic(scheme=scheme, keep_float=("nowhere",))(folded, context)
    with pytest.raises(ConfigError, match="batch_size"):
        QuantizeStatic(batch_size=0)


def levels(model: Model) -> dict[str, int]:
    """Node before a grid -> how many values the grid has."""
    found = {}
    for node in model.graph.graph.nodes:
        if vocabulary.kind(model.graph, node) == "quantize":
            leaf = model.graph.get_submodule(str(node.target))
            assert isinstance(leaf, QuantizeDequantize)
            found[node.all_input_nodes[0].name] = leaf.qmax - leaf.qmin + 1
    return found


def reaches(model: Model) -> dict[str, int]:
    """Layer -> its largest code."""
    layers = model.graph.named_modules()
    return {n: int(m.codes.abs().max()) for n, m in layers if isinstance(m, QuantizedConv2d | QuantizedLinear)}


def test_fewer_bits_but_for_the_first_and_the_last_layer(folded: Model, context: Context, scheme: Scheme) -> None:
    step = QuantizeStatic(scheme=scheme, weight_bits=4, activation_bits=3, edge_bits=8)
    result = step(folded, context).model
    assert reaches(result) == {"stem_0": 127, "expand_0": 7, "depthwise_0": 7, "project_0": 7, "classifier": 127}
    # The picture and what the classifier reads have 8 bits, and so has what is only added up.
    inner = {"stem_2": 8, "expand_2": 8, "depthwise_2": 8}
    assert levels(result) == {"x": 256, **inner, "project_0": 256, "add": 256, "flatten": 256}
    alike = replace(step, edge_bits=None)(folded, context).model
    assert set(reaches(alike).values()) == {7}
    assert levels(alike) == {"x": 8, **inner, "project_0": 256, "add": 256, "flatten": 8}


def test_a_grid_of_few_levels_ends_at_six_too(folded: Model, context: Context, scheme: Scheme) -> None:
    step = QuantizeStatic(scheme=scheme, activations="minmax", activation_bits=4)
    graph = step(folded, context).model.graph
    leaf = graph.get_submodule("expand_2_grid")
    assert isinstance(leaf, QuantizeDequantize)
    assert (leaf.qmin, leaf.qmax, int(leaf.zero_point)) == (0, 15, 0)
    assert leaf.scale * 15 <= 6.0


def test_a_scheme_has_no_more_bits_than_it_has(folded: Model, context: Context, scheme: Scheme) -> None:
    seven = replace(scheme, weight=replace(scheme.weight, qmin=-63, qmax=63))
    result = QuantizeStatic(scheme=seven, weight_bits=8, activation_bits=8)(folded, context)
    assert set(reaches(result.model).values()) == {63}
    assert set(levels(result.model).values()) == {256}


@pytest.mark.parametrize(("storage", "low", "high"), [("int8", -128, -113), ("uint8", 0, 15)])
def test_fewer_levels_start_at_the_lowest_integer(
    folded: Model, context: Context, scheme: Scheme, storage: Any, low: int, high: int
) -> None:
    form = IntegerFormat(storage=storage, qmin=low, qmax=low + 255)
    result = QuantizeStatic(scheme=replace(scheme, activation=form), activation_bits=4)(folded, context)
    leaf = result.model.graph.get_submodule("stem_2_grid")
    assert isinstance(leaf, QuantizeDequantize)
    assert (leaf.qmin, leaf.qmax, int(leaf.zero_point)) == (low, high, low)


def test_fewer_levels_lie_around_a_common_zero_point(folded: Model, context: Context, scheme: Scheme) -> None:
    form = IntegerFormat(storage="int8", qmin=-128, qmax=127, zero_point=0)
    result = QuantizeStatic(scheme=replace(scheme, activation=form), activation_bits=4)(folded, context)
    leaf = result.model.graph.get_submodule("stem_2_grid")
    assert isinstance(leaf, QuantizeDequantize)
    assert (leaf.qmin, leaf.qmax, int(leaf.zero_point)) == (-8, 7, 0)


def test_bits_survive_recipes(scheme: Scheme) -> None:
    chain = Chain(FoldBatchNorm(), QuantizeStatic(scheme=scheme, weight_bits=4, edge_bits=8))
    assert from_toml(to_toml(chain)) == chain
    assert from_json(json.loads(json.dumps(to_json(chain)))) == chain


@pytest.mark.parametrize("bits", [1, 9, 4.0, True])
def test_bits_out_of_range_are_named(bits: Any) -> None:
    with pytest.raises(ConfigError, match=f"`activation_bits` must be from 2 to 8, .* got {bits}"):
        QuantizeStatic(activation_bits=bits)
