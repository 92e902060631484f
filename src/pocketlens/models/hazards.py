"""What is known to hurt a model when it is compressed, told before anything runs."""

import torch
from torch import nn

from pocketlens.models import vocabulary
from pocketlens.types import Model

WILD = 30.0
"""A depthwise layer whose largest channel range is this many times its median one."""


def hazards(model: Model) -> tuple[str, ...]:
    """Sentences about what will cost accuracy or speed; empty when nothing is known to."""
    graph = model.graph
    found = []
    for node in graph.graph.nodes:
        if vocabulary.kind(graph, node) != "conv":
            continue
        layer = graph.get_submodule(str(node.target))
        if not isinstance(layer, nn.Conv2d):
            continue
        reach = layer.weight.detach().abs().flatten(1).amax(1)
        dead = int((reach == 0).sum())
        if dead:
            found.append(f"{node.name}: {dead} dead channels; PruneChannels could take them out for free")
        alive = reach[reach > 0]
        if layer.groups == layer.in_channels > 1 and len(alive) and float(alive.max() / torch.median(alive)) > WILD:
            spread = float(alive.max() / torch.median(alive))
            found.append(f"{node.name}: depthwise ranges differ {spread:.0f}x; quantize per channel")
    kinds = {vocabulary.kind(graph, node) for node in graph.graph.nodes}
    if kinds & {"hardswish", "silu"}:
        found.append("swish activations: their long negative tail costs 8-bit grids; expect a lower SQNR")
    if "sigmoid" in kinds or "hardsigmoid" in kinds:
        found.append("squeeze-and-excite gates stay in float: each costs a conversion to and from integers")
    return tuple(found)
