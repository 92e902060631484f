"""pocketlens: from a trained image-recognition model to the smallest, fastest file that keeps its accuracy.

The public names are resolved when they are first used, so that importing pocketlens imports nothing heavy.
"""

import os

from pocketlens.lazy import names_from

# ONNX Runtime 1.32's wheels report usage to their maker unless this is set before it loads. Nothing leaves a device
# on our account.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_PUBLIC = {
    "Chain": "recipe",
    "CastHalf": "passes.cast_half",
    "ClusterWeights": "passes.cluster_weights",
    "CorrectBias": "passes.correct_bias",
    "EqualizeChannels": "passes.equalize_channels",
    "FoldBatchNorm": "passes.fold_batch_norm",
    "Distil": "passes.distil",
    "Finetune": "passes.finetune",
    "KeepFloat": "passes.keep_float",
    "MatchMoments": "passes.match_moments",
    "MixPrecision": "passes.mix_precision",
    "PruneBlocks": "passes.prune_blocks",
    "PruneChannels": "passes.prune_channels",
    "PruneWeights": "passes.prune_weights",
    "QuantizeAware": "passes.quantize_aware",
    "QuantizeStatic": "passes.quantize_static",
    "RoundAdaptively": "passes.round_adaptively",
    "RoundForRate": "passes.round_for_rate",
    "SetInputSize": "passes.set_input_size",
    "SparsifyChannels": "passes.sparsify_channels",
    "TieLayers": "passes.tie_layers",
    "TuneQuantized": "passes.tune_quantized",
    "Recognizer": "runtime.recognizer",
    "canonicalise": "models.canonical",
    "open_bundle": "bundle.archive",
}

__all__ = sorted(_PUBLIC)  # pyright: ignore[reportUnsupportedDunderAll]


__getattr__ = names_from(__name__, _PUBLIC)


def __dir__() -> list[str]:
    return [*globals(), *_PUBLIC]
