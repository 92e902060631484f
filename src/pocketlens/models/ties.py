"""Layers that share one weight: what keeps them so, from the float network to the integers of its file.

Before batch norms are folded, tied layers are calls of one module, each with a batch norm of its own. Folding gives
each call a copy, scaled row by row by the gain of its batch norm. Gains are kept above 0, so that the copies differ in
scale alone, and quantization gives them the same codes.
"""

import copy
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, fx, nn

from pocketlens.errors import ConfigError
from pocketlens.models import vocabulary
from pocketlens.models.frontier import QuantizedLayer
from pocketlens.models.integer_bias import LARGEST_BIAS, grid_before
from pocketlens.models.integer_layers import FloatLayer, coded_layer
from pocketlens.models.names import free_name
from pocketlens.models.refit import keep_above_zero
from pocketlens.types import Model

_WEIGHTED = ("conv", "linear")

_ROUNDING = 1e-6
"""Of a row's largest weight: folding rounds to float32, by 6e-8 of each."""

_ROOM = 4.0
"""Times what a bias needs now: passes that repair quantization change scales and biases by less."""


def norm_behind(graph: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """The batch norm, of its own, that alone reads what `node` gives; None where there is none."""
    users = list(node.users)
    if len(users) != 1 or vocabulary.kind(graph, users[0]) != "batchnorm":
        return None
    calls = [n for n in graph.graph.nodes if n.op == "call_module" and n.target == users[0].target]
    return users[0] if len(calls) == 1 else None


def tied_calls(graph: fx.GraphModule) -> dict[str, tuple[fx.Node, ...]]:
    """Module -> the nodes that call it, of those that are called more than once, each time before a norm of its own."""
    calls: dict[str, list[fx.Node]] = {}
    for node in graph.graph.nodes:
        if node.op == "call_module" and vocabulary.kind(graph, node) in _WEIGHTED:
            calls.setdefault(str(node.target), []).append(node)
    return {t: tuple(ns) for t, ns in calls.items() if len(ns) > 1 and all(norm_behind(graph, n) for n in ns)}


def separate_calls(graph: fx.GraphModule) -> None:
    """Give each call of a tied layer a copy of its own, called like its node, in place."""
    for target, nodes in tied_calls(graph).items():
        for node in nodes[1:]:
            name = free_name(graph, node.name)
            graph.add_module(name, copy.deepcopy(graph.get_submodule(target)))
            node.target = name
    graph.recompile()


def proportional_layers(graph: fx.GraphModule, reaches: Mapping[fx.Node, int]) -> dict[fx.Node, tuple[fx.Node, Tensor]]:
    """Layers whose rows are multiples of an earlier one's.

    Args:
        graph: in float.
        reaches: nodes, in graph order, with the largest code of each: codes are the same only where that is.
    Returns: node -> the first of its kind, and (out,), float32, above 0, how many times larger each row is.
    """
    firsts: list[fx.Node] = []
    found: dict[fx.Node, tuple[fx.Node, Tensor]] = {}
    for node in reaches:
        weight = _weight(graph, node)
        for first in firsts:
            if reaches[first] == reaches[node] and first.target != node.target:
                ratio = _ratio(_weight(graph, first), weight)
                if ratio is not None:
                    found[node] = (first, ratio)
                    break
        else:
            if vocabulary.kind(graph, node) in _WEIGHTED:
                firsts.append(node)
    return found


def with_codes_of(first: QuantizedLayer, layer: FloatLayer, ratio: Tensor) -> QuantizedLayer | None:
    """A layer with the codes of another, whose rows its own are multiples of.

    Args:
        first: the other.
        layer: in float; its bias comes along.
        ratio: (out,), see `proportional_layers`.
    Returns: None where one scale for all rows cannot tell the layers apart.
    """
    if first.weight_scale.dim() == 0:
        if float(ratio.max() - ratio.min()) > _ROUNDING * float(ratio.max()):
            return None
        ratio = ratio.mean()
    return coded_layer(layer, first.codes, first.weight_scale * ratio, first.storage)


def make_room_for_biases(graph: fx.GraphModule, nodes: Iterable[fx.Node]) -> None:
    """Widen, in place, scales of tied layers that are too small beside the bias of their channel.

    Rounding biases would take new codes for such a channel (see `integer_bias.room_for_bias`), and the layer would be
    tied no more. It says next to nothing, and still does with the wider scale: less than a thousandth of its bias.
    """
    for node in nodes:
        layer, grid = graph.get_submodule(str(node.target)), grid_before(graph, node)
        assert isinstance(layer, QuantizedLayer)
        if layer.bias is not None and grid is not None and layer.weight_scale.dim():
            needed = _ROOM * layer.bias.detach().abs() / (grid * LARGEST_BIAS)
            layer.weight_scale = torch.maximum(layer.weight_scale, needed)


class PositiveGains:
    """Keeps gains of batch norms above 0 while a network is trained: what folding multiplies tied rows by.

    Args:
        norms: module names of the batch norms.
    """

    def __init__(self, norms: tuple[str, ...]) -> None:
        self._norms = norms

    def __str__(self) -> str:
        return f"PositiveGains({', '.join(self._norms)})"

    def before_step(self, network: nn.Module, done: float) -> None:
        """Nothing."""

    def after_step(self, network: nn.Module, done: float, step: float) -> None:
        """Raise what went to 0 or below."""
        for name in self._norms:
            keep_above_zero(network.get_submodule(name))


def held_ties(model: Model) -> tuple[PositiveGains, ...]:
    """What training must keep so that tied layers stay tied; nothing for other models.

    Raises: ConfigError when batch norms are folded already: then nothing holds the copies together.
    """
    if "tied" not in model.facts:
        return ()
    if "folded" in model.facts:
        raise ConfigError(
            "training would pull tied layers apart once batch norms are folded; train before FoldBatchNorm"
        )
    norms = [norm_behind(model.graph, node) for nodes in tied_calls(model.graph).values() for node in nodes]
    return (PositiveGains(tuple(str(n.target) for n in norms if n is not None)),)


def _weight(graph: fx.GraphModule, node: fx.Node) -> Tensor:
    weight = graph.get_submodule(str(node.target)).weight
    assert isinstance(weight, Tensor)
    return weight.detach()


def _ratio(first: Tensor, other: Tensor) -> Tensor | None:
    """(out,), above 0, with other = ratio * first row by row; None where there is none."""
    if first.shape != other.shape:
        return None
    a, b = first.double().flatten(1), other.double().flatten(1)
    power = a.square().sum(1)
    ratio = torch.where(power > 0, (a * b).sum(1) / power.clamp(min=1e-300), 1.0)
    close = (b - ratio[:, None] * a).abs().amax(1) <= _ROUNDING * b.abs().amax(1)
    return ratio.float() if bool(close.all() and (ratio > 0).all()) else None
