"""What KeepFloat keeps stays in float when the runtime optimizes the file."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pocketlens.passes.fold_batch_norm import FoldBatchNorm
from pocketlens.passes.keep_float import KeepFloat
from pocketlens.passes.quantize_static import QuantizeStatic
from pocketlens.targets import load_target
from pocketlens.types import Context, Model


def test_a_float_layer_between_two_grids_is_not_rounded(tiny: Model, context: Context, tmp_path: Path) -> None:
    """A large weight reads a channel that is always 0; on one scale with it, nothing of the others would be left."""
    target = load_target("onnxruntime")
    scheme = target.profile().scheme
    assert scheme is not None
    folded = FoldBatchNorm()(tiny, context).model
    depthwise, project = (_layer(folded, name) for name in ("depthwise", "project"))
    assert depthwise.bias is not None
    depthwise.weight.data[0], depthwise.bias.data[0] = 0, 0
    project.weight.data[:, 0] = 1000
    rounded = QuantizeStatic(scheme=scheme)(folded, context).model
    kept = KeepFloat(layers=("project_0",), worst=0, scheme=scheme)(rounded, replace(context, unquantized=folded)).model
    x = torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        simulated = kept.graph(x).numpy()
    (got,) = target.outputs(target.lower(kept, "kept", tmp_path), iter([x.numpy()]))
    assert np.square(got - simulated).mean() < 1e-3 * np.square(simulated).mean()


def _layer(model: Model, start: str) -> nn.Conv2d:
    return next(m for name, m in model.graph.named_modules() if name.startswith(start) and isinstance(m, nn.Conv2d))
