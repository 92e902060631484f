"""QuantizeStatic: integer weights, and activation grids whose ranges come from calibration images."""

import time
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, fx

from pocketlens.errors import ConfigError
from pocketlens.models.activation_grids import grid_row, insert_leaf, places
from pocketlens.models.canonical import clone
from pocketlens.models.frontier import QuantizedLayer
from pocketlens.models.grids import GridPlan
from pocketlens.models.integer_bias import round_biases
from pocketlens.models.quantization_plan import CALIBRATION_BATCH, QuantizationPlan
from pocketlens.types import Context, Fact, Json, Model, PassResult, Record, with_facts


@dataclass(frozen=True, kw_only=True)
class QuantizeStatic(QuantizationPlan):
    """Round weights and activations onto the integer grids of a scheme (Jacob et al. 2018, arXiv:1712.05877).

    Calibration images are streamed: memory does not grow with their number.

    Args:
        batch_size: images a forward pass.
        (the rest): see QuantizationPlan.
    """

    batch_size: int = CALIBRATION_BATCH

    requires: ClassVar[frozenset[Fact]] = frozenset({"folded"})
    forbids: ClassVar[frozenset[Fact]] = frozenset({"quantized", "half"})
    establishes: ClassVar[frozenset[Fact]] = frozenset({"quantized"})
    destroys: ClassVar[frozenset[Fact]] = frozenset()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size < 1:
            raise ConfigError(f"`batch_size` must be at least 1, got {self.batch_size}")

    def __call__(self, model: Model, context: Context) -> PassResult:
        """Return the model on integer grids."""
        start = time.perf_counter()
        result = clone(model)
        graph = result.graph
        plan = self.plan(result)
        found = self.calibrate(result, plan, context, self.batch_size)
        for node, point in places(plan):
            insert_leaf(graph, node, f"{node.name}_grid", found.grids[point].leaf())
        layers = tuple(self._quantize_layer(graph, node, plan) for node in plan.layers)
        round_biases(graph)
        graph.graph.lint()
        graph.recompile()
        graph.delete_all_unused_submodules()
        record = Record(
            name="QuantizeStatic",
            config=self.config(),
            summary={
                "layers": len(layers),
                "grids": len(plan.points),
                "calibration_images": found.images,
                "weight_sqnr_db": sum(x["weight_sqnr_db"] for x in layers) / len(layers),
            },
            layers=layers
            + tuple({"layer": p.name, "activation": grid_row(found.grids[p].leaf())} for p in plan.points),
            notes=(
                *(f"{x['layer']}: {x['dead_channels']} dead channels" for x in layers if x["dead_channels"]),
                *found.notes,
            ),
            seconds=time.perf_counter() - start,
        )
        facts = with_facts(model, add=self.establishes)
        return PassResult(Model(graph=graph, spec=model.spec, facts=facts), record)

    def _quantize_layer(self, graph: fx.GraphModule, node: fx.Node, plan: GridPlan) -> Json:
        """Replace one layer by its integer leaf."""
        layer = graph.get_submodule(str(node.target))
        if isinstance(layer, QuantizedLayer):
            return _layer_record(node, layer.weight, layer)  # a module called twice is quantized once
        leaf = self.rounded(graph, node, self.reach(plan, node))
        graph.set_submodule(str(node.target), leaf)
        weight = layer.weight
        assert isinstance(weight, Tensor)
        return _layer_record(node, weight.detach(), leaf)


def _layer_record(node: fx.Node, weight: Tensor, leaf: QuantizedLayer) -> Json:
    noise = (leaf.weight - weight).square().sum().clamp(min=1e-30)
    dead = int((weight.flatten(1).abs().amax(1) == 0).sum())
    return {
        "layer": node.name,
        "weight_sqnr_db": float(10 * torch.log10(weight.square().sum().clamp(min=1e-30) / noise)),
        "dead_channels": dead,
    }
