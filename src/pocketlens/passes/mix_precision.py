"""MixPrecision: fewer bits for the weights of each layer, chosen together so that the output suffers least."""

import math
import time
from dataclasses import asdict, dataclass, field, replace
from typing import ClassVar, Literal

from pocketlens.errors import ConfigError, DataError
from pocketlens.models.cost import layer_costs
from pocketlens.models.grids import drop_idle_grids, grids_by_operator
from pocketlens.models.integer_layers import DOWNLOAD_ONLY, Ranges, float_layers, quantized_layers
from pocketlens.models.sensitivity import noise_power, sensitivity
from pocketlens.models.widths import Widths
from pocketlens.ops.integer_programme import choose_released
from pocketlens.types import Context, Fact, ImageSet, Json, Model, PassResult, Record, Scheme


@dataclass(frozen=True, kw_only=True)
class MixPrecision:
    """Give each layer's weights 2 to 8 bits so that the output suffers least under a bound on the download.

    What a layer does to the output at each width, all else in float, is measured on calibration images, as the power
    of the noise that it adds; powers of different layers nearly add up. What it weighs is measured too, by packing it.
    An integer programme then chooses all widths at once. Weights are rounded anew from the float network, so this
    stands directly behind QuantizeStatic, and what repairs rounding (RoundAdaptively, MatchMoments) behind it.

    Fewer bits buy download and nothing else: codes stay 8-bit integers, in memory and in the arithmetic.

    The bound is on the codes and scales of these layers as a bundle packs them; repairs behind it move that by a few
    percent. A bundle also holds biases (integers for one graph, floats for the other), layers whose weights are no
    integers, the two graphs and its manifest.

    Args:
        max_size_mb: the bound in megabytes (10^6 bytes), or 0.
        max_bits_per_weight: the bound as packed bits a weight, on average, or 0; exactly one of the two is given.
        bits: the widths to choose from, 2 to 8. A layer that has no more levels than a width is left as it is there.
        weights: how the grid of a narrower weight is found: "minmax", or "mse" (least squared error), far better
            below 7 bits.
        images: calibration images that the harm is measured on.
        float_macs: the share of all multiply-accumulates whose layers may read and give floats: grids that only they
            need go, those that do most harm. Such a layer computes in float, and in the `int8` graph dequantizes its
            weights at every inference. The download does not limit this, so it is 0 (none) unless it is given.
        scheme: the target's numerics; "auto" is filled by `bind` from the target's probe.

    Reference: Yao et al. 2021, HAWQ-V3, arXiv:2011.10680 (the integer linear programme), with the harm measured at
    each width rather than estimated from the curvature.
    """

    max_size_mb: float = 0.0
    max_bits_per_weight: float = 0.0
    bits: tuple[int, ...] = (2, 3, 4, 5, 6, 7, 8)
    weights: Ranges = "mse"
    images: int = 8
    float_macs: float = 0.0
    scheme: Scheme | Literal["auto"] = field(default="auto", metadata={"bind": "scheme"})

    requires: ClassVar[frozenset[Fact]] = frozenset({"quantized"})
    forbids: ClassVar[frozenset[Fact]] = frozenset({"clustered", "tied", "quantization_aware"})
    establishes: ClassVar[frozenset[Fact]] = frozenset()
    destroys: ClassVar[frozenset[Fact]] = frozenset()

    def __post_init__(self) -> None:
        given = [bound for bound in (self.max_size_mb, self.max_bits_per_weight) if bound != 0]
        if len(given) != 1 or not given[0] > 0:
            raise ConfigError(
                "MixPrecision needs one bound above 0, `max_size_mb` or `max_bits_per_weight`, got "
                f"{self.max_size_mb} and {self.max_bits_per_weight}; give one and leave the other out"
            )
        if not self.bits or any(not isinstance(b, int) or not 2 <= b <= 8 for b in self.bits):
            raise ConfigError(f"`bits` must be whole numbers from 2 to 8, got {list(self.bits)}")
        if self.weights not in ("minmax", "mse"):
            raise ConfigError(f"`weights` must be minmax or mse, got {self.weights!r}")
        if self.images < 1:
            raise ConfigError(f"`images` must be at least 1, got {self.images}")
        if not 0 <= self.float_macs <= 1:
            raise ConfigError(f"`float_macs` must lie in [0, 1], got {self.float_macs}. To allow 10% use 0.1.")

    def __call__(self, model: Model, context: Context) -> PassResult:
        """Return the model with a width for each layer."""
        start = time.perf_counter()
        if isinstance(self.scheme, str):
            raise ConfigError('`scheme` is still "auto": bind the recipe to a target\'s profile first')
        reference, images = context.unquantized, context.data.calibration
        if reference is None:
            raise ConfigError("MixPrecision takes weights from the model before quantization: run both in one Chain")
        if images is None:
            raise DataError("MixPrecision measures harm on calibration images, got none: pass --calibration DIR")
        if not quantized_layers(model.graph):
            raise ConfigError(f"{model.spec.name} has no integer weights; put MixPrecision before KeepFloat")
        widths = Widths(model=model, reference=reference, bits=tuple(sorted(set(self.bits))), ranges=self.weights)
        rows, summary, notes = self._choose(widths, images, context)
        result = widths.at({row["layer"]: row["bits"] for row in rows})
        if self.float_macs:
            released, share = self._release(model, reference, images, context, self.scheme)
            kept = float_layers(result.graph) | released
            dropped = drop_idle_grids(result.graph, reference.graph, self.scheme, kept)
            summary |= {"float_macs": share, "grids_removed": dropped}
            rows = tuple(row | {"float_activations": row["layer"] in released} for row in rows)
        record = Record(
            name="MixPrecision",
            config=asdict(replace(self, scheme="auto")) | {"scheme": self.scheme.name},
            summary=summary,
            layers=rows,
            notes=(DOWNLOAD_ONLY, *notes),
            seconds=time.perf_counter() - start,
        )
        return PassResult(result, record)

    def _choose(
        self, widths: Widths, images: ImageSet, context: Context
    ) -> tuple[tuple[Json, ...], Json, tuple[str, ...]]:
        """Each layer's row, what the rows come to together, and what is to be said of them."""
        least, most = (widths.packed_bytes(chosen) for chosen in (widths.smallest(), widths.largest()))
        weights = sum(leaf.codes.numel() for leaf in quantized_layers(widths.model.graph).values())
        limit = self.max_size_mb * 1e6 or self.max_bits_per_weight * weights / 8
        if least > limit:
            raise ConfigError(self._too_small(widths.model.spec.name, least, weights))
        choice = widths.best(limit, images, count=self.images, cache=context.cache, progress=context.progress)
        wide = f"The bound leaves room for the widest of `bits`, {max(self.bits)}, in every layer: none was narrowed."
        summary: Json = {
            "layers": len(choice.rows),
            "weights": weights,
            "widest_bytes": most,
            "packed_bytes": choice.packed_bytes,
            "bits_per_weight": 8 * choice.packed_bytes / weights,
        }
        return choice.rows, summary | choice.figures, () if choice.figures else (wide,)

    def _release(
        self, model: Model, reference: Model, images: ImageSet, context: Context, scheme: Scheme
    ) -> tuple[frozenset[str], float]:
        """Which layers read and give floats, and their share of all multiply-accumulates."""
        found = sensitivity(model, reference, images, count=self.images, cache=context.cache, progress=context.progress)
        costs = layer_costs(model)
        total = sum(cost.macs for cost in costs)
        shares = {c.name: c.macs / total for c in costs if c.kind in ("conv", "conv_transpose", "linear")}
        released = choose_released(
            gains={row["layer"]: noise_power(row["sqnr_db"]) for row in found if row["part"] == "activations"},
            needs=grids_by_operator(reference.graph, scheme, float_layers(model.graph)),
            weights=shares,
            limit=self.float_macs,
        )
        return released, sum(shares[name] for name in released)

    def _too_small(self, model: str, least: int, weights: int) -> str:
        """Why no choice fits, and what would."""
        if self.max_size_mb:
            name, given, reachable = "max_size_mb", self.max_size_mb, least / 1e6
        else:
            name, given, reachable = "max_bits_per_weight", self.max_bits_per_weight, 8 * least / weights
        return (
            f"`{name}` must be at least {math.ceil(reachable * 1000) / 1000:g} for {model}, which is "
            f"{min(self.bits)} bits in every layer, got {given:g}; allow that, or prune the network first"
        )
