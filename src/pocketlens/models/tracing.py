"""Trace a module to a raw fx graph, and see what flows through it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from pocketlens.errors import UnsupportedModelError

_KEPT = (
    *(nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.Embedding),
)
"""Subclasses of these stay leaves, to be made plain afterwards: what pruning and folding need."""


class _Tracer(fx.Tracer):
    def __init__(self) -> None:
        super().__init__()
        self.failed: str | None = None

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:
            # The innermost module is the first to see it.
            self.failed = self.failed or f"{self.path_of_module(m)} ({type(m).__name__})"
            raise

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


def trace(module: nn.Module) -> fx.Graph:
    """Trace with subclasses of convolution, linear and norm as leaves.

    The raw graph is no GraphModule: a submodule of the original may be called `graph`, `code` or `class`, for which
    fx cannot generate code.

    Returns: a graph whose targets are paths within `module`.
    Raises: UnsupportedModelError naming the submodule whose control flow depends on its input.
    """
    tracer = _Tracer()
    try:
        return tracer.trace(module)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UnsupportedModelError(
            f"{tracer.failed or type(module).__name__} cannot be traced: {reason}. The forward pass must not branch on "
            "tensor values; rewrite that part, or replace it by modules of the vocabulary"
        ) from error


def observe(
    module: nn.Module, graph: fx.Graph, shape: tuple[int, ...], batches: tuple[int, int] = (2, 3)
) -> dict[fx.Node, Seen]:
    """Run a graph at two batch sizes and note what each node gives.

    Args:
        module: what the graph's targets are paths in; in evaluation mode.
        graph: to run.
        shape: (c, h, w) of an input.
        batches: two sizes; a graph that is already canonical is run once if they are equal.
    Raises: UnsupportedModelError naming the node that fails.
    """
    runs: list[dict[fx.Node, Any]] = []
    for batch in sorted(set(batches)):
        watcher = _Watcher(module, graph)
        generator = torch.Generator().manual_seed(0)
        with torch.inference_mode():
            watcher.run(torch.randn(batch, *shape, generator=generator))
        runs.append(watcher.seen)
    return {node: Seen(first, runs[-1].get(node)) for node, first in runs[0].items()}


class _Watcher(fx.Interpreter):
    def __init__(self, module: nn.Module, graph: fx.Graph) -> None:
        super().__init__(module, graph=graph)
        self.extra_traceback = False  # it would make many lines of the one that a user gets
        self.seen: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        try:
            value = super().run_node(n)
        except (RuntimeError, TypeError, ValueError, AssertionError) as error:
            reason = " ".join(str(error).split())[:160]
            raise UnsupportedModelError(
                f"{n.target} ({n.name}) fails on an input of the model's size: {reason}. Give the size that it was "
                "trained for"
            ) from error
        self.seen[n] = _noted(value)
        return value


def _noted(value: Any) -> Any:
    return Shape(value.shape) if isinstance(value, Tensor) else value


def _plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(_plain(v) for v in value)
    return value is None or isinstance(value, int | float | bool | str | torch.dtype | torch.device)
