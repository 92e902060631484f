"""How a model goes onto integer grids: the fields that the passes which put it there share, and the numbers."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, cast

from torch import fx

from pocketlens.errors import ConfigError, DataError, ModelError
from pocketlens.models import vocabulary
from pocketlens.models.activation_grids import ActivationGrid, watch
from pocketlens.models.frontier import QuantizedLayer
from pocketlens.models.grids import GridPlan, plan_grids
from pocketlens.models.integer_layers import FloatLayer, integer_layer, reach_of
from pocketlens.ops.observers import ObserverName, observer
from pocketlens.types import Context, IntegerFormat, Json, Model, Scheme

CALIBRATION_BATCH = 8
"""Images a forward pass, where a pass has no field for it."""

ALIKE = "all calibration images are the same: ranges fit that one only; give photos like those that the model will meet"

_EVERYTHING = (-float("inf"), float("inf"))


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """What calibration found.

    Args:
        grids: of every point.
        images: how many were read.
        notes: sentences for the reader.
    """

    grids: dict[fx.Node, ActivationGrid]
    images: int
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class QuantizationPlan:
    """The fields that every pass shares which rounds weights and activations.

    Args:
        scheme: the target's numerics; "auto" is filled by `bind` from the target's probe.
        activations: how ranges are found: "minmax", "percentile" or "mse" (least squared error of a histogram).
        kept: for "percentile", the fraction of values inside the range.
        weights: "minmax", or "mse" (each range shrunk to its least squared error).
        granularity: of weights; "auto" takes the scheme's.
        weight_bits: 2 to 8, never more than the scheme has; None for as many as it has. Fewer save download only:
            the integers are stored and computed in 8 bits.
        activation_bits: of what convolutions and linear layers read, 2 to 8; None for the scheme's. What is only
            added up keeps the scheme's.
        edge_bits: of weights and inputs of the first and the last layer, where most is lost; None for as the others.
        keep_float: layers (names as `inspect` shows them) that stay in float.
    """

    scheme: Scheme | Literal["auto"] = field(default="auto", metadata={"bind": "scheme"})
    activations: ObserverName = "mse"
    kept: float = 0.9999
    weights: Literal["minmax", "mse"] = "minmax"
    granularity: Literal["auto", "per_channel", "per_tensor"] = "auto"
    weight_bits: int | None = None
    activation_bits: int | None = None
    edge_bits: int | None = None
    keep_float: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        observer(self.activations, self.kept)
        if self.weights not in ("minmax", "mse"):
            raise ConfigError(f"`weights` must be minmax or mse, got {self.weights!r}")
        if self.granularity not in ("auto", "per_channel", "per_tensor"):
            raise ConfigError(f"`granularity` must be auto, per_channel or per_tensor, got {self.granularity!r}")
        for name in ("weight_bits", "activation_bits", "edge_bits"):
            bits = getattr(self, name)
            if bits is not None and (type(bits) is not int or not 2 <= bits <= 8):
                raise ConfigError(f"`{name}` must be from 2 to 8, or left out for the scheme's, got {bits!r}")

    @property
    def numerics(self) -> Scheme:
        """The scheme. Raises ConfigError while it is still "auto"."""
        if isinstance(self.scheme, str):
            raise ConfigError('`scheme` is still "auto": bind the recipe to a target\'s profile first')
        return self.scheme

    def config(self) -> Json:
        """The fields for a record, the scheme by its name."""
        own = cast(Any, self)
        return asdict(replace(own, scheme="auto")) | {"scheme": self.numerics.name}

    def plan(self, model: Model) -> GridPlan:
        """Where the grids go.

        Args:
            model: batch norms folded.
        Raises: ConfigError when `keep_float` names what is not there; ModelError when nothing computes in integers.
        """
        names = {n.name for n in model.graph.graph.nodes}
        if unknown := sorted(set(self.keep_float) - names):
            raise ConfigError(f"`keep_float` names layers that the model lacks: {', '.join(unknown)}")
        plan = plan_grids(model.graph, self.numerics, frozenset(self.keep_float))
        if not plan.layers:
            raise ModelError(
                f"no layer of {model.spec.name} computes in integers under scheme {self.numerics.name}; "
                f"it needs one of: {', '.join(sorted(self.numerics.operators))}"
            )
        return plan

    def calibrate(
        self, model: Model, plan: GridPlan, context: Context, batch_size: int = CALIBRATION_BATCH
    ) -> Calibrated:
        """The grid of every point, from what it gives on calibration images.

        Args:
            model: in float, batch norms folded; `plan` is of its graph.
            plan: of `plan`.
            context: its calibration images are streamed: memory does not grow with their number.
            batch_size: images a forward pass.
        Raises: DataError without calibration images, or when activations are not finite.
        """
        images = context.data.calibration
        if images is None:
            raise DataError("ranges come from calibration images, got none: pass --calibration DIR or --data DIR")
        observers = {point: observer(self.activations, self.kept) for point in plan.points}
        alike = watch(
            model.graph,
            observers,
            images,
            model.spec.preprocessing,
            batch_size=batch_size,
            device=context.device,
            progress=context.progress,
        )
        grids = {}
        for point, seen in observers.items():
            form = self._form(plan, point)
            floor = plan.floor.get(point, _EVERYTHING)
            low, high = plan.fixed.get(point) or seen.range(form)
            grids[point] = ActivationGrid.covering(low, high, form, floor)
        read = len(images) - len(images.skipped)
        return Calibrated(grids=grids, images=read, notes=(ALIKE,) if alike else ())

    def rounded(self, graph: fx.GraphModule, node: fx.Node, reach: int) -> QuantizedLayer:
        """The layer that `node` calls on integers, each weight rounded to the nearest; see `integer_layer`."""
        layer, kind = graph.get_submodule(str(node.target)), vocabulary.kind(graph, node)
        assert isinstance(layer, FloatLayer)
        scheme = self.numerics
        granularity = scheme.granularity if self.granularity == "auto" else self.granularity
        return integer_layer(
            layer,
            node.name,
            reach=reach,
            per_channel=granularity == "per_channel" and kind not in scheme.per_tensor,
            ranges=self.weights,
            storage=scheme.weight.storage,
        )

    def reach(self, plan: GridPlan, layer: fx.Node) -> int:
        """The largest weight code of a layer."""
        form = self.numerics.weight
        centre = form.zero_point or 0
        own = min(form.qmax - centre, centre - form.qmin)
        bits = self.edge_bits if layer in plan.edge_layers and self.edge_bits else self.weight_bits
        return own if bits is None else min(own, reach_of(bits))

    def _form(self, plan: GridPlan, point: fx.Node) -> IntegerFormat:
        """The integers of a point's grid."""
        form = self.numerics.activation
        bits = self.activation_bits if point in plan.multiplied else None
        if point in plan.edge_points and self.edge_bits:
            bits = self.edge_bits
        if bits is None:
            return form
        if form.zero_point is None:
            return replace(form, qmax=min(form.qmax, form.qmin + 2**bits - 1))
        low, high = form.zero_point - 2 ** (bits - 1), form.zero_point + 2 ** (bits - 1) - 1
        return replace(form, qmin=max(form.qmin, low), qmax=min(form.qmax, high))
