"""pocketlens: from a trained image-recognition model to the smallest, fastest file that keeps its accuracy.

The public names are resolved when they are first used, so that importing pocketlens imports nothing heavy.
"""

import os
from importlib import import_module
from typing import Any

# ONNX Runtime 1.32's wheels report usage to their maker unless this is set before it loads. Nothing leaves a device
# on our account.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_PUBLIC = {
    "Chain": "pocketlens.recipe",
    "CastHalf": "pocketlens.passes.cast_half",
    "CorrectBias": "pocketlens.passes.correct_bias",
    "EqualizeChannels": "pocketlens.passes.equalize_channels",
    "FoldBatchNorm": "pocketlens.passes.fold_batch_norm",
    "Distil": "pocketlens.passes.distil",
    "Finetune": "pocketlens.passes.finetune",
    "KeepFloat": "pocketlens.passes.keep_float",
    "MatchMoments": "pocketlens.passes.match_moments",
    "PruneBlocks": "pocketlens.passes.prune_blocks",
    "PruneChannels": "pocketlens.passes.prune_channels",
    "PruneWeights": "pocketlens.passes.prune_weights",
    "QuantizeStatic": "pocketlens.passes.quantize_static",
    "RoundAdaptively": "pocketlens.passes.round_adaptively",
    "SetInputSize": "pocketlens.passes.set_input_size",
    "SparsifyChannels": "pocketlens.passes.sparsify_channels",
    "Recognizer": "pocketlens.runtime.recognizer",
    "canonicalise": "pocketlens.models.canonical",
    "open_bundle": "pocketlens.bundle.archive",
}

__all__ = sorted(_PUBLIC)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'pocketlens' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_PUBLIC]
