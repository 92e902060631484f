"""Pairs of layers between which a channel's scale can move without changing what the network computes."""

from dataclasses import dataclass

from torch import fx, nn

from pocketlens.models import vocabulary

_SCALES = frozenset({"relu", "leaky_relu", "prelu", "dropout", "pad", "max_pool", "avg_pool"})
"""Kinds with f(s x) = s f(x) for s > 0, channel by channel."""

_POOLS = frozenset({"global_avg_pool", "global_max_pool", "adaptive_avg_pool", "adaptive_max_pool"})

_WEIGHTED = frozenset({"conv", "conv_transpose", "linear"})

_LAYERS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


@dataclass(frozen=True)
class Link:
    """Two layers with nothing between that would notice a change of scale.

    Args:
        first: the node whose output channels are read by `second` alone, in their order.
        second: a node.
        capped: whether a ReLU6 lies between: scale may move only while nothing reaches 6.
        confined: whether all that `first` reads lies in [0, 6].
    """

    first: fx.Node
    second: fx.Node
    capped: bool
    confined: bool


def find_links(graph: fx.GraphModule) -> tuple[Link, ...]:
    """Every link, in graph order. Layers that are called twice have none."""
    calls: dict[str, int] = {}
    for node in graph.graph.nodes:
        if node.op == "call_module":
            calls[str(node.target)] = calls.get(str(node.target), 0) + 1
    own = {n for n in graph.graph.nodes if _is_layer(graph, n) and calls[str(n.target)] == 1}
    links = []
    for first in graph.graph.nodes:
        second, kinds = _next_layer(graph, first) if first in own else (None, ())
        if second is not None and second in own and _channels(graph, first)[1] == _channels(graph, second)[0]:
            links.append(Link(first, second, "relu6" in kinds, _confined(graph, first)))
    return tuple(links)


def _is_layer(graph: fx.GraphModule, node: fx.Node) -> bool:
    return node.op == "call_module" and isinstance(graph.get_submodule(str(node.target)), _LAYERS)


def _next_layer(graph: fx.GraphModule, node: fx.Node) -> tuple[fx.Node | None, tuple[str, ...]]:
    """The layer that alone reads `node`, and the kinds in between; None when something else does."""
    kinds = []
    while len(node.users) == 1:
        node = next(iter(node.users))
        kind = vocabulary.kind(graph, node)
        if kind in _WEIGHTED:
            return node, tuple(kinds)
        if kind not in _SCALES | _POOLS | {"relu6", "flatten"} or len(node.all_input_nodes) != 1:
            break
        kinds.append(kind)
    return None, ()


def _channels(graph: fx.GraphModule, node: fx.Node) -> tuple[int, int]:
    """(in, out). A flattened map of more than one position does not fit by its count."""
    layer = graph.get_submodule(str(node.target))
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    assert isinstance(layer, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d)
    return layer.in_channels, layer.out_channels


def _confined(graph: fx.GraphModule, node: fx.Node) -> bool:
    """Whether what a layer reads comes out of a ReLU6, moved or averaged at most."""
    source = node.all_input_nodes[0]
    while vocabulary.kind(graph, source) in _POOLS | {"dropout", "pad", "max_pool", "avg_pool", "flatten"}:
        source = source.all_input_nodes[0]
    return vocabulary.kind(graph, source) == "relu6"
