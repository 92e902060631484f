"""Where a scheme puts integer grids on a canonical graph."""

from dataclasses import dataclass

from torch import fx, nn

from pocketlens.models import vocabulary
from pocketlens.models.canonical import clone
from pocketlens.types import Model, Scheme

_TRANSPARENT = frozenset({"pad"})
"""Zero padding needs no grid after it: zero is exact on every grid, and the runtime merges it into the layer."""

_WEIGHTED = ("conv", "conv_transpose", "linear")
_ARITHMETIC = frozenset({"add", "sub", "mul", "div", "pow", "matmul"})

_WHOLE_RANGE = {"sigmoid": (0.0, 255 / 256), "softmax": (0.0, 255 / 256), "tanh": (-1.0, 127 / 128)}
"""What 256 steps of a power of two cover, as LiteRT's 8-bit specification has it."""


@dataclass(frozen=True, kw_only=True)
class GridPlan:
    """The decision, before any number is known.

    Args:
        layers: nodes whose weights become integers, in graph order.
        points: nodes whose output is rounded onto a grid of its own, in graph order.
        shared: nodes whose output is rounded onto the grid of another: node -> point.
        floor: point -> (low, high) that its values cannot leave, for example (0, 6) after ReLU6.
        fixed: point -> (low, high) that its grid covers, whatever is seen.
        edge_layers: the first and the last layers: no other comes before, or none behind.
        edge_points: points that these read, and those behind the last layer.
        multiplied: points that a layer reads; the others are only added up.
    """

    layers: tuple[fx.Node, ...]
    points: tuple[fx.Node, ...]
    shared: dict[fx.Node, fx.Node]
    floor: dict[fx.Node, tuple[float, float]]
    fixed: dict[fx.Node, tuple[float, float]]
    edge_layers: frozenset[fx.Node]
    edge_points: frozenset[fx.Node]
    multiplied: frozenset[fx.Node]


def plan_grids(graph: fx.GraphModule, scheme: Scheme, keep_float: frozenset[str] = frozenset()) -> GridPlan:
    """Decide which layers and activations of `graph` get grids under `scheme`.

    An integer operator needs grids on its inputs and on its output; what fuses into it moves the output grid behind
    itself, and a sum that does needs one on its other operand; operators that only move values keep the grid that
    comes in.

    Args:
        graph: a canonical graph, batch norms folded.
        scheme: see types.Scheme.
        keep_float: layers (node names) that stay in float.
    """
    integer = [
        n
        for n in graph.graph.nodes
        if vocabulary.kind(graph, n) in scheme.operators and n.name not in keep_float and _computable(graph, n)
    ]
    fused = {node: _fused_behind(graph, node, scheme) for node in integer}
    inside = {n for chain in fused.values() for n in chain}
    integer = [n for n in integer if n not in inside]
    wanted: set[fx.Node] = set()
    for node in integer:
        chain = (node, *fused[node])
        wanted.update(_source(graph, value) for n in chain for value in _data_inputs(n) if value not in chain)
        logits = scheme.float_output and vocabulary.kind(graph, node) == "linear" and _is_output(chain[-1])
        if scheme.output_grids and not logits:
            wanted.add(chain[-1])
    points, shared = [], {}
    for node in graph.graph.nodes:
        if vocabulary.kind(graph, node) in scheme.shared and node.all_input_nodes:
            source = _source(graph, node.all_input_nodes[0])
            origin = shared.get(source, source)
            if origin in wanted and not (scheme.float_output and _is_output(node)):
                shared[node] = origin
                continue
        if node in wanted:
            points.append(node)
    layers = tuple(n for n in integer if vocabulary.kind(graph, n) in _WEIGHTED)
    floor = {p: bounds for p in points if (bounds := value_bounds(graph, p)) is not None}
    read = {layer: {shared.get(s, s) for v in _data_inputs(layer) for s in [_source(graph, v)]} for layer in layers}
    ends, behind = _ends(graph)
    edges = frozenset(ends.intersection(layers))
    return GridPlan(
        layers=layers,
        points=tuple(points),
        shared=shared,
        floor=floor,
        fixed={p: _WHOLE_RANGE[kind] for p in points if (kind := vocabulary.kind(graph, p)) in scheme.fixed},
        edge_layers=edges,
        edge_points=frozenset(behind.intersection(points).union(*(read[layer] for layer in edges))),
        multiplied=frozenset().union(*read.values()),
    )


