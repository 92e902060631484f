from dataclasses import replace

import pytest
import torch
from torch import nn

from pocketlens.errors import ConfigError, DataError
from pocketlens.models import vocabulary
from pocketlens.ops.quantized import QuantizedConv2d, QuantizeDequantize
from pocketlens.passes.keep_float import KeepFloat
from pocketlens.passes.quantize_static import QuantizeStatic
from pocketlens.types import Context, Data, IntegerFormat, Model, Scheme


def grids(model: Model) -> set[str]:
    return {n.name for n in model.graph.graph.nodes if vocabulary.kind(model.graph, n) == "quantize"}


def test_a_named_layer_has_its_float_weight_back(pair: tuple[Model, Model], repairing: Context, scheme: Scheme) -> None:
    kept = KeepFloat(layers=("depthwise_0",), worst=0, scheme=scheme)(pair[1], repairing)
    target = next(str(n.target) for n in kept.model.graph.graph.nodes if n.name == "depthwise_0")
    layer = kept.model.graph.get_submodule(target)
    assert isinstance(layer, nn.Conv2d)
    original = pair[0].graph.get_submodule(target)
    assert torch.equal(layer.weight, original.weight)  # pyright: ignore[reportArgumentType]
    assert kept.record.layers == ({"layer": "depthwise_0"},)
    assert kept.record.summary["extra_bytes"] == 3 * 16 * 9


def test_the_same_as_never_quantizing_it(
    pair: tuple[Model, Model], repairing: Context, scheme: Scheme, context: Context
) -> None:
    """By the definition: QuantizeStatic told to leave the layer out gives the same network, grids included."""
    for names in (("classifier",), ("stem_0",), ("expand_0", "depthwise_0", "project_0")):
        kept = KeepFloat(layers=names, worst=0, scheme=scheme)(pair[1], repairing).model
        never = QuantizeStatic(scheme=scheme, keep_float=names)(pair[0], context).model
        x = torch.randn(4, 3, 32, 32)
        assert grids(kept) == grids(never)
        assert torch.allclose(kept.graph(x), never.graph(x), atol=1e-6)


def test_the_worst_layer_is_found(pair: tuple[Model, Model], repairing: Context, scheme: Scheme) -> None:
    """A layer on a grid of 3 levels among layers on 255 is the one."""
    coarse = replace(scheme, weight=IntegerFormat(storage="int8", qmin=-1, qmax=1, zero_point=0))
    spoilt = QuantizeStatic(scheme=coarse)(pair[0], repairing).model
    target = next(str(n.target) for n in spoilt.graph.graph.nodes if n.name == "project_0")
    leaf = spoilt.graph.get_submodule(target)
    assert isinstance(leaf, QuantizedConv2d)
    pair[1].graph.set_submodule(target, leaf)
    kept = KeepFloat(worst=1, scheme=scheme)(pair[1], repairing)
    assert kept.record.layers == ({"layer": "project_0"},)


def test_a_grid_counts_for_the_layers_that_need_it(
    pair: tuple[Model, Model], repairing: Context, scheme: Scheme
) -> None:
    """With a step of 3 between the expansion and the depthwise layer, these two go, and the grid with them."""
    grid = next(m for name, m in pair[1].graph.named_modules() if name.startswith("expand") and name.endswith("_grid"))
    assert isinstance(grid, QuantizeDequantize)
    grid.scale.fill_(3.0)
    kept = KeepFloat(worst=2, scheme=scheme)(pair[1], repairing)
    assert {layer["layer"] for layer in kept.record.layers} == {"expand_0", "depthwise_0"}
    assert len(grids(pair[1]) - grids(kept.model)) == kept.record.summary["grids_removed"] >= 1
    assert grid not in set(kept.model.graph.modules())


def test_what_it_needs(pair: tuple[Model, Model], repairing: Context, context: Context, scheme: Scheme) -> None:
    with pytest.raises(ConfigError, match="nothing to keep"):
        KeepFloat(worst=0)
    with pytest.raises(ConfigError, match="worst"):
        KeepFloat(worst=-1)
    with pytest.raises(ConfigError, match="lacks"):
        KeepFloat(layers=("no_such",), scheme=scheme)(pair[1], repairing)
    with pytest.raises(ConfigError, match="Chain"):
        KeepFloat(scheme=scheme)(pair[1], context)
    with pytest.raises(ConfigError, match="bind"):
        KeepFloat()(pair[1], repairing)
    with pytest.raises(DataError, match="calibration"):
        KeepFloat(scheme=scheme)(pair[1], replace(repairing, data=Data()))
