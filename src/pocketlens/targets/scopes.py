"""A module of its own for every node of a graph, so that an exporter can name what it writes after the layers."""

from collections.abc import Callable
from typing import Any

from torch import fx, nn


class Scope(nn.Module):
    """One node's computation."""

    def __init__(self, compute: Callable[..., Any]) -> None:
        super().__init__()
        self.compute = compute

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Whatever the node computes of whatever it reads."""
        return self.compute(*args, **kwargs)


def scoped(graph: fx.GraphModule) -> fx.GraphModule:
    """Change `graph` so that every function, and every second call of a module, becomes a module called like its node.

    Returns: the graph, in evaluation mode.
    """
    for node in graph.graph.nodes:
        if node.op == "call_function":
            scope = Scope(node.target)
        elif node.op == "call_module" and node.target != node.name:  # called twice, or inside another module
            scope = Scope(graph.get_submodule(str(node.target)))
        else:
            continue
        graph.add_submodule(node.name, scope)
        node.op, node.target = "call_module", node.name
    graph.recompile()
    return graph.eval()
