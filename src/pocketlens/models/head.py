"""The classifier at the end of a network: cut off, or replaced by one for other classes."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import fx, nn

from pocketlens.errors import ModelError
from pocketlens.models import vocabulary
from pocketlens.models.canonical import clone
from pocketlens.types import Model


def head_of(model: Model) -> fx.Node:
    """The linear layer whose outputs are the classes. Raises ModelError naming what stands there instead."""
    graph = model.graph
    output = next(n for n in graph.graph.nodes if n.op == "output")
    node = output.all_input_nodes[0]
    if vocabulary.kind(graph, node) != "linear" or len(node.users) != 1:
        found = f"{node.name} ({vocabulary.kind(graph, node)})"
        raise ModelError(
            f"{model.spec.name} must end in one linear layer for its classes to be replaced, it ends in {found}; "
            "choose another backbone, such as efficientnet_lite0"
        )
    return node


def with_classes(model: Model, class_ids: Sequence[str], labels: Sequence[str] = (), *, seed: int = 0) -> Model:
    """The same network with a new, untrained classifier.

    Args:
        model: ends in a linear layer; stays as it is.
        class_ids: of the new classes, in output order.
        labels: their readable names; empty takes the ids.
        seed: of the initial weights.
    """
    result = clone(model)
    name = str(head_of(result).target)
    old = result.graph.get_submodule(name)
    assert isinstance(old, nn.Linear)
    new = nn.Linear(old.in_features, len(class_ids))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        new.weight.normal_(0.0, 0.01, generator=generator)
        new.bias.zero_()
    parent, _, last = name.rpartition(".")
    setattr(result.graph.get_submodule(parent), last, new)
    spec = replace(result.spec, class_ids=tuple(class_ids), labels=tuple(labels or class_ids))
    return replace(result, spec=spec)


def features_of(model: Model) -> fx.GraphModule:
    """What the classifier reads, as the output of a graph that shares the model's layers: (n, c, h, w) -> (n, d)."""
    node = head_of(model)
    placed: dict[fx.Node, fx.Node] = {}
    graph = fx.Graph()
    graph.graph_copy(model.graph.graph, placed)
    graph.output(placed[node.all_input_nodes[0]])
    features = fx.GraphModule(model.graph, graph)
    features.graph.eliminate_dead_code()
    features.recompile()
    return features
