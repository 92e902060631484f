"""Trace a module to a raw fx graph, and see what flows through it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from pocketlens.errors import UnsupportedModelError

_KEPT = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d, nn.Embedding)
"""Subclasses of these stay leaves, to be made plain afterwards: what pruning and folding need."""


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, _KEPT) or super().is_leaf_module(m, module_qualified_name)


@dataclass(frozen=True)
class Seen:
    """What a node gave for two batch sizes.

    Args:
        first: a shape (torch.Size) for a tensor, the value itself for anything else.
        second: the same for the other batch size.
    """

    first: Any
    second: Any

    @property
    def constant(self) -> bool:
        """Whether it is no tensor and does not depend on the batch size."""
        return not isinstance(self.first, Shape) and _plain(self.first) and self.first == self.second


class Shape(tuple):
    """The shape of a tensor, told apart from a tuple of numbers that the graph computes."""


def trace(module: nn.Module) -> fx.GraphModule:
    """Trace with subclasses of convolution, linear and norm as leaves.

    Raises: UnsupportedModelError when the module's control flow depends on its input.
    """
    tracer = _Tracer(autowrap_functions=_wrapped_functions())
    try:
        graph = tracer.trace(module)
    except Exception as error:
        where = " ".join(str(error).split())[:200]
        raise UnsupportedModelError(
            f"{type(module).__name__} cannot be traced: {where}. The forward pass must not branch on tensor values; "
            "rewrite that part, or wrap it in a module of the vocabulary"
        ) from error
    return fx.GraphModule(module, graph)


def observe(graph: fx.GraphModule, shape: tuple[int, ...], batches: tuple[int, int] = (2, 3)) -> dict[fx.Node, Seen]:
    """Run the graph at two batch sizes and note what each node gives.

    Args:
        graph: in evaluation mode.
        shape: (c, h, w) of an input.
        batches: two sizes.
    Raises: UnsupportedModelError naming the node that fails.
    """
    runs = []
    for batch in batches:
        watcher = _Watcher(graph)
        generator = torch.Generator().manual_seed(0)
        with torch.inference_mode():
            watcher.run(torch.randn(batch, *shape, generator=generator))
        runs.append(watcher.seen)
    return {node: Seen(runs[0][node], runs[1].get(node)) for node in runs[0]}


class _Watcher(fx.Interpreter):
    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.seen: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        try:
            value = super().run_node(n)
        except (RuntimeError, TypeError, ValueError, AssertionError) as error:
            reason = " ".join(str(error).split())[:160]
            raise UnsupportedModelError(
                f"{n.target} ({n.name}) fails on an input of the model's size: {reason}"
            ) from error
        self.seen[n] = _noted(value)
        return value


def _noted(value: Any) -> Any:
    return Shape(value.shape) if isinstance(value, Tensor) else value


def _plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(_plain(v) for v in value)
    return value is None or isinstance(value, int | float | bool | str | torch.dtype | torch.device)


def _wrapped_functions() -> tuple[Callable[..., Any], ...]:
    """Functions that timm says must not be traced into, where timm is there."""
    try:
        from timm.models import _features_fx
    except ImportError:
        return ()
    return tuple(_features_fx.get_notrace_functions())
