"""Models: the canonical graph and what is needed to use it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pocketlens.types.images import Preprocessing

if TYPE_CHECKING:
    from torch import fx


Fact = Literal[
    "batchnorm", "channels_final", "masked", "clustered", "tied", "folded", "quantized", "quantization_aware", "half"
]


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """All that is needed to use a model but its weights. Travels into the bundle.

    Args:
        name: for people and file names, for example "efficientnet_lite0".
        input_shape: (channels, height, width).
        preprocessing: from a decoded image to that input.
        task: a key of `pocketlens.tasks.TASKS`, for example "classification".
        class_ids: folder-like names in output order (ImageNet: the sorted wnids); empty when unknown.
        labels: readable names in output order; empty when unknown.
    """

    name: str
    input_shape: tuple[int, int, int]
    preprocessing: Preprocessing
    task: str = "classification"
    class_ids: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    def label(self, index: int) -> str:
        """The readable name of an output."""
        names = self.labels or self.class_ids
        return names[index] if index < len(names) else f"class {index}"


@dataclass(frozen=True, kw_only=True)
class Model:
    """A canonical graph with what is needed to use it.

    Args:
        graph: leaves and functions of `models.vocabulary` only; one input `x` (n, c, h, w), one output.
        spec: see ModelSpec.
        facts: what is true of the graph; passes require, establish and destroy these.
    """

    graph: fx.GraphModule
    spec: ModelSpec
    facts: frozenset[Fact] = frozenset()
