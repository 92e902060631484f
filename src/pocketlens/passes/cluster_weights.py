"""ClusterWeights: weights share a few values, which a bundle stores as a codebook and indices."""

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from pocketlens.errors import ConfigError, DataError, ModelError
from pocketlens.models.clusterings import Clusterings, Share, Sharing, code_importance
from pocketlens.models.frontier import QuantizedLayer
from pocketlens.models.importance import input_energy
from pocketlens.models.integer_layers import quantized_layers, with_layers
from pocketlens.ops.clustering import INITIALISATIONS, Initialisation
from pocketlens.ops.rate import entropy_bytes
from pocketlens.types import Context, Fact, Json, Model, PassResult, Record, with_facts


@dataclass(frozen=True, kw_only=True)
class ClusterWeights:
    """Replace the integer codes of each weight by the nearest of a few, found by k-means (Han et al. 2016,
    arXiv:1510.00149).

    Works on integer codes, so that a runtime computes as before: it saves download only, neither time nor memory.
    Numbers are clustered exactly (there are at most 255 distinct codes); short vectors by Lloyd's iterations
    (Stock et al. 2020, arXiv:1907.05686). Zeros stay zeros, so that what was pruned stays so.

    MatchMoments behind it repairs each channel's scale; TuneQuantized trains the entries.

    Args:
        clusters: entries of a codebook, 2 to 256; or
        max_size_mb: a bound on the packed codes and scales in megabytes (10^6 bytes): each layer gets a number of
            clusters from `choices`, so that the output suffers least. 0 has none.
        choices: for `max_size_mb`: numbers of clusters, 2 to 256.
        vector: numbers an entry: 1, or 2 or 4 neighbours in a row of the weight. A layer whose rows they do not
            divide gets single numbers, the record names it.
        share: who shares a codebook: each "layer", groups of output "channels", or the whole "network".
        channels: output channels a group, for share = "channels".
        initialisation: of vectors: "linear", "density" or "kmeans++".
        weighted: weigh errors by what a layer reads on calibration images (the diagonal of its Hessian) and by each
            channel's scale, rather than all alike.
        images: calibration images for that, and for the harm that `max_size_mb` weighs.
    """

    clusters: int = 16
    max_size_mb: float = 0.0
    choices: tuple[int, ...] = (4, 8, 16, 32, 64, 128)
    vector: Literal[1, 2, 4] = 1
    share: Share = "layer"
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
        if not 0 <= self.max_size_mb < math.inf:
            raise ConfigError(f"`max_size_mb` must be above 0, or 0 for no bound, got {self.max_size_mb}")
        if not self.choices or any(not isinstance(k, int) or not 2 <= k <= 256 for k in self.choices):
            raise ConfigError(f"`choices` must be whole numbers from 2 to 256, got {list(self.choices)}")
        if self.max_size_mb and self.share == "network":
            raise ConfigError(
                '`max_size_mb` gives each layer its own number of clusters, but `share` = "network" gives all layers '
                'one codebook; use "layer" or "channels", or set `clusters`'
            )

    def __call__(self, model: Model, context: Context) -> PassResult:
        """Return the model with clustered codes."""
        start = time.perf_counter()
        layers = quantized_layers(model.graph)
        if not layers:
            raise ModelError(f"no layer of {model.spec.name} holds integer weights; put QuantizeStatic before this")
        sharing = Sharing(
            vector=self.vector,
            share=self.share,
            channels=self.channels,
            initialisation=self.initialisation,
            seed=context.seed,
        )
        self._check_zeros(model, layers, sharing)
        energy = input_energy(model, context, self.images) if self.weighted else {}
        importance = {name: code_importance(layer, energy.get(name)) for name, layer in layers.items()}
        if self.max_size_mb:
            result, chosen, summary = self._within(model, context, sharing, importance)
        else:
            result = with_layers(model, sharing.clustered(layers, importance, self.clusters))
            chosen, summary = dict.fromkeys(layers, self.clusters), {}
        made = quantized_layers(result.graph)
        rows = tuple(_row(name, made[name], layers[name], importance[name], chosen[name]) for name in layers)
        odd = [name for name, layer in layers.items() if sharing.vector_of(layer) != self.vector]
        notes = [f"single numbers, as rows are odd: {', '.join(odd)}"] if odd else []
        if self.max_size_mb and "measured_sqnr_db" not in summary:
            notes.append(f"The bound leaves room for the most of `choices`, {max(self.choices)}, in every layer.")
        record = Record(
            name="ClusterWeights",
            config=asdict(self),
            summary={
                "layers": len(rows),
                "weights_bytes_before": sum(entropy_bytes(layer.codes) for layer in layers.values()),
                "weights_bytes": sum(row["bytes"] for row in rows),
            }
            | summary,
            layers=rows,
            notes=tuple(notes),
            seconds=time.perf_counter() - start,
        )
        return PassResult(replace(result, facts=with_facts(model, add=self.establishes)), record)

    def _within(
        self, model: Model, context: Context, sharing: Sharing, importance: Mapping[str, Tensor]
    ) -> tuple[Model, dict[str, int], Json]:
        """The model within `max_size_mb`, the clusters of each layer, and figures of the choice."""
        reference, images = context.unquantized, context.data.calibration
        if reference is None:
            raise ConfigError(
                "ClusterWeights compares with the model before quantization for `max_size_mb`: run both in one Chain"
            )
        if images is None:
            raise DataError("`max_size_mb` measures harm on calibration images, got none: pass --calibration DIR")
        options = Clusterings(
            model=model,
            reference=reference,
            sharing=sharing,
            importance=importance,
            choices=tuple(sorted(set(self.choices))),
            decides=(self.weighted, self.images, context.seed, images.fingerprint()),
        )
        least = options.packed_bytes(options.smallest())
        if least > self.max_size_mb * 1e6:
            raise ConfigError(
                f"`max_size_mb` must be at least {math.ceil(least / 1e3) / 1e3:g} for {model.spec.name}, which is "
                f"{min(self.choices)} clusters in every layer, got {self.max_size_mb:g}; allow that, give `choices` a "
                "smaller number, or prune the network first"
            )
        choice = options.best(
            self.max_size_mb * 1e6, images, count=self.images, cache=context.cache, progress=context.progress
        )
        chosen = {row["layer"]: row["clusters"] for row in choice.rows}
        return options.at(chosen), chosen, {"packed_bytes": choice.packed_bytes} | choice.figures

    def _check_zeros(self, model: Model, layers: Mapping[str, QuantizedLayer], sharing: Sharing) -> None:
        """Raise ConfigError where pruned weights would come back: an entry is kept at zero only as a whole."""
        if "masked" not in model.facts:
            return
        for name, layer in layers.items():
            zero = layer.codes.reshape(-1, sharing.vector_of(layer)) == 0
            if bool((zero.any(1) & ~zero.all(1)).any()):
                raise ConfigError(
                    f"`vector` = {self.vector} would fill single weights that were pruned, in {name}: use `vector` = 1"
                )


def _row(name: str, layer: QuantizedLayer, before: QuantizedLayer, importance: Tensor, clusters: int) -> Json:
    """What is recorded of a layer; the SQNR is of its weights, as they were weighed."""
    noise = (importance * (layer.codes.float() - before.codes.float()).square()).sum().clamp(min=1e-30)
    signal = (importance * before.codes.float().square()).sum().clamp(min=1e-30)
    return {
        "layer": name,
        "clusters": clusters,
        "distinct": len(torch.unique(layer.codes)),
        "bytes": entropy_bytes(layer.codes),
        "sqnr_db": float(10 * torch.log10(signal / noise)),
    }


_CHOICES: dict[str, tuple[object, ...]] = {
    "vector": (1, 2, 4),
    "share": ("layer", "channels", "network"),
    "initialisation": INITIALISATIONS,
}
