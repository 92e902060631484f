"""CorrectBias: take the mean error that quantization puts on each layer out of its bias."""

import time
from dataclasses import asdict, dataclass
from typing import ClassVar

import torch

from pocketlens.errors import ConfigError
from pocketlens.models.calibration import correction_images
from pocketlens.models.canonical import clone
from pocketlens.models.frontier import quantized_steps
from pocketlens.models.integer_bias import round_biases
from pocketlens.types import Context, Fact, Model, PassResult, Record


@dataclass(frozen=True, kw_only=True)
class CorrectBias:
    """Add to each bias what makes the layer's mean output, channel by channel, that of the float model.

    Layers are corrected in order, each seeing the corrected ones before it.

    Args:
        images: how many calibration images to use, spread evenly over the set; memory grows with them.
        batch_size: images a forward pass.

    Reference: Nagel et al. 2019, arXiv:1906.04721, section 4.2 (empirical variant, appendix D).
    """

    images: int = 64
    batch_size: int = 8

    requires: ClassVar[frozenset[Fact]] = frozenset({"quantized"})
    forbids: ClassVar[frozenset[Fact]] = frozenset({"quantization_aware"})
    establishes: ClassVar[frozenset[Fact]] = frozenset()
    destroys: ClassVar[frozenset[Fact]] = frozenset()

    def __post_init__(self) -> None:
        for name in ("images", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` must be at least 1, got {getattr(self, name)}")

    def __call__(self, model: Model, context: Context) -> PassResult:
        """Return the model with corrected biases."""
        start = time.perf_counter()
        reference, images = correction_images(model, context, self.images, self.batch_size)
        result = clone(model)
        layers = []
        with torch.inference_mode():
            for step in quantized_steps(result.graph, reference.graph, images, context.progress, "correcting"):
                shift = step.wanted().mean - step.got().mean
                step.apply(torch.ones(()), shift)
                layers.append({"layer": step.name, "largest_shift": float(shift.abs().max())})
        round_biases(result.graph)
        record = Record(
            name="CorrectBias",
            config=asdict(self),
            summary={"layers": len(layers), "largest_shift": max((x["largest_shift"] for x in layers), default=0.0)},
            layers=tuple(layers),
            seconds=time.perf_counter() - start,
        )
        return PassResult(result, record)
