"""Where a scheme puts integer grids on a canonical graph."""

from dataclasses import dataclass

from torch import fx

from pocketlens.models import vocabulary
from pocketlens.models.canonical import clone
from pocketlens.types import Model, Scheme

_TRANSPARENT = frozenset({"pad"})
"""Zero padding needs no grid after it: zero is exact on every grid, and the runtime merges it into the layer."""


@dataclass(frozen=True, kw_only=True)
class GridPlan:
    """The decision, before any number is known.

    Args:
        layers: nodes whose weights become integers, in graph order.
        points: nodes whose output is rounded onto a grid of its own, in graph order.
        shared: nodes whose output is rounded onto the grid of another: node -> point.
        floor: point -> (low, high) that its values cannot leave, for example (0, 6) after ReLU6.
    """

    layers: tuple[fx.Node, ...]
    points: tuple[fx.Node, ...]
    shared: dict[fx.Node, fx.Node]
    floor: dict[fx.Node, tuple[float, float]]


def plan_grids(graph: fx.GraphModule, scheme: Scheme, keep_float: frozenset[str] = frozenset()) -> GridPlan:
    """Decide which layers and activations of `graph` get grids under `scheme`.

    An integer operator needs grids on its inputs and on its output; a fused activation moves the output grid behind
    itself; operators that only move values keep the grid that comes in.

    Args:
        graph: a canonical graph, batch norms folded.
        scheme: see types.Scheme.
        keep_float: layers (node names) that stay in float.
    """
    integer = [
        n
        for n in graph.graph.nodes
        if vocabulary.kind(graph, n) in scheme.operators and n.name not in keep_float and _has_tensors(n)
    ]
    wanted: set[fx.Node] = set()
    for node in integer:
        wanted.update(_source(graph, value) for value in _data_inputs(node))
        tail = _tail(graph, node, scheme)
        if not (scheme.float_output and vocabulary.kind(graph, node) == "linear" and _is_output(tail)):
            wanted.add(tail)
    points, shared = [], {}
    for node in graph.graph.nodes:
        if vocabulary.kind(graph, node) in scheme.shared and node.all_input_nodes:
            source = _source(graph, node.all_input_nodes[0])
            origin = shared.get(source, source)
            if origin in wanted and not _is_output(node):
                shared[node] = origin
                continue
        if node in wanted:
            points.append(node)
    layers = tuple(n for n in integer if vocabulary.kind(graph, n) in ("conv", "conv_transpose", "linear"))
    floor = {p: bounds for p in points if (bounds := _bounds(graph, p)) is not None}
    return GridPlan(layers=layers, points=tuple(points), shared=shared, floor=floor)


def _has_tensors(node: fx.Node) -> bool:
    """Whether every operand is a tensor of the graph (x + 1 stays in float)."""
    return all(isinstance(a, fx.Node) for a in node.args[:2])


def _data_inputs(node: fx.Node) -> list[fx.Node]:
    return [a for a in node.args if isinstance(a, fx.Node)]


def _source(graph: fx.GraphModule, node: fx.Node) -> fx.Node:
    while vocabulary.kind(graph, node) in _TRANSPARENT:
        node = node.all_input_nodes[0]
    return node


def _tail(graph: fx.GraphModule, node: fx.Node, scheme: Scheme) -> fx.Node:
    users = list(node.users)
    if len(users) == 1 and vocabulary.kind(graph, users[0]) in scheme.fused:
        return users[0]
    return node


def _is_output(node: fx.Node) -> bool:
    return any(user.op == "output" for user in node.users)


def _bounds(graph: fx.GraphModule, node: fx.Node) -> tuple[float, float] | None:
    kind = vocabulary.kind(graph, node)
    if kind == "relu":
        return 0.0, float("inf")
    return (0.0, 6.0) if kind == "relu6" else None


def without_grids(model: Model) -> Model:
    """The same weights without activation grids: integer storage, float computation."""
    result = clone(model)
    for node in list(result.graph.graph.nodes):
        if vocabulary.kind(result.graph, node) == "quantize":
            node.replace_all_uses_with(node.all_input_nodes[0])
            result.graph.graph.erase_node(node)
    result.graph.graph.lint()
    result.graph.recompile()
    result.graph.delete_all_unused_submodules()
    return result
