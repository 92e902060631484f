"""Batch norm as a part of the layer in front of it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from pocketlens.models import vocabulary
from pocketlens.ops.affine import SMALLEST_SCALE
from pocketlens.ops.quantized import QuantizedConv2d, QuantizedConvTranspose2d, QuantizedLinear

_OUTPUT_AXIS = {"conv": 0, "linear": 0, "conv_transpose": 1}


def fold_batch_norms(
    graph: fx.GraphModule, wanted: Callable[[fx.Node], bool] = lambda layer: True
) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Fold y = gamma (conv(x) - mean) / sqrt(var + eps) + beta into weight and bias of the layer before it, in place.

    Integer layers take the gain into their scale, one a channel, and its sign into their codes: nothing is rounded
    anew.

    Args:
        graph: a canonical graph.
        wanted: which layers may absorb one.
    Returns: (layer, batch norm) for each that went, and the names of those that stay, since they stand on something
        else than one convolution or linear layer of their own, or on a layer that is not wanted.
    Reference: Jacob et al. 2018, arXiv:1712.05877, section 3.2.
    """
    folded, kept = [], []
    for norm in [n for n in graph.graph.nodes if vocabulary.kind(graph, n) == "batchnorm"]:
        layer = norm.all_input_nodes[0]
        if _foldable(graph, layer, norm) and wanted(layer):
            _fold(graph, layer, norm)
            folded.append((layer.name, norm.name))
        else:
            kept.append(norm.name)
    graph.graph.lint()
    graph.recompile()
    graph.delete_all_unused_submodules()
    return tuple(folded), tuple(kept)


def _foldable(graph: fx.GraphModule, source: fx.Node, norm: fx.Node) -> bool:
    """Whether `source` is a layer of its own whose only user is `norm`."""
    if source.op != "call_module" or vocabulary.kind(graph, source) not in _OUTPUT_AXIS or len(source.users) != 1:
        return False
    calls = [n for n in graph.graph.nodes if n.op == "call_module" and n.target in (source.target, norm.target)]
    layer: Any = graph.get_submodule(str(source.target))
    if isinstance(layer, QuantizedConv2d | QuantizedConvTranspose2d | QuantizedLinear):
        return len(calls) == 2 and layer.weight_scale.dim() == 1
    grouped = isinstance(layer, nn.ConvTranspose2d) and layer.groups != 1
    return len(calls) == 2 and not grouped


def _fold(graph: fx.GraphModule, source: fx.Node, node: fx.Node) -> None:
    layer: Any = graph.get_submodule(str(source.target))
    norm = graph.get_submodule(str(node.target))
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    gain, shift = _affine_of(norm)
    bias = torch.zeros_like(shift) if layer.bias is None else layer.bias.detach()
    integer = isinstance(layer, QuantizedConv2d | QuantizedLinear)
    layer.bias = nn.Parameter(bias * gain + shift, requires_grad=not integer)
    axis = _OUTPUT_AXIS[vocabulary.kind(graph, source)]
    if integer:
        layer.codes = layer.codes * _along(gain.sign().to(torch.int8), layer.codes.dim(), axis)
        layer.weight_scale = (layer.weight_scale * gain.abs()).clamp(min=SMALLEST_SCALE)
    else:
        weight = layer.weight.detach()
        layer.weight = nn.Parameter(weight * _along(gain, weight.dim(), axis))
    node.replace_all_uses_with(source)
    graph.graph.erase_node(node)


def _along(values: Tensor, dims: int, axis: int) -> Tensor:
    shape = [1] * dims
    shape[axis] = -1
    return values.reshape(shape)


def _affine_of(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """The (gain, shift) of y = gain x + shift in evaluation, each (channels,), computed in float64."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.affine:
        gain = gain * norm.weight.detach().double()
    shift = -norm.running_mean.double() * gain
    if norm.affine:
        shift = shift + norm.bias.detach().double()
    return gain.float(), shift.float()
