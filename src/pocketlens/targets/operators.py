"""Times of a runtime's operators, summed by layer."""

from collections import defaultdict
from collections.abc import Sequence

from pocketlens.types import Json


def mean_times(runs: Sequence[Sequence[tuple[str, str, float]]]) -> tuple[Json, ...]:
    """Per layer and operator: the mean over runs, slowest first.

    Args:
        runs: of each inference, (layer, operator, milliseconds) of every operator that ran; one may stand more than
            once in a layer.
    Returns: {"layer", "operator", "latency_ms", "share"} each; the shares add up to 1.
    """
    times: dict[tuple[str, str], float] = defaultdict(float)
    for run in runs:
        for layer, operator, ms in run:
            times[layer, operator] += ms / len(runs)
    total = sum(times.values()) or 1.0
    return tuple(
        {"layer": layer, "operator": operator, "latency_ms": ms, "share": ms / total}
        for (layer, operator), ms in sorted(times.items(), key=lambda row: -row[1])
    )
