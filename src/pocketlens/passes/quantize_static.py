"""QuantizeStatic: integer weights, and activation grids whose ranges come from calibration images."""

import time
from collections.abc import Mapping
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
from pocketlens.models.integer_layers import FloatLayer
from pocketlens.models.quantization_plan import CALIBRATION_BATCH, QuantizationPlan
from pocketlens.models.ties import make_room_for_biases, proportional_layers, with_codes_of
from pocketlens.types import Context, Fact, Json, Model, PassResult, Record, with_facts

_UNTIED = (
    "no tied layers have the same codes, so each is stored on its own: give weights a scale a channel, and tied layers "
    "as many bits as one another"
)


@dataclass(frozen=True, kw_only=True)
class QuantizeStatic(QuantizationPlan):
    """Round weights and activations onto the integer grids of a scheme (Jacob et al. 2018, arXiv:1712.05877).

    Calibration images are streamed: memory does not grow with their number. Tied layers get the same codes, each with
    scales of its own; where they cannot (one is kept in float, has fewer bits, or one scale for all channels), the
    record says so, and where none do, the model is no longer tied.

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
        alike = self._alike(graph, plan) if "tied" in model.facts else {}
        layers = tuple(self._quantize_layer(graph, node, plan, alike) for node in plan.layers)
        make_room_for_biases(graph, {n for node, (first, _) in alike.items() for n in (node, first)})
        round_biases(graph)
        tied = _with_equal_codes(graph, alike)
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
                **({"layers_with_codes_of_others": len(tied)} if "tied" in model.facts else {}),
            },
            layers=tuple(row | tied.get(row["layer"], {}) for row in layers)
            + tuple({"layer": p.name, "activation": grid_row(found.grids[p].leaf())} for p in plan.points),
            notes=(
                *(f"{x['layer']}: {x['dead_channels']} dead channels" for x in layers if x["dead_channels"]),
                *found.notes,
                *((_UNTIED,) if "tied" in model.facts and not tied else ()),
            ),
            seconds=time.perf_counter() - start,
        )
        facts = with_facts(model, add=self.establishes, drop=() if tied else ("tied",))
        return PassResult(Model(graph=graph, spec=model.spec, facts=facts), record)

    def _alike(self, graph: fx.GraphModule, plan: GridPlan) -> dict[fx.Node, tuple[fx.Node, Tensor]]:
        return proportional_layers(graph, {node: self.reach(plan, node) for node in plan.layers})

    def _quantize_layer(
        self, graph: fx.GraphModule, node: fx.Node, plan: GridPlan, alike: Mapping[fx.Node, tuple[fx.Node, Tensor]]
    ) -> Json:
        """Replace one layer by its integer leaf, with the codes of the layer that it is tied to where that can be."""
        layer = graph.get_submodule(str(node.target))
        if isinstance(layer, QuantizedLayer):
            return _layer_record(node, layer.weight, layer)  # a module called twice is quantized once
        leaf = None
        if node in alike:
            first, ratio = alike[node]
            assert isinstance(layer, FloatLayer)
            leaf = with_codes_of(_coded(graph, first), layer, ratio)
        leaf = leaf or self.rounded(graph, node, self.reach(plan, node))
        graph.set_submodule(str(node.target), leaf)
        weight = layer.weight
        assert isinstance(weight, Tensor)
        return _layer_record(node, weight.detach(), leaf)


def _with_equal_codes(graph: fx.GraphModule, alike: Mapping[fx.Node, tuple[fx.Node, Tensor]]) -> dict[str, Json]:
    """For the record: which layers have the codes of another."""
    pairs = ((node, first) for node, (first, _) in alike.items())
    return {
        node.name: {"codes_of": first.name}
        for node, first in pairs
        if torch.equal(_coded(graph, node).codes, _coded(graph, first).codes)
    }


def _coded(graph: fx.GraphModule, node: fx.Node) -> QuantizedLayer:
    leaf = graph.get_submodule(str(node.target))
    assert isinstance(leaf, QuantizedLayer)
    return leaf


def _layer_record(node: fx.Node, weight: Tensor, leaf: QuantizedLayer) -> Json:
    noise = (leaf.weight - weight).square().sum().clamp(min=1e-30)
    dead = int((weight.flatten(1).abs().amax(1) == 0).sum())
    return {
        "layer": node.name,
        "weight_sqnr_db": float(10 * torch.log10(weight.square().sum().clamp(min=1e-30) / noise)),
        "dead_channels": dead,
    }
