"""What each initializer of an ONNX graph is to the network."""

from enum import StrEnum

import onnx

_INTEGER = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
_FLOAT = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)


class Role(StrEnum):
    """Roles, in the order in which tensors lie best in a blob."""

    CODES = "weight codes"
    ZERO_POINTS = "zero points"
    FLOATS = "float weights"
    SCALES = "weight scales"
    FLOAT_BIASES = "float biases"
    BIASES = "biases"
    BIAS_SCALES = "bias scales"
    OTHERS = "others"


def roles(graph: onnx.GraphProto) -> dict[str, Role]:
    """Initializer name -> what it is, by its type and by who reads it."""
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    found = {t.name: _alone(t) for t in graph.initializer}
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and node.input:
            biases = types.get(node.input[0]) == onnx.TensorProto.INT32
            inputs = (Role.BIASES if biases else Role.CODES, Role.BIAS_SCALES if biases else Role.SCALES)
            for name, role in zip(node.input, (*inputs, Role.ZERO_POINTS), strict=False):
                if name in found:
                    found[name] = role
    return found


def _alone(tensor: onnx.TensorProto) -> Role:
    """What it is unless a quantizer reads it."""
    if tensor.data_type in _INTEGER:
        return Role.CODES
    if tensor.data_type in _FLOAT:
        return Role.FLOATS if len(tensor.dims) > 1 else Role.FLOAT_BIASES
    return Role.OTHERS
