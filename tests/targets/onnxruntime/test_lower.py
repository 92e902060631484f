import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from tests.conftest import SPEC
from tests.networks import Twice, shaken
from torch import nn

from pocketlens.errors import TargetError
from pocketlens.models.canonical import canonicalise
from pocketlens.models.grids import without_grids
from pocketlens.ops.quantized import QuantizedConv2d, QuantizeDequantize, QuantizedLinear
from pocketlens.passes.fold_batch_norm import FoldBatchNorm
from pocketlens.passes.quantize_static import QuantizeStatic
from pocketlens.targets.form import Form
from pocketlens.targets.onnxruntime.lower import lower
from pocketlens.targets.onnxruntime.schemes import SCHEMES
from pocketlens.targets.onnxruntime.session import open_session
from pocketlens.types import Artifact, Context, Model, ModelSpec

Build = Callable[[nn.Sequential, tuple[int, int, int]], Model]


def initializers(artifact: Artifact) -> dict[str, np.ndarray]:
    model = onnx.load(artifact.graph)
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def nodes(artifact: Artifact) -> list[onnx.NodeProto]:
    return list(onnx.load(artifact.graph, load_external_data=False).graph.node)


def run(artifact: Artifact, x: np.ndarray) -> np.ndarray:
    return open_session(artifact.graph, artifact.weights, artifact.session, 1, spinning=False).run(x)


def grid(scale: float, zero_point: int = 0) -> QuantizeDequantize:
    return QuantizeDequantize(torch.tensor(scale), torch.tensor(zero_point), 0, 255, "uint8")


@pytest.fixture
def linear(by_hand: Build) -> Model:
    """One linear layer with two outputs on a grid of scale 1/2, worked by hand in the tests."""
    layer = QuantizedLinear(
        torch.tensor([[2, -3], [127, 0]], dtype=torch.int8),
        torch.tensor([0.25, 0.5]),
        torch.tensor([1.0, -0.6]),
        "int8",
    )
    return by_hand(nn.Sequential(grid(0.5), nn.Flatten(), grid(0.5), layer), (2, 1, 1))


# --- integers in the file


def test_biases_are_integers_on_the_scale_of_the_sum(linear: Model, tmp_path: Path) -> None:
    tensors = initializers(lower(linear, "int8", tmp_path))
    (name,) = [name for name, value in tensors.items() if value.dtype == np.int32]
    # scale of the sum: 0.5 * 0.25 and 0.5 * 0.5; 1 / 0.125 = 8 and -0.6 / 0.25 = -2.4, rounded to -2.
    assert tensors[name].tolist() == [8, -2]
    assert any(np.array_equal(value, [0.125, 0.25]) for value in tensors.values())


def test_the_file_computes_by_hand(linear: Model, tmp_path: Path) -> None:
    x = np.array([1.0, 0.3], np.float32).reshape(1, 2, 1, 1)  # the grid makes 1.0 and 0.5 of it
    # (2 * 0.25 * 1 - 3 * 0.25 * 0.5 + 1, 127 * 0.5 * 1 - 0.5)
    assert run(lower(linear, "int8", tmp_path), x).tolist() == [[1.125, 63.0]]


def test_biases_of_a_weight_only_graph_stay_floats(linear: Model, tmp_path: Path) -> None:
    artifact = lower(without_grids(linear), "float", tmp_path)
    tensors = initializers(artifact)
    assert not [name for name, value in tensors.items() if value.dtype == np.int32]
    assert any(np.array_equal(value, np.array([1.0, -0.6], np.float32)) for value in tensors.values())
    assert artifact.session == {"session.disable_quant_qdq": "1"}
    assert artifact.arithmetic == "float32"


def test_unsigned_weights_are_stored_around_128(by_hand: Build, tmp_path: Path) -> None:
    codes = torch.tensor([[[[-127]], [[3]]]], dtype=torch.int8)
    layer = QuantizedConv2d(codes, torch.tensor([0.5]), None, "uint8")
    model = by_hand(nn.Sequential(grid(1.0), layer), (2, 1, 1))
    artifact = lower(model, "int8", tmp_path)
    tensors = initializers(artifact)
    (name,) = [name for name, value in tensors.items() if value.shape == (1, 2, 1, 1)]
    assert tensors[name].dtype == np.uint8
    assert tensors[name].ravel().tolist() == [1, 131]
    assert tensors[f"{name}_zero_point"].tolist() == [128]
    x = np.array([2.0, 4.0], np.float32).reshape(1, 2, 1, 1)
    assert run(artifact, x).ravel().tolist() == [0.5 * (-127 * 2 + 3 * 4)]


