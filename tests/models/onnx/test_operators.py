"""Every operator on a file of its own. `import_onnx` compares with ONNX Runtime, so a wrong meaning raises."""

from typing import Any

import numpy as np
import pytest
from onnx import NodeProto, helper
from tests.models.onnx.conftest import Written, random, whole

from pocketlens.errors import UnsupportedModelError
from pocketlens.models import vocabulary
from pocketlens.models.onnx.importing import import_onnx


def node(kind: str, *inputs: str, outputs: tuple[str, ...] = ("y",), **attributes: Any) -> NodeProto:
    return helper.make_node(
        kind, inputs, outputs, name=f"{'the' if 'y' in outputs else outputs[0]}_{kind}", **attributes
    )


def kinds(path: Any) -> list[str]:
    graph, _ = import_onnx(path)
    return [vocabulary.kind(graph, n) for n in graph.graph.nodes][1:-1]


CONV = {"w": random(4, 3, 3, 3), "b": random(4)}
CASES: dict[str, tuple[list[NodeProto], dict[str, np.ndarray], list[str]]] = {
    "conv": ([node("Conv", "x", "w", "b", pads=[1, 1, 1, 1], strides=[2, 1])], CONV, ["conv"]),
    "conv, SAME_UPPER": ([node("Conv", "x", "w", auto_pad="SAME_UPPER", strides=[2, 2])], CONV, ["pad", "conv"]),
    "conv, SAME_LOWER": ([node("Conv", "x", "w", auto_pad="SAME_LOWER", strides=[2, 2])], CONV, ["pad", "conv"]),
    "conv, SAME of an odd kernel": ([node("Conv", "x", "w", auto_pad="SAME_UPPER")], CONV, ["conv"]),
    "conv, VALID and dilated": ([node("Conv", "x", "w", auto_pad="VALID", dilations=[2, 2])], CONV, ["conv"]),
    "conv, lopsided": ([node("Conv", "x", "w", "b", pads=[0, 1, 2, 0])], CONV, ["pad", "conv"]),
    "depthwise conv": ([node("Conv", "x", "w", group=3)], {"w": random(6, 1, 3, 3)}, ["conv"]),
    "a bias added later": (
        [node("Conv", "x", "w", outputs=("c",)), node("Add", "c", "b")],
        {"w": random(4, 3, 3, 3), "b": random(1, 4, 1, 1)},
        ["conv"],
    ),
    "transposed conv": (
        [node("ConvTranspose", "x", "w", "b", strides=[2, 2], output_padding=[1, 1], pads=[1, 1, 1, 1])],
        {"w": random(3, 4, 3, 3), "b": random(4)},
        ["conv_transpose"],
    ),
    "transposed conv, SAME": (
        [node("ConvTranspose", "x", "w", strides=[2, 2], auto_pad="SAME_LOWER")],
        {"w": random(3, 4, 3, 3)},
        ["conv_transpose"],
    ),
    "gemm": (
        [node("Flatten", "x", outputs=("f",)), node("Gemm", "f", "w", "b", alpha=0.5, beta=2.0)],
        {"w": random(192, 5), "b": random(1, 5)},
        ["flatten", "linear"],
    ),
    "matmul and add": (
        [node("MatMul", "x", "w", outputs=("m",)), node("Add", "b", "m")],
        {"w": random(8, 5), "b": random(5)},
        ["linear"],
    ),
    "matmul of two": (
        [node("Transpose", "x", outputs=("t",), perm=[0, 1, 3, 2]), node("MatMul", "x", "t")],
        {},
        ["permute", "matmul"],
    ),
    "batch norm": (
        [node("BatchNormalization", "x", "s", "b", "m", "v", epsilon=0.01)],
        {"s": random(3), "b": random(3), "m": random(3), "v": np.abs(random(3)) + 0.5},
        ["batchnorm"],
    ),
    "instance norm": (
        [node("InstanceNormalization", "x", "s", "b")],
        {"s": random(3), "b": random(3)},
        ["groupnorm"],
    ),
    "layer norm": (
        [node("LayerNormalization", "x", "s", "b", axis=-1)],
        {"s": random(8), "b": random(8)},
        ["layernorm"],
    ),
    "layer norm taken apart": (
        [
            node("ReduceMean", "x", "axes", outputs=("mean",)),
            node("Sub", "x", "mean", outputs=("d",)),
            node("Pow", "d", "two", outputs=("sq",)),
            node("ReduceMean", "sq", "axes", outputs=("var",)),
            node("Add", "var", "eps", outputs=("shifted",)),
            node("Sqrt", "shifted", outputs=("sd",)),
            node("Div", "d", "sd", outputs=("n",)),
            node("Mul", "n", "s", outputs=("m",)),
            node("Add", "m", "b"),
        ],
        {"axes": whole(-1), "two": np.float32(2), "eps": np.float32(1e-5), "s": random(8), "b": random(8)},
        ["layernorm"],
    ),
    "relu6": ([node("Clip", "x", "low", "high")], {"low": np.float32(0), "high": np.float32(6)}, ["relu6"]),
    "relu by clip": ([node("Clip", "x", "low")], {"low": np.float32(0)}, ["relu"]),
    "clip": ([node("Clip", "x", "low", "high")], {"low": np.float32(-1), "high": np.float32(2)}, ["clamp"]),
    "hard sigmoid": ([node("HardSigmoid", "x", alpha=1 / 6, beta=0.5)], {}, ["hardsigmoid"]),
    "another hard sigmoid": ([node("HardSigmoid", "x")], {}, ["mul", "add", "clamp"]),
    "hard swish": ([node("HardSwish", "x")], {}, ["hardswish"]),
    "hard swish taken apart": (
        [
            node("Add", "x", "three", outputs=("a",)),
            node("Clip", "a", "zero", "six", outputs=("c",)),
            node("Div", "c", "six", outputs=("d",)),
            node("Mul", "d", "x"),
        ],
        {"three": np.float32(3), "zero": np.float32(0), "six": np.float32(6)},
        ["hardswish"],
    ),
    "silu": ([node("Sigmoid", "x", outputs=("s",)), node("Mul", "x", "s")], {}, ["silu"]),
    "mish taken apart": (
        [node("Softplus", "x", outputs=("s",)), node("Tanh", "s", outputs=("t",)), node("Mul", "x", "t")],
        {},
        ["mish"],
    ),
    "gelu by erf": (
        [
            node("Div", "x", "root", outputs=("d",)),
            node("Erf", "d", outputs=("e",)),
            node("Add", "e", "one", outputs=("a",)),
            node("Mul", "x", "a", outputs=("m",)),
            node("Mul", "m", "half"),
        ],
        {"root": np.float32(2**0.5), "one": np.float32(1), "half": np.float32(0.5)},
        ["gelu"],
    ),
    "elu": ([node("Elu", "x", alpha=0.3)], {}, ["elu"]),
    "leaky relu": ([node("LeakyRelu", "x", alpha=0.3)], {}, ["leaky_relu"]),
    "prelu": ([node("PRelu", "x", "w")], {"w": random(3, 1, 1)}, ["prelu"]),
    "softmax": ([node("Softmax", "x", axis=1)], {}, ["softmax"]),
    "mean over the image": ([node("ReduceMean", "x", "a")], {"a": whole(2, 3)}, ["global_avg_pool"]),
    "sum, least, length": (
        [
            node("ReduceSum", "x", "a", outputs=("s",)),
            node("ReduceMin", "x", "a", outputs=("m",)),
            node("ReduceL2", "x", "a", outputs=("l",)),
            node("Sum", "s", "m", "l"),
        ],
        {"a": whole(1)},
        ["sum", "neg", "amax", "neg", "mul", "sum", "sqrt", "add", "add"],
    ),
    "reciprocal and absolute": (
        [node("Abs", "x", outputs=("a",)), node("Add", "a", "one", outputs=("b",)), node("Reciprocal", "b")],
        {"one": np.float32(1)},
        ["mul", "sqrt", "add", "div"],
    ),
    "max pool": ([node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])], {}, ["max_pool"]),
    "max pool, SAME after relu": (
        [node("Relu", "x", outputs=("r",)), node("MaxPool", "r", kernel_shape=[2, 2], auto_pad="SAME_UPPER")],
        {},
        ["relu", "pad", "max_pool"],
    ),
    "max pool, SAME": (
        [node("MaxPool", "x", kernel_shape=[2, 2], auto_pad="SAME_UPPER")],
        {},
        ["pad_function", "max_pool"],
    ),
    "average pool": (
        [node("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=0)],
        {},
        ["avg_pool"],
    ),
    "average pool, lopsided": (
        [node("AveragePool", "x", kernel_shape=[3, 3], pads=[0, 0, 1, 1], count_include_pad=1)],
        {},
        ["pad", "avg_pool"],
    ),
    "global pools": (
        [
            node("GlobalAveragePool", "x", outputs=("a",)),
            node("GlobalMaxPool", "x", outputs=("m",)),
            node("Add", "a", "m"),
        ],
        {},
        ["global_avg_pool", "global_max_pool", "add"],
    ),
    "zero padding": ([node("Pad", "x", "p")], {"p": whole(0, 0, 1, 2, 0, 0, 3, 4)}, ["pad"]),
    "padding of channels": ([node("Pad", "x", "p")], {"p": whole(0, 1, 0, 0, 0, 2, 0, 0)}, ["pad_function"]),
    "resize, nearest": (
        [node("Resize", "x", "", "s", coordinate_transformation_mode="asymmetric", nearest_mode="floor")],
        {"s": np.array([1, 1, 2, 2], np.float32)},
        ["resize"],
    ),
    "resize, nearest by centres": (
        [node("Resize", "x", "", "s")],
        {"s": np.array([1, 1, 2, 2], np.float32)},
        ["resize"],
    ),
    "resize, linear": (
        [node("Resize", "x", "", "", "s", mode="linear", axes=[2, 3])],
        {"s": whole(13, 11)},
        ["resize"],
    ),
    "resize, corners": (
        [node("Resize", "x", "", "", "s", mode="linear", coordinate_transformation_mode="align_corners", axes=[2, 3])],
        {"s": whole(16, 12)},
        ["resize"],
    ),
    "resize, cubic": ([node("Resize", "x", "", "", "s", mode="cubic", axes=[2, 3])], {"s": whole(16, 16)}, ["resize"]),
    "split": (
        [
            node("Split", "x", "s", outputs=("a", "b"), axis=3),
            node("Mul", "b", "b", outputs=("c",)),
            node("Concat", "c", "a", axis=-1),
        ],
        {"s": whole(3, 5)},
        ["split", "getitem", "getitem", "mul", "cat"],
    ),
    "slice": (
        [node("Slice", "x", "b", "e", "a", "s")],
        {"b": whole(1, -6), "e": whole(3, 1000), "a": whole(1, 3), "s": whole(1, 2)},
        ["getitem"],
    ),
    "gather one": ([node("Gather", "x", "i", axis=2)], {"i": np.array(-1)}, ["getitem"]),
    "gather a run": ([node("Gather", "x", "i", axis=2)], {"i": whole(1, 3, 5)}, ["getitem"]),
    "reshapes": (
        [
            node("Reshape", "x", "s", outputs=("r",)),
            node("Squeeze", "r", "a", outputs=("q",)),
            node("Unsqueeze", "q", "a"),
        ],
        {"s": whole(0, 1, 24, -1), "a": whole(1)},
        ["reshape", "squeeze", "unsqueeze"],
    ),
    "shuffle by shape arithmetic": (
        [
            node("Shape", "x", outputs=("shape",)),
            node("Gather", "shape", "zero", outputs=("n",)),
            node("Concat", "n", "rest", outputs=("target",), axis=0),
            node("Reshape", "x", "target"),
        ],
        {"zero": whole(0), "rest": whole(-1)},
        ["flatten"],
    ),
    "space to depth": ([node("SpaceToDepth", "x", blocksize=2)], {}, ["reshape", "permute", "reshape"]),
    "nothing": (
        [node("Identity", "x", outputs=("i",)), node("Cast", "i", outputs=("c",), to=1), node("Neg", "c")],
        {},
        ["neg"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_operators_mean_what_onnx_runtime_computes(name: str, written: Written) -> None:
    nodes, weights, wanted = CASES[name]
    path = written(nodes, weights={k: np.asarray(v) for k, v in weights.items()})
    assert kinds(path) == wanted


@pytest.mark.parametrize(
    ("opset", "nodes", "weights", "wanted"),
    [
        (20, [node("Gelu", "x", approximate="tanh")], {}, ["gelu"]),
        (11, [node("Clip", "x", "l", "h")], {"l": np.float32(0), "h": np.float32(6)}, ["relu6"]),
        (10, [node("Clip", "x", min=0.0, max=6.0)], {}, ["relu6"]),
        (9, [node("Upsample", "x", "s", mode="nearest")], {"s": np.array([1, 1, 2, 2], np.float32)}, ["resize"]),
        (11, [node("Softmax", "x", axis=3)], {}, ["softmax"]),
        (11, [node("ReduceMean", "x", axes=[2, 3], keepdims=0)], {}, ["global_avg_pool"]),
        (11, [node("Pad", "x", "p")], {"p": whole(0, 0, 1, 1, 0, 0, 1, 1)}, ["pad"]),
        (
            21,
            [node("GroupNormalization", "x", "s", "b", num_groups=3)],
            {"s": random(3), "b": random(3)},
            ["groupnorm"],
        ),
    ],
)
def test_older_and_newer_opsets(
    opset: int, nodes: list[NodeProto], weights: dict[str, np.ndarray], wanted: list[str], written: Written
) -> None:
    path = written(nodes, weights={k: np.asarray(v) for k, v in weights.items()}, opset=opset)
    assert kinds(path) == wanted


@pytest.mark.parametrize(
    ("nodes", "weights", "word"),
    [
        ([node("Erf", "x")], {}, r"Erf \(the_Erf\) stands alone"),
        ([node("Cos", "x")], {}, r"Cos \(the_Cos\): no such operator"),
        ([node("Pad", "x", "p", mode="reflect")], {"p": whole(0, 0, 1, 1, 0, 0, 1, 1)}, r"the_Pad.*mode=b'reflect'"),
        ([node("ReduceMean", "x", "a")], {"a": whole(0)}, "over the images of a batch"),
        ([node("Slice", "x", "b", "e", "a")], {"b": whole(0), "e": whole(1), "a": whole(0)}, "some images of a batch"),
        ([node("Gather", "x", "i", axis=2)], {"i": whole(3, 1, 2)}, "in no order"),
        ([node("ArgMax", "x", axis=1)], {}, r"the_ArgMax.*cut the graph"),
        ([node("LogSoftmax", "x")], {}, r"the_LogSoftmax.*without its last"),
        (
            [node("QuantizeLinear", "x", "s", "z", outputs=("q",)), node("DequantizeLinear", "q", "s", "z")],
            {"s": np.float32(0.1), "z": np.uint8(3)},
            r"q_QuantizeLinear\) is already quantized.*float model",
        ),
        (
            [node("Resize", "x", "", "s", mode="linear", coordinate_transformation_mode="asymmetric")],
            {"s": np.array([1, 1, 2, 2], np.float32)},
            r"Resize \(linear, asymmetric",
        ),
        ([node("MaxPool", "x", outputs=("y", "i"), kernel_shape=[2, 2])], {}, "places of its maxima"),
    ],
)
def test_what_cannot_be_expressed_is_named(
    nodes: list[NodeProto], weights: dict[str, np.ndarray], word: str, written: Written
) -> None:
    path = written(nodes, weights={k: np.asarray(v) for k, v in weights.items()})
    with pytest.raises(UnsupportedModelError, match=word) as raised:
        import_onnx(path)
    assert "\n" not in str(raised.value)


def test_a_layer_called_twice_stays_one_layer(written: Written) -> None:
    weights = {"w": random(3, 3, 1, 1)}
    graph, _ = import_onnx(written([node("Conv", "x", "w", outputs=("a",)), node("Conv", "a", "w")], weights=weights))
    calls = [n.target for n in graph.graph.nodes if vocabulary.kind(graph, n) == "conv"]
    assert len(calls) == 2
    assert len(set(calls)) == 1
