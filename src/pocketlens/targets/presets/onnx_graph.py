"""An ONNX graph with its wiring: who gives a value, who reads it, and which values are constants."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from pocketlens.errors import TargetError

FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE})


class OnnxGraph:
    """Look-ups over a model.

    Args:
        file: with its external data beside it.
    Raises: TargetError when it is no sound ONNX.
    """

    def __init__(self, file: Path) -> None:
        try:
            model = onnx.load(file)
            self.model = onnx.shape_inference.infer_shapes(model)
        except Exception as error:  # protobuf's, onnx's and the file system's share no base but Exception
            raise TargetError(f"{file} cannot be read as ONNX: {' '.join(str(error).split())[:240]}") from error
        graph = self.model.graph
        self.nodes = list(graph.node)
        self.inputs = list(graph.input)
        self.outputs = [value.name for value in graph.output]
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        self._giver = {name: node for node in self.nodes for name in node.output}
        self._readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for name in filter(None, node.input):
                self._readers[name].append(node)
        values = (*graph.input, *graph.value_info, *graph.output)
        self._types = {value.name: value.type.tensor_type.elem_type for value in values}

    def giver(self, name: str) -> onnx.NodeProto | None:
        """The node that computes a value; None for an input and for a constant."""
        node = self._giver.get(name)
        return None if node is None or node.op_type == "Constant" else node

    def readers(self, name: str) -> list[onnx.NodeProto]:
        """The nodes that read a value."""
        return self._readers[name]

    def constant(self, name: str) -> "NDArray[np.generic] | None":
        """What the file holds under a name, None for what is computed or absent."""
        if name in self._tensors:
            return numpy_helper.to_array(self._tensors[name])
        node = self._giver.get(name)
        if node is None or node.op_type != "Constant":
            return None
        value = next((a for a in node.attribute if a.name.startswith("value")), None)
        if value is None:
            return None
        held = onnx.helper.get_attribute_value(value)
        return numpy_helper.to_array(held) if isinstance(held, TensorProto) else np.asarray(held)

    def is_float(self, name: str) -> bool:
        """Whether a value is floating-point, as far as the file or onnx's inference tells."""
        if name in self._tensors:
            return self._tensors[name].data_type in FLOATS
        held = self.constant(name)
        return self._types.get(name, TensorProto.FLOAT) in FLOATS if held is None else held.dtype.kind == "f"

    def type_of(self, name: str) -> int:
        """TensorProto's number of a value's type, 0 where nothing tells it."""
        return self._tensors[name].data_type if name in self._tensors else self._types.get(name, 0)

    def floats_before(self, node: onnx.NodeProto) -> list[str]:
        """The computed floating-point values that a node reads."""
        return [name for name in node.input if name and self.is_float(name) and self.constant(name) is None]


def attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    """An integer attribute."""
    return next((a.i for a in node.attribute if a.name == name), default)


def label(node: onnx.NodeProto) -> str:
    """A node by its name, or by what it gives."""
    return node.name or f"{node.op_type} of {node.output[0]}"
