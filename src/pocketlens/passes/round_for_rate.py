"""RoundForRate: round weights so that they pack into a byte budget with the least harm."""

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pocketlens.errors import ConfigError, DataError, ModelError
from pocketlens.models.frontier import QuantizedLayer
from pocketlens.models.importance import along, grouped, input_moments, output_power
from pocketlens.models.integer_bias import round_biases
from pocketlens.models.integer_layers import FloatLayer, coded_layer, originals, quantized_layers, with_layers
from pocketlens.models.sensitivity import noise_power, sensitivity, sqnr_db
from pocketlens.ops.rate import bfloat16_above, entropy_bytes, least_error, round_for_rate, step_for
from pocketlens.types import Context, Fact, Json, Model, PassResult, Record

_HARM_IMAGES = 16
"""Enough to tell how harmful a layer is; each costs a run of the network a layer."""

_BISECTIONS = 16

_TRIES, _MOST_TRIES = 4, 16
"""How often the budget of the nearest codes is set anew, so that the codes chosen meet the one asked for: to come close
to it, and to meet it at all."""

_CLOSE = 0.98
"""Share of the budget that must be used."""


@dataclass(frozen=True, kw_only=True)
class RoundForRate:
    """Round each weight anew, to the neighbour that costs least in bits + error, and widen the steps of layers that
    bear it.

    What an error costs is measured: within a layer by what its weights are multiplied with on calibration images (the
    Hessian of its output), between layers by the harm that each does at the network's output alone (see
    `models.sensitivity`). One exchange rate of error for bits then sets the step of every layer and the code of every
    weight; bisection finds the rate that meets the budget. No training. Saves download only.

    Stands behind QuantizeStatic; what repairs rounding (RoundAdaptively, MatchMoments) may stand behind it.
    RoundAdaptively keeps the steps and takes the codes anew.

    Args:
        share: of the packed bytes that the weights have now, above 0 and at most 1; or
        max_size_mb: the bound on their packed bytes in megabytes (10^6 bytes). Exactly one is given.
        images: calibration images that errors are weighed on.

    Reference: rate-distortion optimised quantization as video coders have it (Sullivan and Wiegand 1998), with the
    error feedback of GPTQ (Frantar et al. 2023, arXiv:2210.17323).
    """

    share: float = 0.0
    max_size_mb: float = 0.0
    images: int = 64

    requires: ClassVar[frozenset[Fact]] = frozenset({"quantized"})
    forbids: ClassVar[frozenset[Fact]] = frozenset({"clustered", "tied", "quantization_aware"})
    establishes: ClassVar[frozenset[Fact]] = frozenset()
    destroys: ClassVar[frozenset[Fact]] = frozenset()

    def __post_init__(self) -> None:
        if (self.share == 0) == (self.max_size_mb == 0):
            raise ConfigError(
                f"RoundForRate needs `share` or `max_size_mb`, got {self.share} and {self.max_size_mb}; give one"
            )
        if not 0 <= self.share <= 1:
            raise ConfigError(f"`share` must lie in (0, 1], got {self.share}. For 80% use 0.8.")
        if not 0 <= self.max_size_mb < math.inf:
            raise ConfigError(f"`max_size_mb` must be above 0, got {self.max_size_mb}")
        if self.images < 1:
            raise ConfigError(f"`images` must be at least 1, got {self.images}")

    def __call__(self, model: Model, context: Context) -> PassResult:
        """Return the model with codes that pack within the budget."""
        start = time.perf_counter()
        layers = self._layers(model, context)
        before = sum(entropy_bytes(layer.leaf.codes) for layer in layers)
        budget = self.max_size_mb * 1e6 or self.share * before
        rate, leaves = _coded(layers, budget)
        rows = [layer.row(leaves[layer.name]) for layer in layers]
        noise = sum(row["predicted_noise"] for row in rows)
        if noise >= 1:
            raise ConfigError(
                f"packed into {budget / 1e6:.2g} MB the weights of {model.spec.name} would give more noise than "
                f"signal; allow more of the {before / 1e6:.2g} MB that they take now, or prune the network first"
            )
        result = with_layers(model, leaves)
        round_biases(result.graph)
        record = Record(
            name="RoundForRate",
            config=asdict(self),
            summary={
                "layers": len(rows),
                "weights_bytes_before": before,
                "weights_bytes": sum(row["bytes"] for row in rows),
                "noise_for_a_bit": rate,
                "predicted_sqnr_db": sqnr_db(noise),
            },
            layers=tuple(rows),
            seconds=time.perf_counter() - start,
        )
        return PassResult(result, record)

    def _layers(self, model: Model, context: Context) -> list["_Layer"]:
        """Every integer layer with what an error of each of its weights costs at the output."""
        reference, images = context.unquantized, context.data.calibration
        if reference is None:
            raise ConfigError("RoundForRate takes weights from the model before quantization: run both in one Chain")
        if images is None:
            raise DataError("RoundForRate weighs errors on calibration images, got none: pass --calibration DIR")
        leaves = quantized_layers(model.graph)
        if not leaves:
            raise ModelError(f"no layer of {model.spec.name} holds integer weights; put QuantizeStatic before this")
        before = originals(model.graph, reference.graph)
        moments = input_moments(model, context, self.images)
        rows = sensitivity(
            model,
            reference,
            images,
            count=min(self.images, _HARM_IMAGES),
            cache=context.cache,
            progress=context.progress,
        )
        harm = {row["layer"]: noise_power(row["sqnr_db"]) for row in rows if row["part"] == "weights"}
        layers = []
        for name, leaf in leaves.items():
            weight, moment = before[name].weight.detach(), moments[name]
            error = output_power(grouped(leaf, leaf.weight - weight), moment)
            # A layer that rounding left as it was tells nothing of itself: as harmful as its own output is large.
            noise, power = (harm[name], error) if error > 0 else (1.0, output_power(grouped(leaf, weight), moment))
            layers.append(_Layer(name, leaf, before[name], moment, noise / max(power, 1e-30)))
        return layers


