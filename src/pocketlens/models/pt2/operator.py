"""One ATen node as its builder sees it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import fx, nn

from pocketlens.errors import UnsupportedModelError
from pocketlens.models.assembly import Assembly, Known, Value
from pocketlens.models.filled import filled


@dataclass(frozen=True, kw_only=True)
class AtenOperator:
    """A node with its arguments, and the assembly that its builder adds to.

    Args:
        target: for example "aten.conv2d.default".
        arguments: by name in ATen's schema; tensors and sizes of the graph are Values, the rest plain Python.
        assembly: the canonical graph so far.
        name: of the layer: after its weight, else the node's own.
        key: layers of equal key are one layer that is called twice; None where the node has no weight.
    """

    target: str
    arguments: dict[str, Any]
    assembly: Assembly
    name: str
    key: Any

    @property
    def x(self) -> fx.Node:
        """The tensor that it is called on."""
        return self.node(next(iter(self.arguments)))

    def node(self, argument: str) -> fx.Node:
        """An argument as a tensor of the graph."""
        return self.assembly.node(f"{self.name}_{argument}", self.arguments[argument])

    def get(self, argument: str, default: Any = None) -> Any:
        """An argument that is plain Python."""
        value = self.arguments.get(argument, default)
        if isinstance(value, fx.Node | Known):
            raise self.unsupported(f"whose {argument} is computed while it runs")
        return value

    def pair(self, argument: str, default: Any) -> tuple[int, int]:
        """One number for height and width, or two."""
        value = self.get(argument, None)
        value = default if value in (None, []) else value
        value = [value, value] if isinstance(value, int) else list(value) * (2 if len(value) == 1 else 1)
        return int(value[0]), int(value[1])

    def array(self, argument: str) -> np.ndarray | None:
        """A weight, None when it was left out."""
        value = self.arguments.get(argument)
        if value is None:
            return None
        if not isinstance(value, Known) or not value.constant:
            raise self.unsupported(f"whose {argument} is computed while it runs")
        return value.first

    def dim(self, argument: str, default: int) -> int:
        """A dimension, counted from the front."""
        return int(self.get(argument, default)) % self.assembly.rank(self.x)

    def sizes(self, argument: str) -> tuple[list[int], list[int]]:
        """A list of sizes at both batch sizes."""
        values = self.arguments[argument]
        sides = [(v.first, v.second) if isinstance(v, Known) else (v, v) for v in values]
        return [int(a) for a, _ in sides], [int(b) for _, b in sides]

    def leaf(self, leaf: nn.Module, **arrays: np.ndarray | None) -> fx.Node:
        """Call a leaf that holds these arrays."""
        key = None if self.key is None else (self.key, repr(leaf))
        return self.assembly.leaf(self.name, filled(leaf, **arrays), self.x, key)

    def call(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """Call a function of the vocabulary."""
        return self.assembly.call(self.name, target, *args, **kwargs)

    def unsupported(self, how: str) -> UnsupportedModelError:
        """The error that names this node."""
        return UnsupportedModelError(f"{self.target} {how} cannot be expressed in the canonical graph")


Builder = Callable[[AtenOperator], Value | Sequence[Value]]
"""Adds a node's meaning to the assembly; gives its output, or one for each."""
