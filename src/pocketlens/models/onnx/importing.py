"""From an ONNX file to a canonical graph."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import onnx
from onnx import numpy_helper
from torch import fx

from pocketlens.errors import ModelError, UnsupportedModelError
from pocketlens.models.assembly import Assembly, Known, Value
from pocketlens.models.importing import building, finished, input_shape
from pocketlens.models.onnx.file import OnnxFile, open_onnx
from pocketlens.models.onnx.folding import fold
from pocketlens.models.onnx.operator import Operator
from pocketlens.models.onnx.table import LAYERS, OPERATORS
from pocketlens.models.onnx.verify import verify


def import_onnx(path: Path, size: tuple[int, int] | None = None) -> tuple[fx.GraphModule, tuple[int, int, int]]:
    """The canonical graph of an ONNX file, found to give the same output as ONNX Runtime.

    Args:
        path: of the file; weights outside it lie in the same folder.
        size: (height, width) of the input, where the file leaves it open.
    Returns: the graph, the batch left open, and the (c, h, w) that it takes.
    Raises: ModelError for an unsound file; UnsupportedModelError naming the node that cannot be expressed.
    """
    file = open_onnx(path)
    shape = input_shape(file.shape, path, size)
    _infer_shapes(file, shape, path)
    assembly = Assembly(shape, one_image=file.shape[0] == 1)
    values: dict[str, Value] = {file.input: assembly.x}
    for tensor in file.proto.graph.initializer:
        array = numpy_helper.to_array(tensor)
        values[tensor.name] = Known(array, array)
    for node in file.proto.graph.node:
        with building(f"{path}: {node.op_type} ({node.name or node.output[0]})", assembly):
            values |= _build(node, values, file, assembly)
    graph = finished(assembly, values[file.output], path, file.output)
    verify(graph, file, shape, path)
    return graph, shape


def _infer_shapes(file: OnnxFile, shape: tuple[int, int, int], path: Path) -> None:
    """Let onnx check that all shapes fit, before anything is built."""
    model = onnx.ModelProto()
    model.CopyFrom(file.proto)
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    for value in model.graph.input:
        if value.name == file.input:
            for dim, side in zip(value.type.tensor_type.shape.dim[1:], shape, strict=True):
                dim.dim_value = side
    try:
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{path}: its shapes do not fit an input {shape}: {reason}") from error


def _build(node: onnx.NodeProto, values: dict[str, Value], file: OnnxFile, assembly: Assembly) -> dict[str, Value]:
    inputs = tuple(values[name] if name else None for name in node.input)
    known = [value for value in inputs if not isinstance(value, fx.Node)]
    if len(known) == len(inputs):
        outputs: Any = fold(node, known, file.opset)
    elif node.op_type in OPERATORS:
        outputs = OPERATORS[node.op_type](_operator(node, inputs, file, assembly))
    else:
        raise UnsupportedModelError(
            "no such operator in the canonical graph; replace it by others (docs/models.md lists what is read)"
        )
    outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
    return dict(zip((name for name in node.output if name), outputs, strict=False))


def _operator(node: onnx.NodeProto, inputs: tuple[Value | None, ...], file: OnnxFile, assembly: Assembly) -> Operator:
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return Operator(
        proto=node,
        inputs=inputs,
        attributes=attributes,
        opset=file.opset,
        assembly=assembly,
        name=_layer_name(node),
    )


def _layer_name(node: onnx.NodeProto) -> str:
    """What the module called it: after its weight, else after the path that the exporter wrote into the node's name."""
    weight = next((name for name in node.input if name.endswith(".weight")), "")
    if weight or not node.name.startswith("/"):
        return weight.removesuffix(".weight") or node.name.removeprefix("node_") or node.output[0]
    # Torch's older exporter: /layer1/layer1.0/conv1/Conv, each part a module within the one before.
    *parts, kind = node.name.strip("/").split("/")
    kept = [part for part, inner in pairwise([*parts, ""]) if not inner.startswith(f"{part}.")]
    return ".".join(kept if kept and kind in LAYERS else [*kept, kind])
