"""From an integer graph back to a float one on the same weights, with all that it takes to round it as it was."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import fx, nn

from pocketlens.models import vocabulary
from pocketlens.models.activation_grids import ActivationGrid
from pocketlens.models.canonical import clone
from pocketlens.models.codebooks import shared_codes
from pocketlens.models.frontier import QuantizedLayer
from pocketlens.models.grids import value_bounds, without_grids
from pocketlens.models.integer_layers import FloatLayer
from pocketlens.models.simulation import IntegerSimulation, StartingGrid
from pocketlens.models.starting_weights import FixedCodes, LearnedWeight, StartingWeight, largest_code
from pocketlens.ops.quantized import QuantizedConv2d, QuantizedConvTranspose2d, QuantizeDequantize
from pocketlens.types import IntegerFormat, Model

_MOVES = frozenset({"pad", "max_pool", "global_max_pool", "adaptive_max_pool", "flatten", "dropout", "reshape"})
"""Kinds that only move values: a grid behind one that is as the grid before it is the same grid."""


@dataclass(frozen=True)
class _Grids:
    points: dict[str, StartingGrid]
    shared: dict[str, str]


def unrounded(
    model: Model, *, codes: Literal["learned", "fixed"], learned: bool, relative: bool
) -> tuple[Model, IntegerSimulation]:
    """The float model that computes with the dequantized weights, and what makes it compute as `model` does.

    Args:
        model: quantized; left as it is.
        codes: "learned": weights will learn, where they share a codebook its entries; "fixed": they stay.
        learned: whether steps will learn.
        relative: see `models.simulation.IntegerSimulation`.
    """
    grids = _grids(model.graph)
    layers = _starting_weights(model, codes)
    result = without_grids(clone(model))
    for path, start in layers.items():
        result.graph.set_submodule(path, float_layer(start.leaf))
    simulation = IntegerSimulation(
        layers=layers,
        points=grids.points,
        shared=grids.shared,
        learned=learned,
        freeze_batchnorm=0.0,
        relative=relative,
    )
    return result, simulation


def _starting_weights(model: Model, codes: Literal["learned", "fixed"]) -> Mapping[str, StartingWeight]:
    """Module, in graph order -> what will learn of its weight."""
    called = dict.fromkeys(str(n.target) for n in model.graph.graph.nodes if n.op == "call_module")
    leaves = {name: model.graph.get_submodule(name) for name in called}
    clustered = "clustered" in model.facts
    shared = shared_codes(model.graph) if clustered and codes == "learned" else {}
    found: dict[str, StartingWeight] = {}
    for name, leaf in leaves.items():
        if isinstance(leaf, QuantizedLayer):
            free = FixedCodes(leaf) if codes == "fixed" else LearnedWeight(leaf, largest_code(leaf))
            found[name] = shared.get(name, free)
    return found


def float_layer(leaf: QuantizedLayer) -> FloatLayer:
    """The layer on its dequantized weights, ready to learn."""
    codes, bias = leaf.codes, leaf.bias is not None
    kernel = codes.shape[-2], codes.shape[-1]
    if isinstance(leaf, QuantizedConv2d):
        layer = nn.Conv2d(
            codes.shape[1] * leaf.groups, codes.shape[0], kernel, leaf.stride, leaf.padding,
            leaf.dilation, leaf.groups, bias,
        )  # fmt: skip
    elif isinstance(leaf, QuantizedConvTranspose2d):
        layer = nn.ConvTranspose2d(
            codes.shape[0], codes.shape[1] * leaf.groups, kernel, leaf.stride, leaf.padding,
            leaf.output_padding, leaf.groups, bias, leaf.dilation,
        )  # fmt: skip
    else:
        layer = nn.Linear(codes.shape[1], codes.shape[0], bias)
    layer.weight = nn.Parameter(leaf.weight.detach().clone())
    if leaf.bias is not None:
        layer.bias = nn.Parameter(leaf.bias.detach().clone())
    return layer.eval()


def _grids(graph: fx.GraphModule) -> _Grids:
    """Every grid of an integer graph, by the node before it; those that repeat another, by that one's."""
    points: dict[str, StartingGrid] = {}
    shared: dict[str, str] = {}
    for node in graph.graph.nodes:
        leaf = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
        if not isinstance(leaf, QuantizeDequantize):
            continue
        before = node.all_input_nodes[0]
        origin = _origin(graph, before)
        if origin is not None and _alike(graph, origin, leaf):
            source = origin.all_input_nodes[0].name
            shared[before.name] = shared.get(source, source)
        else:
            form = IntegerFormat(storage="uint8" if leaf.storage == "uint8" else "int8", qmin=leaf.qmin, qmax=leaf.qmax)
            floor = value_bounds(graph, before) or (-float("inf"), float("inf"))
            scale, zero_point = float(leaf.scale), int(leaf.zero_point)
            grid = ActivationGrid(form=form, scale=scale, zero_point=zero_point, floor=floor)
            points[before.name] = StartingGrid(node.name, grid)
    return _Grids(points, shared)


def _origin(graph: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """The grid that a value comes from, moved at most."""
    while vocabulary.kind(graph, node) in _MOVES and node.all_input_nodes:
        node = node.all_input_nodes[0]
    return node if vocabulary.kind(graph, node) == "quantize" else None


def _alike(graph: fx.GraphModule, origin: fx.Node, leaf: QuantizeDequantize) -> bool:
    other = graph.get_submodule(str(origin.target))
    assert isinstance(other, QuantizeDequantize)
    return float(other.scale) == float(leaf.scale) and int(other.zero_point) == int(leaf.zero_point)
