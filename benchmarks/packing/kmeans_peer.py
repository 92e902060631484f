"""scikit-learn's k-means as a pass, so that its file is made and scored as ours is."""

import time
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from pocketlens.models.canonical import clone
from pocketlens.models.integer_layers import quantized_layers
from pocketlens.types import Context, Fact, Model, PassResult, Record, with_facts


@dataclass(frozen=True, kw_only=True)
class KMeansPeer:
    """`sklearn.cluster.KMeans` on the integer codes of each layer, its centres rounded to codes.

    Args:
        clusters: entries of each layer's codebook.
        n_init: how often it starts anew; the best is taken.
    """

    clusters: int
    n_init: int

    requires: ClassVar[frozenset[Fact]] = frozenset({"quantized"})
    forbids: ClassVar[frozenset[Fact]] = frozenset()
    establishes: ClassVar[frozenset[Fact]] = frozenset({"clustered"})
    destroys: ClassVar[frozenset[Fact]] = frozenset()

    def __call__(self, model: Model, context: Context) -> PassResult:
        """Return the model with clustered codes."""
        start = time.perf_counter()
        result = clone(model)
        for layer in quantized_layers(result.graph).values():
            centres, member = cluster(layer.codes.numpy().reshape(-1), None, self.clusters, self.n_init, context.seed)
            codes = torch.from_numpy(np.rint(centres)[member].astype(np.int8))
            layer.codes = codes.reshape(layer.codes.shape)
        record = Record(name="KMeansPeer", config=asdict(self), seconds=time.perf_counter() - start)
        return PassResult(
            Model(graph=result.graph, spec=model.spec, facts=with_facts(model, add=self.establishes)), record
        )


def cluster(
    values: NDArray[np.int8], importance: NDArray[np.float32] | None, clusters: int, n_init: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Centres and the member of each value, on one thread as ours; (clusters,) and (n,)."""
    count = min(clusters, len(np.unique(values)))
    kind: Any = KMeans  # pyright takes n_init for text
    solver = kind(count, n_init=n_init, random_state=seed)
    with threadpool_limits(1):
        found = solver.fit(values.astype(np.float32).reshape(-1, 1), sample_weight=importance)
    return found.cluster_centers_.reshape(-1), found.labels_
