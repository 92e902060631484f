"""Biases as 32-bit integers on the scale of a layer's sums: activation scale times weight scale.

Files store them so. A canonical graph carries biases that lie on that scale already, so that running it is running
what the file computes.
"""

import torch
from torch import Tensor, fx, nn

from pocketlens.errors import ModelError
from pocketlens.models import vocabulary
from pocketlens.models.frontier import QuantizedLayer
from pocketlens.ops import affine
from pocketlens.ops.quantized import QuantizeDequantize

LARGEST_BIAS = 2**30
"""Bias codes stay below this, half of int32, so that a sum cannot overflow."""


def round_biases(graph: fx.GraphModule) -> None:
    """Put the bias of every integer layer on the scale of the layer's sums, in place; one that lies there stays.

    With a float bias a simulation differs from its file by up to half a step of that scale: in a layer of few inputs
    a percent of the output's step, which tips as many roundings. A layer that reads floats keeps its bias; one that is
    called twice has it on the scale of its first call.

    Raises: ModelError naming the layer whose bias is not finite.
    """
    done = set()
    for node in graph.graph.nodes:
        layer = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
        if not isinstance(layer, QuantizedLayer) or layer.bias is None or node.target in done:
            continue
        done.add(node.target)
        if not torch.isfinite(layer.bias).all():
            raise ModelError(f"the bias of {node.name} holds NaN or infinity; load sound weights")
        grid = grid_before(graph, node)
        if grid is not None:
            layer.codes, layer.weight_scale = room_for_bias(layer, grid)
            step = layer.weight_scale.broadcast_to(layer.bias.shape) * grid
            layer.bias = nn.Parameter(torch.round(layer.bias.detach() / step) * step, requires_grad=False)


def room_for_bias(layer: QuantizedLayer, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Codes and scale with which bias / (weight scale * activation scale) fits 32 bits.

    A channel with tiny weights (a dead one) beside a sizeable bias needs a coarser scale.

    Args:
        layer: has a bias; left as it is.
        grid: scale of the activations that it reads, (), float32.
    Returns: codes of the weight's shape, int8; their scale, of the shape of the layer's.
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
