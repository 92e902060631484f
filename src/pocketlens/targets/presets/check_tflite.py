"""The rules, read off a .tflite file: full integers, as LiteRT's 8-bit specification has them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from pocketlens.errors import TargetError
from pocketlens.targets.litert.flatbuffer import constant, operator_name, unpack
from pocketlens.targets.presets.check import Violation
from pocketlens.targets.presets.preset import Preset
from pocketlens.types import Scheme

_Type = schema.TensorType

_LAYERS = {
    "CONV_2D": "conv",
    "DEPTHWISE_CONV_2D": "conv",
    "TRANSPOSE_CONV": "conv_transpose",
    "FULLY_CONNECTED": "linear",
}

_OPERANDS = {"TRANSPOSE_CONV": (2, 1, 3)}
"""Where an operator reads (data, weights, bias), where that is not (0, 1, 2)."""

_SAME_GRID = frozenset(
    {
        *("AVERAGE_POOL_2D", "CONCATENATION", "MAX_POOL_2D", "PAD", "RESHAPE", "RESIZE_BILINEAR", "SLICE"),
        *("SPACE_TO_DEPTH", "SQUEEZE", "TRANSPOSE", "MAXIMUM", "MINIMUM"),
    }
)
"""Operators whose output has their input's grid."""

_WHOLE_RANGE = {"LOGISTIC": (1 / 256, -128), "SOFTMAX": (1 / 256, -128), "TANH": (1 / 128, 0)}
"""Operators whose output has one (scale, zero point) always."""

_UNFUSED = frozenset({"AVERAGE_POOL_2D", "CONCATENATION", "MAX_POOL_2D"})
"""Operators that the Edge TPU takes only without an activation inside."""

_STORED = {"int8": (_Type.INT8, np.int8), "uint8": (_Type.UINT8, np.uint8)}
_NAMES = {value: name for name, value in vars(_Type).items() if isinstance(value, int)}
_INNERMOST = 3


def check_tflite(file: Path, preset: Preset) -> tuple[Violation, ...]:
    """Every rule that the file breaks; see `check.check_preset`."""
    try:
        model = unpack(file.read_bytes())
        graph = model.subgraphs[0]
    except Exception as error:  # flatbuffers reads past the end, numpy and the file system have their own
        raise TargetError(f"{file} cannot be read as .tflite: {' '.join(str(error).split())[:240]}") from error
    scheme = preset.scheme
    if scheme is None:
        raise TargetError(f"{preset.device} is given 16-bit floats, which this check reads off ONNX only")
    checker = _Checker(model, graph, scheme)
    found = []
    for operator in graph.operators:
        name = operator_name(model, operator)
        if preset.operators and name not in preset.operators:
            found.append(Violation(checker.label(operator), "operator", f"{name} is not among those it takes"))
        found += checker.types(operator)
        found += checker.layer(operator, name)
        found += checker.grids(operator, name)
    return (*found, *checker.shapes())


