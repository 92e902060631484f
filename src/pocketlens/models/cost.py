"""What a model costs: parameters and multiply-accumulates, layer by layer."""

import math
from dataclasses import dataclass

from torch import Tensor, fx

from pocketlens.models import vocabulary
from pocketlens.models.tracing import Shape, observe
from pocketlens.ops.quantized import QuantizedConv2d, QuantizedConvTranspose2d, QuantizedLinear
from pocketlens.types import Model


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """One node that computes.

    Args:
        name: of the node.
        kind: see `vocabulary`.
        parameters: numbers it holds; a layer called twice holds them once.
        macs: multiply-accumulates of one input; 0 for what does not multiply.
        output_shape: without the batch.
    """

    name: str
    kind: str
    parameters: int
    macs: int
    output_shape: tuple[int, ...]


def layer_costs(model: Model) -> tuple[LayerCost, ...]:
    """The cost of every layer, in graph order."""
    graph = model.graph
    seen = observe(graph, graph.graph, model.spec.input_shape, batches=(1, 1))
    costs, counted = [], set()
    for node in graph.graph.nodes:
        if node.op in ("placeholder", "output") or not isinstance(seen[node].first, Shape):
            continue
        shape = tuple(seen[node].first)
        parameters = 0
        if node.op in ("call_module", "get_attr") and node.target not in counted:
            counted.add(node.target)
            parameters = _parameters(graph, node)
        # Not `all_input_nodes`, which names a node once: attention may take one tensor three times.
        operands = [*node.args, *node.kwargs.values()]
        inputs = [tuple(seen[n].first) for n in operands if isinstance(n, fx.Node) and isinstance(seen[n].first, Shape)]
        costs.append(
            LayerCost(
                name=node.name,
                kind=vocabulary.kind(graph, node),
                parameters=parameters,
                macs=_macs(graph, node, shape, inputs),
                output_shape=shape[1:],
            )
        )
    return tuple(costs)


def count_parameters(model: Model) -> int:
    """All weights and biases; batch norm statistics and quantization scales are not counted."""
    return sum(cost.parameters for cost in layer_costs(model))


def count_macs(model: Model) -> int:
    """Multiply-accumulates of one input."""
    return sum(cost.macs for cost in layer_costs(model))


def _parameters(graph: fx.GraphModule, node: fx.Node) -> int:
    if node.op == "get_attr":
        return getattr(graph, str(node.target)).numel()
    module = graph.get_submodule(str(node.target))
    extra = (
        module.codes.numel() if isinstance(module, QuantizedConv2d | QuantizedConvTranspose2d | QuantizedLinear) else 0
    )
    return extra + sum(p.numel() for p in module.parameters())


def _macs(graph: fx.GraphModule, node: fx.Node, shape: tuple[int, ...], inputs: list[tuple[int, ...]]) -> int:
    kind = vocabulary.kind(graph, node)
    if kind in ("conv", "conv_transpose", "linear"):
        weight = graph.get_submodule(str(node.target)).weight
        assert isinstance(weight, Tensor)
        if kind == "linear":
            return math.prod(shape[:-1]) * weight.shape[0] * weight.shape[1]
        positions = math.prod((inputs[0] if kind == "conv_transpose" else shape)[2:])
        return positions * weight.numel()
    if kind in ("matmul", "linear_function"):
        return math.prod(shape) * inputs[0][-1]
    if kind == "attention":
        queries, keys, values = inputs[:3]
        return math.prod(queries[:-1]) * keys[-2] * (queries[-1] + values[-1])
    return 0
