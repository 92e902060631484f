"""What the graphs of a bundle share, and in which order tensors lie."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from pocketlens.bundle.tensor_coding import Span
from pocketlens.errors import BundleError
from pocketlens.models.grids import without_grids
from pocketlens.ops.quantized import QuantizedConv2d, QuantizeDequantize, QuantizedLinear
from pocketlens.targets.onnxruntime.blob import external_roles, external_tensors, move_weights, share_biases
from pocketlens.targets.onnxruntime.lower import lower
from pocketlens.targets.onnxruntime.roles import Role, roles
from pocketlens.targets.onnxruntime.session import open_session
from pocketlens.types import Artifact, Model

Build = Callable[[nn.Sequential, tuple[int, int, int]], Model]

WIDTH = 32
"""The fewest channels whose biases, 4 bytes each, move into the blob."""


def dequantizing(codes: np.ndarray, scale: np.ndarray) -> onnx.GraphProto:
    """y = x + dequantized codes."""
    return helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["codes", "scale"], ["bias"], axis=0),
            helper.make_node("Add", ["x", "bias"], ["y"]),
        ],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, codes.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, codes.shape)],
        [numpy_helper.from_array(codes, "codes"), numpy_helper.from_array(scale, "scale")],
    )


def adding(bias: np.ndarray) -> onnx.GraphProto:
    """y = x + bias."""
    return helper.make_graph(
        [helper.make_node("Add", ["x", "bias"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, bias.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, bias.shape)],
        [numpy_helper.from_array(bias, "bias")],
    )


def written(graph: onnx.GraphProto, blob: Path) -> tuple[onnx.ModelProto, Path]:
    """The graph as a file beside a blob, its floats shared where they can be."""
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    share_biases(model, blob)
    move_weights(model, blob)
    place = blob.with_name(f"{len(list(blob.parent.iterdir()))}.onnx")
    place.write_bytes(model.SerializeToString())
    return model, place


def run(artifact: Artifact, x: np.ndarray) -> np.ndarray:
    return open_session(artifact.graph, artifact.weights, artifact.session, 1, spinning=False).run(x)


CODES = np.arange(-16, 16, dtype=np.int32) * 1000
SCALE = np.full(WIDTH, 0.001, np.float32)


# --- biases


def test_a_float_bias_is_the_integers_that_the_blob_holds(tmp_path: Path) -> None:
    blob = tmp_path / "weights.bin"
    written(dequantizing(CODES, SCALE), blob)
    before = blob.read_bytes()
    model, place = written(adding(CODES.astype(np.float32) * SCALE), blob)
    assert blob.read_bytes() == before
    assert [node.op_type for node in model.graph.node] == ["DequantizeLinear", "Add"]
    assert external_tensors(place) == {Span(0, 128, 4), Span(128, 128, 4)}
    onnx.checker.check_model(place)


@pytest.mark.parametrize(
    "bias",
    [CODES.astype(np.float32) * SCALE * 1.00001, np.ones(WIDTH, np.float32), np.ones(WIDTH - 1, np.float32)],
    ids=["a little off", "another", "of another length"],
)
def test_other_biases_stay_floats(bias: np.ndarray, tmp_path: Path) -> None:
    blob = tmp_path / "weights.bin"
    written(dequantizing(CODES, SCALE), blob)
    model, _ = written(adding(bias), blob)
    assert [node.op_type for node in model.graph.node] == ["Add"]


def test_a_code_that_floats_cannot_hold_is_shared_to_the_last_digit(tmp_path: Path) -> None:
    """Dead channels have biases of up to 2^30 steps."""
    codes = CODES.copy()
    codes[0] = 2**29 + 1
    blob = tmp_path / "weights.bin"
    written(dequantizing(codes, SCALE), blob)
    bias = codes.astype(np.float32) * SCALE
    bias[0] = np.nextafter(bias[0], np.float32(np.inf))
    model, _ = written(adding(bias), blob)
    assert len(model.graph.node) == 2


def test_without_a_blob_nothing_is_shared(tmp_path: Path) -> None:
    model, _ = written(adding(np.ones(WIDTH, np.float32)), tmp_path / "weights.bin")
    assert len(model.graph.node) == 1


@pytest.fixture
def wide(by_hand: Build) -> Model:
    """A convolution and a linear layer, wide enough for the blob; biases on the scale of their sums."""
    draw = torch.Generator().manual_seed(0)

    def on(shape: tuple[int, ...], scale: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.randint(-127, 128, shape, generator=draw, dtype=torch.int8), scale()

    def steps() -> torch.Tensor:
        return torch.rand(WIDTH, generator=draw) / 100 + 0.001

    def bias(scale: torch.Tensor, grid: float) -> torch.Tensor:
        return torch.randint(-5000, 5000, (WIDTH,), generator=draw) * (scale * grid)

    codes, scale = on((WIDTH, 3, 3, 3), steps)
    conv = QuantizedConv2d(codes, scale, bias(scale, 0.5), "uint8", padding=(1, 1))
    codes, scale = on((WIDTH, WIDTH), steps)
    linear = QuantizedLinear(codes, scale, bias(scale, 0.25), "uint8")

    def grid(step: float) -> QuantizeDequantize:
        return QuantizeDequantize(torch.tensor(step), torch.tensor(3), 0, 255, "uint8")

    pool = nn.AdaptiveAvgPool2d(1)
    return by_hand(nn.Sequential(grid(0.5), conv, nn.ReLU(), pool, nn.Flatten(), grid(0.25), linear), (3, 8, 8))


def test_the_float_graph_of_a_model_adds_nothing_to_the_blob(
    wide: Model, tmp_path: Path, optimised: Callable[[Artifact], dict[str, int]]
) -> None:
    (tmp_path / "alone").mkdir()
    alone = lower(without_grids(wide), "float", tmp_path / "alone")
    int8 = lower(wide, "int8", tmp_path)
    assert int8.weights is not None
    before = int8.weights.read_bytes()
    floats = lower(without_grids(wide), "float", tmp_path)
    assert int8.weights.read_bytes() == before
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8), np.float32)
    assert np.array_equal(run(floats, x), run(alone, x))
    # What the session makes of it is the same.
    assert optimised(floats) == optimised(alone)


# --- order


def test_alike_lies_beside_alike_and_scales_before_those_that_follow_from_them(wide: Model, tmp_path: Path) -> None:
    int8 = lower(wide, "int8", tmp_path)
    found = external_roles(int8.graph.read_bytes())
    order = [role for _, role in sorted(found.items())]
    assert order == sorted(order, key=list(Role).index)
    assert order.count(Role.CODES) == order.count(Role.SCALES) == order.count(Role.BIASES) == 2
    assert order.count(Role.BIAS_SCALES) == 2
    assert int8.weights is not None
    blob = int8.weights.read_bytes()
    values = {
        role: [
            np.frombuffer(blob, "<f4", span.length // 4, span.offset) for span in sorted(found) if found[span] is role
        ]
        for role in (Role.SCALES, Role.BIAS_SCALES)
    }
    # So that they follow: each is the float32 product of a weight scale and its input's scale.
    for weight, bias, grid in zip(values[Role.SCALES], values[Role.BIAS_SCALES], (0.5, 0.25), strict=True):
        assert np.array_equal(weight * np.float32(grid), bias)


def test_roles_by_hand() -> None:
    graph = dequantizing(CODES, SCALE)
    graph.initializer.append(numpy_helper.from_array(np.ones((2, 2), np.float32), "weight"))
    graph.initializer.append(numpy_helper.from_array(np.ones(2, np.int64), "shape"))
    graph.initializer.append(numpy_helper.from_array(np.ones((2, 2), np.int8), "q"))
    graph.initializer.append(numpy_helper.from_array(np.ones(2, np.float32), "s"))
    graph.initializer.append(numpy_helper.from_array(np.zeros(2, np.int8), "z"))
    graph.node.append(helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0))
    assert roles(graph) == {
        "codes": Role.BIASES,
        "scale": Role.BIAS_SCALES,
        "weight": Role.FLOATS,
        "shape": Role.OTHERS,
        "q": Role.CODES,
        "s": Role.SCALES,
        "z": Role.ZERO_POINTS,
    }


def test_a_graph_of_a_stranger_is_refused_in_one_line() -> None:
    broken = helper.make_model(adding(np.ones(WIDTH, np.float32)))
    broken.graph.initializer[0].data_location = TensorProto.EXTERNAL
    for content in (b"no graph at all", broken.SerializeToString()):
        with pytest.raises(BundleError, match="is no ONNX file that refers to weights"):
            external_roles(content)
