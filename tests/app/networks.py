"""A small convolutional network with 8-bit weights, as the graphs that a bundle holds."""

from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="builds its models with onnx, which is in pocketlens[optimize]")

SIDE = 32
CLASSES = 5
FEATURES = 16

_SCALE = {"w1": 0.004, "w2": 0.004}


def weights(seed: int = 0) -> dict[str, np.ndarray]:
    """By name, in the order in which they lie in `weights.bin`."""
    rng = np.random.default_rng(seed)
    return {
        "w1": rng.integers(-127, 128, (8, 3, 3, 3)).astype(np.int8),
        "w2": rng.integers(-127, 128, (FEATURES, 8, 3, 3)).astype(np.int8),
        "w3": rng.normal(0, 1, (FEATURES, CLASSES)).astype(np.float32),
    }


def blob() -> bytes:
    """`weights.bin`."""
    return b"".join(array.tobytes() for array in weights().values())


def graph(*, integers: bool) -> bytes:
    """x -> two convolutions -> pooled `embedding` -> `logits`, with weights in the external file `weights.bin`.

    Args:
        integers: whether activations are quantized too, so that ONNX Runtime computes in integers.
    """
    make = onnx.helper.make_node
    nodes: list[Any] = []
    initializers = _external()

    def constant(name: str, value: Any, dtype: Any) -> str:
        initializers.append(onnx.numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def rounded(tensor: str, scale: float, zero_point: int) -> str:
        if not integers:
            return tensor
        parts = [constant(f"{tensor}_s", scale, np.float32), constant(f"{tensor}_z", zero_point, np.uint8)]
        nodes.append(make("QuantizeLinear", [tensor, *parts], [f"{tensor}_q"]))
        nodes.append(make("DequantizeLinear", [f"{tensor}_q", *parts], [f"{tensor}_d"]))
        return f"{tensor}_d"

    def convolution(tensor: str, weight: str, out: str) -> None:
        parts = [constant(f"{weight}_s", _SCALE[weight], np.float32), constant(f"{weight}_z", 0, np.int8)]
        nodes.append(make("DequantizeLinear", [weight, *parts], [f"{weight}_f"]))
        nodes.append(make("Conv", [tensor, f"{weight}_f"], [f"{out}_c"], strides=[2, 2], pads=[1, 1, 1, 1]))
        nodes.append(make("Relu", [f"{out}_c"], [out]))

    convolution(rounded("x", 2 / 255, 128), "w1", "a")
    convolution(rounded("a", 4 / 255, 0), "w2", "b")
    nodes.append(make("GlobalAveragePool", ["b"], ["p"]))
    nodes.append(make("Flatten", ["p"], ["embedding"]))
    nodes.append(make("MatMul", ["embedding", "w3"], ["logits"]))
    return _serialised(nodes, initializers, onnx.TensorProto.FLOAT)


def half_graph() -> bytes:
    """The same in half precision, its weights inside."""
    make = onnx.helper.make_node
    values = weights()
    arrays = {
        "w1": values["w1"].astype(np.float32) * _SCALE["w1"],
        "w2": values["w2"].astype(np.float32) * _SCALE["w2"],
        "w3": values["w3"],
    }
    initializers = [onnx.numpy_helper.from_array(array.astype(np.float16), name) for name, array in arrays.items()]
    nodes = [
        make("Conv", ["x", "w1"], ["a_c"], strides=[2, 2], pads=[1, 1, 1, 1]),
        make("Relu", ["a_c"], ["a"]),
        make("Conv", ["a", "w2"], ["b_c"], strides=[2, 2], pads=[1, 1, 1, 1]),
        make("Relu", ["b_c"], ["b"]),
        make("GlobalAveragePool", ["b"], ["p"]),
        make("Flatten", ["p"], ["embedding"]),
        make("MatMul", ["embedding", "w3"], ["logits"]),
    ]
    return _serialised(nodes, initializers, onnx.TensorProto.FLOAT16)


def _external() -> list[Any]:
    found, offset = [], 0
    for name, array in weights().items():
        tensor = onnx.TensorProto(
            name=name,
            data_type=onnx.helper.np_dtype_to_tensor_dtype(array.dtype),
            dims=array.shape,
            data_location=onnx.TensorProto.EXTERNAL,
        )
        for key, value in (("location", "weights.bin"), ("offset", str(offset)), ("length", str(array.nbytes))):
            tensor.external_data.add(key=key, value=value)
        found.append(tensor)
        offset += array.nbytes
    return found


def _serialised(nodes: list[Any], initializers: list[Any], number: int) -> bytes:
    describe = onnx.helper.make_tensor_value_info
    body = onnx.helper.make_graph(
        nodes,
        "small",
        [describe("x", number, ["n", 3, SIDE, SIDE])],
        [describe("logits", number, ["n", CLASSES]), describe("embedding", number, ["n", FEATURES])],
        initializers,
    )
    opset = [onnx.helper.make_opsetid("", 21)]
    return onnx.helper.make_model(body, opset_imports=opset, ir_version=10).SerializeToString()
