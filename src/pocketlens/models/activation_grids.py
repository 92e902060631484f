"""Activation grids of a graph: their numbers, found by watching it run, and the leaves that round onto them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from pocketlens.errors import DataError
from pocketlens.models.grids import GridPlan
from pocketlens.ops.observers import Observer, grid_parameters
from pocketlens.ops.quantized import QuantizeDequantize
from pocketlens.types import ImageSet, IntegerFormat, Json, Preprocessing, Progress


@dataclass(frozen=True, kw_only=True)
class ActivationGrid:
    """A grid with its numbers.

    Args:
        form: the integers.
        scale: real size of a step, > 0.
        zero_point: the integer that stands for 0.
        floor: what no value leaves, for example (0, 6).
    """

    form: IntegerFormat
    scale: float
    zero_point: int
    floor: tuple[float, float] = (-float("inf"), float("inf"))

    @classmethod
    def covering(cls, low: float, high: float, form: IntegerFormat, floor: tuple[float, float]) -> "ActivationGrid":
        """The grid of [low, high], as far as that lies within `floor`."""
        scale, zero_point = grid_parameters(max(low, floor[0]), min(high, floor[1]), form)
        return cls(form=form, scale=scale, zero_point=zero_point, floor=floor)

    def leaf(self) -> QuantizeDequantize:
        """What rounds onto it."""
        form = self.form
        return QuantizeDequantize(
            torch.tensor(self.scale), torch.tensor(self.zero_point), form.qmin, form.qmax, form.storage
        )


def watch(
    graph: fx.GraphModule,
    observers: Mapping[fx.Node, Observer],
    images: ImageSet,
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    device: str,
    progress: Progress,
) -> bool:
    """Run images through and show chosen nodes' outputs to their observers; memory does not grow with the images.

    Returns: whether all images are the same.
    Raises: DataError naming the node that gave NaN or infinity.
    """
    total = -(-len(images) // batch_size)
    watcher = _Watcher(graph, observers)
    first, alike = None, True
    with torch.inference_mode():
        for batch in progress.track(images.batches(preprocessing, batch_size), "calibrating", total):
            watcher.run(torch.from_numpy(batch.images).to(device))
            first = batch.images[:1] if first is None else first
            alike = alike and bool((batch.images == first).all())
    return alike


def grid_row(leaf: QuantizeDequantize) -> Json:
    """For a record: the numbers of a grid, and the range that follows from them."""
    scale, zero_point = float(leaf.scale), int(leaf.zero_point)
    low, high = ((q - zero_point) * scale for q in (leaf.qmin, leaf.qmax))
    levels = leaf.qmax - leaf.qmin + 1
    return {"low": low, "high": high, "scale": scale, "zero_point": zero_point, "levels": levels}


def places(plan: GridPlan) -> Iterator[tuple[fx.Node, fx.Node]]:
    """Every node that gets a grid behind it, with the point whose numbers it has."""
    for node in (*plan.points, *plan.shared):
        yield node, plan.shared.get(node, node)


def insert_leaf(graph: fx.GraphModule, node: fx.Node, name: str, leaf: nn.Module) -> None:
    """Put `leaf`, called `name`, between `node` and all that read it."""
    graph.add_submodule(name, leaf)
    with graph.graph.inserting_after(node):
        inserted = graph.graph.create_node("call_module", name, (node,), name=name)
    node.replace_all_uses_with(inserted, delete_user_cb=lambda user: user is not inserted)


class _Watcher(fx.Interpreter):
    def __init__(self, graph: fx.GraphModule, observers: Mapping[fx.Node, Observer]) -> None:
        super().__init__(graph)
        self._observers = observers

    def run_node(self, n: fx.Node) -> Tensor:
        value = super().run_node(n)
        if n in self._observers:
            try:
                self._observers[n].update(value)
            except DataError as error:
                raise DataError(f"{error}, in {n.name} while calibrating; check weights and images") from error
        return value
