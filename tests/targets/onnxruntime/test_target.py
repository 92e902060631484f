from pathlib import Path

import pytest

from pocketlens.targets.onnxruntime.target import OnnxRuntime
from pocketlens.types import Model


@pytest.mark.parametrize("name", ["tiny", "folded", "quantized", "weight_only"])
def test_every_heavy_operator_is_mapped_back_to_its_layer(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Fused batch norms and activations, and the blocked layout of float convolutions, rename what runs."""
    model: Model = request.getfixturevalue(name)
    target = OnnxRuntime()
    rows = target.layer_times(target.lower(model, "g", tmp_path))
    heavy = {row["layer"] for row in rows if row["operator"] in ("Conv", "FusedConv", "QLinearConv", "Gemm", "QGemm")}
    assert heavy == {"stem_0", "expand_0", "depthwise_0", "project_0", "classifier"}
    assert sum(row["share"] for row in rows) == pytest.approx(1)


def test_what_the_runtime_adds_is_a_layer_of_its_own(quantized: Model, tmp_path: Path) -> None:
    target = OnnxRuntime()
    rows = target.layer_times(target.lower(quantized, "g", tmp_path))
    layers = {node.name for node in quantized.graph.graph.nodes}
    assert {row["layer"] for row in rows if row["layer"] not in layers} <= {row["operator"] for row in rows}


def test_the_probe_is_asked_again_when_told_to() -> None:
    target = OnnxRuntime()
    first, again = target.profile(), target.profile(refresh=True)
    assert again.peak != first.peak  # measured anew
    assert target.profile() == again
