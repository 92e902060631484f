"""The second output of what ships: the features that the classifier reads, to search with."""

import copy

import torch
from torch import Tensor, fx

from pocketlens.models import vocabulary
from pocketlens.ops.half import Cast

_INTEGER = frozenset({"conv", "linear", "add", "relu", "relu6"})
"""What a runtime fuses with the grid behind it into one operator on integers, unless its floats are asked for too."""

_POOLS = frozenset({"global_avg_pool", "global_max_pool"})


def with_embedding(graph: fx.GraphModule, *, on_grid: bool = False) -> fx.GraphModule | None:
    """A copy that gives (logits (n, classes), embedding (n, features)), both float32.

    The embedding is what the last linear layer reads; a 1 x 1 convolution of pooled features is such a layer too.
    Where an integer grid lies before it, the embedding is taken ahead of the grid, so that all graphs of a bundle
    give nearly the same; only where an operator on integers gives the features do they come off its grid.

    Args:
        graph: a canonical graph; stays as it is.
        on_grid: take the features off their grid always, for a device that has no floats between operators.
    Returns: None where the network ends in anything else.
    """
    result = copy.deepcopy(graph)
    output = next(n for n in result.graph.nodes if n.op == "output")
    logits = output.all_input_nodes[0]
    head, half = _head(result, logits)
    if head is None:
        return None
    features = head.all_input_nodes[0] if on_grid else _features(result, head)
    with result.graph.inserting_before(output):
        if vocabulary.kind(result, head) == "conv":
            grid = features.target if on_grid and vocabulary.kind(result, features) == "quantize" else None
            features = result.graph.call_function(torch.flatten, (features, 1))
            if grid is not None:
                features = result.graph.call_module(str(grid), (features,))
        if half:
            result.add_submodule("embedding_to_float", Cast("float32"))
            features = result.graph.call_module("embedding_to_float", (features,))
    output.args = ((logits, features),)
    result.graph.eliminate_dead_code()
    result.graph.lint()
    result.recompile()
    return result


def classifier_rows(graph: fx.GraphModule) -> Tensor | None:
    """The weights that read the embedding, (classes, features), float32; None where there is no embedding."""
    output = next(n for n in graph.graph.nodes if n.op == "output")
    head, _ = _head(graph, output.all_input_nodes[0])
    return None if head is None else _weight(graph, head).flatten(1)


def _head(graph: fx.GraphModule, node: fx.Node) -> tuple[fx.Node | None, bool]:
    """The layer whose outputs are the classes, and whether it computes in 16-bit floats."""
    half = False
    while (kind := vocabulary.kind(graph, node)) in ("cast", "quantize"):
        half |= kind == "cast"
        node = node.all_input_nodes[0]
    if kind == "flatten":
        node = _behind_grid(graph, node.all_input_nodes[0])
        return node if _reads_pooled(graph, node) else None, half
    return node if kind == "linear" else None, half


def _reads_pooled(graph: fx.GraphModule, node: fx.Node) -> bool:
    """Whether it is a 1 x 1 convolution of one place: a linear layer of the channels."""
    if vocabulary.kind(graph, node) != "conv":
        return False
    layer = graph.get_submodule(str(node.target))
    pooled = vocabulary.kind(graph, _behind_grid(graph, node.all_input_nodes[0])) in _POOLS
    return pooled and bool(layer.groups == 1) and _weight(graph, node).shape[2:] == (1, 1)


def _weight(graph: fx.GraphModule, node: fx.Node) -> Tensor:
    weight = graph.get_submodule(str(node.target)).weight
    assert isinstance(weight, Tensor)
    return weight.detach().float()


def _behind_grid(graph: fx.GraphModule, node: fx.Node) -> fx.Node:
    return node.all_input_nodes[0] if vocabulary.kind(graph, node) == "quantize" else node


def _features(graph: fx.GraphModule, head: fx.Node) -> fx.Node:
    """What `head` reads, ahead of its grid where that costs nothing.

    A grid works on each value alone, so pool, grid, flatten, head become pool, flatten, grid, head: the flattened
    features exist in floats, and no operator is added.
    """
    node = head.all_input_nodes[0]
    grids: list[fx.Node] = []
    flattens: list[fx.Node] = []
    while (kind := vocabulary.kind(graph, node)) in ("quantize", "flatten") and len(node.users) == 1:
        (grids if kind == "quantize" else flattens).append(node)
        node = node.all_input_nodes[0]
    if not grids or kind in _INTEGER or not _equal(graph, grids):
        return head.all_input_nodes[0]
    for flatten in reversed(flattens):
        flatten.replace_input_with(flatten.all_input_nodes[0], node)
        node = flatten
    head.prepend(grids[0])
    grids[0].replace_input_with(grids[0].all_input_nodes[0], node)
    head.replace_input_with(head.all_input_nodes[0], grids[0])
    return node


def _equal(graph: fx.GraphModule, grids: list[fx.Node]) -> bool:
    leaves = [graph.get_submodule(str(grid.target)).state_dict() for grid in grids]
    return all(torch.equal(leaf[name], leaves[0][name]) for leaf in leaves for name in leaves[0])
