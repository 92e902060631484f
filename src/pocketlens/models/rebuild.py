"""Rebuild a traced graph in the vocabulary: one target per meaning, constants folded, the batch left open."""

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from pocketlens.errors import UnsupportedModelError
from pocketlens.models import vocabulary
from pocketlens.models.names import free_name, identifier
from pocketlens.models.plain import plain_leaf
from pocketlens.models.tracing import Seen, Shape

_ACTIVATIONS: dict[Any, type[nn.Module]] = {
    F.relu: nn.ReLU, torch.relu: nn.ReLU, "relu": nn.ReLU, "relu_": nn.ReLU, torch.relu_: nn.ReLU,
    F.relu6: nn.ReLU6, F.silu: nn.SiLU, F.hardswish: nn.Hardswish, F.hardsigmoid: nn.Hardsigmoid, F.mish: nn.Mish,
    F.sigmoid: nn.Sigmoid, torch.sigmoid: nn.Sigmoid, "sigmoid": nn.Sigmoid, "sigmoid_": nn.Sigmoid,
    F.tanh: nn.Tanh, torch.tanh: nn.Tanh, "tanh": nn.Tanh,
}  # fmt: skip
"""Functions and methods of one tensor -> the leaf that says the same."""

_CALLS: dict[Any, Callable[..., Any]] = {
    torch.add: operator.add, operator.iadd: operator.add, "add": operator.add, "add_": operator.add,
    torch.sub: operator.sub, operator.isub: operator.sub, "sub": operator.sub,
    torch.mul: operator.mul, operator.imul: operator.mul, "mul": operator.mul, "mul_": operator.mul,
    torch.div: operator.truediv, operator.itruediv: operator.truediv, "div": operator.truediv,
    torch.pow: operator.pow, "pow": operator.pow, torch.neg: operator.neg, "neg": operator.neg,
    torch.matmul: operator.matmul, torch.bmm: operator.matmul, "matmul": operator.matmul, "bmm": operator.matmul,
    torch.concat: torch.cat, "flatten": torch.flatten, "permute": torch.permute, "transpose": torch.transpose,
    "squeeze": torch.squeeze, "unsqueeze": torch.unsqueeze, "chunk": torch.chunk, "split": torch.split,
    "unbind": torch.unbind, "mean": torch.mean, "sum": torch.sum, "amax": torch.amax, "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt, "exp": torch.exp, "clamp": torch.clamp, "roll": torch.roll,
}  # fmt: skip
"""Other names of functions of the vocabulary."""

_RESHAPES = {torch.reshape, "reshape", "view", "reshape_as", "view_as", "unflatten", torch.unflatten}
_NOTHING = {"contiguous", "detach", "clone", "float", F.dropout, F.dropout1d, F.dropout2d, torch.detach}
"""What changes no value in evaluation."""

_CHECKS = {torch._assert}


