"""Weights at fewer bits: the widths that each layer can take."""

from dataclasses import dataclass
from typing import Any, ClassVar

from pocketlens.models.frontier import QuantizedLayer
from pocketlens.models.integer_layers import Ranges, integer_layer, originals, quantized_layers, reach_of
from pocketlens.models.layer_options import LayerOptions


@dataclass(frozen=True, kw_only=True)
class Widths(LayerOptions):
    """The widths that the weights of a quantized model can take, each layer its own.

    Args:
        model: see LayerOptions.
        reference: see LayerOptions; narrower weights are rounded from it. Granularity stays.
        bits: to choose from, rising. A layer that has no more levels than a width is left as it is there, and takes
            no wider one.
        ranges: how the grids of narrower weights are found, see `ops.observers.weight_scale`.
    """

    bits: tuple[int, ...]
    ranges: Ranges

    name: ClassVar[str] = "bits"

    def allowed(self) -> dict[str, tuple[int, ...]]:
        """Layer name, in graph order -> the widths that it can take, rising."""
        found = {}
        for name, leaf in quantized_layers(self.model.graph).items():
            reach = int(leaf.codes.abs().max())
            narrower = [b for b in self.bits if reach_of(b) < reach]
            found[name] = self.bits[: len(narrower) + 1]
        return found

    def make(self, name: str, option: int) -> QuantizedLayer:
        """The layer at a width: rounded from its float weights, or the model's own."""
        leaf, reach = quantized_layers(self.model.graph)[name], reach_of(option)
        if int(leaf.codes.abs().max()) <= reach:
            return leaf
        original = originals(self.model.graph, self.reference.graph)[name]
        each = leaf.weight_scale.dim() > 0
        return integer_layer(original, name, reach=reach, per_channel=each, ranges=self.ranges, storage=leaf.storage)

    def decided_by(self) -> list[Any]:
        """See LayerOptions."""
        return [self.bits, self.ranges]
