"""Integer arithmetic imitated in float, with gradients, for as long as a network is trained."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import fx, nn

from pocketlens.models.activation_grids import ActivationGrid, grid_row, insert_leaf
from pocketlens.models.batch_norm import fold_batch_norms
from pocketlens.models.codebooks import SharedCodes, tie
from pocketlens.models.frontier import QuantizedLayer
from pocketlens.models.integer_bias import round_biases
from pocketlens.models.starting_weights import LearnedWeight, StartingWeight
from pocketlens.ops.learned_step import RoundedActivation, Steps
from pocketlens.ops.quantized import QuantizeDequantize
from pocketlens.types import Json


@dataclass(frozen=True)
class StartingGrid:
    """An activation's grid before training.

    Args:
        name: of its leaf in the end.
        grid: as calibrated.
    """

    name: str
    grid: ActivationGrid


@dataclass(frozen=True, kw_only=True, eq=False)
class IntegerSimulation:
    """Rounds weights and activations of a graph that keeps its batch norms.

    A batch norm stays behind its layer while both learn. Where the weight has a scale a channel, it folds into that
    scale and into the signs of the codes afterwards, and folding changes nothing; so what is imitated here is the
    folded layer. A layer with one scale for all channels must have been folded before.

    Args:
        layers: module -> its weight to begin with.
        points: node -> its grid to begin with.
        shared: node -> the node among `points` whose grid it has.
        learned: whether steps learn, or stay.
        relative: what learns of the grids is counted in shares of where it starts, see `StartingWeight.hold`.
        freeze_batchnorm: after this share of the steps, batch norms keep their statistics.
    Reference: Jacob et al. 2018, arXiv:1712.05877, section 3.2; late freezing as in Krishnamoorthi 2018,
    arXiv:1806.08342, section 3.2.2.
    """

    layers: Mapping[str, StartingWeight]
    points: Mapping[str, StartingGrid]
    shared: Mapping[str, str]
    learned: bool
    freeze_batchnorm: float
    relative: bool = False

    def __str__(self) -> str:
        """All that decides what it computes, in few characters: the key of a run has it."""
        content = hashlib.sha256(f"{self.learned} {self.freeze_batchnorm} {self.points} {self.shared}".encode())
        for path, start in self.layers.items():
            content.update(f"{path} {start.reach} {start.leaf.storage}".encode())
            content.update(start.leaf.weight_scale.numpy().tobytes())
            if not isinstance(start, LearnedWeight):
                content.update(f"{type(start).__name__} {start.leaf.codebook}".encode())
        if self.relative:
            content.update(b"relative")
        return f"IntegerSimulation({content.hexdigest()})"

    @contextmanager
    def held(self, graph: fx.GraphModule) -> Iterator[None]:
        """Within the context `graph` rounds as it computes; afterwards its layers are integers, on learned grids.

        Whatever else parametrizes weights must be entered after, so that it is gone before.
        """
        by_name = {node.name: node for node in graph.graph.nodes}
        steps = {
            path: start.hold(graph, path, learned=self.learned, relative=self.relative)
            for path, start in self.layers.items()
        }
        tie(graph, {path: start for path, start in self.layers.items() if isinstance(start, SharedCodes)})
        for node, start in self.points.items():
            insert_leaf(graph, by_name[node], start.name, self._rounding(start.grid))
        graph.recompile()
        yield
        hardened = {path: start.harden(graph, path, steps[path]) for path, start in self.layers.items()}
        for path, layer in hardened.items():
            graph.set_submodule(path, layer)
        grids = {}
        for node, start in self.points.items():
            rounding = graph.get_submodule(start.name)
            assert isinstance(rounding, Steps)
            grids[node] = replace(start.grid, scale=float(rounding.value()))
            graph.set_submodule(start.name, grids[node].leaf())
        for node, point in self.shared.items():
            insert_leaf(graph, by_name[node], f"{node}_grid", grids[point].leaf())
        graph.graph.lint()
        graph.recompile()

    def before_forward(self, graph: fx.GraphModule, done: float) -> None:
        """Called with `graph` in training mode, `done` being the share of all steps so far."""
        for module in graph.modules():
            if isinstance(module, Steps):
                module.clamp_()
            elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and done >= self.freeze_batchnorm:
                module.eval()

    @property
    def bound(self) -> frozenset[str]:
        """Modules whose codes do not follow from a weight each: they are fixed, or shared. Zeros stay zeros there."""
        return frozenset(path for path, start in self.layers.items() if not isinstance(start, LearnedWeight))

    @property
    def is_narrow(self) -> bool:
        """Whether anything has fewer than 7 bits, or a grid fewer than 8."""
        few = (start.grid.form.qmax - start.grid.form.qmin < 255 for start in self.points.values())
        return any(start.reach < 63 for start in self.layers.values()) or any(few)

    def moved(self, graph: fx.GraphModule) -> dict[str, float]:
        """How far steps went, a share of where they started: module -> mean over its channels.

        Args:
            graph: as `held` leaves it, no more batch norms folded.
        """
        moved = {}
        for path, start in self.layers.items():
            layer = _layer(graph, path)
            moved[path] = float((layer.weight_scale / start.leaf.weight_scale - 1).abs().mean())
        for start in self.points.values():
            moved[start.name] = abs(float(_grid(graph, start.name).scale) / start.grid.scale - 1)
        return moved

    def rows(self, graph: fx.GraphModule, moved: Mapping[str, float]) -> tuple[Json, ...]:
        """For a record: a row for each layer and each grid of the finished `graph`."""
        rows: list[Json] = []
        for path in self.layers:
            codes = _layer(graph, path).codes
            dead = int((codes.flatten(1) == 0).all(1).sum())
            row = {"layer": path, "largest_code": int(codes.abs().max()), "dead_channels": dead}
            rows.append(row | {"weight_step_change": moved[path]})
        for start in self.points.values():
            row = {"layer": start.name.removesuffix("_grid"), "activation": grid_row(_grid(graph, start.name))}
            rows.append(row | {"activation_step_change": moved[start.name]})
        return tuple(rows)

    def _rounding(self, grid: ActivationGrid) -> RoundedActivation:
        form, steps, ceiling = grid.form, grid.form.qmax - grid.zero_point, grid.floor[1]
        largest = torch.tensor(ceiling / max(steps, 1))
        while float(largest) * steps > ceiling:  # in float32 the quotient may have been rounded up
            largest = torch.nextafter(largest, torch.zeros(()))
        start = torch.tensor(grid.scale)
        return RoundedActivation(
            start,
            grid.zero_point,
            form.qmin,
            form.qmax,
            unit=start if self.relative else None,
            largest=float(largest),
            learned=self.learned,
        )


def finish(graph: fx.GraphModule, keep: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """Fold, in place, what batch norms training has left, and round biases; the names of those that stay.

    Args:
        graph: as `IntegerSimulation.held` leaves it.
        keep: modules whose codes must stay: where a nearly dead channel needs a coarser scale for its bias, the codes
            would follow it, and leave the codebook.
    """
    _, kept = fold_batch_norms(graph)
    codes = {path: _layer(graph, path).codes for path in keep}
    for layer in graph.modules():
        if isinstance(layer, QuantizedLayer) and layer.bias is not None:
            layer.bias.requires_grad_(False)
    round_biases(graph)
    for path, own in codes.items():
        _layer(graph, path).codes = own
    return kept


def _layer(graph: fx.GraphModule, path: str) -> QuantizedLayer:
    layer = graph.get_submodule(path)
    assert isinstance(layer, QuantizedLayer)
    return layer


def _grid(graph: fx.GraphModule, name: str) -> QuantizeDequantize:
    leaf = graph.get_submodule(name)
    assert isinstance(leaf, QuantizeDequantize)
    return leaf
