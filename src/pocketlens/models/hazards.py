"""What is known to hurt a model when it is compressed, told before anything runs."""

from typing import Any

import torch
from torch import Tensor, fx, nn

from pocketlens.models import vocabulary
from pocketlens.types import Model

WILD = 30.0
"""A depthwise layer whose largest channel range is this many times its median one."""

UNLIKE = 10.0
"""Tensors that are joined, one with this many times the range of another: the narrow one keeps 3 bits fewer."""


def hazards(model: Model) -> tuple[str, ...]:
    """Sentences about what will cost accuracy or speed; empty when nothing is known to."""
    graph = model.graph
    found = [sentence for node in graph.graph.nodes for sentence in _weights(graph, node)]
    kinds = {vocabulary.kind(graph, node) for node in graph.graph.nodes}
    if "cat" in kinds:
        found += _unlike_joins(model)
    if kinds & {"hardswish", "silu"}:
        found.append("swish activations: their long negative tail costs 8-bit grids; expect a lower SQNR")
    if _gated(graph):
        found.append("squeeze-and-excite gates stay in float: each costs a conversion to and from integers")
    last = next(iter(graph.graph.output_node().all_input_nodes), None)
    if last is not None and vocabulary.kind(graph, last) == "softmax":
        found.append(f"{last.name}: the model ends in a softmax; export it without, for confidence is set on logits")
    return tuple(found)


def _weights(graph: fx.GraphModule, node: fx.Node) -> list[str]:
    """Dead channels, and depthwise channels of wildly different ranges."""
    layer = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
    if not isinstance(layer, nn.Conv2d):
        return []
    reach = layer.weight.detach().abs().flatten(1).amax(1)
    alive = reach[reach > 0]
    dead = len(reach) - len(alive)
    found = [f"{node.name}: {dead} dead channels; PruneChannels could take them out for free"] if dead else []
    if layer.groups == layer.in_channels > 1 and len(alive):
        spread = float(alive.max() / torch.median(alive))
        if spread > WILD:
            found.append(f"{node.name}: depthwise ranges differ {spread:.0f}x; quantize per channel")
    return found


def _gated(graph: fx.GraphModule) -> bool:
    """Whether a sigmoid scales a tensor; one at the output is a head."""
    return any(
        vocabulary.kind(graph, node) in ("sigmoid", "hardsigmoid")
        and any(vocabulary.kind(graph, user) == "mul" for user in node.users)
        for node in graph.graph.nodes
    )


def _unlike_joins(model: Model) -> list[str]:
    """Joined tensors of unlike ranges share one grid. Ranges are those of random images."""
    watcher = _Ranges(model.graph)
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        watcher.run(torch.randn(2, *model.spec.input_shape, generator=generator))
    found = []
    for node in model.graph.graph.nodes:
        if vocabulary.kind(model.graph, node) != "cat":
            continue
        reach = [watcher.reach[n] for n in node.all_input_nodes if watcher.reach.get(n)]
        if len(reach) > 1 and max(reach) > UNLIKE * min(reach):
            ratio = max(reach) / min(reach)
            found.append(f"{node.name}: joins tensors whose ranges differ {ratio:.0f}x on one 8-bit grid; KeepFloat it")
    return found


class _Ranges(fx.Interpreter):
    """Notes the largest magnitude that each node gives."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.reach: dict[fx.Node, float] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor) and value.is_floating_point():
            self.reach[n] = float(value.abs().max())
        return value
