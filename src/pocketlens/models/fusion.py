"""Find what exporters take apart: activations, layer norm and biases spelled in arithmetic become one leaf again."""

import math
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from pocketlens.models.names import free_name

_LEAVES: tuple[Callable[[], nn.Module], ...] = (
    *(nn.ReLU6, nn.Hardsigmoid, nn.Hardswish, nn.SiLU, nn.Mish, nn.GELU),
    lambda: nn.GELU(approximate="tanh"),
)
"""Activations that a region of arithmetic may turn out to be."""

_GRID = torch.linspace(-12, 12, 2401, dtype=torch.float64)

_TOLERANCE = 2e-6
"""Of exporters' rounded constants (0.70710677, 0.1666667); exact and tanh GELU differ by 4.7e-4."""

_LARGEST_REGION = 12
"""Nodes; the tanh GELU, the longest spelling, has nine."""

_ARITHMETIC = {
    operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, operator.neg,
    torch.exp, torch.sqrt, torch.erf, torch.clamp, torch.log1p,
}  # fmt: skip

_ELEMENTWISE = (nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.Hardsigmoid, nn.Tanh)


def fuse(graph: fx.GraphModule) -> None:
    """Replace, in place, arithmetic that computes what a leaf computes; what is not read any more stays for the caller.

    An activation is known by its values, so any spelling of it will do; norms and biases by their structure.
    """
    for node in reversed(list(graph.graph.nodes)):
        if node.users and not node.meta.get("fused"):
            _activation(graph, node)
    for node in list(graph.graph.nodes):
        _layer_norm(graph, node)
    for node in list(graph.graph.nodes):
        _bias(graph, node)


def _activation(graph: fx.GraphModule, node: fx.Node) -> None:
    region = _region(graph, node)
    if len(region) < 2:
        return
    inside = set(region)
    sources = {a for n in region for a in n.all_input_nodes} - inside
    # A region that reads one tensor is a function of it; else a tensor within it may still be the only source.
    for source in [*sources, *reversed(region)]:
        between = _between(node, source, inside)
        if between is None or len(between) < 2:
            continue
        values = _evaluate(graph, [n for n in region if n in between], source)
        for make in _LEAVES:
            leaf = make()
            wanted = leaf(_GRID)
            if values.shape == wanted.shape and bool(
                ((values - wanted).abs() <= _TOLERANCE * (1 + wanted.abs())).all()
            ):
                _replace(graph, node, leaf, source)
                return


def _region(graph: fx.GraphModule, node: fx.Node) -> list[fx.Node]:
    """Elementwise nodes that `node` is computed by, itself included, in graph order."""
    found: set[fx.Node] = set()
    waiting = [node]
    while waiting and len(found) < _LARGEST_REGION:
        n = waiting.pop(0)
        if n not in found and _elementwise(graph, n):
            found.add(n)
            waiting.extend(n.all_input_nodes)
    return [n for n in graph.graph.nodes if n in found]


