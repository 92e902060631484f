"""The techniques, one a file. A newcomer adds a file and one line to `PASSES`."""

from importlib import import_module
from typing import Any

from pocketlens.errors import UnknownNameError

PASSES: dict[str, str] = {
    "FoldBatchNorm": "pocketlens.passes.fold_batch_norm",
    "EqualizeChannels": "pocketlens.passes.equalize_channels",
    "QuantizeStatic": "pocketlens.passes.quantize_static",
    "QuantizeAware": "pocketlens.passes.quantize_aware",
    "TuneQuantized": "pocketlens.passes.tune_quantized",
    "MixPrecision": "pocketlens.passes.mix_precision",
    "CorrectBias": "pocketlens.passes.correct_bias",
    "MatchMoments": "pocketlens.passes.match_moments",
    "RoundAdaptively": "pocketlens.passes.round_adaptively",
    "ClusterWeights": "pocketlens.passes.cluster_weights",
    "TieLayers": "pocketlens.passes.tie_layers",
    "RoundForRate": "pocketlens.passes.round_for_rate",
    "KeepFloat": "pocketlens.passes.keep_float",
    "PruneChannels": "pocketlens.passes.prune_channels",
    "SparsifyChannels": "pocketlens.passes.sparsify_channels",
    "PruneBlocks": "pocketlens.passes.prune_blocks",
    "PruneWeights": "pocketlens.passes.prune_weights",
    "SetInputSize": "pocketlens.passes.set_input_size",
    "Finetune": "pocketlens.passes.finetune",
    "Distil": "pocketlens.passes.distil",
    "CastHalf": "pocketlens.passes.cast_half",
}
"""Class name -> module, imported when it is first asked for."""


def pass_class(name: str) -> Any:
    """The class of a pass by its name. Raises UnknownNameError listing the valid ones."""
    if name not in PASSES:
        raise UnknownNameError("pass", name, PASSES)
    return getattr(import_module(PASSES[name]), name)
