"""Models of fewer bits: each runtime computes what was simulated, or names the layer and refuses."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pocketlens.errors import TargetError
from pocketlens.passes.quantize_static import QuantizeStatic
from pocketlens.types import Context, Model, Target


def sqnr_db(wanted: np.ndarray, got: np.ndarray) -> float:
    return float(10 * np.log10(np.square(wanted).sum() / max(np.square(got - wanted).sum(), 1e-30)))


@pytest.mark.parametrize(("weights", "activations"), [(4, None), (2, None), (4, 4), (8, 3)])
def test_the_file_answers_as_the_simulation(
    target: Target, folded: Model, context: Context, tmp_path: Path, weights: int, activations: int | None
) -> None:
    scheme = target.profile().scheme
    assert scheme is not None
    step = QuantizeStatic(scheme=scheme, weight_bits=weights, activation_bits=activations, edge_bits=8, weights="mse")
    model = step(folded, context).model
    if target.name == "litert" and activations is not None:
        with pytest.raises(TargetError, match=r"stem_2_grid: LiteRT's activations have 8 bits, got \d+ levels; leave"):
            target.lower(model, "int8", tmp_path)
        return
    artifact = target.lower(model, "int8", tmp_path)
    assert context.data.calibration is not None
    x = np.concatenate([b.images for b in context.data.calibration.batches(model.spec.preprocessing, 24)])
    with torch.inference_mode():
        wanted = model.graph(torch.from_numpy(x)).numpy()
    (got,) = target.outputs(artifact, [x], threads=1)
    assert sqnr_db(wanted, got) > 30
