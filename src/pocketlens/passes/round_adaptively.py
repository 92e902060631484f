"""RoundAdaptively: round each weight up or down by what that does to its layer's output."""

import hashlib
import time
from dataclasses import asdict, dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from pocketlens.errors import ConfigError, DataError
from pocketlens.models.calibration import correction_images
from pocketlens.models.canonical import clone
from pocketlens.models.frontier import Step, quantized_steps
from pocketlens.models.integer_bias import round_biases
from pocketlens.models.rounded import RoundedLayers
from pocketlens.ops import patches
from pocketlens.ops.quantized import QuantizedConv2d, QuantizedLinear
from pocketlens.ops.rounding import RoundingPlan, RoundingProblem, round_adaptively, shrinkage
from pocketlens.types import Context, Fact, Json, Model, PassResult, Record

_CEILINGS = {"relu": float("inf"), "relu6": 6.0}
"""Activations that are seen through: what they flatten is no error."""

_LARGEST_SAMPLE = 2**25
"""Numbers that the samples of one layer may hold: 128 MiB."""


@dataclass(frozen=True, kw_only=True)
class RoundAdaptively:
    """Choose between the two nearest codes of each weight so that the layer's output stays what it was.

    Rounding to the nearest is best for each weight alone, but not for their sum: errors that the same input meets can
    cancel. Layers are rounded in order; each reads what the rounded layers before it give and aims at what the float
    network gives, so that it also makes up for them. A layer is seen at sampled positions of unlabelled images, as
    matrix products. Scales stay; the bias takes up what shifts the mean.

    Works with weights of 2 to 8 bits; the fewer bits, the more it wins. Transposed convolutions are left alone, the
    record names them. A run that was killed goes on with the layer that it had reached.

    Args:
        images: how many calibration images to use, spread evenly over the set; memory grows with them.
        positions: how many output positions of a layer are looked at.
        iterations: of the search, a layer.
        learning_rate: of the search.
        strength: of the pull towards one of the two codes, against an error of 1 a weight.
        batch_size: images a forward pass.

    Reference: Nagel et al. 2020, arXiv:2004.10568, with the asymmetric target of section 3.3.
    """

    images: int = 100
    positions: int = 16384
    iterations: int = 300
    learning_rate: float = 0.1
    strength: float = 3.0
    batch_size: int = 8

    requires: ClassVar[frozenset[Fact]] = frozenset({"quantized"})
    forbids: ClassVar[frozenset[Fact]] = frozenset({"clustered", "tied", "quantization_aware"})
    establishes: ClassVar[frozenset[Fact]] = frozenset()
    destroys: ClassVar[frozenset[Fact]] = frozenset()

    def __post_init__(self) -> None:
        for name in ("images", "positions", "iterations", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` must be at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "strength"):
            if not 0 < getattr(self, name) <= 10:
                raise ConfigError(f"`{name}` must lie in (0, 10], got {getattr(self, name)}")

    def __call__(self, model: Model, context: Context) -> PassResult:
        """Return the model with better codes."""
        start = time.perf_counter()
        reference, images = correction_images(model, context, self.images, self.batch_size)
        finished = RoundedLayers(model, context, asdict(self))
        result = clone(model)
        layers: list[Json] = []
        skipped: list[str] = []
        with torch.no_grad():
            for step in quantized_steps(result.graph, reference.graph, images, context.progress, "rounding"):
                if not isinstance(step.layer, QuantizedConv2d | QuantizedLinear):
                    skipped.append(step.name)
                    continue
                nearest = step.layer.codes
                if not finished.restore(step.name, step.layer):
                    self._round(step, step.layer, context.seed)
                    finished.keep(step.name, step.layer)
                changed = float((step.layer.codes != nearest).float().mean())
                layers.append({"layer": step.name, "changed_fraction": changed})
        round_biases(result.graph)
        record = Record(
            name="RoundAdaptively",
            config=asdict(self),
            summary={
                "layers": len(layers),
                "images": sum(len(chunk) for chunk in images),
                "changed_fraction": sum(x["changed_fraction"] for x in layers) / max(len(layers), 1),
            },
            layers=tuple(layers),
            notes=(f"left alone, as transposed convolutions are: {', '.join(skipped)}",) if skipped else (),
            seconds=time.perf_counter() - start,
        )
        return PassResult(result, record)

    def _round(self, step: Step, layer: QuantizedConv2d | QuantizedLinear, seed: int) -> None:
        """Replace the codes and the bias of one layer."""
        weight = step.original.weight
        assert isinstance(weight, Tensor)
        weight = patches.by_group(layer, weight.detach())
        groups, outputs = weight.shape[:2]
        generator = torch.Generator().manual_seed(_seed(seed, step.name))
        x, y, doubt = self._samples(step, layer, weight, generator)
        if not (torch.isfinite(x).all() and torch.isfinite(y).all()):
            raise DataError(f"{step.name} meets NaN or infinity on calibration images; check weights and images")
        bias = torch.zeros(layer.codes.shape[0]) if layer.bias is None else layer.bias.detach()
        reach = int(layer.codes.abs().max())
        if reach:  # else every channel is dead
            problem = RoundingProblem(
                inputs=x,
                targets=y,
                weight=weight,
                scale=layer.weight_scale.broadcast_to(layer.codes.shape[0]).reshape(groups, outputs, 1),
                bias=bias.reshape(groups, 1, outputs),
                reach=reach,
                ceiling=_CEILINGS.get(step.activation),
                shrinkage=doubt,
            )
            plan = RoundingPlan(iterations=self.iterations, learning_rate=self.learning_rate, strength=self.strength)
            codes, bias = round_adaptively(problem, plan)
            layer.codes = codes.reshape(layer.codes.shape)
        layer.bias = nn.Parameter(bias.reshape(-1).clone(), requires_grad=False)

    def _samples(
        self, step: Step, layer: QuantizedConv2d | QuantizedLinear, weight: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, float]:
        """Inputs and targets at positions spread evenly over the images, in random order, and their shrinkage."""
        room = _LARGEST_SAMPLE // (weight.shape[0] * weight.shape[2])
        chunks = list(zip(step.inputs, step.targets, strict=True))
        each = -(-min(self.positions, max(room, 1)) // len(chunks))
        drawn = [(x, y, patches.draw(layer, y, each, generator)) for x, y in chunks]
        parts = [patches.inputs_at(layer, x, at) for x, _, at in drawn]
        inputs = torch.cat(parts, 1)
        targets = torch.cat([patches.outputs_at(layer, y, at) for _, y, at in drawn], 1)
        order = torch.randperm(inputs.shape[1], generator=generator)
        return inputs[:, order], targets[:, order], shrinkage(parts) if len(parts) > 1 else 0.0


def _seed(seed: int, layer: str) -> int:
    """A layer's own seed, so that it does not matter which ones an earlier run had finished."""
    return int.from_bytes(hashlib.sha256(f"{seed} {layer}".encode()).digest()[:7], "big")
