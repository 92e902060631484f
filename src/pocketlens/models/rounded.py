"""Layers that adaptive rounding has finished, on disk: a run that was killed goes on behind them."""

import contextlib
import hashlib
import json

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from pocketlens.errors import OutputError
from pocketlens.models import store
from pocketlens.models.frontier import QuantizedLayer
from pocketlens.types import Context, Json, Model
from pocketlens.whole_file import whole_file


class RoundedLayers:
    """One file a layer, in a folder named by all that decides what is in them.

    Args:
        model: before the pass.
        context: its work folder holds them.
        config: of the pass.
    """

    def __init__(self, model: Model, context: Context, config: Json) -> None:
        calibration = context.data.calibration
        decides = {
            "model": store.digest(model),
            "reference": store.digest(context.unquantized) if context.unquantized else None,
            "data": calibration.fingerprint() if calibration else None,
            "seed": context.seed,
            "config": config,
        }
        key = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:24]
        self._folder = context.work / f"rounded-{key}"

    def restore(self, name: str, layer: QuantizedLayer) -> bool:
        """Give `layer` its finished codes and bias; False when there are none."""
        try:
            found = load_file(self._folder / f"{name}.safetensors")
            codes, bias = found["codes"], found["bias"]
        except (OSError, KeyError, SafetensorError):
            return False
        if codes.shape != layer.codes.shape:
            return False
        layer.codes = codes
        layer.bias = nn.Parameter(bias, requires_grad=False)
        return True

    def keep(self, name: str, layer: QuantizedLayer) -> None:
        """Keep what `layer` holds now; a disk that is full is no reason to stop."""
        assert layer.bias is not None
        tensors = {"codes": layer.codes.contiguous(), "bias": layer.bias.detach().contiguous()}
        with contextlib.suppress(OSError, OutputError, SafetensorError):
            self._folder.mkdir(parents=True, exist_ok=True)
            with whole_file(self._folder / f"{name}.safetensors") as part:
                save_file(tensors, part)
