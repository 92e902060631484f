"""The kinds of networks whose weights are coded: EfficientNet-Lite0 after different passes, none of which trains."""

from collections.abc import Mapping

from pocketlens import (
    ClusterWeights,
    FoldBatchNorm,
    MatchMoments,
    PruneWeights,
    QuantizeStatic,
    RoundAdaptively,
    RoundForRate,
)
from pocketlens.types import Pass

Passes = tuple[Pass, ...]

SHARE = 0.79
"""Of the bytes that plain int8 weights pack into: chosen by `pack.py --part choose`, on validation photos."""

SHARES = (0.9, 0.8, 0.79, 0.78, 0.77, 0.75, 0.7, 0.6)
"""What it is chosen from."""

CLUSTERS = 16

PLAIN: Passes = (FoldBatchNorm(), QuantizeStatic(), MatchMoments())
"""The recipe `int8`."""


def rounded(share: float, repair: Pass | None = None) -> Passes:
    """Rounded for rate, then repaired as the recipe `int8` does unless told otherwise."""
    return (FoldBatchNorm(), QuantizeStatic(), RoundForRate(share=share), repair or MatchMoments())


def clustered(step: Pass) -> Passes:
    """With clustered weights."""
    return (FoldBatchNorm(), QuantizeStatic(), step, MatchMoments())


FOUR_BITS: Passes = (FoldBatchNorm(), QuantizeStatic(weight_bits=4, weights="mse"), RoundAdaptively())
"""AdaRound at 16 levels, as in benchmarks/rounding.py."""

PRUNED: Passes = (PruneWeights(sparsity=0.8), FoldBatchNorm(), QuantizeStatic())
"""Its weights as a coder sees them; untuned, it recognises nothing."""

KINDS: Mapping[str, Passes] = {
    "plain int8": PLAIN,
    "rate-rounded": rounded(SHARE),
    "clustered 16": clustered(ClusterWeights(clusters=CLUSTERS)),
    "clustered 4": clustered(ClusterWeights(clusters=4)),
    "pruned 80%": PRUNED,
    "pruned 80%, 4 bits": (*PRUNED[:2], QuantizeStatic(weight_bits=4, weights="mse")),
    "pruned 80%, clustered 16": (*PRUNED, ClusterWeights(clusters=CLUSTERS)),
}