class Rebuilder:
    """Turns a traced graph into a canonical one, node by node.

    Args:
        module: what was traced, in evaluation mode.
        raw: its graph, see `tracing.trace`.
        seen: what each node gave, see `tracing.observe`.
    """

    def __init__(self, module: nn.Module, raw: fx.Graph, seen: dict[fx.Node, Seen]) -> None:
        self._original, self._raw, self._seen = module, raw, seen
        self._root = nn.Module()
        self._graph = fx.Graph()
        self._env: dict[fx.Node, Any] = {}
        self._placed: dict[str, str] = {}

    def build(self) -> fx.GraphModule:
        """The canonical graph. Raises UnsupportedModelError naming what the vocabulary lacks."""
        for node in self._raw.nodes:
            if node.op == "placeholder":
                # Arguments with defaults are not inputs: they stand for their default.
                first = not self._env
                self._env[node] = self._graph.placeholder("x") if first else (node.args[0] if node.args else None)
            elif node.op == "output":
                self._graph.output(self._single(node.args[0]))
            elif self._seen[node].constant:
                self._env[node] = self._seen[node].first
            else:
                self._env[node] = self._convert(node)
        result = fx.GraphModule(self._root, self._graph)
        result.graph.eliminate_dead_code()
        result.graph.lint()
        result.recompile()
        result.delete_all_unused_submodules()
        return result.eval()

    def _single(self, value: Any) -> Any:
        """The one output; a tuple or mapping of one is taken apart."""
        if isinstance(value, dict):
            value = tuple(value.values())
        if isinstance(value, tuple | list):
            if len(value) != 1:
                raise UnsupportedModelError(
                    f"the model must give one output (n, classes), it gives {len(value)}; wrap it to return the logits"
                )
            value = value[0]
        return self._map(value)

    def _map(self, value: Any) -> Any:
        return fx.map_arg(value, lambda node: self._env[node])

    def _convert(self, node: fx.Node) -> Any:
        if node.op == "get_attr":
            return self._tensor(str(node.target))
        if node.op == "call_module":
            return self._module(node)
        target: Any = node.target
        args: list[Any] = list(self._map(node.args))
        kwargs: dict[str, Any] = dict(self._map(node.kwargs))
        kwargs.pop("inplace", None)
        if target in _CHECKS:
            return None
        if target in _NOTHING:
            return args[0]
        if target in _ACTIVATIONS:
            return self._leaf(node, _ACTIVATIONS[target](), args[0])
        if target in (F.softmax, torch.softmax, "softmax"):
            dim = kwargs.get("dim", args[1] if len(args) > 1 else -1)
            return self._leaf(node, nn.Softmax(dim=dim), args[0])
        if target is F.gelu:
            return self._leaf(node, nn.GELU(approximate=kwargs.get("approximate", "none")), args[0])
        if target is F.leaky_relu:
            return self._leaf(node, nn.LeakyReLU(*args[1:2], **kwargs), args[0])
        if target is F.elu:
            return self._leaf(node, nn.ELU(*args[1:2], **kwargs), args[0])
        if target is F.adaptive_avg_pool2d:
            return self._leaf(node, nn.AdaptiveAvgPool2d(*args[1:2], **kwargs), args[0])
        if target is F.adaptive_max_pool2d:
            return self._leaf(node, nn.AdaptiveMaxPool2d(*args[1:2], **kwargs), args[0])
        if target in (F.max_pool2d, torch.max_pool2d):
            return self._leaf(node, nn.MaxPool2d(*args[1:], **kwargs), args[0])
        if target is F.pad and kwargs.get("mode", "constant") == "constant" and not (kwargs.get("value") or args[3:4]):
            padding = args[1] if len(args) > 1 else kwargs["pad"]
            if len(padding) == 4:
                return self._leaf(node, nn.ZeroPad2d(tuple(padding)), args[0])
        if target in _RESHAPES:
            return self._reshape(node, args[0])
        if target == "expand" or target == "expand_as":
            return self._expand(node, args)
        if target is getattr and args[1] == "shape":
            return _Sizes(self._graph, args[0])
        if target == "size":
            dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
            return _Sizes(self._graph, args[0]) if dim is None else self._size(args[0], int(dim))
        if target in (torch.mean, "mean"):
            args, kwargs = _positional(args, kwargs, ("dim", "keepdim"))
        if target is operator.getitem and isinstance(args[0], _Sizes):
            return self._size(args[0].tensor, args[1])
        return self._call(node, target, tuple(args), kwargs)

    def _call(self, node: fx.Node, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> fx.Node:
        target = _CALLS.get(target, target)
        if target in (torch.permute,) and len(args) > 2:
            args = (args[0], tuple(args[1:]))
        if target in (operator.add, operator.sub) and kwargs.pop("alpha", 1) != 1:
            raise self._unsupported(node, "add with alpha")
        if target not in vocabulary.FUNCTIONS:
            raise self._unsupported(node, getattr(target, "__name__", str(target)))
        return self._graph.create_node("call_function", target, args, kwargs, name=identifier(node.name))

    def _reshape(self, node: fx.Node, x: fx.Node) -> fx.Node:
        first, second = self._seen[node].first, self._seen[node].second
        varying = [i for i, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]
        if len(varying) > 1:
            raise self._unsupported(node, "a reshape in which two dimensions depend on the batch")
        shape = tuple(-1 if i in varying else int(a) for i, a in enumerate(first))
        source = self._source_shape(node)
        name = identifier(node.name)
        if len(shape) == 2 and varying == [0] and source is not None and math.prod(source[1:]) == shape[1]:
            return self._leaf(node, nn.Flatten(1), x)
        return self._graph.create_node("call_function", torch.reshape, (x, shape), name=name)

    def _source_shape(self, node: fx.Node) -> Shape | None:
        seen = self._seen.get(node.args[0]) if isinstance(node.args[0], fx.Node) else None
        return seen.first if seen is not None and isinstance(seen.first, Shape) else None

    def _expand(self, node: fx.Node, args: list[Any]) -> fx.Node:
        if node.target == "expand_as":
            raise self._unsupported(node, "expand_as")
        sizes = args[1] if isinstance(args[1], tuple | list) else args[1:]
        return self._graph.create_node("call_method", "expand", (args[0], *sizes), name=identifier(node.name))

    def _size(self, tensor: fx.Node, dim: int) -> fx.Node:
        return self._graph.create_node("call_method", "size", (tensor, dim), name="batch")

    def _tensor(self, target: str) -> fx.Node:
        if target not in self._placed:
            name = free_name(self._root, identifier(target))
            value = functools.reduce(getattr, target.split("."), self._original)
            if isinstance(value, nn.Parameter):
                self._root.register_parameter(name, nn.Parameter(value.detach().clone()))
            else:
                self._root.register_buffer(name, value.detach().clone())  # pyright: ignore
            self._placed[target] = name
        return self._graph.get_attr(self._placed[target])

    def _module(self, node: fx.Node) -> Any:
        module = self._original.get_submodule(str(node.target))
        args = self._map(node.args)
        if isinstance(module, nn.Identity | nn.Dropout | nn.Dropout2d):
            return args[0]
        if node.kwargs or len(args) != 1:
            raise self._unsupported(node, f"{type(module).__name__} with more than one argument")
        source = self._source_shape(node)
        padding, leaf = plain_leaf(str(node.target), module, source)
        x = args[0]
        if padding is not None:
            x = self._leaf(node, padding, x, suffix="_pad", shared=False)
        return self._leaf(node, leaf, x, path=str(node.target))

    def _leaf(
        self, node: fx.Node, leaf: nn.Module, x: fx.Node, *, path: str = "", suffix: str = "", shared: bool = True
    ) -> fx.Node:
        """Call `leaf`, placed once for each path of the original, so that a layer called twice stays one layer."""
        if path and path in self._placed and shared:
            return self._graph.create_node("call_module", self._placed[path], (x,), name=identifier(node.name))
        name = free_name(self._root, identifier(path or node.name) + suffix)
        if hasattr(leaf, "inplace"):
            setattr(leaf, "inplace", False)  # noqa: B010
        self._root.add_module(name, leaf)
        if path:
            self._placed[path] = name
        return self._graph.create_node("call_module", name, (x,), name=name)

    def _unsupported(self, node: fx.Node, what: str) -> UnsupportedModelError:
        stack = node.meta.get("nn_module_stack") or {}
        inside = list(stack.values())[-1] if stack else None
        path = inside[0] if isinstance(inside, tuple) else ""
        where = f"{path} ({inside[1].__name__})" if isinstance(inside, tuple) and path else "the model itself"
        return UnsupportedModelError(
            f"{where} uses {what}, which the canonical graph cannot express. Replace it there by an operation of "
            "the vocabulary (docs/models.md lists them)"
        )


class _Sizes:
    """`x.shape`, not yet indexed."""

    def __init__(self, graph: fx.Graph, tensor: fx.Node) -> None:
        self.graph, self.tensor = graph, tensor


def _positional(args: list[Any], kwargs: dict[str, Any], names: tuple[str, ...]) -> tuple[list[Any], dict[str, Any]]:
    """Arguments after the tensor, by position as far as they were given: one form for `kind` and the passes."""
    args, kwargs = list(args), dict(kwargs)
    for name in names[len(args) - 1 :]:
        if name not in kwargs:
            break
        args.append(kwargs.pop(name))
    return args, kwargs
