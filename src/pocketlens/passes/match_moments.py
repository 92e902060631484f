"""MatchMoments: give every channel of a quantized layer the mean and the spread that it had in float."""

import time
from dataclasses import asdict, dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pocketlens.errors import ConfigError
from pocketlens.models.calibration import correction_images
from pocketlens.models.canonical import clone
from pocketlens.models.frontier import Moments, QuantizedLayer, quantized_steps
from pocketlens.models.integer_bias import round_biases
from pocketlens.ops.learned_step import is_short
from pocketlens.types import Context, Fact, Model, PassResult, Record


@dataclass(frozen=True, kw_only=True)
class MatchMoments:
    """Rescale and shift each channel's output so that its first two moments are those of the float model.

    Taking only the mean out (CorrectBias) leaves a shrinkage: values below half a step round to zero, layer after
    layer, and the logits end several percent too small. The spread puts that back. Both changes are free: the gain
    goes into the weight scale, the shift into the bias. Layers are matched in order, each seeing those before it.

    Args:
        images: how many calibration images to use, spread evenly over the set; memory grows with them.
        batch_size: images a forward pass.
        limit: a gain lies within 1 - limit and 1 + limit.

    Reference: Banner et al. 2019, arXiv:1810.05723, section 4 (there on weights, here on outputs, sequentially as in
    Nagel et al. 2019, arXiv:1906.04721, section 4.2).
    """

    images: int = 64
    batch_size: int = 8
    limit: float = 0.1

    requires: ClassVar[frozenset[Fact]] = frozenset({"quantized"})
    forbids: ClassVar[frozenset[Fact]] = frozenset({"quantization_aware"})
    establishes: ClassVar[frozenset[Fact]] = frozenset()
    destroys: ClassVar[frozenset[Fact]] = frozenset()

    def __post_init__(self) -> None:
        for name in ("images", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.limit < 1:
            raise ConfigError(f"`limit` must lie in [0, 1), got {self.limit}. To allow 10% use 0.1.")

    def __call__(self, model: Model, context: Context) -> PassResult:
        """Return the model with matched channels."""
        start = time.perf_counter()
        reference, images = correction_images(model, context, self.images, self.batch_size)
        result = clone(model)
        layers = []
        with torch.inference_mode():
            for step in quantized_steps(result.graph, reference.graph, images, context.progress, "matching"):
                wanted, got = step.wanted(), step.got()
                old = step.layer.weight_scale.clone()
                scale = _as_short(old, old * self._gain(step.layer, wanted, got))
                gain = scale / old
                shift = wanted.mean - got.mean * gain
                step.apply(gain, shift)
                step.layer.weight_scale.copy_(scale)  # `gain` is rounded
                layers.append(
                    {
                        "layer": step.name,
                        "mean_gain": float(gain.mean()),
                        "largest_gain_change": float((gain - 1).abs().max()),
                        "largest_shift": float(shift.abs().max()),
                    }
                )
        round_biases(result.graph)
        record = Record(
            name="MatchMoments",
            config=asdict(self),
            summary={"layers": len(layers), "mean_gain": sum(x["mean_gain"] for x in layers) / max(len(layers), 1)},
            layers=tuple(layers),
            seconds=time.perf_counter() - start,
        )
        return PassResult(result, record)

    def _gain(self, layer: QuantizedLayer, wanted: Moments, got: Moments) -> Tensor:
        """One a weight scale: (channels,), or () from the pooled spread where the layer has one scale."""
        spread, own = wanted.std, got.std
        if layer.weight_scale.dim() == 0:
            spread, own = spread.square().sum().sqrt(), own.square().sum().sqrt()
        gain = torch.nan_to_num(spread / own, nan=1.0, posinf=1.0)
        return gain.clamp(1 - self.limit, 1 + self.limit)


def _as_short(old: Tensor, new: Tensor) -> Tensor:
    """The new scale, in as few digits as RoundForRate gave the old one: they pack into half the bytes."""
    return new.bfloat16().float() if is_short(old) else new
