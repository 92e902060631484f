"""After the conversion: names that people recognise, and float weights stored in fewer bits."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from pocketlens.targets.litert.flatbuffer import add_operator_code, constant, operator_name, pack, unpack

SMALLEST = 64
"""Numbers from which on a constant is worth storing in fewer bits."""

_CHANNEL_AXIS = {"DEPTHWISE_CONV_2D": 3}
"""Where a layer's output channels lie in its stored weights, for operators in which it is not the first axis."""


def tidy(
    content: bytes,
    layers: Sequence[str],
    outputs: Sequence[str],
    *,
    half: bool,
    scales: "Mapping[str, NDArray[np.float32]]",
) -> bytes:
    """The same model with readable names and small weights.

    Args:
        content: a .tflite file as `litert_torch` writes it, of a graph in which every node is a module.
        layers: the nodes' names, which go into the names of tensors: LAYER/OPERATOR.
        outputs: names of the outputs, in order.
        half: whether to store float constants in 16 bits.
        scales: of layers whose float weights are to be stored as int8: layer -> (channels,) or (1,).
    """
    model = unpack(content)
    graph = model.subgraphs[0]
    owners = [_owner(graph, operator, frozenset(layers)) for operator in graph.operators]
    stored: dict[int, tuple[NDArray[Any], NDArray[np.float32], int]] = {}
    for operator, owner in zip(graph.operators, owners, strict=True):
        axis = _CHANNEL_AXIS.get(operator_name(model, operator), 0)
        for place in operator.inputs:
            if place < 0 or place in stored or graph.tensors[place].type != schema.TensorType.FLOAT32:
                continue
            data = constant(model, graph.tensors[place])
            if data is None or data.size < 4 * SMALLEST:
                continue
            values = data.view(np.float32).reshape(graph.tensors[place].shape)
            if half:
                stored[place] = values.astype(np.float16), np.zeros(0, np.float32), 0
            elif owner in scales and values.ndim > 1:
                stored[place] = _codes(values, scales[owner], axis), scales[owner], axis
    _name(model, graph, owners, outputs)
    for place, (values, scale, axis) in stored.items():
        _dequantize_once(model, graph, place, values, scale, axis)
    model.description = "pocketlens"
    model.metadata, model.metadataBuffer = [], []
    return pack(model)


def _owner(graph: Any, operator: Any, layers: frozenset[str]) -> str:
    """The canonical node that an operator came from: the owner of its weights, else where the converter says."""
    places = [*operator.inputs[1:], *operator.outputs]
    for place in (p for p in places if p >= 0):
        # "Wrapper/torch.nn.modules.conv.Conv2d_NODE;1", or several such with ";;" between, the last the first to run.
        for path in reversed(graph.tensors[place].name.decode().split(";;")):
            scopes = path.partition(";")[0].split("/")[1:]
            node = scopes[0].rpartition(".")[2].partition("_")[2] if scopes else ""
            if node in layers:
                return node
    return ""


def _codes(values: "NDArray[np.float32]", scale: "NDArray[np.float32]", axis: int) -> "NDArray[np.int8]":
    """The integers that these values are, exactly: they were codes times scale."""
    shape = [1] * values.ndim
    shape[axis] = -1
    return np.rint(values / scale.reshape(shape)).astype(np.int8)


def _name(model: Any, graph: Any, owners: Sequence[str], outputs: Sequence[str]) -> None:
    """Name every tensor, and the signature's ends."""
    seen: Counter[str] = Counter()
    named: set[int] = set()

    def name(place: int, wanted: str) -> None:
        if place >= 0 and place not in named:
            seen[wanted] += 1
            graph.tensors[place].name = (wanted if seen[wanted] == 1 else f"{wanted}_{seen[wanted]}").encode()
            named.add(place)

    for place, wanted in zip(graph.outputs, outputs, strict=True):
        name(place, wanted)
    name(graph.inputs[0], "input")
    computed = {place for operator in graph.operators for place in operator.outputs}
    for operator, owner in zip(graph.operators, owners, strict=True):
        kind = operator_name(model, operator)
        for place in operator.outputs:
            name(place, f"{owner or kind.lower()}/{kind}")
        for role, place in enumerate(operator.inputs):
            if place not in computed:
                name(place, f"{owner or kind.lower()}/{('operand', 'weight', 'bias')[min(role, 2)]}")
    graph.name = b"main"
    for signature in model.signatureDefs or []:
        signature.inputs[0].name = b"input"
        by_place = {end.tensorIndex: end for end in signature.outputs}
        for place, wanted in zip(graph.outputs, outputs, strict=True):
            if place in by_place:
                by_place[place].name = wanted.encode()


def _dequantize_once(
    model: Any, graph: Any, place: int, values: "NDArray[Any]", scale: "NDArray[np.float32]", axis: int
) -> None:
    """Let the constant at `place` be dequantized from `values`; LiteRT and XNNPACK do that once, when they load."""
    full = graph.tensors[place]
    small: Any = schema.TensorT()
    small.shape, small.name = full.shape, full.name + b"/stored"
    small.type = schema.TensorType.INT8 if scale.size else schema.TensorType.FLOAT16
    if scale.size:
        grid: Any = schema.QuantizationParametersT()
        grid.scale, grid.zeroPoint, grid.quantizedDimension = scale, np.zeros(scale.size, np.int64), axis
        small.quantization = grid
    buffer: Any = schema.BufferT()
    buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    model.buffers.append(buffer)
    small.buffer = len(model.buffers) - 1
    if sum(tensor.buffer == full.buffer for tensor in graph.tensors) == 1:
        model.buffers[full.buffer].data = None
    full.buffer = 0
    graph.tensors.append(small)
    operator = schema.OperatorT()
    operator.opcodeIndex = add_operator_code(model, schema.BuiltinOperator.DEQUANTIZE, 5 if scale.size > 1 else 3)
    operator.inputs, operator.outputs = [len(graph.tensors) - 1], [place]
    operator.builtinOptionsType = schema.BuiltinOptions.DequantizeOptions
    operator.builtinOptions = schema.DequantizeOptionsT()
    graph.operators.insert(0, operator)
