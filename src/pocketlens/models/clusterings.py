"""Clustered codes: who shares a codebook, and how many entries each layer's could have."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from pocketlens.models.frontier import QuantizedLayer
from pocketlens.models.importance import along
from pocketlens.models.integer_layers import quantized_layers
from pocketlens.models.layer_options import LayerOptions
from pocketlens.ops.clustering import Initialisation, cluster_codes

Share = Literal["layer", "channels", "network"]


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """What an entry of a codebook is, and which weights have one in common.

    Args:
        vector: numbers an entry: 1, or 2 or 4 neighbours in a row of the weight; a layer whose rows they do not divide
            gets single numbers.
        share: each "layer" has a codebook, groups of output "channels" have, or the whole "network" has one.
        channels: output channels a group, for share = "channels".
        initialisation: of vectors, see `ops.clustering.first_codebook`.
        seed: for draws.
    """

    vector: Literal[1, 2, 4]
    share: Share
    channels: int
    initialisation: Initialisation
    seed: int

    def vector_of(self, layer: QuantizedLayer) -> int:
        """How many numbers an entry of this layer has."""
        return self.vector if (layer.codes.numel() // len(layer.codes)) % self.vector == 0 else 1

    def clustered(
        self, layers: Mapping[str, QuantizedLayer], importance: Mapping[str, Tensor], clusters: int
    ) -> dict[str, QuantizedLayer]:
        """Copies of layers, with at most so many entries a codebook.

        Args:
            layers: by name; left as they are.
            importance: of each, the codes' shape: what a squared error of each code weighs.
            clusters: at least 2.
        """
        made = {name: copy.deepcopy(layer) for name, layer in layers.items()}
        for layer in made.values():
            rows = {"layer": len(layer.codes), "channels": self.channels, "network": 0}[self.share]
            layer.codebook = (self.vector_of(layer), rows)
        for group in self._groups(made):
            self._cluster(group, importance, clusters)
        return made

    def _groups(self, layers: Mapping[str, QuantizedLayer]) -> Iterator[list[tuple[str, QuantizedLayer, slice]]]:
        """Layers, and rows of them, that share a codebook."""
        if self.share == "network":
            for vector in sorted({self.vector_of(layer) for layer in layers.values()}):
                yield [(n, x, slice(None)) for n, x in layers.items() if self.vector_of(x) == vector]
            return
        for name, layer in layers.items():
            rows = len(layer.codes)
            step = self.channels if self.share == "channels" else rows
            for first in range(0, rows, step):
                yield [(name, layer, slice(first, first + step))]

    def _cluster(
        self, group: list[tuple[str, QuantizedLayer, slice]], importance: Mapping[str, Tensor], clusters: int
    ) -> None:
        """Give the rows of a group their nearest codes of one codebook."""
        vector = self.vector_of(group[0][1])
        points = torch.cat([layer.codes[rows].reshape(-1, vector).float() for _, layer, rows in group])
        weight = torch.cat([importance[name][rows].reshape(-1, vector) for name, _, rows in group])
        clustered = cluster_codes(points, weight, clusters, self.initialisation, self.seed).to(torch.int8)
        sizes = [layer.codes[rows].numel() // vector for _, layer, rows in group]
        for (_, layer, rows), codes in zip(group, clustered.split(sizes), strict=True):
            changed = layer.codes.clone()
            changed[rows] = codes.reshape(changed[rows].shape)
            layer.codes = changed


@dataclass(frozen=True, kw_only=True)
class Clusterings(LayerOptions):
    """How many clusters the weights of each layer could have.

    Args:
        model: see LayerOptions.
        reference: see LayerOptions.
        sharing: each layer for itself.
        importance: layer -> what a squared error of each code weighs.
        choices: clusters to choose from, rising. A layer with no more distinct codes takes no larger number.
        decides: what the importance follows from, as plain data.
    """

    sharing: Sharing
    importance: Mapping[str, Tensor]
    choices: tuple[int, ...]
    decides: tuple[Any, ...] = ()

    name: ClassVar[str] = "clusters"

    def allowed(self) -> dict[str, tuple[int, ...]]:
        """Layer name, in graph order -> the numbers of clusters that it can have, rising."""
        found = {}
        for name, leaf in quantized_layers(self.model.graph).items():
            single = self.sharing.vector_of(leaf) == 1
            distinct = len(torch.unique(leaf.codes)) if single else leaf.codes.numel()
            found[name] = self.choices[: len([k for k in self.choices if k < distinct]) + 1]
        return found

    def make(self, name: str, option: int) -> QuantizedLayer:
        """The layer with so many clusters."""
        leaf = quantized_layers(self.model.graph)[name]
        return self.sharing.clustered({name: leaf}, self.importance, option)[name]

    def decided_by(self) -> list[Any]:
        """See LayerOptions."""
        return [self.choices, asdict(self.sharing), *self.decides]


def code_importance(layer: QuantizedLayer, energy: Tensor | None) -> Tensor:
    """What the squared error of each code weighs, 1 on average: the codes' shape.

    Args:
        layer: its scale counts.
        energy: see `models.importance.input_energy`; None weighs all alike.
    """
    if energy is None:
        return torch.ones(layer.codes.shape)
    weight = energy * along(layer, layer.weight_scale).square()
    return weight / weight.mean().clamp(min=1e-30)