class _Checker:
    """The rules on one operator at a time."""

    def __init__(self, model: Any, graph: Any, scheme: Scheme) -> None:
        self._model, self._graph, self._scheme = model, graph, scheme
        self._kind, self._dtype = _STORED[scheme.activation.storage]

    def label(self, operator: Any) -> str:
        """An operator by the tensor that it gives."""
        return _name(self._graph.tensors[operator.outputs[0]])

    def types(self, operator: Any) -> Iterator[Violation]:
        """Nothing that is computed in floats; codes of the scheme's storage."""
        for place in (*operator.inputs, *operator.outputs):
            tensor = self._tensor(place)
            if tensor is None or constant(self._model, tensor) is not None:
                continue
            if tensor.type in (_Type.FLOAT32, _Type.FLOAT16, _Type.FLOAT64, _Type.BFLOAT16):
                yield Violation(self.label(operator), "float operator", f"{_name(tensor)} is in floats")
            elif tensor.type != self._kind:
                ends = place in (*self._graph.inputs, *self._graph.outputs) and tensor.type == _Type.UINT8
                if not ends:
                    got = _NAMES.get(tensor.type, tensor.type)
                    wanted = self._scheme.activation.storage
                    yield Violation(self.label(operator), "storage", f"{_name(tensor)} must be {wanted}, got {got}")
            elif _scales(tensor).size != 1:
                found = _scales(tensor).size
                yield Violation(self.label(operator), "granularity", f"{_name(tensor)} has one scale, got {found}")

    def layer(self, operator: Any, name: str) -> Iterator[Violation]:
        """Weights and bias."""
        if name not in _LAYERS:
            return
        places = [operator.inputs[p] if p < len(operator.inputs) else -1 for p in _OPERANDS.get(name, (0, 1, 2))]
        x, weight, bias = (self._tensor(place) for place in places)
        data = None if weight is None else constant(self._model, weight)
        if x is None or weight is None or data is None:
            yield Violation(self.label(operator), "placement", "its weights must be constants")
            return
        where, wanted = self.label(operator), self._scheme.weight
        kind, dtype = _STORED[wanted.storage]
        if weight.type != kind:
            yield Violation(where, "storage", f"weights must be {wanted.storage}, got {_NAMES.get(weight.type)}")
            return
        codes = data.view(dtype)
        if wanted.zero_point is not None and np.any(_zero_points(weight) != wanted.zero_point):
            yield Violation(where, "zero point", f"weights must have {wanted.zero_point}")
        low, high = int(codes.min()), int(codes.max())
        if low < wanted.qmin or high > wanted.qmax:
            yield Violation(where, "range", f"weights lie in {wanted.qmin}..{wanted.qmax}, got {low}..{high}")
        each = self._scheme.granularity == "per_channel" and _LAYERS[name] not in self._scheme.per_tensor
        axis = 3 if name == "DEPTHWISE_CONV_2D" else 0
        found = _scales(weight)
        if each and (found.size != weight.shape[axis] or (found.size > 1 and _axis(weight) != axis)):
            yield Violation(where, "granularity", f"weights have a scale a channel (axis {axis}), got {found.size}")
        if not each and found.size != 1:
            yield Violation(where, "granularity", f"weights of {name} have one scale, got {found.size}")
        if bias is not None:
            yield from self._bias(where, bias, _scales(x) * found)

    def _bias(self, where: str, bias: Any, wanted: "NDArray[np.float64]") -> Iterator[Violation]:
        if bias.type != _Type.INT32:
            yield Violation(where, "bias", f"must be int32, got {_NAMES.get(bias.type)}")
        elif not np.allclose(_scales(bias), wanted, rtol=1e-4, atol=0) or np.any(_zero_points(bias) != 0):
            yield Violation(where, "bias", "its scale must be that of the sums, input times weight, at zero point 0")

    def grids(self, operator: Any, name: str) -> Iterator[Violation]:
        """What moves values keeps their grid, and pools have no activation inside."""
        if name in _SAME_GRID:
            given = self._tensor(operator.outputs[0])
            for place in operator.inputs:
                read = self._tensor(place)
                if read is None or read.type != self._kind or constant(self._model, read) is not None:
                    continue
                if not np.array_equal(_scales(read), _scales(given)) or not np.array_equal(
                    _zero_points(read), _zero_points(given)
                ):
                    yield Violation(self.label(operator), "shared grid", f"{name} must keep the grid of its input")
        if name in _WHOLE_RANGE:
            given, (scale, zero_point) = self._tensor(operator.outputs[0]), _WHOLE_RANGE[name]
            if not np.allclose(_scales(given), scale, rtol=1e-4) or np.any(_zero_points(given) != zero_point):
                wanted = f"a scale of 1/{round(1 / scale)} at zero point {zero_point}"
                yield Violation(self.label(operator), "fixed grid", f"what {name} gives must have {wanted}")
        inside = getattr(operator.builtinOptions, "fusedActivationFunction", 0)
        if name in _UNFUSED and inside != schema.ActivationFunctionType.NONE:
            yield Violation(self.label(operator), "operator", f"{name} may have no activation inside")

    def shapes(self) -> Iterator[Violation]:
        """Constant sizes, and only the innermost three dimensions larger than 1."""
        for tensor in self._graph.tensors:
            signature = tensor.shapeSignature
            sizes = list(tensor.shape) if tensor.shape is not None else []
            if signature is not None and any(size < 0 for size in signature):
                yield Violation(_name(tensor), "shape", f"sizes must be constant, got {list(signature)}")
            elif constant(self._model, tensor) is None and any(size > 1 for size in sizes[:-_INNERMOST]):
                yield Violation(_name(tensor), "shape", f"one image at a time, got sizes {[int(s) for s in sizes]}")

    def _tensor(self, place: int) -> Any:
        return None if place < 0 else self._graph.tensors[place]


def _name(tensor: Any) -> str:
    return tensor.name.decode() if tensor.name else "a tensor"


def _scales(tensor: Any) -> "NDArray[np.float64]":
    held = tensor.quantization
    return np.asarray([] if held is None or held.scale is None else held.scale, np.float64)


def _zero_points(tensor: Any) -> "NDArray[np.int64]":
    held = tensor.quantization
    return np.asarray([] if held is None or held.zeroPoint is None else held.zeroPoint, np.int64)


def _axis(tensor: Any) -> int:
    return int(tensor.quantization.quantizedDimension)
