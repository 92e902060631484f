"""Work out what does not depend on the image: shape arithmetic, and weights that the file computes."""

import math
from collections.abc import Callable

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from pocketlens.errors import ModelError, UnsupportedModelError
from pocketlens.models.assembly import Known

LARGEST = 2**27
"""Elements of a folded array: a small file may ask for any number of them."""

_Arrays = list[np.ndarray]


def _broadcast(arrays: _Arrays) -> int:
    return math.prod(np.broadcast_shapes(*(a.shape for a in arrays)))


def _matmul(arrays: _Arrays) -> int:
    a, b = arrays
    return a.size // max(a.shape[-1], 1) * max(b.size // max(b.shape[-2] if b.ndim > 1 else b.size, 1), 1)


def _same(arrays: _Arrays) -> int:
    return sum(a.size for a in arrays)


def _of_shape(arrays: _Arrays) -> int:
    return math.prod(int(v) for v in arrays[0].reshape(-1))


def _expanded(arrays: _Arrays) -> int:
    return math.prod(np.broadcast_shapes(arrays[0].shape, tuple(int(v) for v in arrays[1].reshape(-1))))


def _tiled(arrays: _Arrays) -> int:
    return arrays[0].size * math.prod(int(v) for v in arrays[1].reshape(-1))


def _range(arrays: _Arrays) -> int:
    start, limit, step = (float(a.reshape(-1)[0]) for a in arrays)
    return 0 if step == 0 else max(int((limit - start) / step) + 1, 0)


def _gathered(arrays: _Arrays) -> int:
    return arrays[0].size * max(arrays[1].size, 1)


FOLDED: dict[str, Callable[[_Arrays], int]] = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Pow", "Mod", "Min", "Max", "Where"), _broadcast),
    **dict.fromkeys(("Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual", "And", "Or", "Not"), _broadcast),
    **dict.fromkeys(("Neg", "Abs", "Sqrt", "Exp", "Log", "Reciprocal", "Floor", "Ceil", "Round", "Sign"), _same),
    **dict.fromkeys(("Sigmoid", "Tanh", "Erf", "Clip", "Relu", "Sin", "Cos", "Softmax", "CastLike"), _same),
    **dict.fromkeys(("Cast", "Identity", "Shape", "Size", "Reshape", "Flatten", "Squeeze", "Unsqueeze"), _same),
    **dict.fromkeys(("Transpose", "Concat", "Slice", "Split", "ReduceProd", "ReduceSum", "ReduceMean"), _same),
    **dict.fromkeys(("ReduceMax", "ReduceMin", "ReduceL2", "Trilu"), _same),
    "Constant": _same,
    "ConstantOfShape": _of_shape,
    "Expand": _expanded,
    "Tile": _tiled,
    "Range": _range,
    **dict.fromkeys(("Gather", "GatherND", "GatherElements"), _gathered),
    "MatMul": _matmul,
}
"""Operators that are folded -> an upper bound of the elements that one gives."""


def fold(node: onnx.NodeProto, inputs: list[Known | None], opset: int) -> list[Known]:
    """The outputs of a node whose inputs are all known.

    Raises: UnsupportedModelError for an operator that is not folded; ModelError for one that asks for too much memory.
    """
    if node.op_type not in FOLDED:
        raise UnsupportedModelError(f"{node.op_type} of constants cannot be worked out; simplify the file (onnxsim)")
    same = all(value is None or value.first is value.second for value in inputs)
    first = _run(node, [None if v is None else v.first for v in inputs], opset)
    second = first if same else _run(node, [None if v is None else v.second for v in inputs], opset)
    return [Known(a, b) for a, b in zip(first, second, strict=True)]


def _run(node: onnx.NodeProto, inputs: list[np.ndarray | None], opset: int) -> _Arrays:
    given = [array for array in inputs if array is not None]
    if FOLDED[node.op_type](given) > LARGEST:
        raise ModelError(f"{node.op_type} asks for more than {LARGEST:,} numbers; no model for a phone holds them")
    values = {name: array for name, array in zip(node.input, inputs, strict=True) if name and array is not None}
    typed = [
        onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in values.items()
    ]
    wanted = [onnx.helper.make_empty_tensor_value_info(name) for name in node.output if name]
    graph = onnx.helper.make_graph([node], "folded", typed, wanted)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    with np.errstate(all="ignore"):
        return [np.asarray(array) for array in ReferenceEvaluator(model).run(None, values)]