def test_a_dead_channel_beside_a_large_bias_keeps_the_bias(by_hand: Build, tmp_path: Path) -> None:
    """The bias would be 5 / (1 * 1e-12) codes, far beyond 32 bits."""
    codes = torch.tensor([[[[0]]], [[[100]]]], dtype=torch.int8)
    layer = QuantizedConv2d(codes, torch.tensor([1e-12, 0.01]), torch.tensor([5.0, 1.0]), "int8")
    model = by_hand(nn.Sequential(grid(1.0), layer), (1, 1, 1))
    y = run(lower(model, "int8", tmp_path), np.full((1, 1, 1, 1), 3.0, np.float32))
    np.testing.assert_allclose(y.ravel(), [5.0, 4.0], rtol=1e-6)


# --- what ONNX Runtime makes of it


@pytest.mark.parametrize("name", sorted(SCHEMES))
def test_every_scheme_runs_in_integers(
    name: str, folded: Model, context: Context, tmp_path: Path, optimised: Callable[[Artifact], dict[str, int]]
) -> None:
    model = QuantizeStatic(scheme=SCHEMES[name], activations="minmax")(folded, context).model
    operators = optimised(lower(model, "int8", tmp_path))
    assert operators["QLinearConv"] == 4
    assert operators["QLinearAdd"] == 1
    assert operators["QGemm"] == 1
    assert not {"Conv", "Gemm", "MatMul", "Add", "Clip"} & set(operators)
    # One leaves the integers for the mean; none is left on weights or biases.
    assert operators["DequantizeLinear"] <= 1


def test_each_call_of_a_layer_runs_in_integers(
    context: Context, tmp_path: Path, optimised: Callable[[Artifact], dict[str, int]]
) -> None:
    """Two calls on two grids; the codes are stored once."""
    model = FoldBatchNorm()(canonicalise(shaken(Twice()), SPEC), context).model
    model = QuantizeStatic(scheme=SCHEMES["u8u8"], activations="minmax")(model, context).model
    artifact = lower(model, "int8", tmp_path)
    operators = optimised(artifact)
    assert operators["QLinearConv"] == 4
    assert not {"Conv", "Gemm", "MatMul"} & set(operators)
    assert artifact.weights is not None
    assert artifact.weights.stat().st_size < 216 + 576 + 432 + 100  # stem, loop, read; smaller tensors lie in the graph


def test_a_weight_only_graph_runs_in_floats(
    weight_only: Model, tmp_path: Path, optimised: Callable[[Artifact], dict[str, int]]
) -> None:
    operators = optimised(lower(weight_only, "float", tmp_path))
    assert not {"DequantizeLinear", "QuantizeLinear", "QLinearConv"} & set(operators)