def _elementwise(graph: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        return isinstance(graph.get_submodule(str(node.target)), _ELEMENTWISE)
    return node.op == "call_function" and node.target in _ARITHMETIC


def _between(node: fx.Node, source: fx.Node, inside: set[fx.Node]) -> set[fx.Node] | None:
    """Nodes on the way from `source` to `node`; None when another tensor comes in."""
    found: set[fx.Node] = set()
    waiting = [node]
    while waiting:
        n = waiting.pop()
        if n is source or n in found:
            continue
        if n not in inside:
            return None
        found.add(n)
        waiting.extend(n.all_input_nodes)
    return found


def _evaluate(graph: fx.GraphModule, nodes: list[fx.Node], source: fx.Node) -> Tensor:
    """What the nodes make of _GRID."""
    values: dict[fx.Node, Any] = {source: _GRID}
    for n in nodes:
        args = fx.map_arg(n.args, lambda a: values[a])
        compute = graph.get_submodule(str(n.target)) if n.op == "call_module" else n.target
        assert callable(compute)
        values[n] = compute(*args, **n.kwargs)
    return values[nodes[-1]]


def _replace(graph: fx.GraphModule, node: fx.Node, leaf: nn.Module, x: fx.Node) -> fx.Node:
    """Put `leaf` in the place of `node`."""
    name = free_name(graph, f"{node.name}_{type(leaf).__name__.lower()}")
    graph.add_submodule(name, leaf.eval())
    with graph.graph.inserting_before(node):
        new = graph.graph.create_node("call_module", name, (x,), name=name)
    new.meta.update(node.meta, fused=True)
    node.replace_all_uses_with(new)
    graph.graph.eliminate_dead_code()
    return new


def _layer_norm(graph: fx.GraphModule, node: fx.Node) -> None:
    """(x - mean) / sqrt(variance + eps), with its weight and bias where they follow."""
    found = _normalised(node)
    if found is None:
        return
    x, axes, eps = found
    shape = tuple(x.meta["shape"])
    dims = sorted(a % len(shape) for a in axes)
    if dims != list(range(len(shape) - len(dims), len(shape))):
        return
    size = shape[-len(dims) :]
    weight, after = _scaled(graph, node, operator.mul, size)
    bias, end = _scaled(graph, after, operator.add, size) if weight is not None else (None, node)
    leaf = nn.LayerNorm(list(size), eps=eps, elementwise_affine=weight is not None, bias=bias is not None)
    with torch.no_grad():
        if weight is not None:
            leaf.weight.copy_(weight.reshape(size))
        if bias is not None:
            leaf.bias.copy_(bias.reshape(size))
    _replace(graph, end, leaf, x)


def _normalised(node: Any) -> tuple[fx.Node, tuple[int, ...], float] | None:
    """(x, axes, eps) when `node` normalises x."""
    if not _is(node, operator.truediv):
        return None
    centred, deviation = node.args[0], node.args[1]
    mean = _centre(centred)
    if mean is None or not (_is(deviation, torch.sqrt) or (_is(deviation, operator.pow) and deviation.args[1] == 0.5)):
        return None
    shifted = deviation.args[0]
    if not _is(shifted, operator.add) or not isinstance(shifted.args[1], float):
        return None
    variance = shifted.args[0]
    if not _is(variance, torch.mean) or variance.args[1:] != mean.args[1:]:
        return None
    squared = variance.args[0]
    square = _is(squared, operator.pow) and squared.args[1] == 2
    product = _is(squared, operator.mul) and squared.args[0] is squared.args[1]
    if not (square or product) or _centre(squared.args[0]) is not mean:
        return None
    return mean.args[0], tuple(mean.args[1]), shifted.args[1]


def _centre(node: Any) -> Any:
    """The mean that a node takes off the tensor that it is the mean of."""
    if _is(node, operator.sub) and _is(node.args[1], torch.mean) and node.args[1].args[0] is node.args[0]:
        return node.args[1]
    return None


def _scaled(
    graph: fx.GraphModule, node: fx.Node, by: Callable[..., Any], size: tuple[int, ...]
) -> tuple[Tensor | None, fx.Node]:
    """The tensor of `size` that the only reader multiplies by or adds, and that reader."""
    reader: Any = next(iter(node.users)) if len(node.users) == 1 else None
    if not _is(reader, by):
        return None, node
    other = reader.args[1] if reader.args[0] is node else reader.args[0]
    if not isinstance(other, fx.Node) or other.op != "get_attr":
        return None, node
    tensor = getattr(graph, str(other.target)).detach()
    if tensor.numel() != math.prod(size) or tuple(tensor.shape[-len(size) :]) != size:
        return None, node
    return tensor, reader


def _bias(graph: fx.GraphModule, node: Any) -> None:
    """A constant that is added to the output of a layer without a bias becomes its bias."""
    if not _is(node, operator.add):
        return
    for layer, other in (node.args[:2], node.args[1::-1]):
        if not isinstance(layer, fx.Node) or layer.op != "call_module" or len(layer.users) != 1:
            continue
        if not isinstance(other, fx.Node) or other.op != "get_attr":
            continue
        module = graph.get_submodule(str(layer.target))
        calls = sum(n.target == layer.target for n in graph.graph.nodes)
        if not isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d) or module.bias is not None or calls > 1:
            continue
        channels = module.out_features if isinstance(module, nn.Linear) else module.out_channels
        after = 0 if isinstance(module, nn.Linear) else 2
        tensor = getattr(graph, str(other.target)).detach()
        shape = tuple(tensor.shape)
        if tensor.numel() != channels or len(shape) <= after or shape[len(shape) - 1 - after] != channels:
            continue
        module.bias = nn.Parameter(tensor.reshape(channels).clone())
        node.replace_all_uses_with(layer)
        graph.graph.eliminate_dead_code()
        return


def _is(node: Any, target: Callable[..., Any]) -> bool:
    return isinstance(node, fx.Node) and node.op == "call_function" and node.target is target
