"""A canonical graph put together node by node, from a file that holds no module to trace."""

import math
import operator
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.func import functional_call

from pocketlens.errors import ModelError, UnsupportedModelError
from pocketlens.models import vocabulary
from pocketlens.models.fusion import fuse
from pocketlens.models.names import free_name, identifier

BATCHES = (2, 3)
"""Every shape is worked out for two batch sizes: what differs depends on the batch and stays open."""

LARGEST = 2**28
"""Elements of one activation for two images: a small file may ask for any number of them."""


@dataclass(frozen=True)
class Known:
    """A value that does not depend on the image: a weight, or arithmetic on sizes.

    Args:
        first: at the first batch size of BATCHES.
        second: at the second; the same array for what does not depend on the batch.
    """

    first: np.ndarray
    second: np.ndarray

    @property
    def constant(self) -> bool:
        """Whether the batch size does not matter."""
        return self.first is self.second or bool(np.array_equal(self.first, self.second, equal_nan=_floats(self.first)))


Value = fx.Node | Known
"""What flows along an edge of the file's graph."""


class Assembly:
    """Builds a canonical graph and knows the shape of all that it has built.

    Shapes come from running each new node on the meta device, without computing.

    Args:
        input_shape: (c, h, w).
        one_image: whether the file was exported for one image, so that shapes in it say 1 where the batch is.

    Attributes:
        source: what the file calls the node in work, for `fx.Node.meta` and so for errors; set it before each.
    """

    def __init__(self, input_shape: tuple[int, int, int], *, one_image: bool) -> None:
        self.source = "the input"
        self.one_image = one_image
        self._root = nn.Module()
        self._graph = fx.Graph()
        self._placed: dict[Hashable, str] = {}
        self._shadows: dict[fx.Node, tuple[Any, Any]] = {}
        self.x = self._graph.placeholder("x")
        first, second = (torch.empty(n, *input_shape, device="meta") for n in BATCHES)
        self._shadows[self.x] = (first, second)
        self.x.meta["shape"] = tuple(first.shape)

    def shapes(self, node: fx.Node) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The shape of a node's tensor at both batch sizes."""
        first, second = self._shadows[node]
        return tuple(first.shape), tuple(second.shape)

    def shape(self, node: fx.Node) -> tuple[int, ...]:
        """The shape at the first batch size."""
        return self.shapes(node)[0]

    def rank(self, node: fx.Node) -> int:
        """The number of dimensions."""
        return len(self.shape(node))

    def batched(self, node: fx.Node) -> bool:
        """Whether the first dimension grows with the batch."""
        first, second = self.shapes(node)
        return bool(first) and first[0] != second[0]

    def is_leaf(self, node: fx.Node, kinds: tuple[type[nn.Module], ...]) -> bool:
        """Whether a node calls a leaf of one of these classes."""
        return node.op == "call_module" and isinstance(self._root.get_submodule(str(node.target)), kinds)

    def leaf(self, name: str, leaf: nn.Module, x: fx.Node, key: Hashable = None) -> fx.Node:
        """Call a module of the vocabulary.

        Args:
            name: of the layer in the file.
            leaf: the module.
            x: its input.
            key: layers of equal key are one layer that is called twice; None is always a new one.
        """
        if key is None or key not in self._placed:
            place = free_name(self._root, identifier(name))
            self._root.add_module(place, leaf.eval())
            self._placed[key if key is not None else place] = place
        place = self._placed[key] if key is not None else place  # pyright: ignore[reportPossiblyUnboundVariable]
        module = self._root.get_submodule(place)
        weights = {n: t.to("meta") for n, t in (*module.named_parameters(), *module.named_buffers())}
        return self._place("call_module", place, (x,), {}, place, lambda x: functional_call(module, weights, x))

    def call(self, name: str, target: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """Call a function of the vocabulary; a tuple that it gives is taken apart with `item`."""
        return self._place("call_function", target, args, kwargs, identifier(name), target)

    def item(self, name: str, node: fx.Node, index: int) -> fx.Node:
        """One tensor of a node that gives several."""
        return self.call(f"{name}_{index}", operator.getitem, node, index)

    def tensor(self, name: str, value: np.ndarray) -> fx.Node:
        """A stored tensor; floats can be trained."""
        place = free_name(self._root, identifier(name))
        stored = torch.from_numpy(np.array(value))
        if stored.is_floating_point():
            self._root.register_parameter(place, nn.Parameter(stored))
        else:
            self._root.register_buffer(place, stored)
        node = self._graph.get_attr(place)
        node.meta["source"] = self.source
        node.meta["shape"] = tuple(stored.shape)
        shadow = stored.to("meta")
        self._shadows[node] = (shadow, shadow)
        return node

    def node(self, name: str, value: Value) -> fx.Node:
        """A value as a node; what is the same for each image is repeated for the batch.

        Raises: UnsupportedModelError for a value that depends on the batch in another way.
        """
        if isinstance(value, fx.Node):
            return value
        if value.constant:
            return self.tensor(name, value.first)
        sides = (value.first, value.second)
        if tuple(side.shape[:1] for side in sides) == tuple((n,) for n in BATCHES):
            row = value.first[:1]
            if all(bool((side == row).all()) for side in sides):
                return self.over_batch(name, self.tensor(name, row))
        raise UnsupportedModelError("computes with the batch size; export it so that images do not see one another")

    def over_batch(self, name: str, node: fx.Node) -> fx.Node:
        """Repeat a (1, ...) tensor once an image."""
        rest = self.shape(node)[1:]
        batch = self._graph.call_method("size", (self.x, 0))
        kept = (-1,) * len(rest)
        expanded = self._graph.create_node("call_method", "expand", (node, batch, *kept), name=identifier(f"{name}_n"))
        expanded.meta["source"] = batch.meta["source"] = self.source
        first, second = (torch.empty(n, *rest, device="meta") for n in BATCHES)
        self._shadows[expanded] = (first, second)
        expanded.meta["shape"] = tuple(first.shape)
        return expanded

    def operands(self, name: str, a: Value, b: Value) -> tuple[Any, Any]:
        """Two operands of an arithmetic operator: a constant of one element becomes a plain number."""
        return self._operand(f"{name}_a", a, b), self._operand(f"{name}_b", b, a)

    def _operand(self, name: str, value: Value, other: Value) -> Any:
        if isinstance(value, Known) and isinstance(other, fx.Node) and value.constant:
            array = value.first
            if array.size == 1 and array.ndim <= self.rank(other):
                return array.reshape(()).item()
        return self.node(name, value)

    def cat(self, name: str, parts: Sequence[Value], dim: int) -> fx.Node:
        """Join tensors; a constant (1, ...) beside tensors of a batch is repeated once an image."""
        nodes = [self.node(name, part) for part in parts]
        if dim != 0 and any(self.batched(node) for node in nodes):
            nodes = [n if self.batched(n) or self.shape(n)[0] != 1 else self.over_batch(name, n) for n in nodes]
        return self.call(name, torch.cat, nodes, dim)

    def reshape(self, name: str, x: fx.Node, first: Sequence[int], second: Sequence[int]) -> fx.Node:
        """Reshape to what the file asks for, given at both batch sizes; one dimension may be -1.

        A file that was exported for one image says 1, or a multiple of it, where the batch is: that stays open too.
        """
        while x.op == "call_function" and x.target is torch.reshape:
            x = x.args[0]  # pyright: ignore[reportAssignmentType]
        sources = self.shapes(x)
        counts = [math.prod(source) for source in sources]
        if self.one_image and first[0] == second[0] and counts[0] != counts[1]:
            single = [_resolved(first, count // n) for count, n in zip(counts, BATCHES, strict=True)]
            targets = [(shape[0] * n, *shape[1:]) for shape, n in zip(single, BATCHES, strict=True)]
        else:
            targets = [_resolved(t, count) for t, count in zip((first, second), counts, strict=True)]
        varying = [i for i, (a, b) in enumerate(zip(*targets, strict=True)) if a != b]
        if len(varying) > 1:
            raise UnsupportedModelError("reshapes so that two dimensions depend on the batch")
        shape = tuple(-1 if i in varying else a for i, a in enumerate(targets[0]))
        source = sources[0]
        if shape == source or (varying == [0] and self.batched(x) and shape[1:] == source[1:]):
            return x
        if len(shape) == 2 and varying == [0] and self.batched(x) and math.prod(source[1:]) == shape[1]:
            return self.leaf(name, nn.Flatten(1), x)
        return self.call(name, torch.reshape, x, shape)

    def finish(self, output: fx.Node) -> fx.GraphModule:
        """The canonical graph, common patterns fused into one leaf each.

        Raises: UnsupportedModelError naming what is left outside the vocabulary.
        """
        self._graph.output(output)
        result = fx.GraphModule(self._root, self._graph)
        result.graph.eliminate_dead_code()
        fuse(result)
        result.graph.eliminate_dead_code()
        result.graph.lint()
        result.recompile()
        result.delete_all_unused_submodules()
        used = {str(node.target) for node in result.graph.nodes if node.op == "get_attr"}
        for name in (*result._parameters, *result._buffers):
            if name not in used:  # what became a leaf's bias or norm
                delattr(result, name)
        for node in result.graph.nodes:
            if vocabulary.kind(result, node) == "other":
                raise UnsupportedModelError(
                    f"{node.meta.get('source', node.name)} stands alone, and the canonical graph has it only as part "
                    "of GELU; replace it there by an operation of the vocabulary (docs/models.md lists them)"
                )
        return result.eval()

    def _place(self, op: str, target: Any, args: Any, kwargs: Any, name: str, compute: Callable[..., Any]) -> fx.Node:
        first, second = (compute(*self._seen(args, side), **self._seen(kwargs, side)) for side in (0, 1))
        node = self._graph.create_node(op, target, args, kwargs, name=name)
        node.meta["source"] = self.source
        self._shadows[node] = (first, second)
        if isinstance(first, Tensor):
            if first.numel() > LARGEST:
                raise ModelError(f"gives {first.numel():,} numbers; no model for a phone computes with so many at once")
            node.meta["shape"] = tuple(first.shape)
        return node

    def _seen(self, arguments: Any, side: int) -> Any:
        return fx.map_arg(arguments, lambda node: self._shadows[node][side])


def _resolved(shape: Sequence[int], count: int) -> tuple[int, ...]:
    """-1 replaced by what is left of `count`."""
    rest = abs(math.prod(shape))
    return tuple(count // max(rest, 1) if d == -1 else int(d) for d in shape)


def _floats(array: np.ndarray) -> bool:
    return array.dtype.kind == "f"
