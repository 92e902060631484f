"""How good and how fast codebooks are found: our exact programme beside scikit-learn's iterations, on one thread."""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from packing.bench import Bench, Row
from packing.kinds import CLUSTERS, PLAIN
from packing.kmeans_peer import cluster
from pocketlens.models.importance import along, input_energy
from pocketlens.models.integer_layers import quantized_layers
from pocketlens.ops.clustering import exact_codebook, nearest
from pocketlens.types import Context

Floats = NDArray[np.float32]
Way = Callable[[NDArray[np.int8], Floats], tuple[NDArray[np.float32], NDArray[np.int64]]]

ROUNDS = 5
"""How often ours is timed; its median counts. Theirs takes seconds to minutes, and is timed once."""


def kmeans(bench: Bench) -> None:
    """Squared error over all layers of Lite0, each with 16 entries, and seconds on all and on the largest."""
    torch.set_num_threads(1)
    layers = _layers(bench)[: bench.few]
    for weighted in (False, True):
        first: Row | None = None
        for name, way in _ways(weighted).items():
            row: Row = {"method": name, "weighted": weighted, "clusters": CLUSTERS} | _row(layers, way, weighted)
            first = first or row
            for figure in ("squared_error", "seconds", "seconds_of_largest"):
                row[f"{figure}_over_ours"] = float(str(row[figure])) / float(str(first[figure]))
            bench.keep("kmeans", row, "method", "weighted")


def _layers(bench: Bench) -> list[tuple[NDArray[np.int8], Floats]]:
    """Codes, and what a squared error of each weighs."""
    model, _ = bench.made(*PLAIN[:2])
    folded, _ = bench.made(PLAIN[0])
    data = replace(bench.photos, test=None)
    context = Context(data=data, original=bench.lite0, work=bench.work, unquantized=folded)
    energy = input_energy(model, context, 16)
    found = []
    for name, layer in quantized_layers(model.graph).items():
        importance = energy[name] * along(layer, layer.weight_scale).square()
        importance = importance / importance.mean().clamp(min=1e-30)
        found.append((layer.codes.numpy().reshape(-1), importance.numpy().reshape(-1)))
    return found


def _ways(weighted: bool) -> dict[str, Way]:
    def ours(values: NDArray[np.int8], importance: Floats) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        points, weight = torch.from_numpy(values).float(), torch.from_numpy(importance)
        codebook = exact_codebook(points, weight, CLUSTERS).float()
        return codebook.numpy(), nearest(points[:, None], codebook[:, None]).numpy()

    def theirs(n_init: int) -> Way:
        def way(values: NDArray[np.int8], importance: Floats) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
            centres, member = cluster(values, importance if weighted else None, CLUSTERS, n_init, 0)
            return centres, member.astype(np.int64)

        return way

    return {"pocketlens, exact": ours} | {f"scikit-learn KMeans, n_init={n}": theirs(n) for n in (1, 10)}


def _row(layers: Iterable[tuple[NDArray[np.int8], Floats]], way: Way, weighted: bool) -> Row:
    largest, error, rounded, total, slowest = 0, 0.0, 0.0, 0.0, 0.0
    for values, importance in layers:
        weight = importance if weighted else np.ones_like(importance)
        seconds = []
        while not seconds or (seconds[0] < 1 and len(seconds) < ROUNDS):
            start = time.perf_counter()
            codebook, member = way(values, weight)
            seconds.append(time.perf_counter() - start)
        middle = float(np.median(seconds))
        error += _error(values, weight, codebook, member)
        rounded += _error(values, weight, np.rint(codebook), member)
        total += middle
        if len(values) > largest:
            largest, slowest = len(values), middle
    return {
        "squared_error": error,
        "squared_error_of_rounded_entries": rounded,
        "seconds": total,
        "largest_layer_weights": largest,
        "seconds_of_largest": slowest,
    }


def _error(values: NDArray[np.int8], weight: Floats, codebook: NDArray[np.float32], member: NDArray[np.int64]) -> float:
    return float((weight * (values - codebook[member]).astype(np.float64) ** 2).sum())
