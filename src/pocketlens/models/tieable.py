"""Layers that may share a weight, and what lets them."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from pocketlens.models import vocabulary
from pocketlens.models.refit import keep_above_zero
from pocketlens.models.ties import norm_behind

_GEOMETRY = ("stride", "padding", "dilation", "groups", "padding_mode")


@dataclass(frozen=True)
class Tieable:
    """A convolution or linear layer with a batch norm of its own behind it.

    Args:
        name: of its node.
        target: its module.
        norm: name of the batch norm's node.
        norm_target: the batch norm's module.
        form: equal for layers that may share a weight.
        size: numbers in the weight.
    """

    name: str
    target: str
    norm: str
    norm_target: str
    form: Hashable
    size: int


def tieable_layers(graph: fx.GraphModule) -> dict[str, Tieable]:
    """Every such layer by its name, in graph order."""
    found = {}
    for node in graph.graph.nodes:
        if vocabulary.kind(graph, node) not in ("conv", "linear") or reason_against(graph, node):
            continue
        norm, layer = norm_behind(graph, node), graph.get_submodule(str(node.target))
        weight = layer.weight
        assert norm is not None
        assert isinstance(weight, Tensor)
        geometry = tuple(str(getattr(layer, name, "")) for name in _GEOMETRY)
        form = (type(layer), tuple(weight.shape), geometry)
        found[node.name] = Tieable(node.name, str(node.target), norm.name, str(norm.target), form, weight.numel())
    return found


def reason_against(graph: fx.GraphModule, node: fx.Node) -> str:
    """Why a layer cannot share its weight, "" where it can."""
    if vocabulary.kind(graph, node) not in ("conv", "linear"):
        return "it is no convolution and no linear layer"
    if sum(n.op == "call_module" and n.target == node.target for n in graph.graph.nodes) > 1:
        return "the network calls it more than once already, so it is stored once as it is"
    norm = norm_behind(graph, node)
    layer = None if norm is None else graph.get_submodule(str(norm.target))
    if not isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) or layer.running_mean is None:
        return "it needs a batch norm of its own behind it, which gives each of its channels a scale"
    return ""


def make_gains_positive(graph: fx.GraphModule, layers: Sequence[Tieable]) -> None:
    """Move the sign of each batch norm's gain into the row of weights before it, in place; nothing else changes."""
    with torch.no_grad():
        for item in layers:
            layer, norm = graph.get_submodule(item.target), _norm(graph, item)
            if norm.affine:
                negative = norm.weight < 0
                for tensor in (layer.weight, layer.bias, norm.running_mean, norm.weight):
                    if isinstance(tensor, Tensor):
                        tensor[negative] *= -1


def share_weight(graph: fx.GraphModule, members: Sequence[Tieable], weight: Tensor, cosine: Tensor) -> int:
    """Let layers call one module, in place; their batch norms take up scale, and shrink with what is lost.

    Args:
        graph: gains are above 0.
        members: of one form, in graph order.
        weight: that they get, (out, ...).
        cosine: of its rows with each member's, (members, out), in [0, 1].
    Returns: how many gains would be next to 0, and were raised.
    """
    raised = 0
    nodes = {n.name: n for n in graph.graph.nodes}
    with torch.no_grad():
        for item, alike in zip(members, cosine, strict=True):
            layer, norm = graph.get_submodule(item.target), _norm(graph, item)
            assert isinstance(layer.weight, Tensor)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            before, after = (w.flatten(1).norm(dim=1) for w in (layer.weight, weight))
            stretch = torch.where(before > 0, after / before.clamp(min=1e-30), 1.0)
            if isinstance(layer.bias, Tensor):
                norm.running_mean.sub_(layer.bias)
            # What the new row has in common with the old one has its mean; of the rest nothing is known.
            norm.running_mean.mul_(stretch * alike)
            norm.running_var.copy_(((norm.running_var + norm.eps) * stretch.square() - norm.eps).clamp(min=0))
            if norm.affine:
                norm.weight.mul_(alike)
            raised += keep_above_zero(norm)
            nodes[item.name].target = members[0].target
        first = graph.get_submodule(members[0].target)
        assert isinstance(first.weight, Tensor)
        first.weight.copy_(weight)
        first.register_parameter("bias", None)
    graph.recompile()
    return raised


def _norm(graph: fx.GraphModule, item: Tieable) -> nn.BatchNorm1d | nn.BatchNorm2d:
    norm = graph.get_submodule(item.norm_target)
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    return norm
