"""Every rule, broken once in a file that was good."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pocketlens.errors import TargetError
from pocketlens.targets.presets.check import Violation, check_preset, demand
from pocketlens.targets.presets.table import PRESETS
from pocketlens.types import Artifact

Spoil = Callable[[onnx.GraphProto], None]
Exported = Callable[[str], Artifact]


def held(graph: onnx.GraphProto, name: str) -> np.ndarray:
    return numpy_helper.to_array(next(t for t in graph.initializer if t.name == name))


def put(graph: onnx.GraphProto, name: str, value: np.ndarray) -> str:
    """Hold `value` under `name`, in the place of what was there."""
    for place, tensor in enumerate(graph.initializer):
        if tensor.name == name:
            del graph.initializer[place]
            break
    graph.initializer.append(numpy_helper.from_array(value, name))
    return name


def nodes(graph: onnx.GraphProto, kind: str) -> list[onnx.NodeProto]:
    return [node for node in graph.node if node.op_type == kind]


def giver(graph: onnx.GraphProto, name: str) -> onnx.NodeProto:
    return next(node for node in graph.node if name in node.output)


def rounders(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The Q of every activation."""
    return nodes(graph, "QuantizeLinear")


def weights(graph: onnx.GraphProto, kind: str = "Conv") -> onnx.NodeProto:
    """The DQ of the first layer's weights."""
    return giver(graph, nodes(graph, kind)[0].input[1])


def own(graph: onnx.GraphProto, node: onnx.NodeProto, place: int, value: np.ndarray) -> None:
    """Give one node an operand of its own."""
    node.input[place] = put(graph, f"{node.output[0]}_own{place}", value)


# --- spoilers: (preset, rule, a word of what is said, how)


def unsigned(graph: onnx.GraphProto) -> None:
    own(graph, rounders(graph)[0], 2, np.array(0, np.uint8))


def off_centre(graph: onnx.GraphProto) -> None:
    own(graph, rounders(graph)[0], 2, np.array(3, np.int8))


def scales_in_an_activation(graph: onnx.GraphProto) -> None:
    own(graph, rounders(graph)[0], 1, np.full(3, 0.1, np.float32))


def dead_scale(graph: onnx.GraphProto) -> None:
    own(graph, rounders(graph)[0], 1, np.array(0, np.float32))


def weights_off_centre(graph: onnx.GraphProto) -> None:
    rounder = weights(graph)
    own(graph, rounder, 2, held(graph, rounder.input[2]) + np.int8(1))


def one_code_too_low(graph: onnx.GraphProto) -> None:
    codes = held(graph, weights(graph).input[0]).copy()
    codes.flat[0] = -128
    own(graph, weights(graph), 0, codes)


def unsigned_weights(graph: onnx.GraphProto) -> None:
    rounder = weights(graph)
    own(graph, rounder, 0, (held(graph, rounder.input[0]).astype(np.int16) + 128).astype(np.uint8))
    own(graph, rounder, 2, np.full(held(graph, rounder.input[2]).shape, 128, np.uint8))


def one_scale_for_all_channels(graph: onnx.GraphProto) -> None:
    own(graph, weights(graph), 1, np.array(0.01, np.float32))
    own(graph, weights(graph), 2, np.array(0, np.int8))


def wrong_axis(graph: onnx.GraphProto) -> None:
    next(a for a in weights(graph).attribute if a.name == "axis").i = 1


def scales_in_a_linear_layer(graph: onnx.GraphProto) -> None:
    own(graph, weights(graph, "Gemm"), 1, np.full(4, 0.01, np.float32))
    own(graph, weights(graph, "Gemm"), 2, np.zeros(4, np.int8))


def float_bias(graph: onnx.GraphProto) -> None:
    conv = nodes(graph, "Conv")[0]
    own(graph, conv, 2, np.zeros(held(graph, weights(graph).input[0]).shape[0], np.float32))


def integer_bias(graph: onnx.GraphProto) -> None:
    conv = nodes(graph, "Conv")[0]
    codes = put(graph, "b", np.zeros(held(graph, weights(graph).input[0]).shape[0], np.int32))
    scale = put(graph, "bs", np.ones(8, np.float32))
    graph.node.insert(0, helper.make_node("DequantizeLinear", [codes, scale], ["bias_in_floats"], axis=0))
    conv.input[2] = "bias_in_floats"


def bias_on_another_scale(graph: onnx.GraphProto) -> None:
    rounder = giver(graph, nodes(graph, "Conv")[0].input[2])
    own(graph, rounder, 1, held(graph, rounder.input[1]) * 2)


def unrounded_input(graph: onnx.GraphProto) -> None:
    conv = nodes(graph, "Conv")[1]
    conv.input[0] = giver(graph, giver(graph, conv.input[0]).input[0]).input[0]


def unrounded_operand(graph: onnx.GraphProto) -> None:
    (add,) = nodes(graph, "Add")
    for place, name in enumerate(add.input):
        rounder = giver(graph, name)
        if rounder.op_type == "DequantizeLinear":
            add.input[place] = giver(graph, rounder.input[0]).input[0]
            return


def float_between(graph: onnx.GraphProto) -> None:
    conv = nodes(graph, "Conv")[1]
    at = list(graph.node).index(conv)
    graph.node.insert(at, helper.make_node("Relu", [conv.input[0]], ["in_floats"], name="stray/Relu"))
    conv.input[0] = "in_floats"


def float_output(graph: onnx.GraphProto) -> None:
    last = giver(graph, "logits")
    graph.node.append(helper.make_node("Relu", ["on_grid"], ["logits"], name="stray/Relu"))
    last.output[0] = "on_grid"


