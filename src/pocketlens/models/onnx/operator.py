"""One ONNX node as its builder sees it."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from torch import fx, nn

from pocketlens.errors import UnsupportedModelError
from pocketlens.models.assembly import Assembly, Known, Value


@dataclass(frozen=True, kw_only=True)
class Operator:
    """A node with its inputs, and the assembly that its builder adds to.

    Args:
        proto: the node.
        inputs: their values; None for one that was left out.
        attributes: by name.
        opset: of the file.
        assembly: the canonical graph so far.
        name: of the layer: after its weight, else the node's own, else its output's.
    """

    proto: onnx.NodeProto
    inputs: tuple[Value | None, ...]
    attributes: dict[str, Any]
    opset: int
    assembly: Assembly
    name: str

    @property
    def kind(self) -> str:
        """Its ONNX operator."""
        return self.proto.op_type

    @property
    def x(self) -> fx.Node:
        """The first input, as a tensor of the graph."""
        return self.node(0)

    def value(self, place: int) -> Value:
        """An input that must be there."""
        value = self.optional(place)
        if value is None:
            raise self.unsupported(f"without its input {place}")
        return value

    def optional(self, place: int) -> Value | None:
        """An input, None when it was left out."""
        return self.inputs[place] if place < len(self.inputs) else None

    def node(self, place: int) -> fx.Node:
        """An input as a tensor of the graph."""
        return self.assembly.node(f"{self.name}_input", self.value(place))

    def constant(self, place: int, what: str) -> np.ndarray:
        """An input that must be the same for each image and batch."""
        found = self.optional_constant(place, what)
        if found is None:
            raise self.unsupported(f"without {what}")
        return found

    def optional_constant(self, place: int, what: str) -> np.ndarray | None:
        """A constant input, None when it was left out."""
        value = self.optional(place)
        if value is None:
            return None
        if not isinstance(value, Known) or not value.constant:
            raise self.unsupported(f"whose {what} is computed while it runs")
        return value.first

    def numbers(self, attribute: str, place: int, what: str) -> list[int] | None:
        """Whole numbers that older opsets hold in an attribute and newer ones in an input."""
        if attribute in self.attributes:
            return [int(v) for v in self.attributes[attribute]]
        found = self.optional_constant(place, what)
        return None if found is None else [int(v) for v in found.reshape(-1)]

    def get(self, attribute: str, default: Any) -> Any:
        """An attribute or its default."""
        return self.attributes.get(attribute, default)

    def only(self, attribute: str, *allowed: Any) -> None:
        """Refuse an attribute that is there and not one of `allowed`."""
        if attribute in self.attributes and self.attributes[attribute] not in allowed:
            raise self.unsupported(f"with {attribute}={self.attributes[attribute]!r}")

    def axis(self, default: int = 0) -> int:
        """`axis`, counted from the front."""
        return int(self.get("axis", default)) % max(self.assembly.rank(self.x), 1)

    def leaf(self, leaf: nn.Module, x: fx.Node | None = None, *, weights: Sequence[int] = ()) -> fx.Node:
        """Call a leaf; operators that read the same weights (inputs of these places) in the same way are one leaf."""
        key = None
        if weights and self.proto.input[weights[0]]:
            names = tuple(self.proto.input[place] for place in weights if place < len(self.proto.input))
            key = (self.kind, names, repr(leaf))
        return self.assembly.leaf(self.name, leaf, self.x if x is None else x, key)

    def call(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """Call a function of the vocabulary."""
        return self.assembly.call(self.name, target, *args, **kwargs)

    def binary(self, target: Callable[..., Any], a: Value, b: Value) -> fx.Node:
        """An arithmetic operator of two values."""
        return self.call(target, *self.assembly.operands(self.name, a, b))

    def scaled(self, x: fx.Node, factor: float, shift: float = 0.0) -> fx.Node:
        """X * factor + shift, leaving out what changes nothing."""
        x = x if factor == 1 else self.call(operator.mul, x, factor)
        return x if shift == 0 else self.call(operator.add, x, shift)

    def unsupported(self, how: str) -> UnsupportedModelError:
        """The error that names this node."""
        return UnsupportedModelError(f"{self.kind} {how} cannot be expressed in the canonical graph")


Builder = Callable[[Operator], Value | Sequence[Value]]
"""Adds a node's meaning to the assembly; gives its output, or one for each."""
