"""QuantizeStatic: integer weights, and activation grids whose ranges come from calibration images."""

import time
from dataclasses import asdict, dataclass, field, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, fx, nn

from pocketlens.errors import ConfigError, DataError, ModelError
from pocketlens.models.canonical import clone
from pocketlens.models.grids import GridPlan, plan_grids
from pocketlens.ops import affine
from pocketlens.ops.observers import Observer, ObserverName, grid_parameters, observer, weight_scale
from pocketlens.ops.quantized import (
    QuantizedConv2d,
    QuantizedConvTranspose2d,
    QuantizeDequantize,
    QuantizedLinear,
)
from pocketlens.types import (
    Context,
    Fact,
    Json,
    Model,
    PassResult,
    Preprocessing,
    Record,
    Scheme,
    with_facts,
)


@dataclass(frozen=True, kw_only=True)
class QuantizeStatic:
    """Round weights and activations onto the integer grids of a scheme (Jacob et al. 2018, arXiv:1712.05877).

    Calibration images are streamed: memory does not grow with their number.

    Args:
        scheme: the target's numerics; "auto" is filled by `bind` from the target's probe.
        activations: how ranges are found: "minmax", "percentile" or "mse" (least squared error of a histogram).
        kept: for "percentile", the fraction of values inside the range.
        weights: "minmax", or "mse" (each range shrunk to its least squared error).
        granularity: of weights; "auto" takes the scheme's.
        keep_float: layers (names as `inspect` shows them) that stay in float.
        batch_size: images a forward pass.
    """

    scheme: Scheme | Literal["auto"] = field(default="auto", metadata={"bind": "scheme"})
    activations: ObserverName = "mse"
    kept: float = 0.9999
    weights: Literal["minmax", "mse"] = "minmax"
    granularity: Literal["auto", "per_channel", "per_tensor"] = "auto"
    keep_float: tuple[str, ...] = ()
    batch_size: int = 8

    requires: ClassVar[frozenset[Fact]] = frozenset({"folded"})
    forbids: ClassVar[frozenset[Fact]] = frozenset({"quantized", "half"})
    establishes: ClassVar[frozenset[Fact]] = frozenset({"quantized"})
    destroys: ClassVar[frozenset[Fact]] = frozenset()

    def __post_init__(self) -> None:
        observer(self.activations, self.kept)
        if self.weights not in ("minmax", "mse"):
            raise ConfigError(f"`weights` must be minmax or mse, got {self.weights!r}")
        if self.granularity not in ("auto", "per_channel", "per_tensor"):
            raise ConfigError(f"`granularity` must be auto, per_channel or per_tensor, got {self.granularity!r}")
        if self.batch_size < 1:
            raise ConfigError(f"`batch_size` must be at least 1, got {self.batch_size}")

    def __call__(self, model: Model, context: Context) -> PassResult:
        """Return the model on integer grids."""
        start = time.perf_counter()
        if isinstance(self.scheme, str):
            raise ConfigError('`scheme` is still "auto": bind the recipe to a target\'s profile first')
        if context.data.calibration is None:
            raise DataError("QuantizeStatic needs calibration images, got none: pass --calibration DIR or --data DIR")
        result = clone(model)
        graph = result.graph
        names = {n.name for n in graph.graph.nodes}
        if unknown := sorted(set(self.keep_float) - names):
            raise ConfigError(f"`keep_float` names layers that the model lacks: {', '.join(unknown)}")
        plan = plan_grids(graph, self.scheme, frozenset(self.keep_float))
        if not plan.layers:
            raise ModelError(
                f"no layer of {model.spec.name} computes in integers under scheme {self.scheme.name}; "
                f"it needs one of: {', '.join(sorted(self.scheme.operators))}"
            )
        observers = self._observe(graph, plan, model.spec.preprocessing, context)
        scale_of = self._insert_grids(graph, plan, observers, self.scheme)
        layers = tuple(self._quantize_layer(graph, node, self.scheme) for node in plan.layers)
        graph.graph.lint()
        graph.recompile()
        graph.delete_all_unused_submodules()
        record = Record(
            name="QuantizeStatic",
            config=asdict(replace(self, scheme="auto")) | {"scheme": self.scheme.name},
            summary={
                "layers": len(layers),
                "grids": len(plan.points),
                "calibration_images": len(context.data.calibration) - len(context.data.calibration.skipped),
                "weight_sqnr_db": sum(x["weight_sqnr_db"] for x in layers) / len(layers),
            },
            layers=layers + tuple({"layer": p.name, "activation": scale_of[p]} for p in plan.points),
            notes=tuple(f"{x['layer']}: {x['dead_channels']} dead channels" for x in layers if x["dead_channels"]),
            seconds=time.perf_counter() - start,
        )
        facts = with_facts(model, add=self.establishes)
        return PassResult(Model(graph=graph, spec=model.spec, facts=facts), record)

    def _observe(
        self, graph: fx.GraphModule, plan: GridPlan, preprocessing: Preprocessing, context: Context
    ) -> dict[fx.Node, Observer]:
        """Run the calibration images through, watching the planned points."""
        observers = {point: observer(self.activations, self.kept) for point in plan.points}
        calibration = context.data.calibration
        assert calibration is not None
        total = -(-len(calibration) // self.batch_size)
        batches = calibration.batches(preprocessing, self.batch_size)
        watcher = _Watcher(graph, observers)
        with torch.inference_mode():
            for batch in context.progress.track(batches, "calibrating", total):
                watcher.run(torch.from_numpy(batch.images).to(context.device))
        return observers

    def _insert_grids(
        self, graph: fx.GraphModule, plan: GridPlan, observers: dict[fx.Node, Observer], scheme: Scheme
    ) -> dict[fx.Node, Json]:
        """Put a QuantizeDequantize behind every point and every node that shares a point's grid."""
        grid, parameters = scheme.activation, {}
        for point in plan.points:
            low, high = observers[point].range(grid)
            floor = plan.floor.get(point, (-float("inf"), float("inf")))
            low, high = max(low, floor[0]), min(high, floor[1])
            scale, zero_point = grid_parameters(low, high, grid)
            parameters[point] = {"low": low, "high": high, "scale": scale, "zero_point": zero_point}
        for node in (*plan.points, *plan.shared):
            values = parameters[plan.shared.get(node, node)]
            name = f"{node.name}_grid"
            scale, zero_point = torch.tensor(values["scale"]), torch.tensor(values["zero_point"])
            leaf = QuantizeDequantize(scale, zero_point, grid.qmin, grid.qmax, grid.storage)
            graph.add_submodule(name, leaf)
            with graph.graph.inserting_after(node):
                inserted = graph.graph.create_node("call_module", name, (node,), name=name)
            node.replace_all_uses_with(inserted, delete_user_cb=lambda user, new=inserted: user is not new)
        return parameters

    def _quantize_layer(self, graph: fx.GraphModule, node: fx.Node, scheme: Scheme) -> Json:
        """Replace one layer by its integer leaf."""
        layer = graph.get_submodule(str(node.target))
        if isinstance(layer, QuantizedConv2d | QuantizedConvTranspose2d | QuantizedLinear):
            return _layer_record(node, layer.weight, layer)  # a module called twice is quantized once
        assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)
        centre = scheme.weight.zero_point or 0
        reach = min(scheme.weight.qmax - centre, centre - scheme.weight.qmin)
        granularity = scheme.granularity if self.granularity == "auto" else self.granularity
        per_channel = granularity == "per_channel" and not isinstance(layer, nn.ConvTranspose2d)
        weight = layer.weight.detach()
        if not torch.isfinite(weight).all():
            raise ModelError(f"the weight of {node.name} holds NaN or infinity; load sound weights")
        scale = weight_scale(weight, reach, 0 if per_channel else None, self.weights)
        codes = affine.quantize(weight, scale, -reach, reach)
        if isinstance(layer, nn.Conv2d):
            leaf = QuantizedConv2d.of(layer, codes, scale, scheme.weight.storage)
        elif isinstance(layer, nn.ConvTranspose2d):
            leaf = QuantizedConvTranspose2d.of(layer, codes, scale, scheme.weight.storage)
        else:
            leaf = QuantizedLinear.of(layer, codes, scale, scheme.weight.storage)
        graph.set_submodule(str(node.target), leaf)
        return _layer_record(node, weight, leaf)


class _Watcher(fx.Interpreter):
    """Runs a graph and shows chosen nodes' outputs to their observers."""

    def __init__(self, graph: fx.GraphModule, observers: dict[fx.Node, Observer]) -> None:
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


def _layer_record(
    node: fx.Node, weight: Tensor, leaf: QuantizedConv2d | QuantizedConvTranspose2d | QuantizedLinear
) -> Json:
    noise = (leaf.weight - weight).square().sum().clamp(min=1e-30)
    dead = int((weight.flatten(1).abs().amax(1) == 0).sum())
    return {
        "layer": node.name,
        "weight_sqnr_db": float(10 * torch.log10(weight.square().sum().clamp(min=1e-30) / noise)),
        "dead_channels": dead,
    }
