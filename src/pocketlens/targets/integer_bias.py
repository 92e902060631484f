"""Biases as 32-bit integers on the scale of a layer's sums: activation scale times weight scale."""

import torch
from torch import Tensor, fx

from pocketlens.models import vocabulary
from pocketlens.models.canonical import clone
from pocketlens.ops import affine
from pocketlens.ops.quantized import QuantizedConv2d, QuantizedConvTranspose2d, QuantizeDequantize, QuantizedLinear
from pocketlens.types import Model

LARGEST_BIAS = 2**30
"""Bias codes stay below this, half of int32, so that a sum cannot overflow."""


def room_for_bias(
    layer: QuantizedConv2d | QuantizedConvTranspose2d | QuantizedLinear, grid: Tensor
) -> tuple[Tensor, Tensor]:
    """Codes and scale with which bias / (weight scale * activation scale) fits 32 bits.

    A channel with tiny weights (a dead one) beside a sizeable bias needs a coarser scale.
    """
    assert layer.bias is not None
    codes, scale = layer.codes, layer.weight_scale
    needed = layer.bias.detach().abs() / (grid * LARGEST_BIAS)
    if scale.dim() == 0:
        needed = needed.max()
    if not (needed > scale).any():
        return codes, scale
    coarser = torch.maximum(scale, needed)
    weight = affine.dequantize(codes, scale, layer.axis)
    return affine.quantize(weight, coarser, -128, 127, layer.axis), coarser


def grid_before(graph: fx.GraphModule, node: fx.Node) -> Tensor | None:
    """The scale of the grid that feeds a layer, looking through padding; None when it is fed floats."""
    source = node.all_input_nodes[0]
    while vocabulary.kind(graph, source) == "pad":
        source = source.all_input_nodes[0]
    if source.op != "call_module":
        return None
    leaf = graph.get_submodule(str(source.target))
    return leaf.scale if isinstance(leaf, QuantizeDequantize) else None


def with_integer_biases(model: Model) -> Model:
    """The model as its file computes: every bias of an integer layer on the scale of the layer's sums.

    A simulation with float biases differs by half a step of that scale: in a layer of few inputs up to a percent of
    the output's step, which tips as many roundings.
    """
    result = clone(model)
    for node in result.graph.graph.nodes:
        layer = result.graph.get_submodule(str(node.target)) if node.op == "call_module" else None
        if not isinstance(layer, QuantizedConv2d | QuantizedConvTranspose2d | QuantizedLinear) or layer.bias is None:
            continue
        grid = grid_before(result.graph, node)
        if grid is not None:
            scale = room_for_bias(layer, grid)[1].broadcast_to(layer.bias.shape) * grid
            layer.bias.data = torch.round(layer.bias.data / scale) * scale
    return result
