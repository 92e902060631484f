"""The rules on a .tflite file, each broken once in one that was good."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import SPEC
from tests.networks import SqueezeExcite, shaken

from pocketlens.errors import TargetError
from pocketlens.models.canonical import canonicalise
from pocketlens.passes.fold_batch_norm import FoldBatchNorm
from pocketlens.passes.quantize_static import QuantizeStatic
from pocketlens.targets.presets.check import check_preset
from pocketlens.targets.presets.preset import Preset
from pocketlens.targets.presets.table import PRESETS
from pocketlens.types import Context, Model

if find_spec("litert_torch") is None:
    pytest.skip("litert-torch is not installed: pip install 'pocketlens[litert]'", allow_module_level=True)

from ai_edge_litert import schema_py_generated as schema

from pocketlens.targets.litert.flatbuffer import add_operator_code, operator_name, pack, unpack
from pocketlens.targets.litert.lower import lower
from pocketlens.targets.litert.session import open_session

EDGETPU = PRESETS["edgetpu"]


@pytest.fixture(scope="module")
def shared_file() -> dict[str, bytes]:
    """The converter takes seconds, so all tests here look at one file."""
    return {}


@pytest.fixture
def good(made: Callable[[Preset], Model], shared_file: dict[str, bytes], tmp_path: Path) -> bytes:
    if not shared_file:
        shared_file["x"] = lower(made(EDGETPU), "int8", tmp_path, EDGETPU.form).graph.read_bytes()
    return shared_file["x"]


class File:
    """A .tflite file to be spoiled."""

    def __init__(self, content: bytes) -> None:
        self.model = unpack(content)
        self.graph = self.model.subgraphs[0]

    def operator(self, kind: str) -> Any:
        return next(o for o in self.graph.operators if operator_name(self.model, o) == kind)

    def tensor(self, kind: str, role: int) -> Any:
        """What an operator reads: 0 data, 1 weights, 2 bias."""
        return self.graph.tensors[self.operator(kind).inputs[role]]

    def given(self, kind: str) -> Any:
        return self.graph.tensors[self.operator(kind).outputs[0]]


def in_floats(file: File) -> None:
    file.given("CONV_2D").type = schema.TensorType.FLOAT32


def in_16_bits(file: File) -> None:
    file.given("ADD").type = schema.TensorType.INT16


def scales_in_an_activation(file: File) -> None:
    file.given("ADD").quantization.scale = [0.1, 0.2]


def weights_off_centre(file: File) -> None:
    grid = file.tensor("CONV_2D", 1).quantization
    grid.zeroPoint = [1] * len(grid.zeroPoint)


def one_code_too_low(file: File) -> None:
    buffer = file.model.buffers[file.tensor("CONV_2D", 1).buffer]
    data = np.array(buffer.data, np.uint8)
    data[0] = 128  # -128
    buffer.data = data


def unsigned_weights(file: File) -> None:
    file.tensor("DEPTHWISE_CONV_2D", 1).type = schema.TensorType.UINT8


def one_scale_for_all_channels(file: File) -> None:
    grid = file.tensor("CONV_2D", 1).quantization
    grid.scale, grid.zeroPoint = [0.01], [0]


def scales_in_a_linear_layer(file: File) -> None:
    grid = file.tensor("FULLY_CONNECTED", 1).quantization
    grid.scale, grid.zeroPoint = [0.01] * 4, [0] * 4


def float_bias(file: File) -> None:
    file.tensor("CONV_2D", 2).type = schema.TensorType.FLOAT32


def bias_on_another_scale(file: File) -> None:
    grid = file.tensor("CONV_2D", 2).quantization
    grid.scale = [s * 2 for s in grid.scale]


def computed_weights(file: File) -> None:
    conv = file.operator("CONV_2D")
    conv.inputs = [conv.inputs[0], file.operator("ADD").inputs[0], conv.inputs[2]]


def moved_to_another_grid(file: File) -> None:
    """The mean has a grid of its own; to reshape may not have one."""
    file.operator("MEAN").opcodeIndex = add_operator_code(file.model, schema.BuiltinOperator.RESHAPE, 1)


def free_range(file: File) -> None:
    """A sum has whatever grid it needs; a sigmoid may not."""
    file.operator("ADD").opcodeIndex = add_operator_code(file.model, schema.BuiltinOperator.LOGISTIC, 1)


def foreign_operator(file: File) -> None:
    file.operator("ADD").opcodeIndex = add_operator_code(file.model, schema.BuiltinOperator.HARD_SWISH, 1)


def open_size(file: File) -> None:
    file.graph.tensors[file.graph.inputs[0]].shapeSignature = [-1, 32, 32, 3]


def four_images(file: File) -> None:
    file.graph.tensors[file.graph.inputs[0]].shape = [4, 32, 32, 3]


BROKEN: dict[str, tuple[str, str, Callable[[File], None]]] = {
    "an operator in floats": ("float operator", "in floats", in_floats),
    "activations in 16 bits": ("storage", "must be int8, got INT16", in_16_bits),
    "scales in an activation": ("granularity", "has one scale, got 2", scales_in_an_activation),
    "weights off centre": ("zero point", "must have 0", weights_off_centre),
    "a code outside the range": ("range", "got -128", one_code_too_low),
    "unsigned weights": ("storage", "weights must be int8", unsigned_weights),
    "one scale for all channels": ("granularity", "a scale a channel", one_scale_for_all_channels),
    "a scale a class": ("granularity", "FULLY_CONNECTED have one scale, got 4", scales_in_a_linear_layer),
    "a bias in floats": ("bias", "must be int32", float_bias),
    "a bias on another scale": ("bias", "scale must be that of the sums", bias_on_another_scale),
    "weights that are computed": ("placement", "must be constants", computed_weights),
    "values moved to another grid": ("shared grid", "RESHAPE", moved_to_another_grid),
    "a sigmoid on a grid of its own": ("fixed grid", "1/256 at zero point -128", free_range),
    "an operator that is not listed": ("operator", "HARD_SWISH", foreign_operator),
    "an open size": ("shape", "must be constant", open_size),
    "four images": ("shape", "one image at a time", four_images),
}


def test_what_is_made_for_the_edge_tpu_obeys(good: bytes, tmp_path: Path) -> None:
    (tmp_path / "good.tflite").write_bytes(good)
    assert check_preset(tmp_path / "good.tflite", EDGETPU) == ()


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_rule_is_named(case: str, good: bytes, tmp_path: Path) -> None:
    rule, word, spoil = BROKEN[case]
    file = File(good)
    spoil(file)
    (tmp_path / "spoiled.tflite").write_bytes(pack(file.model))
    found = check_preset(tmp_path / "spoiled.tflite", EDGETPU)
    assert [v for v in found if v.rule == rule and word in v.found], found
    assert {v.node for v in found} <= {t.name.decode() for t in file.graph.tensors}


def test_a_gate_of_sigmoids_obeys_too(context: Context, tmp_path: Path) -> None:
    model = FoldBatchNorm()(canonicalise(shaken(SqueezeExcite()), SPEC), context).model
    gate = QuantizeStatic(scheme=EDGETPU.scheme or "auto", activations="minmax")(model, context).model
    artifact = lower(gate, "int8", tmp_path, EDGETPU.form)
    assert check_preset(artifact.graph, EDGETPU) == ()
    x = np.random.default_rng(0).standard_normal((4, 3, 32, 32), np.float32)
    with torch.inference_mode():
        expected = gate.graph(torch.from_numpy(x)).numpy()
    session = open_session(artifact.graph, None, {}, 1)
    step = session.output_grid[0] if session.output_grid else 0.0
    np.testing.assert_allclose(session.run(x), expected, atol=1.01 * step)


def test_it_takes_and_gives_integers_and_answers_as_the_simulation(
    good: bytes, made: Callable[[Preset], Model]
) -> None:
    session = open_session(good, None, {}, 1)
    x = np.random.default_rng(0).standard_normal((8, 3, 32, 32), np.float32)
    with torch.inference_mode():
        expected = made(EDGETPU).graph(torch.from_numpy(x)).numpy()
    step = session.output_grid[0] if session.output_grid else 0.0
    np.testing.assert_allclose(session.run(x), expected, atol=2.01 * step)
    assert session.input_grid is not None
    assert session.output_grid is not None


def test_what_is_no_model_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.tflite").write_bytes(b"\0no flatbuffer")
    with pytest.raises(TargetError, match=r"cannot be read as \.tflite"):
        check_preset(tmp_path / "x.tflite", EDGETPU)