@pytest.mark.parametrize("name", ["tiny", "folded", "quantized", "weight_only"])
def test_the_embedding_costs_no_operator(
    name: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    optimised: Callable[[Artifact], dict[str, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = request.getfixturevalue(name)
    operators = optimised(lower(model, "g", tmp_path))
    monkeypatch.setattr("pocketlens.targets.onnxruntime.lower.with_embedding", lambda graph, on_grid: None)
    assert optimised(lower(model, "alone", tmp_path)) == operators


def test_padding_becomes_the_convolutions_own(
    by_hand: Build, tmp_path: Path, optimised: Callable[[Artifact], dict[str, int]]
) -> None:
    torch.manual_seed(0)
    model = by_hand(nn.Sequential(nn.ZeroPad2d((0, 1, 0, 2)), nn.Conv2d(2, 3, 3, 2)), (2, 6, 6))
    artifact = lower(model, "fp32", tmp_path)
    assert "Pad" not in optimised(artifact)
    x = np.random.default_rng(0).standard_normal((2, 2, 6, 6), np.float32)
    with torch.inference_mode():
        np.testing.assert_allclose(run(artifact, x), model.graph(torch.from_numpy(x)).numpy(), atol=1e-5)


# --- the blob


def test_two_graphs_share_their_codes(quantized: Model, tmp_path: Path) -> None:
    int8 = lower(quantized, "int8", tmp_path)
    alone = int8.weights.stat().st_size if int8.weights else 0
    x = np.random.default_rng(0).standard_normal((2, *quantized.spec.input_shape), np.float32)
    before = run(int8, x)
    floats = lower(without_grids(quantized), "float", tmp_path)
    assert floats.weights == int8.weights == tmp_path / "weights.bin"
    assert alone > 0
    assert np.array_equal(run(int8, x), before)

    def codes(artifact: Artifact) -> set[tuple[str, ...]]:
        return {
            tuple(sorted(f"{entry.key}={entry.value}" for entry in tensor.external_data))
            for tensor in onnx.load(artifact.graph, load_external_data=False).graph.initializer
            if tensor.data_type in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8) and tensor.external_data
        }

    assert codes(int8)
    assert codes(int8) == codes(floats)


def test_lowering_twice_gives_the_same_files(quantized: Model, tmp_path: Path) -> None:
    def digest(folder: str) -> list[str]:
        (tmp_path / folder).mkdir()
        artifact = lower(quantized, "int8", tmp_path / folder)
        assert artifact.weights is not None
        return [hashlib.sha256(path.read_bytes()).hexdigest() for path in (artifact.graph, artifact.weights)]

    assert digest("a") == digest("b")


def test_the_file_tells_nothing_of_this_machine(quantized: Model, tmp_path: Path) -> None:
    content = lower(quantized, "int8", tmp_path).graph.read_bytes()
    assert str(Path(torch.__file__).parents[2]).encode() not in content
    assert b"site-packages" not in content
    assert b"stack_trace" not in content


# --- names


def test_nodes_bear_the_names_of_the_canonical_graph(quantized: Model, tmp_path: Path) -> None:
    written = nodes(lower(quantized, "int8", tmp_path))
    names = {node.name: node.op_type for node in written}
    layers = {node.name for node in quantized.graph.graph.nodes}
    assert {name.split("/")[0] for name, kind in names.items() if kind in ("Conv", "Gemm", "Add")} <= layers
    assert names["stem_0/Conv"] == "Conv"
    assert names["add/Add"] == "Add"
    assert len(names) == len(written)  # no two are called the same


def test_a_module_inside_another_is_named_after_its_node(by_hand: Build, tmp_path: Path) -> None:
    model = by_hand(nn.Sequential(nn.Conv2d(1, 1, 1), nn.Sigmoid(), nn.Conv2d(1, 2, 1)), (1, 2, 2))
    kinds = {node.name for node in nodes(lower(model, "fp32", tmp_path))}
    assert {"layer_0/Conv", "layer_2/Conv"} <= kinds


# --- fewer levels


def test_a_grid_of_four_levels_by_hand(by_hand: Build, tmp_path: Path) -> None:
    narrow = QuantizeDequantize(torch.tensor(0.5), torch.tensor(1), 0, 3, "uint8")
    artifact = lower(by_hand(nn.Sequential(narrow, nn.Flatten()), (5, 1, 1)), "int8", tmp_path)
    x = np.array([-2.0, -0.4, 0.7, 0.9, 3.5], np.float32).reshape(1, 5, 1, 1)
    assert run(artifact, x).tolist() == [[-0.5, -0.5, 0.5, 1.0, 1.0]]


def test_fewer_levels_run_in_integers(
    folded: Model, context: Context, tmp_path: Path, optimised: Callable[[Artifact], dict[str, int]]
) -> None:
    step = QuantizeStatic(scheme=SCHEMES["u8s8"], activations="minmax", activation_bits=4, weight_bits=4, edge_bits=8)
    operators = optimised(lower(step(folded, context).model, "int8", tmp_path))
    assert operators["QLinearConv"] == 4
    assert operators["QLinearAdd"] == 1
    assert operators["QGemm"] == 1
    assert operators["Clip"] == 3  # on integers, behind each ReLU6, which is gone itself
    assert not {"Conv", "Gemm", "MatMul", "Add"} & set(operators)
    assert operators["DequantizeLinear"] <= 1


# --- what is refused


def test_a_device_of_its_own_refuses_fewer_levels_by_name(by_hand: Build, tmp_path: Path) -> None:
    narrow = QuantizeDequantize(torch.tensor(1.0), torch.tensor(0), 0, 15, "uint8")
    with pytest.raises(TargetError, match=r"0: this device's activations have 8 bits, got 16 levels; leave"):
        lower(by_hand(nn.Sequential(narrow, nn.Flatten()), (1, 1, 1)), "int8", tmp_path, Form(whole=True))


def test_the_name_becomes_a_safe_file_name(by_hand: Build, tmp_path: Path) -> None:
    artifact = lower(by_hand(nn.Sequential(nn.Flatten()), (1, 1, 1)), "../2 QuantizeStatic", tmp_path)
    assert artifact.graph == tmp_path / "_2_QuantizeStatic.onnx"
    assert artifact.name == "../2 QuantizeStatic"
    assert isinstance(artifact.spec, ModelSpec)