@dataclass(frozen=True)
class _Layer:
    """One layer.

    Args:
        name: of its node.
        leaf: with the codes that it had.
        original: in float.
        moment: of what it reads, see `models.importance`.
        gain: noise at the network's output, as a share of the signal's power, of a squared error at the layer's.
    """

    name: str
    leaf: QuantizedLayer
    original: FloatLayer
    moment: Tensor
    gain: float

    def step(self, rate: float) -> float:
        """How many of its old steps a new one is, at an exchange rate: noise that one bit is worth."""
        least = least_error(self.moment).mean() * self.leaf.weight_scale.square().mean()
        # Never finer than the one that there was, nor so wide that no code but zero is left.
        return min(max(step_for(rate, self.gain * float(least)), 1.0), float(max(self._largest, 1)))

    def nearest_bytes(self, rate: float) -> float:
        """What its weights pack into on those steps, each rounded to the nearest code."""
        values = self._values(self._scale(self.step(rate)))
        return entropy_bytes(values.round().clamp(-128, 127).to(torch.int8))

    def coded(self, rate: float) -> QuantizedLayer:
        """The layer on the steps and codes of an exchange rate."""
        step = self.step(rate)
        scale = self._scale(step)
        values = self._values(scale)
        reach = max(round(self._largest / step), 1)
        codes = round_for_rate(values, self.moment, self.gain * scale.square(), reach, rate)
        return coded_layer(self.original, codes.reshape(self.leaf.codes.shape), scale, self.leaf.storage)

    def row(self, coded: QuantizedLayer) -> Json:
        """What is recorded of it."""
        error = grouped(self.leaf, coded.weight - self.original.weight.detach())
        return {
            "layer": self.name,
            "step": float((coded.weight_scale / self.leaf.weight_scale).max()),
            "bytes": entropy_bytes(coded.codes),
            "zeros": float((coded.codes == 0).float().mean()),
            "predicted_noise": self.gain * output_power(error, self.moment),
        }

    @property
    def _largest(self) -> int:
        return int(self.leaf.codes.abs().max())

    def _scale(self, step: float) -> Tensor:
        """The scale that is so many old ones, in few digits: codes are chosen on it, so that they cost no accuracy."""
        return bfloat16_above(self.leaf.weight_scale * step)

    def _values(self, scale: Tensor) -> Tensor:
        """(groups, rows, k): the float weights on a grid."""
        return grouped(self.leaf, self.original.weight.detach() / along(self.leaf, scale))


def _coded(layers: Sequence[_Layer], budget: float) -> tuple[float, dict[str, QuantizedLayer]]:
    """The lowest exchange rate whose codes pack within `budget` bytes, and the layers at that. Raises ConfigError."""
    wanted, largest = budget, 0.0
    found: tuple[float, dict[str, QuantizedLayer]] | None = None
    for tries in range(_MOST_TRIES):
        rate = _rate(layers, wanted)
        leaves = {layer.name: layer.coded(rate) for layer in layers}
        packed = sum(entropy_bytes(leaf.codes) for leaf in leaves.values())
        if largest <= packed <= budget:
            found, largest = (rate, leaves), packed
        if found is not None and (largest >= _CLOSE * budget or tries + 1 >= _TRIES or rate == 0):
            return found
        wanted *= (1 + _CLOSE) / 2 * budget / max(packed, 1.0)
    raise ConfigError(f"the weights do not pack into {budget / 1e6:.2g} MB; allow more, or prune the network first")


def _rate(layers: Sequence[_Layer], budget: float) -> float:
    """The lowest exchange rate whose nearest codes pack within `budget` bytes."""

    def size(rate: float) -> float:
        return sum(layer.nearest_bytes(rate) for layer in layers)

    if size(0.0) <= budget:
        return 0.0
    low, high = 1e-15, 1.0
    for _ in range(_BISECTIONS):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if size(middle) <= budget else (middle, high)
    return high
