"""Look into a graph: the same network with some of its inner tensors as outputs."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import fx

from pocketlens.errors import UnsupportedModelError
from pocketlens.models.tracing import Shape, observe
from pocketlens.types import Model


@dataclass(frozen=True)
class Tap:
    """An inner tensor worth comparing between two networks.

    Args:
        node: its name.
        channels: of the feature map.
        size: (h, w) of the feature map.
    """

    node: str
    channels: int
    size: tuple[int, int]


def stage_ends(model: Model) -> tuple[Tap, ...]:
    """The last feature map of each resolution, from the input on; 1 x 1 maps are left out."""
    graph = model.graph
    seen = observe(graph, graph.graph, model.spec.input_shape, batches=(1, 1))
    last: dict[tuple[int, int], Tap] = {}
    for node in graph.graph.nodes:
        shape = seen[node].first if node in seen else None
        if node.op in ("placeholder", "output", "get_attr") or not isinstance(shape, Shape) or len(shape) != 4:
            continue
        size = (shape[2], shape[3])
        if min(size) > 1:
            last[size] = Tap(node=node.name, channels=shape[1], size=size)
    return tuple(sorted(last.values(), key=lambda tap: -tap.size[0] * tap.size[1]))


def pair_taps(student: Model, teacher: Model) -> tuple[tuple[Tap, Tap], ...]:
    """The stage ends of two networks that lie equally deep: the last ones meet, and so on towards the input.

    Raises: UnsupportedModelError when either has no feature map to compare.
    """
    mine, theirs = stage_ends(student), stage_ends(teacher)
    count = min(len(mine), len(theirs))
    if not count:
        without = student if not mine else teacher
        raise UnsupportedModelError(
            f"{without.spec.name} has no feature maps (n, c, h, w) to compare; distil logits alone"
        )
    return tuple(zip(mine[-count:], theirs[-count:], strict=True))


def tapped(graph: fx.GraphModule, nodes: Sequence[str]) -> fx.GraphModule:
    """The same layers, shared with `graph`, with outputs (output, *nodes)."""
    copy = fx.Graph()
    placed: dict[fx.Node, fx.Node] = {}
    output = copy.graph_copy(graph.graph, placed)
    by_name = {old.name: new for old, new in placed.items()}
    copy.output((output, *(by_name[name] for name in nodes)))
    return fx.GraphModule(graph, copy)