def _ends(graph: fx.GraphModule) -> tuple[set[fx.Node], set[fx.Node]]:
    """The layers before which, or behind which, there is no other; and the nodes that no layer comes after."""
    weighted = {n for n in graph.graph.nodes if vocabulary.kind(graph, n) in _WEIGHTED}
    after: set[fx.Node] = set()
    before: set[fx.Node] = set()
    for node in graph.graph.nodes:
        if any(i in after or i in weighted for i in node.all_input_nodes):
            after.add(node)
    for node in reversed(graph.graph.nodes):
        if any(u in before or u in weighted for u in node.users):
            before.add(node)
    return {n for n in weighted if n not in after or n not in before}, set(graph.graph.nodes) - before


def _computable(graph: fx.GraphModule, node: fx.Node) -> bool:
    """Whether an integer form exists: not of x + 1, nor of a convolution in one dimension."""
    if node.op == "call_module" and isinstance(graph.get_submodule(str(node.target)), nn.Conv1d):
        return False
    arithmetic = vocabulary.kind(graph, node) in _ARITHMETIC
    return not arithmetic or all(isinstance(a, fx.Node) for a in node.args[:2])


def _data_inputs(node: fx.Node) -> list[fx.Node]:
    return list(node.all_input_nodes)


def _source(graph: fx.GraphModule, node: fx.Node) -> fx.Node:
    while vocabulary.kind(graph, node) in _TRANSPARENT:
        node = node.all_input_nodes[0]
    return node


def _fused_behind(graph: fx.GraphModule, node: fx.Node, scheme: Scheme) -> tuple[fx.Node, ...]:
    """What fuses into `node`, in order: a sum, an activation, or both."""
    chain: list[fx.Node] = []
    for kinds in (scheme.fused & {"add"}, scheme.fused - {"add"}):
        last = chain[-1] if chain else node
        user = next(iter(last.users)) if len(last.users) == 1 else None
        if user is None or vocabulary.kind(graph, user) not in kinds:
            continue
        if vocabulary.kind(graph, user) != "add" or _gives_last_operand(graph, node, user):
            chain.append(user)
    return tuple(chain)


def _gives_last_operand(graph: fx.GraphModule, node: fx.Node, add: fx.Node) -> bool:
    """Whether `node` is a layer, and of the layers that `add` sums up the last."""
    if len(add.all_input_nodes) != 2 or not _computable(graph, add):
        return False
    alone = [n for n in add.all_input_nodes if vocabulary.kind(graph, n) in _WEIGHTED and len(n.users) == 1]
    order = {n: place for place, n in enumerate(graph.graph.nodes)}
    return node in alone and node is max(alone, key=order.__getitem__)


def _is_output(node: fx.Node) -> bool:
    return any(user.op == "output" for user in node.users)


def value_bounds(graph: fx.GraphModule, node: fx.Node) -> tuple[float, float] | None:
    """What the values of an activation cannot leave; None where nothing bounds them."""
    kind = vocabulary.kind(graph, node)
    if kind == "relu":
        return 0.0, float("inf")
    return (0.0, 6.0) if kind == "relu6" else None


def without_grids(model: Model) -> Model:
    """The same weights without activation grids: integer storage, float computation."""
    result = clone(model)
    _erase(result.graph, [n for n in result.graph.graph.nodes if vocabulary.kind(result.graph, n) == "quantize"])
    return result


def grids_by_operator(graph: fx.GraphModule, scheme: Scheme, keep_float: frozenset[str]) -> dict[str, frozenset[str]]:
    """Which grids each integer operator needs: its name -> the nodes whose output is on a grid on its account.

    Args:
        graph: in float, as before `plan_grids`.
        scheme: see types.Scheme.
        keep_float: operators (node names) that compute in float.
    """
    names = [n.name for n in graph.graph.nodes]
    found = {}
    for name in names:
        plan = plan_grids(graph, scheme, frozenset(names) - {name})
        if name not in keep_float and plan.points:
            found[name] = frozenset(n.name for n in (*plan.points, *plan.shared))
    return found


def drop_idle_grids(
    graph: fx.GraphModule, reference: fx.GraphModule, scheme: Scheme, keep_float: frozenset[str]
) -> int:
    """Remove the grids of `graph`, in place, that no integer operator needs any more.

    Args:
        graph: quantized under `scheme`.
        reference: the same network before it was.
        scheme: see types.Scheme.
        keep_float: operators (node names) that compute in float.
    Returns: how many went.
    """
    plan = plan_grids(reference, scheme, keep_float)
    needed = {n.name for n in (*plan.points, *plan.shared)}
    nodes = [n for n in graph.graph.nodes if vocabulary.kind(graph, n) == "quantize"]
    return _erase(graph, [n for n in nodes if n.all_input_nodes[0].name not in needed])


def _erase(graph: fx.GraphModule, grids: list[fx.Node]) -> int:
    for node in grids:
        node.replace_all_uses_with(node.all_input_nodes[0])
        graph.graph.erase_node(node)
    graph.graph.lint()
    graph.recompile()
    graph.delete_all_unused_submodules()
    return len(grids)
