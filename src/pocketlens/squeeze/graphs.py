"""Which graphs a finished model ships as: how weights are stored and how they compute are separate choices.

A quantized model becomes two graphs over one blob of integer weights: `int8` computes in integers, `float`
dequantizes the weights when it loads and computes in float. Which is faster depends on the device; both are measured.
"""

from pathlib import Path

from pocketlens.models.grids import without_grids
from pocketlens.types import Artifact, Model, Target


def graph_variants(model: Model) -> dict[str, Model]:
    """The graphs of a finished model by name, the one that was asked for first."""
    if "quantized" in model.facts:
        return {"int8": model, "float": without_grids(model)}
    return {"half" if "half" in model.facts else "float": model}


def lower_graphs(model: Model, target: Target, folder: Path) -> tuple[Artifact, ...]:
    """Lower every variant into `folder`, sharing one blob of weights."""
    folder.mkdir(parents=True, exist_ok=True)
    return tuple(target.lower(variant, name, folder) for name, variant in graph_variants(model).items())
