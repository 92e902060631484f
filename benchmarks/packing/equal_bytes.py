"""Codebooks beside rounding for rate where both pack into as many bytes: which of the two the recipe `small` takes."""

from packing.bench import Bench
from packing.kinds import PLAIN, clustered
from packing.without_training import against
from pocketlens import ClusterWeights, RoundForRate
from pocketlens.models.integer_layers import quantized_layers
from pocketlens.ops.rate import entropy_bytes
from pocketlens.types import Model, Pass

CLUSTERS = (64, 32, 16)


def equal(bench: Bench) -> None:
    """Lite0, no training, on validation photos: as many clusters everywhere, by sensitivity, and rounded for rate."""
    plain = bench.shipped("plain int8", *PLAIN)
    for clusters in CLUSTERS:
        model, _ = bench.made(*clustered(ClusterWeights(clusters=clusters)))
        codes, scales = _packed(model)
        ways: dict[str, Pass] = {
            "ClusterWeights": ClusterWeights(clusters=clusters),
            "ClusterWeights, by sensitivity": ClusterWeights(max_size_mb=(codes + scales) / 1e6),
            "RoundForRate": RoundForRate(max_size_mb=codes / 1e6),
        }
        for way, step in ways.items():
            name = f"{way}, as {clusters} clusters"
            shipped = bench.shipped(name, *clustered(step))
            _, score = bench.scores([bench.original, shipped.graph()], bench.photos.validation)
            fidelity = {"same_answer_as_fp32": score["agreement"], "sqnr_db_to_fp32": score["sqnr_db"], "n": score["n"]}
            row = {"file": name, "codes_bytes": codes} | against(plain, shipped) | fidelity
            bench.keep("equal", row | {"images": "validation"}, "file")


def _packed(model: Model) -> tuple[float, float]:
    """Bytes of its codes, and of its scales."""
    layers = quantized_layers(model.graph).values()
    return sum(entropy_bytes(layer.codes) for layer in layers), sum(4 * layer.weight_scale.numel() for layer in layers)
