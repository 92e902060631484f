"""ClusterWeights: weights share a few values, which a bundle stores as a codebook and indices."""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from pocketlens.errors import ConfigError, ModelError
from pocketlens.models.canonical import clone
from pocketlens.models.frontier import QuantizedLayer
from pocketlens.models.importance import along, input_energy
from pocketlens.models.integer_layers import quantized_layers
from pocketlens.ops.clustering import INITIALISATIONS, Initialisation, cluster_codes
from pocketlens.ops.rate import entropy_bytes
from pocketlens.types import Context, Fact, Json, Model, PassResult, Record, with_facts


@dataclass(frozen=True, kw_only=True)
class ClusterWeights:
    """Replace the integer codes of each weight by the nearest of a few, found by k-means (Han et al. 2016,
    arXiv:1510.00149).

    Works on integer codes, so that a runtime computes as before: it saves download only, neither time nor memory.
    Numbers are clustered exactly (there are at most 255 distinct codes); short vectors by Lloyd's iterations
    (Stock et al. 2020, arXiv:1907.05686). Zeros stay zeros, so that what was pruned stays so.

    Args:
        clusters: entries of a codebook, 2 to 256.
        vector: numbers an entry: 1, or 2 or 4 neighbours in a row of the weight. A layer whose rows they do not
            divide gets single numbers, the record names it.
        share: who shares a codebook: each "layer", groups of output "channels", or the whole "network".
        channels: output channels a group, for share = "channels".
        initialisation: of vectors: "linear", "density" or "kmeans++".
        weighted: weigh errors by what a layer reads on calibration images (the diagonal of its Hessian) and by each
            channel's scale, rather than all alike.
        images: calibration images for that.
    """

    clusters: int = 16
    vector: Literal[1, 2, 4] = 1
    share: Literal["layer", "channels", "network"] = "layer"
    channels: int = 64
    initialisation: Initialisation = "kmeans++"
    weighted: bool = True
    images: int = 16

    requires: ClassVar[frozenset[Fact]] = frozenset({"quantized"})
    forbids: ClassVar[frozenset[Fact]] = frozenset({"tied"})
    establishes: ClassVar[frozenset[Fact]] = frozenset({"clustered"})
    destroys: ClassVar[frozenset[Fact]] = frozenset()

    def __post_init__(self) -> None:
        if not 2 <= self.clusters <= 256:
            raise ConfigError(f"`clusters` must lie in 2..256, got {self.clusters}")
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                listed = ", ".join(map(str, allowed))
                raise ConfigError(f"`{name}` must be one of {listed}, got {getattr(self, name)!r}")
        for name in ("channels", "images"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` must be at least 1, got {getattr(self, name)}")

    def __call__(self, model: Model, context: Context) -> PassResult:
        """Return the model with clustered codes."""
        start = time.perf_counter()
        result = clone(model)
        energy = input_energy(model, context, self.images) if self.weighted else {}
        layers = quantized_layers(result.graph)
        if not layers:
            raise ModelError(f"no layer of {model.spec.name} holds integer weights; put QuantizeStatic before this")
        before = {name: layer.codes for name, layer in layers.items()}
        importance = {name: _importance(layer, energy.get(name)) for name, layer in layers.items()}
        for group in self._groups(layers):
            self._cluster(group, importance, context.seed)
        odd = [name for name, layer in layers.items() if _vector(layer, self.vector) != self.vector]
        rows = tuple(_row(name, layer, before[name], importance[name]) for name, layer in layers.items())
        record = Record(
            name="ClusterWeights",
            config=asdict(self),
            summary={
                "layers": len(rows),
                "weights_bytes_before": sum(entropy_bytes(codes) for codes in before.values()),
                "weights_bytes": sum(row["bytes"] for row in rows),
            },
            layers=rows,
            notes=(f"single numbers, as rows are odd: {', '.join(odd)}",) if odd else (),
            seconds=time.perf_counter() - start,
        )
        facts = with_facts(model, add=self.establishes)
        return PassResult(Model(graph=result.graph, spec=model.spec, facts=facts), record)

    def _groups(self, layers: dict[str, QuantizedLayer]) -> Iterator[list[tuple[str, QuantizedLayer, slice]]]:
        """Layers, and rows of them, that share a codebook."""
        if self.share == "network":
            for vector in sorted({_vector(layer, self.vector) for layer in layers.values()}):
                yield [(n, x, slice(None)) for n, x in layers.items() if _vector(x, self.vector) == vector]
            return
        for name, layer in layers.items():
            rows = len(layer.codes)
            step = self.channels if self.share == "channels" else rows
            for first in range(0, rows, step):
                yield [(name, layer, slice(first, first + step))]

    def _cluster(
        self, group: list[tuple[str, QuantizedLayer, slice]], importance: dict[str, Tensor], seed: int
    ) -> None:
        """Give the rows of a group their nearest codes of one codebook."""
        vector = _vector(group[0][1], self.vector)
        points = torch.cat([layer.codes[rows].reshape(-1, vector).float() for _, layer, rows in group])
        weight = torch.cat([importance[name][rows].reshape(-1, vector) for name, _, rows in group])
        clustered = cluster_codes(points, weight, self.clusters, self.initialisation, seed).to(torch.int8)
        sizes = [layer.codes[rows].numel() // vector for _, layer, rows in group]
        for (_, layer, rows), codes in zip(group, clustered.split(sizes), strict=True):
            changed = layer.codes.clone()
            changed[rows] = codes.reshape(changed[rows].shape)
            layer.codes = changed


def _vector(layer: QuantizedLayer, wanted: int) -> int:
    """How many numbers an entry of this layer has."""
    return wanted if (layer.codes.numel() // len(layer.codes)) % wanted == 0 else 1


def _importance(layer: QuantizedLayer, energy: Tensor | None) -> Tensor:
    """What the squared error of each code weighs: the codes' shape."""
    if energy is None:
        return torch.ones(layer.codes.shape)
    weight = energy * along(layer, layer.weight_scale).square()
    return weight / weight.mean().clamp(min=1e-30)


def _row(name: str, layer: QuantizedLayer, before: Tensor, importance: Tensor) -> Json:
    noise = (importance * (layer.codes.float() - before.float()).square()).sum().clamp(min=1e-30)
    signal = (importance * before.float().square()).sum().clamp(min=1e-30)
    return {
        "layer": name,
        "distinct": len(torch.unique(layer.codes)),
        "bytes": entropy_bytes(layer.codes),
        "sqnr_db": float(10 * torch.log10(signal / noise)),
    }


_CHOICES: dict[str, tuple[object, ...]] = {
    "vector": (1, 2, 4),
    "share": ("layer", "channels", "network"),
    "initialisation": INITIALISATIONS,
}
