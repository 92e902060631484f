from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pocketlens.ops.quantized import QuantizedConv2d
from pocketlens.passes.quantize_static import QuantizeStatic
from pocketlens.targets.by_hand import grid, network
from pocketlens.targets.openvino.lower import lower
from pocketlens.targets.openvino.schemes import SCHEMES, likely
from pocketlens.targets.openvino.session import open_session
from pocketlens.targets.openvino.target import OpenVino
from pocketlens.types import Artifact, Context, Model


def run(artifact: Artifact, x: np.ndarray) -> np.ndarray:
    return open_session(artifact.graph, artifact.weights, artifact.session, 1).run(x)


def kernels(artifact: Artifact, *operators: str) -> list[str]:
    rows = OpenVino().layer_times(artifact)
    return [row["operator"] for row in rows if row["operator"].partition(" ")[0].startswith(operators)]


def test_a_convolution_by_hand(tmp_path: Path) -> None:
    scheme = SCHEMES["u8s8"]
    layer = QuantizedConv2d(
        torch.tensor([[[[2]], [[-3]]], [[[127]], [[0]]]], dtype=torch.int8),
        torch.tensor([0.25, 0.5]),
        torch.tensor([1.0, -0.6]),
        "int8",
    )
    model = network(nn.Sequential(grid(scheme, 0.5), layer, grid(scheme, 0.25, 10)), (2, 1, 1))
    x = np.array([1.0, 0.3], np.float32).reshape(1, 2, 1, 1)  # the grid makes 1.0 and 0.5 of it
    # 2 * 0.25 * 1 - 3 * 0.25 * 0.5 + 1 = 1.125, halfway between 1.0 and 1.25: to even; 127 * 0.5 - 0.6 = 62.9 is
    # above the grid, whose last step is 0.25 * 245.
    assert run(lower(model, "int8", tmp_path), x).ravel().tolist() == [1.0, 61.25]


def test_integer_convolutions_run_on_integer_kernels(quantized: Model, tmp_path: Path) -> None:
    found = kernels(lower(quantized, "int8", tmp_path), "Convolution", "GroupConvolution", "FullyConnected")
    assert len(found) == 5
    assert all(name.endswith("I8") for name in found)


@pytest.mark.parametrize("name", ["folded", "weight_only", "half"])
def test_float_files_compute_in_float32(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The plugin would take bfloat16 where the processor has it."""
    artifact = lower(request.getfixturevalue(name), "float", tmp_path)
    found = kernels(artifact, "Convolution", "GroupConvolution", "FullyConnected")
    assert len(found) == 5
    assert all(name.lower().endswith("f32") for name in found)


def test_integer_weights_stay_integers_in_the_file(
    folded: Model, quantized: Model, weight_only: Model, half: Model, tmp_path: Path
) -> None:
    sizes = {}
    for name, model in (("f", folded), ("q", quantized), ("w", weight_only), ("h", half)):
        weights = lower(model, name, tmp_path).weights
        assert weights is not None
        sizes[name] = weights.stat().st_size
    # 616 weights of convolutions and 32 of the classifier, 52 biases; the rest are scales and ranges.
    assert sizes["f"] >= 4 * 700
    assert 1300 < sizes["h"] < 0.6 * sizes["f"]
    assert sizes["w"] < 0.6 * sizes["f"]


def test_the_file_says_nothing_of_this_machine(quantized: Model, tmp_path: Path) -> None:
    artifact = lower(quantized, "int8", tmp_path)
    text = artifact.graph.read_text("utf-8")
    assert str(tmp_path) not in text
    assert "pocketlens-" not in text
    assert not [path for path in tmp_path.iterdir() if path not in (artifact.graph, artifact.weights)]


def test_seven_bits_compute_what_the_simulation_computes(folded: Model, context: Context, tmp_path: Path) -> None:
    model = QuantizeStatic(scheme=SCHEMES["u8s8_7bit"], activations="minmax")(folded, context).model
    x = np.random.default_rng(0).standard_normal((4, 3, 32, 32), np.float32)
    with torch.inference_mode():
        wanted = model.graph(torch.from_numpy(x)).numpy()
    assert np.abs(run(lower(model, "int8", tmp_path), x) - wanted).max() <= 0.02 * np.abs(wanted).max()


@pytest.mark.parametrize(
    ("instructions", "name"),
    [(("avx2", "avx512f"), "u8s8_7bit"), (("avx2", "avx_vnni"), "u8s8"), (("neon",), "u8s8"), ((), "u8s8_7bit")],
)
def test_the_rule(instructions: tuple[str, ...], name: str) -> None:
    assert likely(instructions) == name
    assert SCHEMES[name].name == name