def foreign_operator(graph: onnx.GraphProto) -> None:
    last = giver(graph, "logits")
    last.output[0] = "before"
    graph.node.append(helper.make_node("Erf", ["before"], ["logits"], name="stray/Erf"))


def open_batch(graph: onnx.GraphProto) -> None:
    graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"


def other_batch(graph: onnx.GraphProto) -> None:
    graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4


def wide_weight(graph: onnx.GraphProto) -> None:
    """One layer cast up and down again."""
    conv = nodes(graph, "Conv")[0]
    at = list(graph.node).index(conv)
    x, w, b, y = *conv.input, conv.output[0]
    wide = [helper.make_node("Cast", [v], [f"{v}_wide"], to=TensorProto.FLOAT) for v in (x, w, b)]
    narrow = helper.make_node("Cast", ["wide_y"], [y], to=TensorProto.FLOAT16)
    conv.input[:] = [f"{v}_wide" for v in (x, w, b)]
    conv.output[0] = "wide_y"
    for node in reversed(wide):
        graph.node.insert(at, node)
    graph.node.insert(list(graph.node).index(conv) + 1, narrow)


BROKEN: dict[str, tuple[str, str, str, Spoil]] = {
    "unsigned activations": ("tensorrt", "storage", "must be int8, got uint8", unsigned),
    "activations off centre": ("tensorrt", "zero point", "must have 0, got [3]", off_centre),
    "scales in an activation": ("qnn-htp", "granularity", "one scale a tensor, got 3", scales_in_an_activation),
    "a scale of zero": ("arm-dotprod", "range", "above 0", dead_scale),
    "weights off centre": ("arm-i8mm", "zero point", "weights must have 0, got [1]", weights_off_centre),
    "a code outside the range": ("tensorrt", "range", "-127..127, got -128", one_code_too_low),
    "unsigned weights": ("qnn-htp", "storage", "weights must be int8, got uint8", unsigned_weights),
    "one scale for all channels": ("tensorrt", "granularity", "a scale a channel", one_scale_for_all_channels),
    "scales along inputs": ("arm-dotprod", "granularity", "axis 0", wrong_axis),
    "a scale a class": ("qnn-htp", "granularity", "weights of Gemm have one scale, got 4", scales_in_a_linear_layer),
    "a bias in floats": ("arm-dotprod", "bias", "int32", float_bias),
    "a bias in integers": ("tensorrt", "bias", "32-bit floats", integer_bias),
    "a bias on another scale": ("qnn-htp", "bias", "scale", bias_on_another_scale),
    "a layer that reads floats": ("arm-i8mm", "placement", "not rounded", unrounded_input),
    "a residual in floats": ("tensorrt", "placement", "the other must be rounded", unrounded_operand),
    "a sum of unlike operands": ("arm-dotprod", "placement", "the other is not", unrounded_operand),
    "an operator between grids": ("qnn-htp", "float operator", "in floats", float_between),
    "an output in floats": ("edgetpu", "float operator", "does not come off a grid", float_output),
    "an operator that is not listed": ("qnn-htp", "operator", "Erf", foreign_operator),
    "an open batch": ("qnn-htp", "shape", "batch of 1", open_batch),
    "another batch": ("apple", "shape", "got [4, 3, 32, 32]", other_batch),
    "a layer in 32 bits": ("apple", "precision", "32-bit", wide_weight),
}


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_what_is_made_for_a_preset_obeys_it(name: str, exported: Exported) -> None:
    assert check_preset(exported(name).graph, PRESETS[name]) == ()


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_rule_is_named(case: str, exported: Exported, tmp_path: Path) -> None:
    name, rule, word, spoil = BROKEN[case]
    artifact = exported(name)
    model = onnx.load(artifact.graph)
    before = {node.name for node in model.graph.node}
    spoil(model.graph)
    onnx.save(model, tmp_path / "spoiled.onnx")
    found = check_preset(tmp_path / "spoiled.onnx", PRESETS[name])
    assert [v for v in found if v.rule == rule and word in v.found], found
    named = {v.node for v in found if v.rule == rule}
    known = {*before, *(node.name for node in model.graph.node), "input"}
    assert named <= known


def test_a_file_for_one_device_is_none_for_another(exported: Exported) -> None:
    rules = {v.rule for v in check_preset(exported("arm-dotprod").graph, PRESETS["tensorrt"])}
    assert rules >= {"zero point", "bias"}
    rules = {v.rule for v in check_preset(exported("tensorrt").graph, PRESETS["qnn-htp"])}
    assert rules >= {"storage", "shape", "bias", "float operator"}


def test_the_first_violation_is_raised_in_one_line(exported: Exported) -> None:
    preset = replace(PRESETS["arm-dotprod"], operators=frozenset({"Conv"}))
    with pytest.raises(TargetError, match=r"Arm CPU.*: x_grid/QuantizeLinear breaks the rule on operator: ") as caught:
        demand(exported("arm-dotprod").graph, preset)
    assert "\n" not in str(caught.value)


def test_what_is_no_model_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"\0not onnx")
    with pytest.raises(TargetError, match="cannot be read as ONNX"):
        check_preset(tmp_path / "x.onnx", PRESETS["apple"])
    with pytest.raises(TargetError, match=r"\.onnx and \.tflite"):
        check_preset(tmp_path / "x.xml", PRESETS["apple"])


def test_a_violation_reads_as_a_sentence() -> None:
    assert str(Violation("a/Conv", "storage", "got 1")) == "a/Conv breaks the rule on storage: got 1"
