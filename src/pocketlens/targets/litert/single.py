"""Each operator of a .tflite file as a file of its own, to be timed alone.

LiteRT's Python runtime has no profiler, and XNNPACK takes a whole graph as one node. Alone, an operator runs on the
same kernel; what it does not show is how well its input lies in the caches.
"""

import copy
from collections.abc import Iterator
from typing import Any

from pocketlens.targets.litert.flatbuffer import constant, operator_name, pack, unpack

_OUTPUTS = frozenset({"logits", "embedding"})


def single_operators(content: bytes) -> Iterator[tuple[str, str, bytes]]:
    """(layer, operator, a file that computes only this) for every operator that runs at each inference.

    Args:
        content: a .tflite file that `tidy` named.
    """
    model = unpack(content)
    graph = model.subgraphs[0]
    once = {}
    for operator in graph.operators:
        source = graph.tensors[operator.inputs[0]]
        if operator_name(model, operator) == "DEQUANTIZE" and constant(model, source) is not None:
            once[operator.outputs[0]] = operator  # of stored weights, when the file is opened
            continue
        before = [once[place] for place in operator.inputs if place in once]
        yield _layer(model, graph, operator), operator_name(model, operator), _alone(model, [*before, operator])


def _layer(model: Any, graph: Any, operator: Any) -> str:
    """The canonical node that `tidy` wrote into the names: of the output, or of the weights where that is a result."""
    names = [graph.tensors[place].name.decode() for place in (*operator.outputs, *operator.inputs[1:]) if place >= 0]
    return next((name.partition("/")[0] for name in names if name not in _OUTPUTS), operator_name(model, operator))


def _alone(model: Any, operators: list[Any]) -> bytes:
    result = copy.copy(model)
    graph = copy.copy(model.subgraphs[0])
    empty = copy.copy(model.buffers[0])
    empty.data = None
    result.buffers, result.subgraphs, result.signatureDefs = [empty], [graph], []
    places: dict[int, int] = {-1: -1}
    graph.tensors, graph.operators, graph.inputs = [], [], []
    computed = {place for operator in operators for place in operator.outputs}
    for operator in operators:
        for place in (*operator.inputs, *operator.outputs):
            if place in places:
                continue
            tensor = copy.copy(model.subgraphs[0].tensors[place])
            held = constant(model, tensor)
            if held is not None:
                result.buffers.append(model.buffers[tensor.buffer])
            tensor.buffer = 0 if held is None else len(result.buffers) - 1
            places[place] = len(graph.tensors)
            graph.tensors.append(tensor)
            if held is None and place not in computed:
                graph.inputs.append(places[place])
        moved = copy.copy(operator)
        moved.inputs = [places[place] for place in operator.inputs]
        moved.outputs = [places[place] for place in operator.outputs]
        graph.operators.append(moved)
    graph.outputs = list(graph.operators[-1].outputs)
    return pack(result)
