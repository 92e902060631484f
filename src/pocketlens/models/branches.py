"""Residual branches: what an addition adds to a shortcut, and the network without it."""

from dataclasses import dataclass

from torch import fx

from pocketlens.models import vocabulary
from pocketlens.models.tracing import Shape, observe
from pocketlens.types import Model


@dataclass(frozen=True)
class Branch:
    """One residual branch.

    Args:
        name: of its last layer, for people.
        add: name of the addition that it feeds.
        shortcut: name of the node that stays when the branch leaves.
        nodes: names of what only the branch computes.
    """

    name: str
    add: str
    shortcut: str
    nodes: frozenset[str]


def residual_branches(model: Model) -> tuple[Branch, ...]:
    """The branches that can leave whole: they start at their own shortcut, and the shapes stay."""
    graph = model.graph
    seen = observe(graph, graph.graph, model.spec.input_shape, batches=(1, 1))
    found = []
    for node in graph.graph.nodes:
        if vocabulary.kind(graph, node) != "add" or len(node.all_input_nodes) != 2:
            continue
        one, other = node.all_input_nodes
        for end, shortcut in ((one, other), (other, one)):
            inner = _between(end, shortcut)
            shapes = [seen[n].first for n in (node, shortcut)]
            if inner and all(isinstance(s, Shape) for s in shapes) and shapes[0] == shapes[1]:
                layers = [n for n in inner if n.op == "call_module"]
                if any(True for n in layers for _ in graph.get_submodule(str(n.target)).parameters()):
                    names = frozenset(n.name for n in inner)
                    found.append(Branch(name=end.name, add=node.name, shortcut=shortcut.name, nodes=names))
                    break
    return tuple(found)


def drop_branch(graph: fx.GraphModule, branch: Branch) -> None:
    """Take a branch out, in place: what read the sum reads the shortcut. Others must be looked for anew."""
    by_name = {n.name: n for n in graph.graph.nodes}
    by_name[branch.add].replace_all_uses_with(by_name[branch.shortcut])
    graph.graph.erase_node(by_name[branch.add])
    for node in reversed(list(graph.graph.nodes)):
        if node.name in branch.nodes and not node.users:
            graph.graph.erase_node(node)
    graph.graph.lint()
    graph.recompile()
    graph.delete_all_unused_submodules()


def _between(end: fx.Node, start: fx.Node) -> set[fx.Node]:
    """The nodes that lead from `start` to `end`, `end` included; empty when others lead there or read them."""
    inner: set[fx.Node] = set()
    waiting = [end]
    while waiting:
        node = waiting.pop()
        if node is start or node in inner:
            continue
        if node.op == "placeholder":
            return set()
        inner.add(node)
        waiting.extend(node.all_input_nodes)
    readers = {user for node in inner if node is not end and node.op != "get_attr" for user in node.users}
    return inner if readers <= inner and len(end.users) == 1 else set()
